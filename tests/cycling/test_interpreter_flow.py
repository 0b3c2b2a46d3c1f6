"""Which step runs when: groups, cycles, goto, skipping, stop rules, finish steps."""

from __future__ import annotations

from typing import Any

import pytest

from cycling.interpreter import Interpreter
from cycling.reading import Decision
from cycling.steps import Profile
from tests.cycling.invented import cc, envelope, every, feed, group, profile, reading, rest, running, time_end


def ran(decisions: list[Decision]) -> list[int]:
    """Return the numbers of the steps in the order in which they ended."""
    return [row.step for decision in decisions for row in decision.steps_ended]


def run(wanted: Profile, until_s: float = 1000.0, **more: Any) -> list[Decision]:
    """Run a profile on equal readings, one a second."""
    return feed(running(wanted), every(1.0, until_s, **more))


def test_steps_run_in_order_and_the_end_is_completed() -> None:
    decisions = run(profile(rest(3), cc(1.0, time_end(2)), rest(1)))
    assert ran(decisions) == [1, 2, 3]
    assert decisions[-1].action == "finished"
    assert decisions[-1].end_reason is not None
    assert decisions[-1].end_reason.code == "completed"
    assert len(decisions) == 6


def test_the_reading_that_ends_a_step_belongs_to_it_and_is_recorded() -> None:
    decisions = run(profile(rest(3), cc(1.0, time_end(2)), record={"every_s": 100}))
    assert [(d.row.step, d.row.mode, d.record) for d in decisions] == [
        (1, "rest", True),  # first after the set point
        (1, "rest", False),
        (1, "rest", True),  # ends the step
        (2, "cc", True),  # first after the set point
        (2, "cc", True),  # ends the test
    ]


def test_each_round_of_a_cycle_group_has_its_own_number() -> None:
    wanted = profile(
        rest(1), group(3, group(2, rest(1)), rest(1), is_cycle=True), group(2, rest(1), is_cycle=True)
    )
    decisions = run(wanted)
    rows = [(row.step, row.cycle) for d in decisions for row in d.steps_ended]
    one_round = [4, 4, 5]
    assert rows == [(1, 0), *[(s, c) for c in (1, 2, 3) for s in one_round], (7, 4), (7, 5)]


def test_step_count_rises_with_every_entered_step() -> None:
    decisions = run(profile(group(3, rest(1), {"kind": "note", "text": "x"}, rest(1))))
    counts = [row.step_count for d in decisions for row in d.steps_ended]
    assert counts == [1, 2, 3, 4, 5, 6]


def test_notes_end_at_once_and_leave_an_event() -> None:
    decisions = run(profile(rest(1), {"kind": "note", "text": "half way", "label": "n"}, rest(1)))
    notes = [e for d in decisions for e in d.events if e.kind == "note"]
    assert [(n.step, n.text) for n in notes] == [(2, "Step 2 (n): half way")]


def test_entering_a_step_is_an_event() -> None:
    interpreter = Interpreter(profile(cc(1.5, label="up")), envelope(), 5.0)
    events = interpreter.advance(reading(0.0, on=False)).events
    assert [(e.kind, e.step, e.text) for e in events] == [("step", 1, "Step 1 (up): charge at 1.5 A")]


def test_exit_group_leaves_the_innermost_group() -> None:
    inner = group(9, rest(1), cc(1.0, time_end(1, then="exit_group")))
    decisions = run(profile(group(2, inner, rest(2)), rest(1)))
    assert ran(decisions) == [3, 4, 5, 3, 4, 5, 6]


def test_goto_drops_the_counters_of_the_groups_it_leaves() -> None:
    jump = cc(
        1.0, {"quantity": "voltage_v", "op": "above", "value": 4.0, "then": {"goto": "out"}}, time_end(5)
    )
    wanted = profile(
        group(2, group(5, rest(2), jump | {"skip_if_met": False}), label="g"), rest(1, label="out")
    )
    interpreter = running(wanted)
    feed(interpreter, every(1.0, 3.0))
    decisions = feed(interpreter, every(1.0, 100.0, start_s=3.0, voltage_v=4.1))
    assert ran(decisions) == [4, 5]


def test_goto_to_a_group_begins_its_first_round() -> None:
    back = rest(1, end=[time_end(1, then={"goto": "g"})])
    wanted = profile(group(2, rest(1), label="g"), back, safety={"run_max_s": 8.5})
    decisions = run(wanted)
    assert ran(decisions) == [2, 2, 3, 2, 2, 3, 2, 2, 3, 2]
    assert decisions[-1].action == "violation"
    assert decisions[-1].end_reason is not None
    assert decisions[-1].end_reason.code == "run_max"


def test_stop_is_a_normal_end_and_fail_a_violation() -> None:
    stopped = run(profile(rest(1, end=[time_end(1, then="stop")]), rest(5)))
    assert (stopped[-1].action, stopped[-1].end_reason.code) == ("finished", "stop")  # type: ignore[union-attr]
    failed = run(profile(rest(1, end=[time_end(1, then="fail")], label="x"), rest(5), finish=[rest(1)]))
    assert (failed[-1].action, failed[-1].end_reason.code) == ("violation", "step_failed")  # type: ignore[union-attr]
    assert "step 1 (x) failed: after 1 s" in failed[-1].end_reason.text  # type: ignore[union-attr]
    assert failed[-1].set_point is not None
    assert failed[-1].set_point.mode == "off"


def test_the_first_end_of_the_list_wins() -> None:
    ends = [time_end(1, then="stop"), time_end(1, then="fail")]
    assert run(profile(rest(1, end=ends)))[-1].action == "finished"
    assert run(profile(rest(1, end=ends[::-1])))[-1].action == "violation"


VOLTAGE = {"quantity": "voltage_v", "value": 3.6}


def test_a_step_whose_voltage_is_reached_already_is_skipped_with_an_event() -> None:
    decisions = run(profile(rest(2), cc(1.0, VOLTAGE), rest(1)))
    assert ran(decisions) == [1, 3]
    assert "skipped: voltage rose to 3.6 V (measured 3.7 V)" in " ".join(
        e.text for d in decisions for e in d.events
    )


def test_a_skipped_step_takes_its_ends_way() -> None:
    decisions = run(
        profile(rest(2), cc(1.0, VOLTAGE | {"then": {"goto": "last"}}), rest(5), rest(1, label="last"))
    )
    assert ran(decisions) == [1, 4]
    assert run(profile(rest(2), cc(1.0, VOLTAGE | {"then": "fail"})))[-1].action == "violation"
    assert run(profile(rest(2), cc(1.0, VOLTAGE | {"then": "stop"})))[-1].action == "finished"


def test_skipping_can_be_switched_off_and_holds_prevent_it() -> None:
    assert ran(run(profile(rest(2), cc(1.0, VOLTAGE, skip_if_met=False)))) == [1, 2]
    assert ran(run(profile(rest(2), cc(1.0, VOLTAGE | {"hold_s": 3})))) == [1, 2]


def test_a_cv_after_a_rest_runs() -> None:
    cv = {
        "kind": "cv",
        "voltage_v": 4.0,
        "current_max_a": 1.0,
        "end": [{"quantity": "current_abs_a", "op": "below", "value": 0.05}, time_end(100)],
    }
    interpreter = running(profile(rest(2), cv))
    feed(interpreter, every(1.0, 2.0, on=False))
    assert interpreter.step == 2
    decisions = feed(interpreter, every(1.0, 8.0, start_s=2.0, current_a=0.8))
    assert interpreter.step == 2
    decisions = feed(interpreter, every(1.0, 100.0, start_s=8.0, current_a=0.04))
    assert len(decisions) == 2


def test_a_loop_of_skipped_steps_neither_hangs_nor_loses_its_place() -> None:
    wanted = profile(group(250, cc(1.0, VOLTAGE)), rest(2), rest(1))
    decisions = run(wanted)
    assert ran(decisions) == [3, 4]


def test_an_endless_loop_of_skipped_steps_ends_when_the_run_is_up() -> None:
    # The invented voltage meets the end before the step begins, so that it never does.
    loop = cc(1.0, VOLTAGE | {"then": {"goto": "again"}}, label="again")
    decisions = run(profile(loop, safety={"run_max_s": 3}))
    assert decisions[-1].end_reason is not None
    assert decisions[-1].end_reason.code == "run_max"


def test_the_stop_rule_compares_the_cycles_of_one_tag() -> None:
    discharge = cc(-3.6, {"quantity": "voltage_v", "value": 3.0}, time_end(5000))
    wanted = profile(
        group(
            9,
            group(1, discharge | {"label": "check"}, is_cycle=True, tags=["rpt"]),
            group(1, cc(3.6, time_end(100)), is_cycle=True, tags=["ageing"]),
        ),
        stop={"capacity_percent": 80, "of": "first", "tag": "rpt"},
    )
    interpreter = running(wanted)
    now_s, last = 0.0, None
    for length_s in (1000, 900, 790):
        for _ in range(length_s // 10):
            now_s += 10.0
            last = interpreter.advance(reading(now_s, 3.5, -3.6))
        for _ in range(2):
            now_s += 1.0
            last = interpreter.advance(reading(now_s, 2.9, -3.6))
        if last.action == "finished":
            break
        for _ in range(10):
            now_s += 10.0
            last = interpreter.advance(reading(now_s, 3.5, 3.6))
    assert last is not None
    assert last.action == "finished"
    assert last.end_reason is not None
    assert last.end_reason.code == "stop_rule"
    assert "cycle 5 gave" in last.end_reason.text


@pytest.mark.parametrize(
    ("stop", "seconds"),
    [
        ({"cycles": 2}, 20),
        ({"run_s": 15}, 20),
        ({"run_s": 15, "when": "now"}, 15),
        ({"q_ah": 0.0036, "when": "now"}, 13),
        ({"q_ah": 0.0036}, 20),
    ],
)
def test_the_stop_rule_acts_at_the_end_of_a_cycle_unless_now(stop: dict[str, Any], seconds: float) -> None:
    wanted = profile(group(5, cc(1.0, time_end(10)), is_cycle=True), stop=stop)
    decisions = run(wanted, current_a=1.0)
    assert decisions[-1].end_reason.code == "stop_rule"  # type: ignore[union-attr]
    assert len(decisions) == seconds


def test_finish_steps_run_after_a_normal_end_and_keep_its_reason() -> None:
    for then, code in (("next", "completed"), ("stop", "stop")):
        wanted = profile(rest(2, end=[time_end(2, then=then)]), finish=[cc(1.0, time_end(3)), rest(1)])
        decisions = run(wanted)
        assert ran(decisions) == [1, 2, 3]
        assert decisions[-1].end_reason.code == code  # type: ignore[union-attr]


def test_finish_steps_do_not_run_after_a_trip() -> None:
    interpreter = running(profile(rest(50), finish=[rest(1)]))
    decisions = feed(interpreter, every(1.0, 50.0, voltage_v=4.25))
    assert len(decisions) == 3
    assert decisions[-1].action == "violation"


def test_a_person_stops_now_or_with_finish() -> None:
    for how, steps in (("now", [1]), ("finish", [1, 2])):
        interpreter = running(profile(rest(50), finish=[rest(3)]))
        feed(interpreter, every(1.0, 5.0))
        interpreter.stop(how, "lunch", "ada")  # type: ignore[arg-type]
        assert interpreter.state == "running"
        decisions = feed(interpreter, every(1.0, 50.0, start_s=5.0))
        assert ran(decisions) == steps
        assert decisions[-1].action == "finished"
        reason = decisions[-1].end_reason
        assert reason is not None
        assert (reason.code, reason.person, reason.text) == ("person", "ada", "stopped by ada: lunch")
        assert interpreter.state == "ended"


def test_a_person_skips_a_step_with_an_event() -> None:
    interpreter = running(profile(rest(50), rest(1)))
    interpreter.skip_step("ada")
    decisions = feed(interpreter, every(1.0, 50.0))
    assert ran(decisions) == [1, 2]
    assert decisions[0].steps_ended[0].end_reason.person == "ada"
    assert any("skipped by ada" in e.text for e in decisions[0].events)


def test_after_the_end_nothing_moves_any_more() -> None:
    interpreter = running(profile(rest(1)))
    feed(interpreter, every(1.0, 1.0))
    late = interpreter.advance(reading(9.0, 4.9, 50.0))
    assert (late.action, late.set_point, late.record, late.row.mode) == ("keep", None, False, "off")


def test_the_expected_end_counts_what_is_left_and_learns() -> None:
    wanted = profile(group(3, cc(1.0, VOLTAGE | {"value": 4.0}, time_end(100)), rest(10)), finish=[rest(5)])
    interpreter = running(wanted)
    assert interpreter.expected_end_s == pytest.approx(3 * 110 + 5)
    feed(interpreter, [*every(1.0, 18.0), *every(1.0, 20.0, start_s=18.0, voltage_v=4.1)])
    assert interpreter.step == 3
    assert interpreter.expected_end_s == pytest.approx(20 + 10 + 2 * (20 + 10) + 5)


def test_it_says_when_time_alone_will_do_something() -> None:
    interpreter = running(profile(cc(1.0, time_end(60), dcir_at_s=[1, 10])))
    assert interpreter.due_in_s == pytest.approx(1.0)
    feed(interpreter, every(0.5, 1.5))
    assert interpreter.due_in_s == pytest.approx(8.5)
