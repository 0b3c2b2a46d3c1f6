"""The rehearsal drives the same interpreter a great deal faster than real time."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from cycling.cell import Cell
from cycling.dry_run import Bench, growing, run
from cycling.reading import Decision, Reading
from tests.cycling.invented import cc, envelope, group, profile, rest, time_end

CYCLE = profile(
    group(
        3,
        {
            "kind": "cccv",
            "rate": "1C",
            "voltage_v": 4.2,
            "end": [{"quantity": "rate_abs", "op": "below", "value": 0.05}, time_end(9000, then="fail")],
        },
        rest(300),
        cc(-5.0, {"quantity": "voltage_v", "value": 2.8}, time_end(9000, then="fail")),
        rest(300),
        is_cycle=True,
    )
)


def test_the_counters_agree_with_what_really_flowed() -> None:
    cell = Cell("NMC", 5.0, 0.02, 0.3)
    seen: list[Decision] = []
    outcome = run(CYCLE, envelope(), 5.0, cell, period=0.5, watch=lambda r, d: seen.append(d))
    assert (outcome.action, outcome.cycle) == ("finished", 3)
    row = seen[-1].row
    assert row.charge_in_ah - row.charge_out_ah == pytest.approx(cell.charge_ah, abs=1e-3)
    assert sum(r.charge_in_ah for r in outcome.steps) == pytest.approx(row.charge_in_ah)
    assert sum(d.record for d in seen) == outcome.recorded


def test_growing_intervals_meet_time_ends_exactly_and_save_readings() -> None:
    short = run(CYCLE, envelope(), 5.0, Cell("NMC", 5.0, 0.02, 0.3), period=1.0)
    long = run(CYCLE, envelope(), 5.0, Cell("NMC", 5.0, 0.02, 0.3), period=growing(most_s=20.0))
    assert long.readings < short.readings / 5
    assert [row.duration_s for row in long.steps if row.mode == "rest"] == pytest.approx([300.0] * 6)
    for one, other in zip(short.steps, long.steps, strict=True):
        assert other.charge_in_ah == pytest.approx(one.charge_in_ah, abs=0.05)


def test_the_same_seed_gives_the_same_rehearsal() -> None:
    outcomes = [
        run(CYCLE, envelope(), 5.0, Bench(Cell("NMC", 5.0, 0.02, 0.3), noise_v=0.001, seed=7), period=5.0)
        for _ in range(2)
    ]
    assert outcomes[0].steps == outcomes[1].steps


def test_it_is_cut_when_it_takes_too_many_readings() -> None:
    assert run(CYCLE, envelope(), 5.0, Cell("NMC", 5.0, 0.02, 0.3), max_readings=10).action == "cut"


def test_a_wrong_cell_is_caught() -> None:
    outcome = run(CYCLE, envelope(), 5.0, Cell("lead-acid", 5.0, 0.02, 0.5))
    assert outcome.action == "violation"
    assert outcome.elapsed_s <= 3.0


def test_one_reading_costs_little_time() -> None:
    """A loop of 10 ms with eight stations leaves about a millisecond for each; we take far less."""
    taken: list[float] = []

    def watch(seen: Reading, decision: Decision) -> None:
        taken.append(time.perf_counter())

    run(CYCLE, envelope(), 5.0, Cell("NMC", 5.0, 0.02, 0.3), period=1.0, watch=watch)
    each = sorted(after - before for before, after in pairwise(taken))
    # The median with the simulated cell; 100 us leaves room for a busy machine (about 15 us on an idle one).
    assert each[len(each) // 2] < 100e-6
