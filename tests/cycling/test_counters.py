"""The four counters."""

from __future__ import annotations

import pytest

from cycling.counters import add
from cycling.reading import FLAG_GAP
from cycling.state import Counters
from tests.cycling.invented import cc, feed, profile, reading, rest, running, time_end


def test_the_trapezoid_of_a_ramp_is_exact() -> None:
    counters = Counters()
    add(counters, 3600.0, 4.0, 0.0, 4.0, 2.0)
    assert counters.charge_in_ah == pytest.approx(1.0)
    assert counters.energy_in_wh == pytest.approx(4.0)
    assert counters.charge_out_ah == 0.0


def test_a_current_through_zero_is_split_there() -> None:
    counters = Counters()
    add(counters, 3600.0, 4.0, 1.0, 4.0, -3.0)
    assert counters.charge_in_ah == pytest.approx(0.125)
    assert counters.charge_out_ah == pytest.approx(1.125)
    assert counters.energy_out_wh == pytest.approx(4.5)


def test_a_set_point_change_splits_the_interval() -> None:
    """The older reading holds up to the change: no triangle of charge between 1 A and -1 A."""
    interpreter = running(profile(cc(1.0, time_end(2)), cc(-1.0, time_end(2))))
    readings = [
        reading(1.0, 3.7, 1.0),
        reading(2.0, 3.7, 1.0),
        reading(3.0, 3.7, -1.0),
        reading(4.0, 3.7, -1.0),
    ]
    rows = [row for d in feed(interpreter, readings) for row in d.steps_ended]
    assert [(row.charge_in_ah * 3600, row.charge_out_ah * 3600) for row in rows] == [
        (pytest.approx(2.0), 0.0),
        (0.0, pytest.approx(2.0)),
    ]
    assert rows[0].energy_in_wh == pytest.approx(7.4 / 3600)


def test_with_the_output_off_current_counts_as_nothing() -> None:
    interpreter = running(profile(rest(100)))
    decisions = feed(interpreter, [reading(n + 1.0, 3.7, 0.02, on=False) for n in range(50)])
    assert decisions[-1].row.charge_in_ah == 0.0


def test_a_missing_reading_is_bridged_and_flagged() -> None:
    interpreter = running(profile(cc(1.0, time_end(100))))
    readings = [reading(1.0, 3.7, 1.0), reading(2.0, None, 1.0), reading(3.0, 3.7, 1.0)]
    decisions = feed(interpreter, readings)
    assert decisions[-1].row.charge_in_ah == pytest.approx(3.0 / 3600)
    assert [bool(d.row.flags & FLAG_GAP) for d in decisions] == [False, True, False]


def test_time_never_runs_backwards() -> None:
    interpreter = running(profile(cc(1.0, time_end(100))))
    decisions = feed(interpreter, [reading(t, 3.7, 1.0) for t in (2.0, 1.0, 2.0, 3.0)])
    charges = [d.row.charge_in_ah * 3600 for d in decisions]
    assert charges == pytest.approx([2.0, 2.0, 2.0, 3.0])
