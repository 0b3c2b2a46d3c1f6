"""Safety rule 15: what flows one way is bounded, whatever else is wrong, over pauses and restarts."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cycling import derived
from cycling.check import check
from cycling.contract import EnvelopeError
from cycling.envelope import StationLimits, compute
from cycling.interpreter import Interpreter
from cycling.limits import find
from cycling.reading import EndReason
from cycling.state import BudgetMemory
from cycling.steps import Safety
from tests.cycling.invented import (
    CELL,
    SUPPLY,
    cc,
    envelope,
    every,
    feed,
    profile,
    reading,
    rest,
    running,
    time_end,
)

SMALL = msgspec.structs.replace(CELL, capacity_ah=1.0)
HOUR = 3600.0


def drive(*amperes_and_hours: tuple[float, float], **parts: Any) -> EndReason | None:
    """Run currents for times in hours, read each minute; return why it tripped, or None."""
    wanted = profile(*(cc(a, time_end(h * HOUR)) for a, h in amperes_and_hours), **parts)
    interpreter = running(wanted, envelope(wanted.safety, battery=SMALL), 1.0)
    now_s = 0.0
    for current_a, hours in amperes_and_hours:
        until_s = now_s + hours * HOUR
        decisions = feed(interpreter, every(60.0, until_s, start_s=now_s, current_a=current_a))
        if decisions[-1].action == "violation":
            return decisions[-1].end_reason
        now_s = until_s
    return None


def test_more_than_one_and_a_quarter_capacities_one_way_trip() -> None:
    assert drive((1.0, 1.24)) is None
    reason = drive((1.0, 1.30))
    assert reason is not None
    assert (reason.code, reason.quantity, reason.limit) == ("limit", "charge_one_way_ah", 1.25)
    assert "1.25 x the battery's capacity" in reason.text
    discharged = drive((-1.0, 1.30))
    assert discharged is not None
    assert discharged.quantity == "charge_one_way_ah"


def test_a_reversal_of_five_percent_begins_anew_and_a_smaller_one_does_not() -> None:
    assert drive((1.0, 1.2), (-1.0, 0.06), (1.0, 1.2)) is None
    reason = drive((1.0, 1.2), (-1.0, 0.04), (1.0, 0.2))
    assert reason is not None
    assert reason.quantity == "charge_one_way_ah"


def test_cycling_for_ever_never_reaches_the_budget() -> None:
    assert drive(*[(1.0, 1.0), (-1.0, 1.0)] * 20) is None


def test_the_profiles_own_charge_limit_is_the_budget_when_it_is_tighter() -> None:
    reason = drive((1.0, 0.3), (-1.0, 0.51), safety={"q_abs_max_ah": 0.5})
    assert reason is not None
    assert (reason.quantity, reason.limit) == ("charge_one_way_ah", 0.5)


def test_without_capacity_and_limit_nothing_is_filed() -> None:
    blank = msgspec.structs.replace(CELL, capacity_ah=None)
    with pytest.raises(EnvelopeError, match="so nothing bounds the charge"):
        compute(blank, [SUPPLY], StationLimits(), Safety())
    made = compute(blank, [SUPPLY], StationLimits(), Safety(q_abs_max_ah=2.0))
    limit = find(made, "charge_one_way_ah", "max")
    assert limit is not None
    assert (limit.trip, made.reversal_ah) == (2.0, 0.1)


def test_a_step_that_moves_more_than_the_budget_is_refused_when_it_is_filed() -> None:
    wanted = profile(cc(1.0, {"quantity": "charge_ah", "value": 1.4}, time_end(9999)))
    (error,) = check(wanted, envelope(battery=SMALL), 1.0).errors
    assert error.step == 1
    assert "charge budget of 1.25 Ah" in error.message


def test_the_budget_is_kept_over_a_pause() -> None:
    interpreter = running(profile(cc(1.0, time_end(9 * HOUR))), envelope(battery=SMALL), 1.0)
    feed(interpreter, every(60.0, 1.2 * HOUR, current_a=1.0))
    interpreter.pause()
    feed(interpreter, every(60.0, 1.5 * HOUR, start_s=1.2 * HOUR, on=False))
    interpreter.resume()
    last = feed(interpreter, every(60.0, 3 * HOUR, start_s=1.5 * HOUR, current_a=1.0))[-1]
    assert last.end_reason is not None
    assert last.end_reason.quantity == "charge_one_way_ah"
    assert last.row.charge_in_ah == pytest.approx(1.25, abs=0.02)


def test_the_budget_is_kept_over_a_restart_and_the_gap_counts_at_its_worst() -> None:
    wanted, limits = profile(cc(1.0, time_end(9 * HOUR))), envelope(battery=SMALL)
    interpreter = running(wanted, limits, 1.0)
    feed(interpreter, every(60.0, 0.8 * HOUR, current_a=1.0))
    again = Interpreter.restore(wanted, limits, 1.0, json.loads(json.dumps(interpreter.save())))
    again.after_gap(charge_in_ah=0.3)
    feed(again, [reading(1.2 * HOUR, on=False)])
    last = feed(again, every(60.0, 3 * HOUR, start_s=1.2 * HOUR, current_a=1.0))[-1]
    assert last.end_reason is not None
    assert last.end_reason.quantity == "charge_one_way_ah"
    assert last.row.charge_in_ah == pytest.approx(1.25, abs=0.02)


MOVES = st.lists(st.floats(-0.4, 0.4), min_size=1, max_size=60)


@given(MOVES)
def test_the_charge_one_way_is_never_less_than_any_rise_or_fall_without_a_reversal(
    moves: list[float],
) -> None:
    """Compare with the definition: walk back to the last reversal that moved enough."""
    memory, net_ah, path = BudgetMemory(), 0.0, [0.0]
    for move in moves:
        net_ah += move
        path.append(net_ah)
        found = derived.one_way_ah(memory, net_ah, 0.05)
        assert found == pytest.approx(_by_definition(path, 0.05))


def _by_definition(path: list[float], reversal_ah: float) -> float:
    """Return the span of the running direction, found by splitting the path at each reversal."""
    turn, best = path[0], path[0]
    for x in path[1:]:
        if best == turn or (x > best) == (best > turn):
            best = x if best == turn or abs(x - turn) > abs(best - turn) else best
        elif abs(best - x) >= reversal_ah - 1e-12:
            turn, best = best, x
    return abs(best - turn)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-4, 4), st.integers(1, 40)), min_size=1, max_size=12), st.integers(0, 200)
)
def test_saving_and_restoring_never_changes_the_budget(pulses: list[tuple[float, int]], when: int) -> None:
    steps = [cc(a, time_end(60.0 * n)) if abs(a) > 1e-3 else rest(60.0 * n) for a, n in pulses]
    wanted, limits = profile(*steps), envelope(battery=SMALL)
    plain, saved = running(wanted, limits, 1.0), running(wanted, limits, 1.0)
    now_s, place = 0.0, 0
    for current_a, minutes in pulses:
        for _ in range(minutes):
            now_s, place = now_s + 60.0, place + 1
            if place == when:
                saved = Interpreter.restore(wanted, limits, 1.0, json.loads(json.dumps(saved.save())))
            seen = reading(now_s, current_a=current_a if abs(current_a) > 1e-3 else 0.0)
            one, other = plain.advance(seen), saved.advance(seen)
            assert one == other
            if one.action in ("violation", "finished"):
                return
            state = one.row
            assert abs(state.charge_in_ah - state.charge_out_ah) <= 12 * 4 * 40 / 60 + 1e-9


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([-4.0, -1.0, 1.0, 4.0]), st.integers(1, 60)), min_size=1, max_size=10)
)
def test_no_path_of_currents_moves_more_than_the_budget_and_one_reading_one_way(
    pulses: list[tuple[float, int]],
) -> None:
    wanted = profile(*(cc(a, time_end(60.0 * n)) for a, n in pulses))
    interpreter = running(wanted, envelope(battery=SMALL), 1.0)
    now_s, path, ended = 0.0, [0.0], False
    for current_a, minutes in pulses:
        for _ in range(minutes):
            now_s += 60.0
            decision = interpreter.advance(reading(now_s, current_a=current_a))
            path.append(decision.row.charge_in_ah - decision.row.charge_out_ah)
            ended = decision.action in ("violation", "finished")
            if ended:
                break
        if ended:
            break
    lowest, rise = path[0], 0.0
    for x in path:
        lowest = min(lowest, x)
        rise = max(rise, x - lowest)
    # From the lowest point on nothing but less than the budget, small reversals and one reading came.
    if all(a > 0 for a, _ in pulses):
        assert rise <= 1.25 + 4.0 / 60 + 1e-9
