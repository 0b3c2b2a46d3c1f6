"""What a step leaves behind: its row, its resistances, its stored result; and small facts about it."""

from __future__ import annotations

from cycling.counters import net_ah
from cycling.judge import number
from cycling.plan import Plan, Planned, clip_of
from cycling.reading import FLAG_CLIPPED, EndReason, Reading, SetPoint, StepRow
from cycling.reasons import STORE
from cycling.setpoints import drive_pass_s, drive_point
from cycling.state import State, StepMemory
from cycling.steps import CCCV, Drive

# Two readings at the clip's voltage mean that the device holds it.
CLIPPED_READINGS = 2
# A smaller change of current gives no resistance worth writing down.
LEAST_CHANGE_A = 1e-4


def row(planned: Planned, step: StepMemory, state: State, reading: Reading, why: EndReason) -> StepRow:
    """Return the row of the step that ends at this reading."""
    total, start = state.total, step.start
    return StepRow(
        step=planned.number,
        step_count=state.step_count,
        label=planned.step.label,
        tags=list(planned.step.tags),
        cycle=state.cycle,
        mode="wait" if planned.kind == "wait_for" else planned.kind,
        started_us=step.started_us,
        duration_s=step.time_s,
        voltage_start_v=step.voltage_before_v,
        voltage_end_v=number(reading.voltage_v),
        current_end_a=number(reading.current_a),
        charge_in_ah=total.charge_in_ah - start.charge_in_ah,
        charge_out_ah=total.charge_out_ah - start.charge_out_ah,
        energy_in_wh=total.energy_in_wh - start.energy_in_wh,
        energy_out_wh=total.energy_out_wh - start.energy_out_wh,
        temperature_max_c=step.temperature_max_c,
        dcir=[dict(point) for point in step.dcir],
        end_reason=why,
        flags=state.flags | (FLAG_CLIPPED if step.clipped else 0),
    )


def dcir(planned: Planned, step: StepMemory, reading: Reading) -> None:
    """Write R(t) = dV/dI against the last reading before the step, at each time asked for."""
    at_s = planned.step.dcir_at_s[len(step.dcir)]
    voltage_v, current_a = number(reading.voltage_v), number(reading.current_a)
    if step.time_s < at_s - 1e-6 or voltage_v is None or current_a is None:
        return
    if step.voltage_before_v is None or step.current_before_a is None:
        return
    change_a = current_a - step.current_before_a
    if abs(change_a) >= LEAST_CHANGE_A:
        ohm = (voltage_v - step.voltage_before_v) / change_a
        step.dcir.append({"at_s": at_s, "measured_at_s": step.time_s, "ohm": ohm})


def clips(planned: Planned, step: StepMemory, reading: Reading, resolution_v: float) -> bool:
    """Say whether the device now holds the step's clip voltage."""
    clip = clip_of(planned.step)
    voltage_v = number(reading.voltage_v)
    if clip is None or voltage_v is None:
        return False
    near_v = resolution_v + 1e-9
    high = clip.v_max_v is not None and voltage_v >= clip.v_max_v - near_v
    low = clip.v_min_v is not None and voltage_v <= clip.v_min_v + near_v
    step.clip_count = step.clip_count + 1 if high or low else 0
    return step.clip_count >= CLIPPED_READINGS


def store(planned: Planned, step: StepMemory, plan: Plan, state: State) -> EndReason | None:
    """Keep the step's result under its name; return why it is outside its range, or None."""
    wanted = planned.step.store
    if wanted is None:
        return None
    moved_ah = abs(net_ah(state.total) - net_ah(step.start))
    if plan.capacity_ah:
        relative = moved_ah / plan.capacity_ah
        if not wanted.min_rel <= relative <= wanted.max_rel:
            return EndReason(
                code=STORE,
                text=(
                    f"{planned.title}: {wanted.name} is {moved_ah:.6g} Ah, {relative:.3g} of the capacity, "
                    f"outside {wanted.min_rel:g} to {wanted.max_rel:g}"
                ),
                quantity=wanted.quantity,
                limit=wanted.min_rel if relative < wanted.min_rel else wanted.max_rel,
                measured=relative,
            )
    state.stored[wanted.name] = moved_ah
    return None


def due_in_s(planned: Planned, step: StepMemory) -> float | None:
    """Return the time to the next time end, drive point or resistance of the step, in s."""
    times = [end.value for end in planned.ends if end.quantity == "time_s"]
    times += planned.step.dcir_at_s[len(step.dcir) :]
    raw = planned.step
    if isinstance(raw, Drive):
        each_s = drive_pass_s(raw)
        passes = drive_point(raw, step.time_s)[0] // len(raw.points)
        times += [passes * each_s + t for t, _ in raw.points] + [(passes + 1) * each_s]
    left = [t - step.time_s for t in times if t - step.time_s > 1e-6]
    return min(left) if left else None


def in_words(planned: Planned, set_point: SetPoint | None) -> str:
    """Return the set point for the event list."""
    if set_point is None or set_point.mode == "off":
        return {"wait_for": "wait"}.get(planned.kind, planned.kind)
    way = {"charge": "charge", "discharge": "discharge", "both": "run"}[set_point.direction]
    raw = planned.step
    if set_point.mode == "cv":
        limit_a = max(set_point.charge_current_max_a, set_point.discharge_current_max_a)
        return f"hold {set_point.voltage_v:g} V with at most {limit_a:g} A"
    if set_point.mode == "cp":
        return f"{way} at {abs(set_point.power_w or 0.0):g} W"
    if set_point.mode == "cr":
        return f"{way} over {set_point.resistance_ohm:g} Ω"
    then_hold = f" to {raw.voltage_v:g} V, then hold it" if isinstance(raw, CCCV) else ""
    return f"{way} at {abs(set_point.current_a or 0.0):g} A{then_hold}"
