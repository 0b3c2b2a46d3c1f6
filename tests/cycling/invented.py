"""Invented profiles, envelopes and readings for the tests of the core."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cycling.check import load
from cycling.envelope import BatteryLimits, DeviceLimits, Envelope, StationLimits, compute
from cycling.interpreter import Interpreter
from cycling.reading import Decision, Reading
from cycling.steps import Profile, Safety

SUPPLY = DeviceLimits(
    name="supply",
    voltage_min_v=0.0,
    voltage_max_v=60.0,
    current_min_a=-60.0,
    current_max_a=60.0,
    power_min_w=-1500.0,
    power_max_w=1500.0,
    voltage_accuracy_v=0.006,
    voltage_resolution_v=0.001,
    current_accuracy_a=0.06,
    current_resolution_a=0.001,
)
CELL = BatteryLimits(
    cell_voltage_min_v=2.5,
    cell_voltage_max_v=4.2,
    voltage_abs_min_v=2.0,
    voltage_abs_max_v=4.3,
    current_min_a=-20.0,
    current_max_a=10.0,
    capacity_ah=5.0,
)


def profile(*steps: dict[str, Any], **parts: Any) -> Profile:
    """Return a profile of these steps; it must load without a problem."""
    loaded, problems = load({"name": "invented", "steps": list(steps), **parts})
    assert loaded is not None, [str(problem) for problem in problems]
    return loaded


def time_end(seconds: float, **more: Any) -> dict[str, Any]:
    """Return an end on time."""
    return {"quantity": "time_s", "op": "above", "value": seconds, **more}


def rest(seconds: float, **more: Any) -> dict[str, Any]:
    """Return a rest."""
    return {"kind": "rest", "end": [time_end(seconds)], **more}


def cc(current_a: float, *ends: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a constant current; without ends it lasts a minute."""
    return {"kind": "cc", "current_a": current_a, "end": list(ends) or [time_end(60)], **more}


def group(count: int, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a group."""
    return {"kind": "group", "count": count, "steps": list(steps), **more}


def envelope(
    safety: Safety | None = None,
    *,
    battery: BatteryLimits = CELL,
    measures: tuple[str, ...] = (),
    device: DeviceLimits = SUPPLY,
) -> Envelope:
    """Return the envelope of one cell on the invented supply."""
    return compute(battery, [device], StationLimits(measures=measures), safety or Safety())


def reading(
    elapsed_s: float,
    voltage_v: float | None = 3.7,
    current_a: float | None = 0.0,
    *,
    on: bool = True,
    temperature_c: float | None = None,
    **extended: float | None,
) -> Reading:
    """Return a reading."""
    return Reading(
        time_us=round(elapsed_s * 1e6),
        elapsed_s=elapsed_s,
        voltage_v=voltage_v,
        current_a=current_a,
        temperature_c=temperature_c,
        extended=extended,
        output_on=on,
    )


def running(
    wanted: Profile, limits: Envelope | None = None, capacity_ah: float | None = 5.0, **more: Any
) -> Interpreter:
    """Return an interpreter that has seen its first reading, at 0 s and 3.7 V, and sent its set point."""
    interpreter = Interpreter(wanted, limits or envelope(wanted.safety), capacity_ah, **more)
    interpreter.advance(reading(0.0, on=False))
    return interpreter


def feed(interpreter: Interpreter, readings: Iterable[Reading]) -> list[Decision]:
    """Let the interpreter see readings until it ends; return its decisions."""
    decisions: list[Decision] = []
    for one in readings:
        decisions.append(interpreter.advance(one))
        if decisions[-1].action in ("finished", "violation"):
            break
    return decisions


def every(period_s: float, until_s: float, *, start_s: float | None = None, **more: Any) -> list[Reading]:
    """Return equal readings, one each period; the first one period after ``start_s`` (0)."""
    begin_s = 0.0 if start_s is None else start_s
    count = round((until_s - begin_s) / period_s)
    return [reading(begin_s + (place + 1) * period_s, **more) for place in range(count)]
