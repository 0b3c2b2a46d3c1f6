"""Why a step ended is read by people: units and names, no field names."""

from __future__ import annotations

import re

import msgspec
import pytest

from cycling import words
from cycling.envelope import BatteryLimits, StationLimits, compute, wider_than
from cycling.judge import _reason
from cycling.state import LimitMemory
from cycling.steps import Safety
from tests.cycling.invented import SUPPLY


@pytest.mark.parametrize(
    ("quantity", "above", "limit", "measured", "text"),
    [
        ("time_s", True, 18.0, 18.0005, "after 18 s"),
        ("voltage_v", True, 4.2, 4.2003, "voltage rose to 4.2 V (measured 4.2003 V)"),
        ("voltage_v", False, 2.5, 2.4999, "voltage fell to 2.5 V (measured 2.4999 V)"),
        ("current_abs_a", False, 0.05, 0.0498, "current fell to 0.05 A (measured 0.0498 A)"),
        ("rate_abs", False, 0.05, None, "rate fell to 0.05 C"),
        ("flow_main", True, 100.0, 101.0, "flow main rose to 100 (measured 101)"),
    ],
)
def test_an_end_reads_as_people_say_it(
    quantity: str, above: bool, limit: float, measured: float | None, text: str
) -> None:
    assert words.reached(quantity, above, limit, measured) == text


def test_a_charge_relative_to_a_stored_result_names_it() -> None:
    assert words.reached("charge_rel", True, 0.5, None, "c_rpt") == "charge rose to 0.5 of c_rpt"


EVERYTHING = BatteryLimits(
    cells_in_series=4,
    cell_voltage_min_v=2.5,
    cell_voltage_max_v=4.2,
    voltage_min_v=11.0,
    voltage_max_v=16.4,
    voltage_abs_max_v=17.0,
    current_min_a=-5.0,
    current_max_a=5.0,
    temperature_min_c=0.0,
    temperature_max_c=45.0,
    charge_temperature_max_c=40.0,
    capacity_ah=5.0,
    cell_spread_max_v=0.3,
    temperature_rise_max_k=15.0,
    temperature_slope_max_k_min=2.0,
)
MEASURES = ("temperature_c", "temp1_c", "vcell1_v", "vcell2_v", "hs_voltage_v")
STATION = StationLimits(measures=MEASURES, store_max_v=9.0, power_abs_max_w=50.0, voltage_max_v=16.0)
PROFILE = Safety(i_max_a=2.0, q_abs_max_ah=4.0, temp_max_c=42.0)
# What only a programmer reads: battery 1 x cell_voltage_max_v.
INTERNAL = re.compile(r"\w_\w")


def test_no_limit_and_no_trip_shows_a_field_of_the_program() -> None:
    made = compute(EVERYTHING, [SUPPLY], STATION, PROFILE)
    assert len(made.limits) > 20
    for limit in made.limits:
        assert not INTERNAL.search(limit.source), limit.source
        beyond = limit.trip + 1.0 if limit.side == "max" else limit.trip - 1.0
        for measured in (beyond, None):
            reason = _reason(limit, measured, LimitMemory(), worst=False)
            assert not INTERNAL.search(reason.text), reason.text
    for problem in wider_than(made, [msgspec.structs.replace(SUPPLY, current_max_a=1.0, voltage_max_v=10.0)]):
        assert not INTERNAL.search(problem), problem


def test_a_trip_says_what_was_measured_what_it_may_be_and_who_says_so() -> None:
    made = compute(EVERYTHING, [SUPPLY], STATION, PROFILE)
    cell = next(each for each in made.limits if (each.quantity, each.side) == ("vcell1_v", "max"))
    assert _reason(cell, 4.25, LimitMemory(), worst=False).text == (
        "voltage of cell 1 4.25 V is above the trip limit of 4.21 V (the battery's highest cell voltage: 4.2 V)"
    )


@pytest.mark.parametrize(
    ("quantity", "name"),
    [
        ("vcell12_v", "voltage of cell 12"),
        ("cell_3_v", "voltage of cell 3"),
        ("temp2_c", "temperature of sensor 2"),
        ("pressure_pos_kpa", "pressure pos"),
        ("door_closed", "door closed"),
        ("v", "v"),
    ],
)
def test_a_stations_own_measures_have_names_too(quantity: str, name: str) -> None:
    assert words.name(quantity) == name
