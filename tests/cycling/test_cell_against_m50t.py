"""The NMC cell against a real LG M50T (docs/cell_model.md states the same numbers)."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import fastnda
import polars
import pytest

from cycling.cell import Cell

FILE = Path(__file__).parent.parent / "data" / "neware_m50t_8cycles.ndax"
# Steps of the file: discharges at C/2 (2.5 A) and 1C (5 A), both after a full charge.
HALF_C, ONE_C = 6, 11

Trace = list[tuple[float, float, float]]


@cache
def discharge(step: int) -> Trace:
    """Return (time in s, current in A, voltage in V), every tenth row."""
    rows = fastnda.read(FILE).filter(polars.col("step_count") == step)
    columns = ("step_time_s", "current_mA", "voltage_V")
    return [(t, i / 1000.0, v) for t, i, v in rows.select(columns).rows()[1::10]]


def errors(trace: Trace, capacity_ah: float, r0_ohm: float) -> list[float]:
    """Return simulated less measured voltage along a discharge from full."""
    cell, last_s, found = Cell("NMC", capacity_ah, r0_ohm, 1.0), 0.0, []
    for time_s, current_a, voltage_v in trace:
        found.append(cell.advance_current(current_a, time_s - last_s) - voltage_v)
        last_s = time_s
    return found


def rms(found: list[float]) -> float:
    """Return the root of the mean square."""
    return math.sqrt(sum(x * x for x in found) / len(found))


def fitted() -> tuple[float, float]:
    """Return capacity and resistance with the least error over both discharges, on a grid."""
    both = (discharge(HALF_C), discharge(ONE_C))
    grid = [(ah / 100, ohm / 1000) for ah in range(470, 510, 5) for ohm in range(10, 20, 2)]
    return min(grid, key=lambda p: rms([e for trace in both for e in errors(trace, *p)]))


def test_it_follows_the_real_cell_within_60_mv_at_both_rates() -> None:
    capacity_ah, r0_ohm = fitted()
    assert (capacity_ah, r0_ohm) == (4.85, 0.014)
    half, one = (rms(errors(discharge(step), capacity_ah, r0_ohm)) for step in (HALF_C, ONE_C))
    assert half == pytest.approx(0.038, abs=0.001)
    assert one == pytest.approx(0.036, abs=0.001)


def test_the_documents_state_these_numbers() -> None:
    text = (Path(__file__).parents[2] / "docs" / "cell_model.md").read_text()
    for words in ("4.85 Ah", "14 mΩ", "38 mV", "36 mV"):
        assert words in text
