"""Which readings become samples."""

from __future__ import annotations

from typing import Any

from tests.cycling.invented import cc, every, feed, profile, reading, rest, running, time_end


def recorded(rule: dict[str, Any], period_s: float, until_s: float, **more: Any) -> list[float]:
    """Return the times of the samples of one long rest."""
    interpreter = running(profile(rest(1e5), record=rule))
    readings = every(period_s, until_s, **more)
    return [round(r.elapsed_s, 6) for r in readings if interpreter.advance(r).record]


def test_a_sample_is_due_each_period_and_first_after_the_set_point() -> None:
    assert recorded({"every_s": 1.0}, 0.25, 4.0) == [0.25, 1.0, 2.0, 3.0, 4.0]


def test_the_grid_does_not_drift_with_the_loop() -> None:
    assert recorded({"every_s": 1.0}, 0.3, 6.0) == [0.3, 1.2, 2.1, 3.0, 4.2, 5.1, 6.0]


def test_a_period_shorter_than_the_loop_records_every_reading() -> None:
    assert recorded({"every_s": 0.01}, 0.5, 2.0) == [0.5, 1.0, 1.5, 2.0]


def test_a_burst_counts_from_each_steps_start() -> None:
    rule = {"every_s": 5.0, "burst": [[1, 0.5], [4, 1]]}
    assert recorded(rule, 0.25, 15.0) == [0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 9.0, 14.0]


def test_a_change_of_voltage_or_current_or_temperature_is_recorded() -> None:
    for rule, name, values in (
        ({"every_s": 99, "on_dv_v": 0.01}, "voltage_v", [3.7, 3.705, 3.71, 3.715, 3.70]),
        ({"every_s": 99, "on_di_a": 0.1}, "current_a", [0, 0.05, 0.1, 0.15, 0]),
        ({"every_s": 99, "on_dtemp_c": 1}, "temperature_c", [25, 25.5, 26, 26.5, 25]),
    ):
        interpreter = running(profile(rest(1e5), record=rule))
        rows = [
            interpreter.advance(reading(n + 1.0, **{name: float(x)})).record for n, x in enumerate(values)
        ]
        assert rows == [True, False, True, False, True]


def test_several_reasons_make_one_row_and_a_gap_holds_back_all_but_the_set_point_and_the_end() -> None:
    rule = {"every_s": 1.0, "on_dv_v": 0.001, "min_gap_s": 3.0}
    interpreter = running(profile(rest(5), cc(1.0, time_end(4)), record=rule))
    readings = [reading(n + 1.0, 3.7 + 0.01 * n) for n in range(9)]
    rows = [decision.record for decision in feed(interpreter, readings)]
    #             set                        end   set                  end
    assert rows == [True, False, False, True, True, True, False, False, True]


def test_a_step_can_have_its_own_rule() -> None:
    wanted = profile(rest(4), rest(4, record={"every_s": 1}), record={"every_s": 100})
    rows = [d.record for d in feed(running(wanted), every(1.0, 8.0))]
    assert rows == [True, False, False, True, True, True, True, True]
