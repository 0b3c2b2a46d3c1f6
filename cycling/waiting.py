"""What a ``wait_for`` step waits for."""

from __future__ import annotations

from datetime import UTC, datetime

from cycling.judge import number
from cycling.reading import Reading
from cycling.state import State, StepMemory
from cycling.steps import WaitFor

# What a person is to do comes after this, and last; the rest is waited for by itself.
OPERATOR = "operator: "
# Times are counted from here.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def start_us(text: str) -> int:
    """Return an ISO 8601 time as UTC microseconds; one without a zone is UTC. Raises ``ValueError``."""
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    gap = when - _EPOCH
    return (gap.days * 86_400 + gap.seconds) * 1_000_000 + gap.microseconds


def unmet(raw: WaitFor, reading: Reading, state: State, step: StepMemory) -> list[str]:
    """Return in words what is still waited for at this reading; empty when the wait is over."""
    missing: list[str] = []
    if raw.start_time is not None and reading.time_us < start_us(raw.start_time):
        missing.append(f"the time {raw.start_time}")
    if raw.temperature_c is not None:
        temperature_c = number(reading.temperature_c)
        if temperature_c is None or abs(temperature_c - raw.temperature_c) > raw.tolerance_c + 1e-9:
            missing.append(f"{raw.temperature_c:g} ± {raw.tolerance_c:g} °C")
    if raw.measure is not None and not _held(raw, reading, step):
        measure = raw.measure
        held = f" for {measure.hold_s:g} s" if measure.hold_s else ""
        missing.append(f"{measure.name} {measure.op} {measure.value:g}{held}")
    if raw.operator is not None and state.asked.confirmed is None:
        missing.append(f"{OPERATOR}{raw.operator}")
    return missing


def _held(raw: WaitFor, reading: Reading, step: StepMemory) -> bool:
    measure = raw.measure
    assert measure is not None
    source = {"voltage_v": reading.voltage_v, "temperature_c": reading.temperature_c}
    x = number(source.get(measure.name, reading.extended.get(measure.name)))
    met = x is not None and (x >= measure.value if measure.op == "above" else x <= measure.value)
    if not met:
        step.wait_since_s = None
        return False
    if step.wait_since_s is None:
        step.wait_since_s = step.time_s
    return step.time_s - step.wait_since_s >= measure.hold_s - 1e-9
