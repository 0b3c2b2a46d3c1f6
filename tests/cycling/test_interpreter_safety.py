"""Every reading is judged first (safety.md rules 1 and 5); pauses; runs are bounded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cycling.cell import Cell
from cycling.dry_run import Bench, fixed, run
from cycling.interpreter import Interpreter
from cycling.reading import Decision, Reading
from cycling.steps import MeasureLimit, Safety
from tests.cycling.invented import (
    CELL,
    cc,
    envelope,
    every,
    feed,
    group,
    profile,
    reading,
    rest,
    running,
    time_end,
)

LONG = rest(100_000)


def trip(readings: list[Reading], limits: Any = None) -> Decision | None:
    """Return the violation that these readings cause during a rest, or None."""
    last = feed(running(profile(LONG), limits or envelope()), readings)[-1]
    return last if last.action == "violation" else None


def seconds(*values: float | None, **more: Any) -> list[Reading]:
    """Return a reading each second with these voltages."""
    return [reading(place + 1.0, v, **more) for place, v in enumerate(values)]


def test_three_readings_in_a_row_beyond_the_trip_limit_trip() -> None:
    decision = trip(seconds(3.7, 4.22, 4.22, 4.22))
    assert decision is not None
    reason = decision.end_reason
    assert reason is not None
    assert (reason.code, reason.quantity, reason.limit, reason.measured, reason.since) == (
        "limit",
        "voltage_v",
        pytest.approx(4.21),
        4.22,
        2.0,
    )
    assert (
        reason.text
        == "voltage 4.22 V is above the trip limit of 4.21 V (the battery's highest cell voltage: 4.2 V)"
    )
    assert decision.set_point is not None
    assert decision.set_point.mode == "off"
    assert decision.record
    assert decision.steps_ended[0].end_reason == reason


def test_two_readings_or_an_interruption_do_not_trip() -> None:
    assert trip(seconds(4.22, 4.22, 3.7, 4.22, 4.22, 3.7)) is None


def test_it_tells_while_the_next_readings_decide_about_a_trip() -> None:
    test = running(profile(LONG), envelope())
    told = []
    for each in seconds(3.7, 4.22, 3.7, 4.22, 4.22, 4.22):
        feed(test, [each])
        told.append(test.violating)
    assert told == [False, True, False, True, True, False]


def test_a_limit_of_the_step_alone_is_told_too_and_one_with_a_delay_is_not() -> None:
    for delay_s, told in ((None, True), (2.0, False)):
        step = cc(1.0, time_end(1000), safety=Safety(v_max_v=4.0, delay_s=delay_s))
        test = running(profile(step), envelope())
        feed(test, seconds(3.7, 4.1))
        assert test.violating is told


def test_between_operating_and_trip_nothing_trips() -> None:
    assert trip(seconds(*[4.209] * 50)) is None


def test_one_reading_beyond_the_absolute_limit_trips() -> None:
    decision = trip(seconds(3.7, 4.31))
    assert decision is not None
    assert decision.end_reason is not None
    assert decision.end_reason.limit == 4.3
    assert "absolute limit" in decision.end_reason.text
    assert trip(seconds(3.7, 1.9)) is not None


@pytest.mark.parametrize("bad", [{"current_a": 10.4}, {"current_a": -20.4}, {"power_w": 1600.0}])
def test_currents_and_powers_trip_too(bad: dict[str, float]) -> None:
    readings = [msgspec.structs.replace(one, **bad) for one in seconds(3.7, 3.7, 3.7)]
    assert trip(readings) is not None


def test_a_delay_replaces_the_three_readings() -> None:
    limits = envelope(Safety(delay_s=2.0))
    assert trip(seconds(4.22, 4.22), limits) is None
    decision = trip(seconds(4.22, 4.22, 4.22, 4.22), limits)
    assert decision is not None
    assert decision.end_reason is not None
    assert decision.end_reason.delay_s == 2.0


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf")])
def test_a_missing_voltage_or_current_is_a_violation(missing: float | None) -> None:
    decision = trip(seconds(3.7, missing, missing, missing))
    assert decision is not None
    assert decision.end_reason is not None
    assert decision.end_reason.code == "missing"
    assert "voltage is missing" in decision.end_reason.text
    assert trip([reading(t, 3.7, missing) for t in (1.0, 2.0, 3.0)]) is not None
    assert trip(seconds(3.7, missing, missing, 3.7)) is None


HOT = msgspec.structs.replace(CELL, temperature_max_c=60.0, charge_temperature_max_c=45.0)


def test_a_missing_temperature_matters_only_where_a_sensor_is_bound() -> None:
    assert trip(seconds(*[3.7] * 9), envelope(battery=HOT)) is None
    bound = envelope(battery=HOT, measures=("temperature_c",))
    decision = trip(seconds(*[3.7] * 9), bound)
    assert decision is not None
    assert decision.end_reason is not None
    assert decision.end_reason.quantity == "temperature_c"


def test_the_charging_temperature_is_judged_only_while_charging() -> None:
    bound = envelope(battery=HOT, measures=("temperature_c",))
    warm = {"temperature_c": 50.0}
    assert trip([reading(t, 3.7, -1.0, **warm) for t in (1.0, 2.0, 3.0)], bound) is None
    assert trip([reading(t, 3.7, 1.0, **warm) for t in (1.0, 2.0, 3.0)], bound) is not None
    # With the output off a supply may show a few milliamperes: that is no charge.
    assert trip([reading(t, 3.7, 0.02, on=False, **warm) for t in (1.0, 2.0, 3.0)], bound) is None


FLOW = Safety(measures=[MeasureLimit(name="flow", min=40, delay_s=5, frozen_s=10, when="current")])


def test_a_measure_is_judged_while_current_flows_after_its_delay() -> None:
    limits = envelope(FLOW, measures=("flow",))
    low = [reading(n + 1.0, flow=30.0 + 0.01 * n) for n in range(9)]
    decision = trip(low, limits)
    assert decision is not None
    assert decision.end_reason is not None
    assert decision.end_reason.since == 1.0
    assert trip([msgspec.structs.replace(one, output_on=False) for one in low], limits) is None


def test_a_frozen_measure_is_missing() -> None:
    limits = envelope(FLOW, measures=("flow",))
    decision = trip([reading(n + 1.0, flow=120.0) for n in range(30)], limits)
    assert decision is not None
    assert decision.end_reason is not None
    assert (decision.end_reason.code, decision.row.step) == ("missing", 1)
    assert trip([reading(n + 1.0, flow=120.0 + n) for n in range(30)], limits) is None


def test_a_step_can_tighten_the_limits_while_it_runs() -> None:
    wanted = profile(rest(5, safety={"v_max_v": 3.8}), rest(50))
    interpreter = running(wanted)
    assert feed(interpreter, seconds(3.9, 3.9, 3.9))[-1].action == "violation"
    interpreter = running(wanted)
    feed(interpreter, seconds(*[3.7] * 5))
    assert interpreter.step == 2
    assert feed(interpreter, every(1.0, 12.0, start_s=5.0, voltage_v=3.9))[-1].action == "keep"


def test_the_net_charge_from_the_start_is_limited() -> None:
    wanted = profile(cc(3.6, time_end(5000)), safety={"q_abs_max_ah": 0.01})
    decisions = feed(running(wanted), every(1.0, 100.0, current_a=3.6))
    assert len(decisions) == 11
    assert decisions[-1].end_reason.quantity == "charge_net_abs_ah"  # type: ignore[union-attr]


def test_an_experiment_is_judged_before_its_first_step() -> None:
    interpreter = running(profile(LONG))
    assert interpreter.step == 1
    fresh = Interpreter(profile(cc(1.0)), envelope(), 5.0)
    decision = fresh.advance(reading(0.0, 4.5, on=False))
    assert (decision.action, fresh.step_count) == ("violation", 0)


def test_it_trips_in_pauses_and_in_finish_steps() -> None:
    interpreter = running(profile(LONG))
    interpreter.pause()
    decisions = feed(interpreter, seconds(3.7, 3.7, 4.25, 4.25, 4.25))
    assert decisions[-1].action == "violation"
    interpreter = running(profile(rest(1), finish=[LONG]))
    assert feed(interpreter, seconds(3.7, 3.7, 4.25, 4.25, 4.25))[-1].action == "violation"


def test_a_run_and_a_step_are_bounded_in_time() -> None:
    endless = cc(-0.001, {"quantity": "voltage_v", "value": 3.0})
    decisions = feed(running(profile(endless, safety={"run_max_s": 50})), every(1.0, 99.0))
    assert (len(decisions), decisions[-1].end_reason.code) == (50, "run_max")  # type: ignore[union-attr]
    decisions = feed(running(profile(endless, safety={"max_step_s": 30})), every(1.0, 99.0))
    assert (len(decisions), decisions[-1].end_reason.code) == (30, "step_max")  # type: ignore[union-attr]


def test_a_step_with_its_own_time_is_not_cut_by_the_longest_step() -> None:
    decisions = feed(running(profile(rest(50), safety={"max_step_s": 30})), every(1.0, 99.0))
    assert decisions[-1].action == "finished"


def test_a_pause_switches_off_and_stops_the_steps_time_and_holds() -> None:
    held = cc(1.0, {"quantity": "voltage_v", "value": 3.9, "hold_s": 4}, time_end(20))
    interpreter = running(profile(held, rest(5), record={"every_s": 2}, safety={"run_max_s": 100}))
    feed(interpreter, every(1.0, 2.0, voltage_v=3.95, current_a=1.0))
    interpreter.pause()
    (paused,) = feed(interpreter, every(1.0, 3.0, start_s=2.0, voltage_v=3.95, current_a=1.0))
    assert (paused.action, paused.row.mode, interpreter.state) == ("set", "cc", "paused")
    assert paused.set_point is not None
    assert paused.set_point.mode == "off"
    away = feed(interpreter, every(1.0, 63.0, start_s=3.0, voltage_v=3.95, on=False))
    assert {d.row.mode for d in away} == {"off"}
    # At the first reading after the set point, then every 10 x 2 s.
    assert [n for n, d in enumerate(away) if d.record] == [0, 19, 39, 59]
    interpreter.resume()
    (back,) = feed(interpreter, every(1.0, 64.0, start_s=63.0, voltage_v=3.95, on=False))
    assert back.set_point is not None
    assert (back.set_point.current_a, interpreter.state) == (1.0, "running")
    decisions = feed(interpreter, every(1.0, 200.0, start_s=64.0, voltage_v=3.95, current_a=1.0))
    rows = [row for d in decisions for row in d.steps_ended]
    # 3 s before the pause, 5 s after it: the hold began again.
    assert rows[0].duration_s == pytest.approx(8.0)
    assert rows[0].charge_in_ah == pytest.approx(8.0 / 3600)


def test_outputs_stay_as_they_are_in_a_pause() -> None:
    interpreter = running(profile(rest(50, outputs={"pump": 1})))
    interpreter.pause()
    target = interpreter.advance(reading(1.0)).set_point
    assert target is not None
    assert target.outputs == {"pump": 1.0}


def test_a_stop_in_a_pause_ends_it() -> None:
    interpreter = running(profile(cc(1.0), finish=[rest(2)]))
    interpreter.pause()
    feed(interpreter, every(1.0, 5.0))
    interpreter.stop("finish")
    decisions = feed(interpreter, every(1.0, 20.0, start_s=5.0))
    assert decisions[-1].action == "finished"
    assert len(decisions) == 3


def test_an_hour_of_constant_voltage_at_the_limit_with_noise_never_trips() -> None:
    hold = {
        "kind": "cccv",
        "current_a": 1.0,
        "voltage_v": 4.2,
        "end": [time_end(3600)],
    }
    bench = Bench(
        Cell("NMC", 5.0, 0.02, 0.98), noise_v=0.0015, noise_a=0.002, resolution_v=0.001, resolution_a=0.001
    )
    outcome = run(profile(hold), envelope(), 5.0, bench, period=fixed(0.1))
    assert outcome.action == "finished"
    assert outcome.readings >= 36_000


def test_a_stop_or_pause_before_the_first_reading_lets_nothing_move() -> None:
    stopped = Interpreter(profile(cc(1.0)), envelope(), 5.0)
    stopped.stop("now", "wrong cell")
    decision = stopped.advance(reading(0.0, on=False))
    assert (decision.action, decision.set_point.mode) == ("finished", "off")  # type: ignore[union-attr]
    paused = Interpreter(profile(cc(1.0)), envelope(), 5.0)
    paused.pause()
    assert paused.advance(reading(0.0, on=False)).set_point.mode == "off"  # type: ignore[union-attr]
    assert (paused.state, paused.step_count) == ("paused", 0)
    paused.resume()
    decision = paused.advance(reading(1.0, on=False))
    assert (decision.set_point.current_a, paused.step) == (1.0, 1)  # type: ignore[union-attr]


def test_every_level_of_groups_keeps_its_limits() -> None:
    wanted = profile(group(2, group(2, cc(1.0, time_end(5), safety={"i_max_a": 1.5}))))
    decisions = feed(running(wanted), every(1.0, 50.0, current_a=3.0))
    assert decisions[-1].action == "violation"
    assert "the step's own limit" in decisions[-1].end_reason.text  # type: ignore[union-attr]
