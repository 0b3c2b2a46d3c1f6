"""Turn a step into what the device is asked to do, inside the envelope (safety.md rules 1 and 3)."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from cycling.contract import Envelope
from cycling.limits import find
from cycling.plan import Plan, Planned, clip_of, own_limits
from cycling.reading import SetPoint
from cycling.state import State, StepMemory
from cycling.steps import CC, CCCV, CP, CR, CV, Drive, Rest

SetDirection = Literal["charge", "discharge", "both"]
_DIRECTIONS: dict[int, SetDirection] = {1: "charge", -1: "discharge", 0: "both"}


class Outside(ValueError):
    """A set point would leave the envelope; its text names which."""


@dataclass(slots=True)
class Bounds:
    """The operating limits in force during a step; None where there is none."""

    v_max: float | None
    v_min: float | None
    i_max: float
    i_min: float
    p_max: float | None
    p_min: float | None
    margin_v: float


def bounds(planned: Planned, envelope: Envelope) -> Bounds:
    """Return the bounds of one step."""
    own = own_limits(planned, envelope)
    safety = planned.step.safety
    power = {}
    for side, sign in (("max", 1.0), ("min", -1.0)):
        limit = find(envelope, "power_w", "max" if side == "max" else "min")
        value = None if limit is None else limit.operating
        if safety is not None and safety.p_abs_max_w is not None:
            tighter = sign * safety.p_abs_max_w
            value = (
                tighter if value is None else min(value, tighter) if side == "max" else max(value, tighter)
            )
        power[side] = value
    margin = 0.010 * envelope.cells_in_series
    for limit in envelope.limits:
        if limit.quantity == "voltage_v":
            margin = max(margin, abs(limit.trip - limit.operating))
    return Bounds(
        v_max=own.get(("voltage_v", "max")),
        v_min=own.get(("voltage_v", "min")),
        i_max=own.get(("current_a", "max"), 0.0),
        i_min=own.get(("current_a", "min"), 0.0),
        p_max=power["max"],
        p_min=power["min"],
        margin_v=margin,
    )


def build(planned: Planned, plan: Plan, state: State, step: StepMemory, within: Bounds) -> SetPoint:
    """Return the set point of a step as it stands now.

    Raises ``Outside`` rather than ask for anything beyond the envelope: what was checked at filing
    cannot, so something has changed and the step must fail.
    """
    raw = planned.step
    if isinstance(raw, CC):
        return _current(_amperes(planned, plan, state), planned, state, step, within)
    if isinstance(raw, CCCV):
        return _cccv(raw, planned, plan, state, step, within)
    if isinstance(raw, CV):
        return _voltage(raw.voltage_v, planned, _amperes(planned, plan, state), state, within)
    if isinstance(raw, CP):
        return _power(raw.power_w, planned, state, step, within)
    if isinstance(raw, CR):
        return _resistance(raw, planned, state, within)
    if isinstance(raw, Drive):
        return _drive(raw, planned, plan, state, step, within)
    return SetPoint(mode="off", outputs=dict(state.outputs), isolate=isinstance(raw, Rest) and raw.isolate)


def off(state: State) -> SetPoint:
    """Return the set point that switches the output off and holds the auxiliary outputs."""
    return SetPoint(mode="off", outputs=dict(state.outputs))


def largest_a(point: SetPoint | None) -> float:
    """Return the largest current that a set point allows, signed; 0.0 for off."""
    if point is None or point.mode == "off":
        return 0.0
    if point.current_a is not None:
        return point.current_a
    charge_a, discharge_a = point.charge_current_max_a, point.discharge_current_max_a
    if point.direction == "discharge" or (point.direction == "both" and discharge_a > charge_a):
        return -discharge_a
    return charge_a


def _amperes(planned: Planned, plan: Plan, state: State) -> float | None:
    """Return the step's signed current, or its compliance for a cv; None where the envelope decides."""
    if planned.rate is not None and planned.step.rate_of is not None:
        reference = state.stored.get(planned.step.rate_of)
        if not reference:
            raise Outside(f"nothing is stored under {planned.step.rate_of!r} yet")
        return planned.rate * reference
    return planned.current_a


def _inside(name: str, value: float, low: float | None, high: float | None) -> float:
    slack = 1e-9 * max(1.0, abs(value))
    if (high is not None and value > high + slack) or (low is not None and value < low - slack):
        raise Outside(f"{name} {value:g} lies outside {low} to {high}")
    return value


def _between(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _window(planned: Planned, step: StepMemory, within: Bounds) -> tuple[float | None, float | None]:
    """Return floor and ceiling: the operating limits, the clip, and just beyond the step's own ends."""
    low, high = within.v_min, within.v_max
    ends = [end for end in planned.ends if end.quantity == "voltage_v" and not end.after_s]
    # The furthest of several ends: the nearer ones may lead elsewhere only after a hold.
    above = max((end.value for end in ends if end.above), default=None)
    below = min((end.value for end in ends if not end.above), default=None)
    if above is not None and planned.direction > 0 and _between(above, low, high):
        high = above + within.margin_v if high is None else min(high, above + within.margin_v)
    if below is not None and planned.direction < 0 and _between(below, low, high):
        low = below - within.margin_v if low is None else max(low, below - within.margin_v)
    clip = clip_of(planned.step)
    if clip is not None and clip.v_max_v is not None:
        clip_v = _inside("clip", clip.v_max_v, within.v_min, within.v_max)
        high = clip_v if high is None else min(high, clip_v)
    if clip is not None and clip.v_min_v is not None:
        clip_v = _inside("clip", clip.v_min_v, within.v_min, within.v_max)
        low = clip_v if low is None else max(low, clip_v)
    step.floor_v, step.ceiling_v, step.bound_slack_v = low, high, within.margin_v
    return low, high


def _current(
    current_a: float | None, planned: Planned, state: State, step: StepMemory, within: Bounds
) -> SetPoint:
    assert current_a is not None  # cc has a current or a rate, see check
    _inside("current", current_a, within.i_min, within.i_max)
    low, high = _window(planned, step, within)
    step.set_current_a = current_a
    return SetPoint(
        mode="cc",
        direction=_DIRECTIONS[(current_a > 0) - (current_a < 0)],
        current_a=current_a,
        voltage_max_v=high,
        voltage_min_v=low,
        outputs=dict(state.outputs),
        charge_current_max_a=max(current_a, 0.0),
        discharge_current_max_a=max(-current_a, 0.0),
    )


def _cccv(
    raw: CCCV, planned: Planned, plan: Plan, state: State, step: StepMemory, within: Bounds
) -> SetPoint:
    current_a = _amperes(planned, plan, state)
    assert current_a is not None
    _inside("current", current_a, within.i_min, within.i_max)
    _inside("voltage", raw.voltage_v, within.v_min, within.v_max)
    charging = current_a > 0
    step.set_current_a = current_a
    high = raw.voltage_v if charging else within.v_max
    low = within.v_min if charging else raw.voltage_v
    return SetPoint(
        mode="cv" if step.in_cv else "cc",
        direction=_DIRECTIONS[1 if charging else -1],
        current_a=None if step.in_cv else current_a,
        voltage_v=raw.voltage_v if step.in_cv else None,
        voltage_max_v=high,
        voltage_min_v=low,
        outputs=dict(state.outputs),
        charge_current_max_a=max(current_a, 0.0),
        discharge_current_max_a=max(-current_a, 0.0),
    )


def _voltage(
    voltage_v: float, planned: Planned, limit_a: float | None, state: State, within: Bounds
) -> SetPoint:
    _inside("voltage", voltage_v, within.v_min, within.v_max)
    charge = within.i_max if limit_a is None else min(limit_a, within.i_max)
    discharge = -within.i_min if limit_a is None else min(limit_a, -within.i_min)
    # Where nobody gave a current (a drive of voltages, a text without a CC) the power bounds it too.
    if within.p_max is not None and voltage_v > 0:
        charge = min(charge, within.p_max / voltage_v)
    if within.p_min is not None and within.v_max:
        discharge = min(discharge, -within.p_min / within.v_max)
    return SetPoint(
        mode="cv",
        direction=_DIRECTIONS[planned.direction],
        voltage_v=voltage_v,
        voltage_max_v=within.v_max,
        voltage_min_v=within.v_min,
        charge_current_max_a=charge if planned.direction >= 0 else 0.0,
        discharge_current_max_a=discharge if planned.direction <= 0 else 0.0,
        outputs=dict(state.outputs),
    )


def _power(power_w: float, planned: Planned, state: State, step: StepMemory, within: Bounds) -> SetPoint:
    _inside("power", power_w, within.p_min, within.p_max)
    sign = (power_w > 0) - (power_w < 0)
    low, high = _window(planned, step, within)
    limit_a = planned.current_a if isinstance(planned.step, CP) else None
    charge = within.i_max if limit_a is None else min(limit_a, within.i_max)
    discharge = -within.i_min if limit_a is None else min(limit_a, -within.i_min)
    return SetPoint(
        mode="cp",
        direction=_DIRECTIONS[sign],
        power_w=power_w,
        voltage_max_v=high,
        voltage_min_v=low,
        charge_current_max_a=charge if sign >= 0 else 0.0,
        discharge_current_max_a=discharge if sign <= 0 else 0.0,
        outputs=dict(state.outputs),
    )


def _resistance(raw: CR, planned: Planned, state: State, within: Bounds) -> SetPoint:
    charging = planned.direction > 0
    limit_a = _inside("current", raw.current_max_a, 0.0, within.i_max if charging else -within.i_min)
    return SetPoint(
        mode="cr",
        direction="charge" if charging else "discharge",
        resistance_ohm=raw.resistance_ohm,
        voltage_max_v=within.v_max,
        voltage_min_v=within.v_min,
        charge_current_max_a=limit_a if charging else 0.0,
        discharge_current_max_a=0.0 if charging else limit_a,
        outputs=dict(state.outputs),
    )


def _drive(
    raw: Drive, planned: Planned, plan: Plan, state: State, step: StepMemory, within: Bounds
) -> SetPoint:
    value = drive_value(raw, step.time_s)
    if raw.of == "voltage":
        return _voltage(value, planned, None, state, within)
    if raw.of == "power":
        return _power(value, planned, state, step, within)
    if raw.of == "rate":
        reference = plan.capacity_ah if raw.rate_of is None else state.stored.get(raw.rate_of)
        if not reference:
            raise Outside("a drive of rates needs the capacity")
        value *= reference
    return _current(value, planned, state, step, within)


def drive_pass_s(raw: Drive) -> float:
    """Return how long one pass lasts, in s.

    With ``hold`` the last point is held as long as the one before it, so that every point acts; with
    ``linear`` the last point is where the line ends.
    """
    last = raw.points[-1][0]
    return last if raw.interpolate == "linear" else last + (last - raw.points[-2][0])


def drive_point(raw: Drive, time_s: float) -> tuple[int, float]:
    """Return the number of points passed since the step began, and the time within the pass, in s."""
    each_s = drive_pass_s(raw)
    # 1 us: elapsed times are sums of periods and must not miss a point by binary noise.
    passes = min(int((time_s + 1e-6) / each_s), raw.repeat - 1)
    inside_s = time_s - passes * each_s
    place = bisect_right(raw.points, inside_s + 1e-6, key=lambda point: point[0]) - 1
    return passes * len(raw.points) + max(place, 0), inside_s


def drive_value(raw: Drive, time_s: float) -> float:
    """Return the scaled set point at a time since the step's start."""
    count, inside_s = drive_point(raw, time_s)
    place = count % len(raw.points)
    t0, x0 = raw.points[place]
    if raw.interpolate == "linear" and place + 1 < len(raw.points):
        t1, x1 = raw.points[place + 1]
        return raw.scale * (x0 + (x1 - x0) * min(max((inside_s - t0) / (t1 - t0), 0.0), 1.0))
    return raw.scale * x0
