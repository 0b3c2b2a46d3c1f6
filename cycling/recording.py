"""The recording rule: which readings become samples."""

from __future__ import annotations

from cycling.judge import number
from cycling.reading import Reading
from cycling.state import RecordMemory
from cycling.steps import Record

# While paused a sample is due this many times less often.
PAUSED_FACTOR = 10.0
# A reading this much early is on time; loops jitter by less.
EARLY_S = 1e-3


def period_s(rule: Record, step_s: float, paused: bool) -> float:
    """Return the time between samples so long after the step's start, in s."""
    if paused:
        return rule.every_s * PAUSED_FACTOR
    for for_s, every_s in rule.burst:
        if step_s < for_s - 1e-9:
            return every_s
    return rule.every_s


def begin(memory: RecordMemory, rule: Record, now_s: float) -> None:
    """Start the grid of due times at a step's beginning."""
    memory.due_s = now_s + period_s(rule, 0.0, False)


def due(
    memory: RecordMemory, rule: Record, reading: Reading, step_s: float, *, paused: bool, forced: bool
) -> bool:
    """Say whether this reading becomes a sample, and remember it if so.

    Several reasons make one row. ``forced`` readings (first after a set point, last of a step) are not
    held back by ``min_gap_s``.
    """
    now_s = reading.elapsed_s
    timely = now_s >= memory.due_s - EARLY_S
    if not (forced or timely or _changed(memory, rule, reading)):
        return False
    if not forced and rule.min_gap_s is not None and now_s - memory.at_s < rule.min_gap_s - 1e-9:
        return False
    if timely:
        wait_s = period_s(rule, step_s, paused)
        memory.due_s = memory.due_s + wait_s if memory.due_s + wait_s > now_s else now_s + wait_s
    memory.at_s = now_s
    memory.voltage_v = number(reading.voltage_v)
    memory.current_a = number(reading.current_a)
    memory.temperature_c = number(reading.temperature_c)
    return True


def _changed(memory: RecordMemory, rule: Record, reading: Reading) -> bool:
    for limit, last, x in (
        (rule.on_dv_v, memory.voltage_v, reading.voltage_v),
        (rule.on_di_a, memory.current_a, reading.current_a),
        (rule.on_dtemp_c, memory.temperature_c, reading.temperature_c),
    ):
        # 1e-12: a change of exactly the limit counts although binary subtraction falls short of it.
        if limit is not None and x is not None and last is not None and abs(x - last) >= limit - 1e-12:
            return True
    return False
