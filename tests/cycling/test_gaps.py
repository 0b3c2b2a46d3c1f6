"""Readings too far apart: the time between them is never bridged silently (safety.md rule 10)."""

from __future__ import annotations

import pytest

from cycling.interpreter import Interpreter
from cycling.reading import FLAG_GAP
from cycling.state import Counters
from tests.cycling.invented import cc, envelope, feed, profile, reading, rest, time_end

LIMITS = envelope()


def running(current_a: float = 1.0) -> Interpreter:
    """Return a test that has read its current every 0.1 s; further apart than 0.5 s is a gap."""
    wanted = profile(cc(current_a, time_end(9999)), record={"every_s": 60.0})
    interpreter = Interpreter(wanted, LIMITS, 5.0, gap_s=0.5)
    interpreter.advance(reading(0.0, on=False))
    feed(interpreter, [reading(0.1 * n, current_a=current_a) for n in range(1, 11)])
    return interpreter


def test_a_gap_counts_at_its_worst_is_flagged_recorded_and_said() -> None:
    interpreter = running()
    before_ah = interpreter.save()["total"]["charge_in_ah"]
    decision = interpreter.advance(reading(37.0, current_a=0.2))
    assert decision.row.flags & FLAG_GAP
    assert decision.record
    # The larger of both currents for all of it, not the mean of the two.
    assert decision.row.charge_in_ah - before_ah == pytest.approx(1.0 * 36.0 / 3600)
    (event,) = decision.events
    assert event.detail["gap_s"] == pytest.approx(36.0)
    after = interpreter.advance(reading(37.1, current_a=1.0))
    assert not after.row.flags & FLAG_GAP


def test_a_set_point_that_nobody_saw_act_counts_as_if_it_had() -> None:
    wanted = profile(cc(-4.0, time_end(9999)))
    interpreter = Interpreter(wanted, LIMITS, 5.0, gap_s=0.5)
    interpreter.advance(reading(0.0, on=False))
    decision = interpreter.advance(reading(36.0, current_a=-0.5))
    assert decision.row.charge_out_ah == pytest.approx(4.0 * 36.0 / 3600)


def test_a_gap_at_rest_is_flagged_and_moves_nothing() -> None:
    interpreter = Interpreter(profile(rest(9999)), LIMITS, 5.0, gap_s=0.5)
    interpreter.advance(reading(0.0, on=False))
    decision = interpreter.advance(reading(100.0, current_a=0.01, on=False))
    assert decision.row.flags & FLAG_GAP
    assert decision.row.charge_in_ah == 0.0


def test_a_gap_can_use_up_the_charge_budget() -> None:
    decision = running(10.0).advance(reading(3600.0, current_a=0.1))
    assert decision.action == "violation"
    assert decision.end_reason is not None
    assert decision.end_reason.quantity == "charge_one_way_ah"


def test_without_a_longest_interval_nothing_is_a_gap() -> None:
    interpreter = Interpreter(profile(cc(1.0, time_end(99999))), LIMITS, 5.0)
    interpreter.advance(reading(0.0, on=False))
    interpreter.advance(reading(0.1, current_a=1.0))
    assert not interpreter.advance(reading(3600.0, current_a=1.0)).row.flags & FLAG_GAP


def test_what_flowed_before_the_first_step_is_counted_in_no_step_and_in_the_budget() -> None:
    interpreter = Interpreter(profile(cc(1.0, time_end(10)), rest(5)), LIMITS, 5.0)
    interpreter.count_too(Counters(charge_in_ah=0.002, charge_out_ah=0.001, energy_in_wh=0.008))
    interpreter.advance(reading(0.0, on=False))
    decisions = feed(interpreter, [reading(float(n), current_a=1.0) for n in range(1, 11)])
    row = next(row for d in decisions for row in d.steps_ended)
    assert row.charge_in_ah == pytest.approx(10 / 3600)
    assert decisions[-1].row.charge_in_ah == pytest.approx(0.002 + 10 / 3600)
    assert interpreter.save()["budget"]["extreme_ah"] == pytest.approx(0.001 + 10 / 3600)


def test_losing_contact_ends_it_with_its_own_words() -> None:
    interpreter = running()
    interpreter.lose_contact("no contact with the server for 60 s")
    decision = interpreter.advance(reading(1.2, current_a=1.0))
    assert decision.action == "finished"
    assert decision.end_reason is not None
    assert (decision.end_reason.code, decision.end_reason.text) == (
        "contact",
        "no contact with the server for 60 s",
    )
