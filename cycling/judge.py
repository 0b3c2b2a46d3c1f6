"""Judge one reading against limits: the first thing done with it (safety.md rules 1 and 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cycling import derived, words
from cycling.contract import Envelope, Limit
from cycling.derived_limits import BUDGET, DERIVED
from cycling.limits import find
from cycling.reading import EndReason, Reading
from cycling.reasons import LIMIT, MISSING
from cycling.state import LimitMemory, ThermalMemory
from cycling.steps import Safety

# Without a delay a violation must be seen by so many readings in a row.
IN_A_ROW = 3
COUNTED = ("charge_net_abs_ah", BUDGET)
# What an open isolator hides; no current can flow through it.
_CUT_OFF = ("voltage_v", "current_a", "power_w")
_SLOTS = {"voltage_v": 0, "current_a": 1, "power_w": 2, "temperature_c": 3}


def judged(envelope: Envelope) -> tuple[Limit, ...]:
    """Return the limits that readings are judged by and that trip.

    The charges are counters and judged apart. Voltage and current are always needed: without a
    limit of their own a missing one is still a violation.
    """
    limits = [one for one in envelope.limits if one.quantity not in COUNTED and one.acts == "trip"]
    for quantity in ("voltage_v", "current_a"):
        if find(envelope, quantity, "max") is None and find(envelope, quantity, "min") is None:
            limits.append(
                Limit(quantity=quantity, side="max", operating=1e9, trip=1e9, source="needed by every step")
            )
    return tuple(limits)


def warning(envelope: Envelope) -> tuple[Limit, ...]:
    """Return the limits beyond which nothing trips, but a person is told."""
    return tuple(limit for limit in envelope.limits if limit.acts == "warn")


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
                        source="the step's own limit",
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
        source="the step's own limit",
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
    reading: Reading,
    limits: Sequence[Limit],
    states: Sequence[LimitMemory],
    current_step_a: float,
    found_too: Mapping[str, float | None] | None = None,
) -> EndReason | None:
    """Return why the experiment must trip at this reading, or None.

    A value beyond ``trip`` in three readings in a row (or for ``delay_s``), or in one reading beyond
    ``absolute``; a missing value counts as a violation of each limit on it. ``current_step_a`` is the
    resolution of the current: only with the output on and above it does ``when: charge`` apply.
    ``found_too`` are the derived quantities of the reading; one that is not in it is not judged now.
    """
    current_a = number(reading.current_a)
    values = (number(reading.voltage_v), current_a, power(reading), number(reading.temperature_c))
    now_s = reading.elapsed_s
    found: EndReason | None = None
    for limit, memory in zip(limits, states, strict=True):
        slot = _SLOTS.get(limit.quantity)
        if slot is not None:
            x = values[slot]
        elif limit.quantity in DERIVED:
            if found_too is None or limit.quantity not in found_too:
                memory.count = 0
                continue
            x = found_too[limit.quantity]
        else:
            x = number(reading.extended.get(limit.quantity))
        if limit.frozen_s is not None:
            x = _moving(x, memory, now_s, limit.frozen_s)
        when = limit.when
        if when != "always" and not _applies(when, reading.output_on, current_a, current_step_a):
            memory.count = 0
            continue
        if x is None and reading.isolated and limit.quantity in _CUT_OFF:
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
        text = f"{what} {words.amount(limit.quantity, x)} is {word} the {name} of {bound} ({_giver(limit)})"
    return EndReason(
        code=MISSING if x is None else LIMIT,
        text=text,
        quantity=limit.quantity,
        limit=value,
        measured=x,
        since=memory.since_s,
        delay_s=limit.delay_s,
    )


def _giver(limit: Limit) -> str:
    """Return who gave a limit, with the value as given where the limit acts further out."""
    if limit.operating == limit.trip:
        return limit.source
    return f"{limit.source}: {words.amount(limit.quantity, limit.operating)}"


def charge(net_ah: float, one_way_ah: float, envelope: Envelope, now_s: float) -> EndReason | None:
    """Return why the charge must trip, or None; a counter needs one look.

    ``net_ah`` counts from the start, ``one_way_ah`` since the last reversal (safety.md rule 15).
    """
    for quantity, counted_ah in zip(COUNTED, (abs(net_ah), one_way_ah), strict=True):
        limit = find(envelope, quantity, "max")
        if limit is None or counted_ah <= limit.trip + 1e-12:
            continue
        what = words.name(quantity)
        return EndReason(
            code=LIMIT,
            text=f"{what} {counted_ah:.6g} Ah is above the limit {limit.trip:g} Ah ({limit.source})",
            quantity=quantity,
            limit=limit.trip,
            measured=counted_ah,
            since=now_s,
        )
    return None


def reset(states: Sequence[LimitMemory]) -> None:
    """Forget violations, after a time that was not watched."""
    for memory in states:
        memory.count = 0


class Watch:
    """Judge readings of a battery that runs no experiment: loaded, or controlled by hand.

    One object for one battery and one envelope: it remembers what three readings in a row need. The
    charges, which only an experiment counts, are not judged.
    """

    def __init__(self, envelope: Envelope) -> None:
        self._limits, self._warning = judged(envelope), warning(envelope)
        self._states, self._warned = memories(self._limits), memories(self._warning)
        self._step_a = envelope.resolution.current_a
        self._names, self._thermal = derived.Names(), ThermalMemory()
        self.warnings: list[str] = []
        """What the last reading warns of."""

    def judge(self, reading: Reading) -> EndReason | None:
        """Return why the battery must be switched off at this reading, or None."""
        found = derived.values(reading, self._names, self._thermal, None)
        warned = judge(reading, self._warning, self._warned, self._step_a, found)
        self.warnings = [] if warned is None else [warned.text]
        return judge(reading, self._limits, self._states, self._step_a, found)


__all__ = [
    "COUNTED",
    "Watch",
    "charge",
    "judge",
    "judged",
    "memories",
    "number",
    "of_step",
    "power",
    "reset",
    "warning",
]
