"""What a unit refuses of a start by its own knowledge of the station: rules 1, 3, 14, 15 and outputs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cycler_unit import contract
from cycler_unit.contract import Refusal
from cycling import envelope
from cycling.check import load
from cycling.envelope import BatteryLimits, DeviceLimits, Envelope, StationLimits
from cycling.limits import find
from tests.cycler_unit.bench import BATTERY, CHARGE, REST, profile, start_message
from tests.cycling.invented import SUPPLY
from wire.limits import station_limits
from wire.messages import StationConfigure, StationDevice, StationMeasure, StationOutput

DISCHARGE = {**CHARGE, "current_a": -0.5}
LOAD = msgspec.structs.replace(SUPPLY, name="load", guards_discharge=False)


def agreed(
    station: StationLimits,
    *steps: dict[str, Any],
    device: DeviceLimits = SUPPLY,
    battery: BatteryLimits = BATTERY,
    spoil: Any = None,
    filed_for: StationLimits | None = None,
    energy_wh: float | None = 0.2,
) -> Envelope:
    """Return what the unit agrees to; raises its refusal. ``spoil`` changes the envelope on its way."""
    given = profile(*steps)
    found, _ = load(given)
    assert found is not None
    made = envelope.compute(battery, [device], filed_for or station, found.safety)
    text = envelope.canonical(made if spoil is None else spoil(made))
    start = start_message("S1", given, text=text)
    known = msgspec.structs.replace(start.battery, energy_wh=energy_wh)
    return contract.verify(msgspec.structs.replace(start, battery=known), [device], station).envelope


def refused(*args: Any, **more: Any) -> Refusal:
    """Return the refusal."""
    with pytest.raises(Refusal) as error:
        agreed(*args, **more)
    return error.value


def without(*quantities: str) -> Any:
    """Return what takes limits out of an envelope."""
    return lambda made: msgspec.structs.replace(
        made, limits=tuple(each for each in made.limits if each.quantity not in quantities)
    )


def test_what_the_site_computed_for_this_station_is_agreed() -> None:
    station = StationLimits(measures=("temperature_c", "vcell1_v"), outputs=("pump",))
    limits = agreed(station, CHARGE, {**REST, "outputs": {"pump": 1.0}})
    assert find(limits, "vcell1_v", "max") is not None


def test_an_envelope_without_a_charge_budget_is_refused() -> None:
    refusal = refused(StationLimits(), CHARGE, spoil=without("charge_one_way_ah"))
    assert refusal.rule == 2
    assert "nothing bounds the charge" in refusal.text


def test_an_envelope_that_forgets_a_cell_or_the_heating_is_refused() -> None:
    station = StationLimits(measures=("temperature_c", "vcell1_v"))
    assert "voltage of cell 1 has no limits" in refused(station, CHARGE, spoil=without("vcell1_v")).text
    assert (
        "limit on the temperature over ambient is missing"
        in refused(station, CHARGE, spoil=without("temperature_rise_k")).text
    )


def test_an_envelope_for_both_ways_is_refused_by_a_station_of_one() -> None:
    refusal = refused(StationLimits(quadrants="charge"), CHARGE, filed_for=StationLimits())
    assert refusal.rule == 2
    assert "the station only charges" in refusal.text


def test_a_step_the_other_way_is_refused_with_its_number() -> None:
    refusal = refused(StationLimits(quadrants="charge"), CHARGE, DISCHARGE)
    assert "step 2" in refusal.text


@pytest.mark.parametrize("energy_wh", [None, 20.0])
def test_an_unguarded_direction_is_refused_by_rule_3_for_a_large_battery(energy_wh: float | None) -> None:
    refusal = refused(
        StationLimits(unguarded_max_wh=0.1), CHARGE, DISCHARGE, device=LOAD, energy_wh=energy_wh
    )
    assert refusal.rule == 3
    assert "step 2" in refusal.text
    assert "Left alone, load does not end a discharge" in refusal.text


def test_a_dead_man_or_a_small_battery_lets_the_unguarded_direction_run() -> None:
    agreed(StationLimits(unguarded_max_wh=0.1, dead_man=True), DISCHARGE, device=LOAD, energy_wh=20.0)
    agreed(StationLimits(), DISCHARGE, device=LOAD, energy_wh=4.9)


def test_an_output_out_of_its_range_is_refused_and_latches_nothing() -> None:
    station = StationLimits(outputs=("pump",), output_ranges={"pump": (0.0, 50.0)})
    refusal = refused(station, {**REST, "outputs": {"pump": 60.0}})
    assert refusal.rule is None
    assert refused(station, {**REST, "outputs": {"lamp": 1.0}}).rule is None
    assert refused(StationLimits(), {**REST, "isolate": True}).rule is None


def test_a_station_is_the_same_to_site_and_unit() -> None:
    configure = StationConfigure(
        station="s", name="S1", version=1, quadrants="charge", leak_a=0.001, dead_man="relay", unguarded_max_wh=3.0,
        devices=[StationDevice(device="d", role="isolator", model="m", serial_number="", link={})],
        measures=[StationMeasure(device="d", measure="vcell1", name="vcell1_v")],
        outputs=[StationOutput(name="relay", device="d", control="relay_0", minimum=0.0, maximum=1.0)],
        limits={"voltage_max_v": 4.1, "store_max_v": 8.5, "isolator_max_v": 0.5, "store": "rack"},
    )  # fmt: skip
    assert station_limits(configure) == StationLimits(
        voltage_max_v=4.1, store_max_v=8.5, measures=("vcell1_v",), outputs=("relay",),
        output_ranges={"relay": (0.0, 1.0)}, isolator=True, quadrants="charge", leak_a=0.001, dead_man=True,
        unguarded_max_wh=3.0,
    )  # fmt: skip


def test_scan_eis_and_drive_tables_stay_refused() -> None:
    table = {"kind": "drive", "of": "current", "table": {"name": "wltp", "sha256": "0" * 64}}
    scan = {
        "kind": "scan",
        "from_v": 3.0,
        "to_v": 4.0,
        "rate_v_s": 0.001,
        "current_max_a": 0.5,
        "end": REST["end"],
    }
    for step in (table, scan):
        assert "cannot be run, not yet" in refused(StationLimits(), step).text


# --- rule 3: the device's own protections -------------------------------------------------------------


def test_protections_lie_one_step_outside_the_trips_and_never_beyond_the_absolute_limit() -> None:
    wide = msgspec.structs.replace(BATTERY, voltage_abs_max_v=4.5, voltage_abs_min_v=2.0)
    limits = agreed(StationLimits(), CHARGE, battery=wide)
    asked, trip = contract.protections(limits), trips(limits)
    volt, ampere = limits.resolution.voltage_v, limits.resolution.current_a
    assert volt > 0.0
    assert asked.voltage_max_v == pytest.approx(trip["voltage_v", "max"] + volt)
    assert asked.voltage_min_v == pytest.approx(trip["voltage_v", "min"] - volt)
    assert asked.charge_current_max_a == pytest.approx(trip["current_a", "max"] + ampere)
    assert asked.discharge_current_max_a == pytest.approx(-trip["current_a", "min"] + ampere)
    tight = msgspec.structs.replace(BATTERY, voltage_abs_max_v=4.305, voltage_abs_min_v=2.795)
    asked = contract.protections(agreed(StationLimits(), CHARGE, battery=tight))
    assert (asked.voltage_max_v, asked.voltage_min_v) == (4.305, 2.795)


def trips(limits: Envelope) -> dict[tuple[str, str], float]:
    """Return the trips by quantity and side."""
    return {(each.quantity, each.side): each.trip for each in limits.limits}
