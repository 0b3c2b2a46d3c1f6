"""What a profile may not do in this station: rules 3 (left alone), 14 (quadrants) and 17 (leak)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cycling.check import Problem, check
from cycling.envelope import DeviceLimits, StationLimits, compute
from cycling.limits import find
from cycling.steps import Safety
from tests.cycling.invented import CELL, SUPPLY, cc, profile, rest, time_end

BIG = msgspec.structs.replace(CELL, energy_wh=10.0)
SOURCE = msgspec.structs.replace(SUPPLY, name="source", current_min_a=0.0, power_min_w=0.0)
LOAD = msgspec.structs.replace(
    SUPPLY, name="load", current_max_a=0.0, power_max_w=0.0, guards_discharge=False
)


def problems(
    *steps: dict[str, Any], devices: tuple[DeviceLimits, ...] = (SUPPLY,), battery: Any = BIG, **station: Any
) -> list[Problem]:
    """Return what is wrong with these steps in this station."""
    limits, wanted = StationLimits(**station), profile(*steps)
    made = compute(battery, devices, limits, Safety())
    return check(wanted, made, 5.0, station=limits, devices=devices, battery=battery).errors


CV = {"kind": "cv", "voltage_v": 4.0, "current_max_a": 1.0, "end": [time_end(60)]}
DISCHARGES: list[dict[str, Any]] = [
    cc(-1.0),
    {"kind": "cp", "power_w": -2.0, "end": [time_end(60)]},
    {
        "kind": "cr",
        "resistance_ohm": 3.0,
        "direction": "discharge",
        "current_max_a": 1.0,
        "end": [time_end(60)],
    },
    {**CV, "direction": "discharge"},
    {"kind": "drive", "of": "current", "points": [[0, 1.0], [5, -1.0]]},
    {"kind": "cccv", "voltage_v": 3.0, "current_a": -1.0, "end": [time_end(60)]},
]


@pytest.mark.parametrize("step", DISCHARGES, ids=lambda step: str(step["kind"]))
def test_a_step_outside_the_stations_quadrant_is_refused_with_its_number(step: dict[str, Any]) -> None:
    found = problems(rest(5), step, quadrants="charge")
    assert found
    assert {problem.step for problem in found} == {2}
    assert any("station can only charge" in problem.message for problem in found)
    assert problems(rest(5), step) == []


def test_a_charge_in_a_station_that_only_discharges_is_refused() -> None:
    found = problems(cc(-1.0), cc(1.0), quadrants="discharge")
    assert {problem.step for problem in found} == {2}
    assert problems(CV, quadrants="charge") == []


def test_the_envelope_of_one_quadrant_has_no_current_the_other_way() -> None:
    made = compute(CELL, [SUPPLY], StationLimits(quadrants="charge"), Safety())
    low = find(made, "current_a", "min")
    assert low is not None
    assert (low.operating, low.source) == (0.0, "the station only charges")


def test_a_source_alone_cannot_discharge_whatever_the_station_says() -> None:
    assert problems(cc(-1.0), devices=(SOURCE,))[0].step == 1


def test_an_unguarded_direction_is_refused_for_a_large_battery() -> None:
    (found,) = problems(cc(1.0), cc(-1.0), devices=(SOURCE, LOAD))
    assert found.step == 2
    assert "load does not end a discharge by itself" in found.message
    assert "10 Wh" in found.message


@pytest.mark.parametrize("way_out", [{"dead_man": True}, {"unguarded_max_wh": 20.0}, {"battery": 4.0}])
def test_a_dead_man_or_a_small_battery_lets_it_run(way_out: dict[str, Any]) -> None:
    battery = msgspec.structs.replace(BIG, energy_wh=way_out.pop("battery", 10.0))
    assert problems(cc(-1.0), devices=(SOURCE, LOAD), battery=battery, **way_out) == []


def test_a_battery_of_unknown_energy_counts_as_large() -> None:
    blank = msgspec.structs.replace(CELL, capacity_ah=None, energy_wh=None, cell_voltage_max_v=4.2)
    limits = StationLimits()
    made = compute(blank, [SOURCE, LOAD], limits, Safety(q_abs_max_ah=1.0))
    found = check(profile(cc(-1.0)), made, None, station=limits, devices=[SOURCE, LOAD], battery=blank).errors
    assert any("nobody knows how much the battery holds" in problem.message for problem in found)


def test_a_rest_that_drains_the_battery_is_refused_unless_it_isolates() -> None:
    day = 86_400.0
    assert problems(rest(day), leak_a=0.01) == []
    (found,) = problems(rest(5), rest(2 * day), leak_a=0.01)
    assert found.step == 2
    assert "9.6 % of the capacity" in found.message
    assert problems(rest(2 * day, isolate=True), leak_a=0.01, isolator=True) == []
    assert problems(rest(2 * day)) == []


def test_an_output_outside_its_range_or_unknown_is_refused() -> None:
    pump = {"outputs": ("pump",), "output_ranges": {"pump": (0.0, 80.0)}}
    assert problems(rest(5, outputs={"pump": 80.0}), **pump) == []
    (found,) = problems(rest(5, outputs={"pump": 90.0}), **pump)
    assert "pump takes 0 to 80" in found.message
    (found,) = problems(rest(5, outputs={"lamp": 1.0}), **pump)
    assert "no output lamp" in found.message
    (found,) = problems(rest(5, temperature_c=25.0), **pump)
    assert "no output temperature_c" in found.message
