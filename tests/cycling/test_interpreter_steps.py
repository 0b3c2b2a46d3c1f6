"""How single steps behave: set points, ends, settling, cccv, clip, drive, wait, resistances, results."""

from __future__ import annotations

from typing import Any

import pytest

from cycling.cell import Cell
from cycling.dry_run import Bench, fixed, run
from cycling.interpreter import CannotRun, Interpreter
from cycling.reading import FLAG_CLIPPED, SetPoint
from cycling.steps import Safety
from tests.cycling.invented import cc, envelope, every, feed, profile, reading, rest, running, time_end


def first_set_point(step: dict[str, Any], **more: Any) -> SetPoint:
    """Return what the device is asked at a step's beginning."""
    wanted = profile(step, **more)
    interpreter = Interpreter(wanted, envelope(wanted.safety), 5.0)
    target = interpreter.advance(reading(0.0, 3.7, 0.0, on=False)).set_point
    assert target is not None
    return target


def test_a_charge_carries_a_ceiling_no_higher_than_the_operating_limit() -> None:
    target = first_set_point(cc(2.0))
    assert (target.mode, target.direction, target.current_a) == ("cc", "charge", 2.0)
    assert (target.voltage_max_v, target.voltage_min_v) == (4.2, 2.5)
    assert (target.charge_current_max_a, target.discharge_current_max_a) == (2.0, 0.0)


def test_a_ceiling_lies_just_beyond_the_steps_own_end() -> None:
    target = first_set_point(cc(2.0, {"quantity": "voltage_v", "value": 4.0}, time_end(9)))
    assert target.voltage_max_v == pytest.approx(4.01)
    target = first_set_point(cc(-2.0, {"quantity": "voltage_v", "value": 3.0}, time_end(9)))
    assert target.voltage_min_v == pytest.approx(2.99)


def test_the_furthest_of_several_ends_sets_the_ceiling() -> None:
    near = {"quantity": "voltage_v", "value": 4.0, "hold_s": 60, "then": "exit_group"}
    far = {"quantity": "voltage_v", "value": 4.1}
    assert first_set_point(cc(2.0, near, far, time_end(9))).voltage_max_v == pytest.approx(4.11)


def test_an_end_below_the_clip_and_the_clip_live_together() -> None:
    end = {"quantity": "voltage_v", "value": 3.9}
    assert first_set_point(cc(2.0, end, time_end(9), clip={"v_max_v": 4.0})).voltage_max_v == pytest.approx(
        3.91
    )


def test_a_steps_own_safety_tightens_its_set_point() -> None:
    target = first_set_point(cc(2.0, safety={"v_max_v": 4.0}))
    assert target.voltage_max_v == 4.0


def test_a_discharge_is_negative_and_has_a_floor() -> None:
    target = first_set_point(cc(1.0) | {"current_a": None, "rate": "D/5"})
    assert (target.direction, target.current_a) == ("discharge", -1.0)
    assert (target.voltage_min_v, target.discharge_current_max_a) == (2.5, 1.0)


def test_the_other_modes_ask_for_what_they_say() -> None:
    cv = first_set_point({"kind": "cv", "voltage_v": 4.0, "rate_max": "C/5", "end": [time_end(9)]})
    assert (cv.mode, cv.voltage_v, cv.charge_current_max_a, cv.discharge_current_max_a) == (
        "cv",
        4.0,
        1.0,
        1.0,
    )
    cp = first_set_point({"kind": "cp", "power_w": -8.0, "end": [time_end(9)]})
    assert (cp.mode, cp.power_w, cp.direction, cp.discharge_current_max_a) == ("cp", -8.0, "discharge", 20.0)
    cr = {
        "kind": "cr",
        "resistance_ohm": 5.0,
        "direction": "discharge",
        "current_max_a": 2.0,
        "end": [time_end(9)],
    }
    target = first_set_point(cr)
    assert (target.mode, target.resistance_ohm, target.discharge_current_max_a) == ("cr", 5.0, 2.0)
    isolated = first_set_point(rest(9, isolate=True))
    assert (isolated.mode, isolated.isolate) == ("off", True)


def test_a_voltage_without_a_current_of_its_own_is_bounded_by_the_power_too() -> None:
    drive = {"kind": "drive", "of": "voltage", "points": [[0, 4.0], [9, 3.0]]}
    limits = envelope(Safety(p_abs_max_w=20.0))
    decision = Interpreter(profile(drive), limits, 5.0).advance(reading(0.0))
    assert decision.set_point is not None
    assert decision.set_point.charge_current_max_a == pytest.approx(20.0 / 4.0)
    assert decision.set_point.discharge_current_max_a == pytest.approx(20.0 / 4.2)


def test_outputs_are_held_until_changed() -> None:
    interpreter = Interpreter(
        profile(rest(1, outputs={"pump": 1, "valve": 1}), rest(1, outputs={"pump": 2}), rest(1)),
        envelope(),
        5.0,
    )
    targets = [interpreter.advance(one).set_point for one in [reading(0.0), *every(1.0, 3.0)]]
    assert [t.outputs for t in targets if t is not None] == [
        {"pump": 1.0, "valve": 1.0},
        {"pump": 2.0, "valve": 1.0},
        {"pump": 2.0, "valve": 1.0},
        {"pump": 2.0, "valve": 1.0},
    ]


def ended_at(step: dict[str, Any], readings: list[Any], **more: Any) -> float | None:
    """Return the time of the reading at which the step ended, or None."""
    interpreter = running(profile(step, rest(9)), **more)
    for one in readings:
        if interpreter.advance(one).steps_ended:
            return float(one.elapsed_s)
    return None


def at(*voltages: float) -> list[Any]:
    """Return a reading each second with these voltages."""
    return [reading(place + 1.0, v, 1.0) for place, v in enumerate(voltages)]


UP = {"quantity": "voltage_v", "value": 4.0}


def test_a_measured_end_needs_two_readings_in_a_row() -> None:
    assert ended_at(cc(1.0, UP), at(3.9, 4.0, 3.9, 4.0, 4.0)) == 5.0


def test_an_end_is_met_after_rounding_to_the_resolution() -> None:
    assert ended_at(cc(1.0, UP), at(3.9996, 3.9996)) == 2.0
    assert ended_at(cc(1.0, UP), at(3.9994, 3.9994)) is None


def test_time_and_charge_need_one_reading() -> None:
    assert ended_at(rest(3), at(3.7, 3.7, 3.7, 3.7)) == 3.0
    charge = {"quantity": "charge_ah", "value": 2 / 3600}
    assert ended_at(cc(1.0, charge), at(3.7, 3.7, 3.7, 3.7)) == 2.0


def test_a_hold_counts_from_the_first_reading_and_restarts() -> None:
    held = cc(1.0, UP | {"hold_s": 3})
    assert ended_at(held, at(4.0, 4.0, 3.9, 4.0, 4.0, 4.0, 4.0, 4.0)) == 7.0


def test_an_end_waits_for_after_s() -> None:
    assert ended_at(cc(1.0, UP | {"after_s": 4}), at(4.1, 4.1, 4.1, 4.1, 4.1, 4.1)) == 5.0


def test_a_missing_value_meets_no_end() -> None:
    readings = [reading(1.0, 4.0), reading(2.0, None), reading(3.0, 4.0), reading(4.0, 4.0)]
    assert ended_at(cc(1.0, UP), readings) == 4.0


def test_an_end_on_an_extended_measure_or_temperature_fires() -> None:
    flow = {"quantity": "flow", "op": "below", "value": 10.0}
    assert ended_at(cc(1.0, flow), [reading(t, flow=9.0) for t in (1.0, 2.0)]) == 2.0
    hot = {"quantity": "temperature_c", "op": "above", "value": 30.0}
    assert ended_at(cc(1.0, hot), [reading(t, temperature_c=31.0) for t in (1.0, 2.0)]) == 2.0


TAIL = {"quantity": "current_abs_a", "op": "below", "value": 0.1}
CV = {"kind": "cv", "voltage_v": 4.0, "current_max_a": 1.0, "end": [TAIL]}


def test_ends_on_current_wait_until_the_set_point_has_settled() -> None:
    readings = [reading(0.1 * (n + 1), 4.0, 0.0) for n in range(20)]
    # Confirmed at 0.1 s, settled at 0.6 s, and a second reading in a row at 0.7 s.
    assert ended_at(CV, readings) == pytest.approx(0.7)
    assert ended_at(CV | {"settle_s": 1.0}, readings) == pytest.approx(1.2)


def test_at_least_three_readings_settle_a_slow_loop() -> None:
    assert ended_at(CV, [reading(10.0 * (n + 1), 4.0, 0.0) for n in range(9)]) == 40.0


def test_a_set_point_that_is_never_confirmed_never_settles() -> None:
    assert ended_at(CV, [reading(0.1 * (n + 1), 4.0, 0.0, on=False) for n in range(50)]) is None


def test_a_slope_needs_its_whole_window() -> None:
    slope = {"quantity": "dv_dt_v_s", "op": "below", "value": 1e-4, "over_s": 10}
    falling = [reading(float(n + 1), 3.7 - 1e-3 * (n + 1)) for n in range(30)]
    flat = [reading(float(n + 31), 3.67) for n in range(30)]
    ended_s = ended_at(rest(9, end=[slope]), falling + flat)
    assert ended_s is not None
    assert 39.0 <= ended_s <= 44.0


def test_a_device_that_holds_its_ceiling_a_hair_short_ends_the_step() -> None:
    """Its own meter may read 4.197 V for ever; the falling current shows that 4.2 V are reached."""
    full = cc(1.0, {"quantity": "voltage_v", "value": 4.2}, time_end(900))
    taper = [reading(n + 1.0, 4.197, 1.0 if n < 10 else 0.8) for n in range(30)]
    assert ended_at(full, taper) == 12.0
    assert ended_at(full, [reading(n + 1.0, 4.197, 1.0) for n in range(30)]) is None


CCCV = {"kind": "cccv", "current_a": 1.0, "voltage_v": 4.1, "end": [TAIL, time_end(900, then="fail")]}


def test_cccv_is_one_step_whose_mode_changes_once() -> None:
    interpreter = running(profile(CCCV))
    readings = [reading(0.5 * (n + 1), v, 1.0) for n, v in enumerate([4.0, 4.05, 4.0995, 4.1, 4.1, 4.0, 4.1])]
    decisions = feed(interpreter, readings)
    assert [d.row.mode for d in decisions] == ["cc", "cc", "cc", "cc", "cv", "cv", "cv"]
    assert {d.row.step for d in decisions} == {1}
    targets = [d.set_point for d in decisions if d.set_point is not None]
    assert [(t.mode, t.voltage_v, t.charge_current_max_a) for t in targets] == [("cv", 4.1, 1.0)]
    assert sum("constant voltage now" in e.text for d in decisions for e in d.events) == 1


def test_ends_on_current_count_only_in_the_cv_part() -> None:
    interpreter = running(profile(CCCV))
    feed(interpreter, [reading(0.5 * (n + 1), 3.9, 0.01) for n in range(10)])
    assert interpreter.step == 1
    readings = [reading(5.0 + 0.5 * (n + 1), 4.1, 0.01) for n in range(10)]
    assert len(feed(interpreter, readings)) < 10


def test_the_cc_part_carries_the_voltage_as_the_devices_ceiling() -> None:
    target = first_set_point(CCCV)
    assert (target.mode, target.current_a, target.voltage_max_v) == ("cc", 1.0, 4.1)
    down = first_set_point(CCCV | {"current_a": -1.0, "voltage_v": 3.0})
    assert (down.direction, down.voltage_min_v, down.discharge_current_max_a) == ("discharge", 3.0, 1.0)


def test_a_clip_lets_the_step_go_on_with_one_event_and_a_flag() -> None:
    clipped = cc(2.0, time_end(10), clip={"v_max_v": 4.0})
    assert first_set_point(clipped).voltage_max_v == 4.0
    interpreter = running(profile(clipped))
    decisions = feed(interpreter, at(3.9, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0))
    assert len(decisions) == 10
    assert sum("clipped" in e.text for d in decisions for e in d.events) == 1
    assert [bool(d.row.flags & FLAG_CLIPPED) for d in decisions[:4]] == [False, False, True, True]
    assert decisions[-1].steps_ended[0].flags & FLAG_CLIPPED


DRIVE = {"kind": "drive", "of": "current", "points": [[0, 1.0], [2, -1.0], [3, 0.5]], "repeat": 2}


def test_a_drive_holds_its_points_and_repeats_as_one_step() -> None:
    interpreter = Interpreter(profile(DRIVE), envelope(), 5.0)
    decisions = [interpreter.advance(reading(float(n))) for n in range(9)]
    sent = [(n, d.set_point.current_a) for n, d in enumerate(decisions) if d.set_point and d.action == "set"]
    assert sent == [(0, 1.0), (2, -1.0), (3, 0.5), (4, 1.0), (6, -1.0), (7, 0.5)]
    assert decisions[-1].action == "finished"
    assert {d.row.mode for d in decisions[1:]} == {"drive"}
    assert [len(d.steps_ended) for d in decisions] == [0] * 8 + [1]


def test_a_drive_can_follow_lines_between_its_points_and_be_scaled() -> None:
    linear = DRIVE | {"points": [[0, 0.0], [4, 4.0]], "interpolate": "linear", "scale": 0.5, "repeat": 1}
    interpreter = Interpreter(profile(linear), envelope(), 5.0)
    targets = [interpreter.advance(reading(float(n))).set_point for n in range(5)]
    assert [t.current_a for t in targets[:4] if t is not None] == [0.0, 0.5, 1.0, 1.5]
    assert interpreter.state == "ended"


def test_a_drive_of_power_and_rates_signs_by_its_values() -> None:
    power = first_set_point({"kind": "drive", "of": "power", "points": [[0, -3.0], [5, 3.0]]})
    assert (power.mode, power.power_w, power.direction) == ("cp", -3.0, "discharge")
    rate = first_set_point({"kind": "drive", "of": "rate", "points": [[0, -0.5], [5, 0.5]]})
    assert (rate.mode, rate.current_a) == ("cc", -2.5)


def test_a_wait_ends_when_everything_it_waits_for_has_come() -> None:
    wait = {
        "kind": "wait_for",
        "temperature_c": 25,
        "measure": {"name": "flow", "op": "above", "value": 100, "hold_s": 2},
        "operator": "open the valve",
        "end": [time_end(60)],
    }
    interpreter = running(profile(wait, rest(5)))
    feed(interpreter, [reading(t, temperature_c=30.0, flow=50.0) for t in (1.0, 2.0)])
    assert interpreter.waiting_for == "25 ± 1 °C, flow above 100 for 2 s, operator: open the valve"
    feed(interpreter, [reading(t, temperature_c=24.5, flow=120.0) for t in (3.0, 4.0, 5.0, 6.0)])
    assert interpreter.waiting_for == "operator: open the valve"
    interpreter.confirm("ada")
    (decision,) = feed(interpreter, [reading(7.0, temperature_c=24.5, flow=120.0)])
    assert decision.row.mode == "wait"
    assert decision.steps_ended[0].end_reason.person == "ada"
    assert interpreter.waiting_for is None


def test_a_wait_for_a_time_compares_the_readings_clock() -> None:
    wait = {"kind": "wait_for", "start_time": "1970-01-01T00:00:05Z", "end": [time_end(60)]}
    assert ended_at(wait, at(*[3.7] * 9)) == 5.0


def test_a_wait_that_takes_too_long_fails_unless_told_otherwise() -> None:
    wait = {"kind": "wait_for", "operator": "look", "end": [{"quantity": "time_s", "value": 3}]}
    failed = feed(running(profile(wait)), at(*[3.7] * 9))
    assert (len(failed), failed[-1].action) == (3, "violation")
    wait["end"][0]["then"] = "next"  # type: ignore[index]
    assert feed(running(profile(wait)), at(*[3.7] * 9))[-1].action == "finished"


def test_resistances_are_written_to_the_steps_row() -> None:
    cell = Cell("NMC", 5.0, 0.02, 0.5)
    pulse = cc(-5.0, time_end(12), dcir_at_s=[0.1, 10])
    outcome = run(profile(rest(5), pulse, rest(1)), envelope(), 5.0, Bench(cell), period=fixed(0.1))
    points = outcome.steps[1].dcir
    assert [p["at_s"] for p in points] == [0.1, 10]
    assert points[0]["ohm"] == pytest.approx(0.02, rel=0.05)
    assert points[1]["ohm"] > points[0]["ohm"]


STORING = cc(
    -5.0, time_end(720), store={"name": "c", "quantity": "charge_ah", "min_rel": 0.1, "max_rel": 0.5}
)
BY_RATE = cc(1.0, time_end(9)) | {"current_a": None, "rate": "1C", "rate_of": "c"}


def test_a_stored_capacity_is_the_reference_of_later_rates_and_charges() -> None:
    relative = cc(1.0, {"quantity": "charge_rel", "value": 0.5, "of": "c"}, time_end(9000))
    outcome = run(profile(STORING, BY_RATE, relative), envelope(), 5.0, Cell("NMC", 5.0, 0.02, 0.9))
    assert outcome.action == "finished"
    assert outcome.steps[1].current_end_a == pytest.approx(1.0, rel=1e-3)
    assert outcome.steps[2].charge_in_ah == pytest.approx(0.5, rel=1e-3)


def test_a_result_outside_its_range_fails() -> None:
    outcome = run(profile(STORING | {"end": [time_end(60)]}), envelope(), 5.0, Cell("NMC", 5.0, 0.02, 0.9))
    assert outcome.action == "violation"
    assert outcome.end_reason is not None
    assert outcome.end_reason.code == "store"
    assert "outside 0.1 to 0.5" in outcome.end_reason.text


def test_ends_on_soc_count_from_the_start_or_from_soc_after() -> None:
    to_half = cc(-5.0, {"quantity": "soc", "value": 0.5}, time_end(9000))
    outcome = run(profile(to_half), envelope(), 5.0, Cell("NMC", 5.0, 0.02, 0.8), initial_soc_percent=80)
    assert outcome.steps[0].charge_out_ah == pytest.approx(1.5, rel=2e-3)
    known = profile(rest(5, soc_after=0.7), to_half)
    outcome = run(known, envelope(), 5.0, Cell("NMC", 5.0, 0.02, 0.8))
    assert outcome.steps[1].charge_out_ah == pytest.approx(1.0, rel=2e-3)


def test_what_cannot_be_run_is_refused_in_words() -> None:
    for step, words in (
        (cc(1.0) | {"current_a": None, "rate": "C/2"}, "needs the capacity"),
        ({"kind": "drive", "of": "power", "table": {"name": "x", "sha256": "0"}}, "cannot be run yet"),
        (rest(1, end=[{"quantity": "voltage_v", "value": 3.0}]), "above or below"),
    ):
        with pytest.raises(CannotRun, match=words):
            Interpreter(profile(step), envelope(), None)


def test_a_set_point_outside_the_envelope_is_never_sent() -> None:
    interpreter = Interpreter(profile(cc(11.0)), envelope(), 5.0)
    decision = interpreter.advance(reading(0.0))
    assert decision.action == "violation"
    assert decision.end_reason is not None
    assert decision.end_reason.code == "set_point"
    assert decision.set_point is not None
    assert decision.set_point.mode == "off"
