"""Judge one reading against limits: the first thing done with it (safety.md rules 1 and 5)."""

from __future__ import annotations

from collections.abc import Sequence

from cycling import words
from cycling.contract import Envelope, Limit
from cycling.limits import find
from cycling.reading import EndReason, Reading
from cycling.reasons import LIMIT, MISSING
from cycling.state import LimitMemory
from cycling.steps import Safety

# Without a delay a violation must be seen by so many readings in a row.
IN_A_ROW = 3
_SLOTS = {"voltage_v": 0, "current_a": 1, "power_w": 2, "temperature_c": 3}


def judged(envelope: Envelope) -> tuple[Limit, ...]:
    """Return the limits that readings are judged by.

    The net charge is a counter and judged apart. Voltage and current are always needed: without a
    limit of their own a missing one is still a violation.
    """
    limits = [limit for limit in envelope.limits if limit.quantity != "charge_net_abs_ah"]
    for quantity in ("voltage_v", "current_a"):
        if find(envelope, quantity, "max") is None and find(envelope, quantity, "min") is None:
            limits.append(
                Limit(quantity=quantity, side="max", operating=1e9, trip=1e9, source="needed by every step")
            )
    return tuple(limits)


def of_step(safety: Safety | None, envelope: Envelope) -> tuple[Limit, ...]:
    """Return the limits that a step adds; each trips as far outside as the envelope's own."""
    if safety is None:
        return ()
    limits: list[Limit] = []
    given = (
        ("voltage_v", "max", safety.v_max_v),
        ("voltage_v", "min", safety.v_min_v),
        ("current_a", "max", safety.i_max_a),
        ("current_a", "min", safety.i_min_a),
        ("power_w", "max", safety.p_abs_max_w),
        ("power_w", "min", None if safety.p_abs_max_w is None else -safety.p_abs_max_w),
        ("temperature_c", "max", safety.temp_max_c),
        ("temperature_c", "min", safety.temp_min_c),
    )
    for quantity, side, value in given:
        if value is not None:
            limits.append(_tightened(quantity, side, float(value), safety.delay_s, envelope))
    for measure in safety.measures:
        for side, value in (("max", measure.max), ("min", measure.min)):
            if value is not None:
                limits.append(
                    Limit(
                        quantity=measure.name,
                        side="max" if side == "max" else "min",
                        operating=value,
                        trip=value,
                        delay_s=measure.delay_s,
                        frozen_s=measure.frozen_s,
                        when=measure.when,
                        source="step safety",
                    )
                )
    return tuple(limits)


def _tightened(quantity: str, side: str, value: float, delay_s: float | None, envelope: Envelope) -> Limit:
    base = find(envelope, quantity, "max" if side == "max" else "min")
    margin = abs(base.trip - base.operating) if base is not None else 0.0
    if quantity == "voltage_v":
        # An envelope cut at the absolute limit has less; noise needs its 10 mV per cell all the same.
        margin = max(margin, 0.010 * envelope.cells_in_series)
    elif quantity == "temperature_c":
        margin = max(margin, 2.0)
    trip = value + margin if side == "max" else value - margin
    if base is not None:
        trip = min(trip, base.trip) if side == "max" else max(trip, base.trip)
    return Limit(
        quantity=quantity,
        side="max" if side == "max" else "min",
        operating=value,
        trip=trip,
        absolute=None if base is None else base.absolute,
        delay_s=delay_s,
        source="step safety",
    )


def memories(limits: Sequence[Limit]) -> list[LimitMemory]:
    """Return a fresh memory for each limit."""
    return [LimitMemory() for _ in limits]


def number(x: float | None) -> float | None:
    """Return ``x``, or None for what is no number."""
    return x if x is not None and -1e300 < x < 1e300 else None


def power(reading: Reading) -> float | None:
    """Return the power in W; measured, or else voltage times current."""
    power_w = number(reading.power_w)
    if power_w is None:
        voltage_v, current_a = number(reading.voltage_v), number(reading.current_a)
        if voltage_v is not None and current_a is not None:
            return voltage_v * current_a
    return power_w


def judge(
    reading: Reading, limits: Sequence[Limit], states: Sequence[LimitMemory], current_step_a: float
) -> EndReason | None:
    """Return why the experiment must trip at this reading, or None.

    A value beyond ``trip`` in three readings in a row (or for ``delay_s``), or in one reading beyond
    ``absolute``; a missing value counts as a violation of each limit on it. ``current_step_a`` is the
    resolution of the current: only with the output on and above it does ``when: charge`` apply.
    """
    current_a = number(reading.current_a)
    values = (number(reading.voltage_v), current_a, power(reading), number(reading.temperature_c))
    now_s = reading.elapsed_s
    found: EndReason | None = None
    for limit, memory in zip(limits, states, strict=True):
        slot = _SLOTS.get(limit.quantity)
        x = values[slot] if slot is not None else number(reading.extended.get(limit.quantity))
        if limit.frozen_s is not None:
            x = _moving(x, memory, now_s, limit.frozen_s)
        when = limit.when
        if when != "always" and not _applies(when, reading.output_on, current_a, current_step_a):
            memory.count = 0
            continue
        if x is None:
            worst = False
        elif limit.side == "max":
            if x <= limit.trip:
                memory.count = 0
                continue
            worst = limit.absolute is not None and x > limit.absolute
        else:
            if x >= limit.trip:
                memory.count = 0
                continue
            worst = limit.absolute is not None and x < limit.absolute
        if memory.count == 0:
            memory.since_s = now_s
        memory.count += 1
        if limit.delay_s is None:
            over = memory.count >= IN_A_ROW
        else:
            over = now_s - memory.since_s >= limit.delay_s - 1e-9
        if (worst or over) and found is None:
            found = _reason(limit, x, memory, worst)
    return found


def _applies(when: str, output_on: bool, current_a: float | None, step_a: float) -> bool:
    if when == "current" or not output_on:
        return output_on
    return current_a is None or current_a > step_a


def _moving(x: float | None, memory: LimitMemory, now_s: float, frozen_s: float) -> float | None:
    """Return None for a value that has been bit-identical for ``frozen_s``."""
    if x is None or x != memory.last:
        memory.last, memory.same_since_s = x, now_s
        return x
    return None if now_s - memory.same_since_s >= frozen_s else x


def _reason(limit: Limit, x: float | None, memory: LimitMemory, worst: bool) -> EndReason:
    what = words.name(limit.quantity)
    value = limit.absolute if worst and limit.absolute is not None else limit.trip
    name = "absolute limit" if worst else "trip limit"
    word = "above" if limit.side == "max" else "below"
    bound = words.amount(limit.quantity, value)
    if x is None:
        side = "maximum" if limit.side == "max" else "minimum"
        text = f"{what} is missing; its {side} of {bound} ({limit.source}) needs it"
    else:
        text = f"{what} {words.amount(limit.quantity, x)} is {word} the {name} of {bound} ({limit.source})"
    return EndReason(
        code=MISSING if x is None else LIMIT,
        text=text,
        quantity=limit.quantity,
        limit=value,
        measured=x,
        since=memory.since_s,
        delay_s=limit.delay_s,
    )


def charge(net_ah: float, envelope: Envelope, now_s: float) -> EndReason | None:
    """Return why the net charge from the start must trip, or None; a counter needs one look."""
    limit = find(envelope, "charge_net_abs_ah", "max")
    if limit is None or abs(net_ah) <= limit.trip + 1e-12:
        return None
    return EndReason(
        code=LIMIT,
        text=f"net charge {abs(net_ah):.6g} Ah is above the limit {limit.trip:g} Ah ({limit.source})",
        quantity=limit.quantity,
        limit=limit.trip,
        measured=abs(net_ah),
        since=now_s,
    )


def reset(states: Sequence[LimitMemory]) -> None:
    """Forget violations, after a time that was not watched."""
    for memory in states:
        memory.count = 0


__all__ = ["charge", "judge", "judged", "memories", "number", "of_step", "power", "reset"]
