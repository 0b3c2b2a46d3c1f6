"""The envelope: battery with devices with station with profile (safety.md rules 1 and 2)."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest

from cycling.envelope import (
    BatteryLimits,
    DeviceLimits,
    Envelope,
    EnvelopeError,
    Limit,
    StationLimits,
    canonical,
    compute,
    parse,
    sha256,
    unwatched,
    wider_than,
)
from cycling.limits import find
from cycling.steps import MeasureLimit, Safety
from tests.cycling.invented import CELL, SUPPLY, envelope


def limit(made: Envelope, quantity: str, side: str, when: str = "always") -> Limit:
    """Return a limit that must be there."""
    found = find(made, quantity, "max" if side == "max" else "min", when)
    assert found is not None
    return found


def problems(*parts: object) -> str:
    """Return why these parts leave no envelope."""
    with pytest.raises(EnvelopeError) as error:
        compute(*parts)  # type: ignore[arg-type]
    return " | ".join(error.value.problems)


def test_the_tightest_giver_wins_and_is_named() -> None:
    station = StationLimits(voltage_max_v=4.15, current_max_a=3.0)
    made = compute(CELL, [SUPPLY], station, Safety(v_min_v=2.8, i_min_a=-2.0))
    assert limit(made, "voltage_v", "max").operating == 4.15
    assert limit(made, "voltage_v", "max").source == "the station's highest voltage"
    assert limit(made, "voltage_v", "min").source == "the profile's lowest voltage"
    assert limit(made, "current_a", "max").operating == 3.0
    assert limit(made, "current_a", "min").operating == -2.0
    assert limit(made, "power_w", "max").source == "largest charge power of device supply"


def test_a_profile_cannot_widen_anything() -> None:
    made = envelope(Safety(v_max_v=5.0, v_min_v=0.0, i_max_a=50.0, i_min_a=-50.0))
    assert limit(made, "voltage_v", "max").operating == 4.2
    assert limit(made, "voltage_v", "min").operating == 2.5
    assert limit(made, "current_a", "max").operating == 10.0
    assert limit(made, "current_a", "min").operating == -20.0


@pytest.mark.parametrize(
    ("device", "cells", "margin_v"),
    [
        (msgspec.structs.replace(SUPPLY, voltage_accuracy_v=0.0, voltage_resolution_v=0.0), 1, 0.010),
        (msgspec.structs.replace(SUPPLY, voltage_accuracy_v=0.0), 4, 0.040),
        (msgspec.structs.replace(SUPPLY, voltage_accuracy_v=0.018, voltage_resolution_v=0.002), 1, 0.020),
    ],
)
def test_a_voltage_trips_outside_by_accuracy_or_10_mv_per_cell(
    device: DeviceLimits, cells: int, margin_v: float
) -> None:
    battery = BatteryLimits(
        cells_in_series=cells,
        cell_voltage_min_v=2.5,
        cell_voltage_max_v=4.2,
        current_min_a=-1.0,
        current_max_a=1.0,
        capacity_ah=1.0,
    )
    made = compute(battery, [device], StationLimits(), Safety())
    assert limit(made, "voltage_v", "max").trip == pytest.approx(4.2 * cells + margin_v)
    assert limit(made, "voltage_v", "min").trip == pytest.approx(2.5 * cells - margin_v)


def test_a_current_trips_outside_by_half_a_percent_of_the_range() -> None:
    coarse = msgspec.structs.replace(SUPPLY, current_accuracy_a=0.0, current_resolution_a=0.0)
    made = envelope(device=coarse)
    assert limit(made, "current_a", "max").trip == pytest.approx(10.0 + 0.3)
    fine = msgspec.structs.replace(SUPPLY, current_accuracy_a=0.5, current_resolution_a=0.1)
    assert limit(envelope(device=fine), "current_a", "min").trip == pytest.approx(-20.0 - 0.6)


def test_a_trip_never_lies_beyond_the_absolute_limit() -> None:
    battery = msgspec.structs.replace(CELL, voltage_abs_max_v=4.205, voltage_abs_min_v=2.5)
    made = envelope(battery=battery)
    assert limit(made, "voltage_v", "max").trip == 4.205
    assert limit(made, "voltage_v", "min").trip == 2.5
    assert limit(made, "voltage_v", "max").absolute == 4.205


def test_an_operating_limit_beyond_the_absolute_one_is_refused() -> None:
    battery = msgspec.structs.replace(CELL, voltage_abs_max_v=4.1)
    assert "beyond the battery's absolute highest voltage, 4.1 V" in problems(
        battery, [SUPPLY], StationLimits(), Safety()
    )


def test_a_pack_is_limited_by_its_cells_and_by_itself() -> None:
    battery = msgspec.structs.replace(CELL, cells_in_series=4, voltage_abs_min_v=None, voltage_abs_max_v=None)
    made = envelope(battery=battery)
    assert limit(made, "voltage_v", "max").operating == pytest.approx(16.8)
    tighter = msgspec.structs.replace(battery, voltage_max_v=16.0, voltage_min_v=8.0)
    made = envelope(battery=tighter)
    assert limit(made, "voltage_v", "max").operating == 16.0
    assert limit(made, "voltage_v", "min").operating == pytest.approx(10.0)


def test_one_missing_voltage_limit_is_taken_from_the_other_and_both_missing_are_refused() -> None:
    only_pack = BatteryLimits(
        cells_in_series=6,
        voltage_min_v=10.5,
        voltage_max_v=14.4,
        current_min_a=-5.0,
        current_max_a=2.0,
        capacity_ah=7.0,
    )
    assert limit(envelope(battery=only_pack), "voltage_v", "max").operating == 14.4
    neither = BatteryLimits(voltage_max_v=4.2, current_min_a=-1.0, current_max_a=1.0)
    text = problems(neither, [SUPPLY], StationLimits(), Safety())
    assert "neither a lowest voltage (voltage_min_v) nor a lowest cell voltage (cell_voltage_min_v)" in text


def test_an_empty_intersection_names_the_limit_and_both_givers() -> None:
    text = problems(CELL, [SUPPLY], StationLimits(voltage_max_v=3.0), Safety(v_min_v=3.2))
    assert "at least 3.2 V (the profile's lowest voltage)" in text
    assert "at most 3 V (the station's highest voltage)" in text


def test_every_problem_is_collected() -> None:
    text = problems(
        BatteryLimits(voltage_max_v=4.2, current_max_a=-1.0), [], StationLimits(), Safety(temp_max_c=40.0)
    )
    for words in ("no device", "voltage_min_v", "excludes 0", "no measure temperature_c"):
        assert words in text


def test_not_a_number_is_refused_and_named() -> None:
    text = problems(CELL, [SUPPLY], StationLimits(voltage_max_v=float("nan")), Safety())
    assert "station voltage_max_v is not a number" in text


def test_a_source_and_a_load_take_turns() -> None:
    source = DeviceLimits(name="source", voltage_max_v=60.0, current_min_a=0.0, current_max_a=5.0)
    load = DeviceLimits(name="load", voltage_max_v=80.0, current_min_a=-8.0, current_max_a=0.0)
    made = compute(CELL, [source, load], StationLimits(), Safety())
    assert limit(made, "current_a", "max").operating == 5.0
    assert limit(made, "current_a", "min").operating == -8.0


def test_a_meter_with_a_small_shunt_limits_the_current() -> None:
    meter = DeviceLimits(name="meter", measures="meter", current_min_a=-3.0, current_max_a=3.0)
    made = compute(CELL, [SUPPLY, meter], StationLimits(), Safety())
    assert limit(made, "current_a", "max").source == "largest charge current of device meter"


def test_the_devices_own_cutoff_is_a_limit() -> None:
    device = msgspec.structs.replace(SUPPLY, discharge_cutoff_v=2.75)
    assert limit(envelope(device=device), "voltage_v", "min").operating == 2.75


def test_temperature_has_a_limit_of_its_own_while_charging() -> None:
    battery = msgspec.structs.replace(
        CELL, temperature_max_c=60.0, temperature_min_c=-20.0, charge_temperature_max_c=45.0
    )
    made = envelope(battery=battery, measures=("temperature_c",))
    assert limit(made, "temperature_c", "max").trip == 62.0
    assert limit(made, "temperature_c", "max", "charge").trip == 47.0
    assert find(made, "temperature_c", "min", "charge") is None


def test_without_a_sensor_the_batterys_temperature_is_named_as_unwatched() -> None:
    battery = msgspec.structs.replace(CELL, temperature_max_c=60.0)
    assert find(envelope(battery=battery), "temperature_c", "max") is None
    assert unwatched(battery, StationLimits()) == ["temperature_max_c"]
    assert unwatched(battery, StationLimits(measures=("temperature_c",))) == []


def test_extended_measures_are_limited_by_name() -> None:
    safety = Safety(measures=[MeasureLimit(name="flow", min=40, delay_s=5, frozen_s=10, when="current")])
    found = limit(envelope(safety, measures=("flow",)), "flow", "min", "current")
    assert (found.operating, found.trip, found.delay_s, found.frozen_s) == (40.0, 40.0, 5.0, 10.0)
    assert "flow: the station has no such measure" in problems(CELL, [SUPPLY], StationLimits(), safety)


def test_the_canonical_text_is_sorted_without_nulls_and_reads_back() -> None:
    made = envelope(Safety(run_max_s=100, q_abs_max_ah=5, delay_s=1))
    text = canonical(made)
    assert parse(text) == made
    assert canonical(parse(text)) == text
    assert "null" not in text
    assert json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")) == text
    assert sha256(text) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("{", '{"unknown":1,', 1),
        lambda text: text[:-1],
        lambda text: text.replace("envelope/1", "envelope/2") if "envelope/1" in text else text + " ",
        lambda text: "[" * 100_000,
        lambda text: "",
    ],
)
def test_a_text_that_is_not_canonical_is_refused(spoil: object) -> None:
    with pytest.raises(EnvelopeError):
        parse(spoil(canonical(envelope())))  # type: ignore[operator]


def test_a_unit_refuses_limits_wider_than_its_devices() -> None:
    made = envelope()
    assert wider_than(made, [SUPPLY]) == []
    smaller = msgspec.structs.replace(SUPPLY, voltage_max_v=4.0, current_max_a=1.0)
    text = " ".join(wider_than(made, [smaller]))
    assert "highest voltage of 4.2 V is wider than highest voltage of device supply, 4 V" in text
    assert "largest charge current of 10 A is wider" in text


def test_a_unit_refuses_a_missing_limit_and_a_late_trip() -> None:
    made = envelope()
    without = msgspec.structs.replace(made, limits=made.limits[1:])
    assert "highest voltage is missing" in " ".join(wider_than(without, [SUPPLY]))
    late = msgspec.structs.replace(made.limits[0], trip=4.29)
    text = " ".join(wider_than(msgspec.structs.replace(made, limits=(late, *made.limits[1:])), [SUPPLY]))
    assert "highest voltage trips 0.09 V outside; this unit allows 0." in text
    beyond = msgspec.structs.replace(made.limits[0], trip=4.4)
    text = " ".join(wider_than(msgspec.structs.replace(made, limits=(beyond, *made.limits[1:])), [SUPPLY]))
    assert "beyond the battery's absolute limit" in text


def test_a_coarse_temperature_sensor_trips_by_its_own_accuracy_and_step() -> None:
    battery = msgspec.structs.replace(CELL, temperature_max_c=60.0)
    monitor = DeviceLimits(
        name="bms", measures="none", temperature_accuracy_c=3.0, temperature_resolution_c=1.0
    )
    made = compute(battery, [SUPPLY, monitor], StationLimits(measures=("temperature_c",)), Safety())
    assert limit(made, "temperature_c", "max").trip == 64.0


def test_a_meters_voltage_range_is_a_limit() -> None:
    meter = DeviceLimits(name="meter", measures="meter", voltage_max_v=4.0, voltage_min_v=-4.0)
    made = compute(CELL, [SUPPLY, meter], StationLimits(), Safety())
    found = limit(made, "voltage_v", "max")
    assert (found.operating, found.source) == (4.0, "highest voltage of device meter")


def test_a_contract_of_another_format_is_refused() -> None:
    other = canonical(msgspec.structs.replace(envelope(), format="envelope/2"))
    with pytest.raises(EnvelopeError, match="unknown format 'envelope/2'"):
        parse(other)
