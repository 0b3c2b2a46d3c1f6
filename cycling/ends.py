"""Judge whether a step ends at this reading, and whether it need not begin."""

from __future__ import annotations

from cycling import slopes, words
from cycling.counters import net_ah, net_wh
from cycling.judge import number, power
from cycling.plan import Plan, Planned, PlannedEnd
from cycling.reading import EndReason, Reading
from cycling.reasons import END, SKIPPED
from cycling.state import EndMemory, State, StepMemory

# Ends on current, rate, power and slopes wait for so many readings after the set point.
SETTLING_READINGS = 3


def value_of(end: PlannedEnd, reading: Reading, plan: Plan, state: State) -> float | None:
    """Return what the end looks at, in the unit of its threshold; None when it is not known."""
    quantity, step = end.quantity, state.step
    if quantity == "time_s":
        return None if step is None else step.time_s
    if quantity == "voltage_v":
        return number(reading.voltage_v)
    if quantity in ("current_abs_a", "rate_abs"):
        current_a = number(reading.current_a)
        if current_a is None:
            return None
        if quantity == "rate_abs" and end.of is not None:
            return abs(current_a) / state.stored[end.of] if state.stored.get(end.of) else None
        return abs(current_a)
    if quantity == "power_abs_w":
        power_w = power(reading)
        return None if power_w is None else abs(power_w)
    if quantity == "temperature_c":
        return number(reading.temperature_c)
    if quantity == "soc":
        return soc(plan, state)
    if quantity in ("charge_ah", "charge_rel", "energy_wh"):
        return None if step is None else _moved(end, plan, state, step)
    return number(reading.extended.get(quantity))


def _moved(end: PlannedEnd, plan: Plan, state: State, step: StepMemory) -> float | None:
    if end.quantity == "energy_wh":
        return abs(net_wh(state.total) - net_wh(step.start))
    moved_ah = abs(net_ah(state.total) - net_ah(step.start))
    if end.quantity == "charge_ah":
        return moved_ah
    reference = plan.capacity_ah if end.of is None else state.stored.get(end.of)
    return moved_ah / reference if reference else None


def soc(plan: Plan, state: State) -> float | None:
    """Return the state of charge (0 to 1) counted from where it was last known, or None."""
    if state.soc is None or not plan.capacity_ah:
        return None
    return state.soc + (net_ah(state.total) - state.soc_net_ah) / plan.capacity_ah


def first_met(planned: Planned, plan: Plan, state: State, step: StepMemory, reading: Reading) -> int | None:
    """Return the place of the first end that is met at this reading, feeding the memory of all."""
    met: int | None = None
    for place, end in enumerate(planned.ends):
        memory = step.ends[place]
        if _met(end, memory, planned, plan, state, step, reading) and met is None:
            met = place
    return met


def _met(
    end: PlannedEnd,
    memory: EndMemory,
    planned: Planned,
    plan: Plan,
    state: State,
    step: StepMemory,
    reading: Reading,
) -> bool:
    if end.in_cv_only and not step.in_cv:
        return False
    if end.quantity == "dv_dt_v_s" or end.quantity == "di_dt_a_s":
        x = _slope(end, memory, step, reading)
    else:
        x = value_of(end, reading, plan, state)
    if step.time_s < end.after_s - 1e-9 or (end.settling and not settled(planned, step)) or x is None:
        met = False
    else:
        met = x >= end.threshold if end.above else x <= end.threshold
        if not met and end.quantity == "voltage_v":
            met = _held_at_bound(end, planned, step, reading)
    if not met:
        memory.count, memory.since_s = 0, None
        return False
    memory.count += 1
    if end.hold_s is not None:
        if memory.since_s is None:
            memory.since_s = step.time_s
        return step.time_s - memory.since_s >= end.hold_s - 1e-9
    return memory.count >= end.readings


def _slope(end: PlannedEnd, memory: EndMemory, step: StepMemory, reading: Reading) -> float | None:
    x = number(reading.voltage_v if end.quantity == "dv_dt_v_s" else reading.current_a)
    if x is not None:
        slopes.feed(memory, step.time_s, x, end.over_s)
    return None if memory.slope is None else abs(memory.slope)


def settled(planned: Planned, step: StepMemory) -> bool:
    """Say whether the set point has been confirmed for ``settle_s`` and three readings."""
    return (
        step.settled_from_s is not None
        and step.readings >= SETTLING_READINGS
        and step.time_s - step.settled_from_s >= planned.step.settle_s - 1e-9
    )


def _held_at_bound(end: PlannedEnd, planned: Planned, step: StepMemory, reading: Reading) -> bool:
    """Say whether the device itself holds the end's voltage, a hair short of it by its own meter.

    A device that reaches its ceiling lets the current fall; its reading may stay below the value by
    its accuracy for ever, and the end would never fire.
    """
    bound_v = step.ceiling_v if end.above else step.floor_v
    if bound_v is None or step.set_current_a is None or abs(bound_v - end.value) > 1e-9:
        return False
    voltage_v, current_a = number(reading.voltage_v), number(reading.current_a)
    if voltage_v is None or current_a is None or not settled(planned, step):
        return False
    return abs(voltage_v - bound_v) <= step.bound_slack_v and abs(current_a) < 0.9 * abs(step.set_current_a)


def forget(step: StepMemory) -> None:
    """Begin all holds, counts and slopes again, after a pause."""
    for memory in step.ends:
        memory.count, memory.since_s, memory.slope = 0, None, None
        memory.buckets = []
    step.near_count = step.clip_count = 0
    step.wait_since_s = None


def skipping(planned: Planned, plan: Plan, state: State, reading: Reading) -> PlannedEnd | None:
    """Return the end that is met before the step begins, or None."""
    if not planned.step.skip_if_met:
        return None
    for end in planned.ends:
        if end.can_skip:
            x = value_of(end, reading, plan, state)
            if x is not None and (x >= end.threshold if end.above else x <= end.threshold):
                return end
    return None


def reason(
    end: PlannedEnd, planned: Planned, plan: Plan, state: State, reading: Reading, skipped: bool
) -> EndReason:
    """Return the end reason in words and numbers."""
    x = value_of(end, reading, plan, state)
    if end.quantity in ("dv_dt_v_s", "di_dt_a_s") and state.step is not None:
        memory = state.step.ends[planned.ends.index(end)]
        x = None if memory.slope is None else abs(memory.slope)
    value = end.value
    if end.quantity == "rate_abs" and end.of is None and plan.capacity_ah:
        x, value = (None if x is None else x / plan.capacity_ah), value / plan.capacity_ah
    return EndReason(
        code=SKIPPED if skipped else END,
        text=words.reached(end.quantity, end.above, value, x, end.of),
        quantity=end.quantity,
        limit=value,
        measured=x,
    )
