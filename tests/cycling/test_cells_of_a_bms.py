"""Safety rule 1 for cells that a BMS watches, and rule 14 for the store that channels share."""

from __future__ import annotations

import msgspec
import pytest

from cycling.contract import Limit
from cycling.envelope import Envelope, StationLimits, compute
from cycling.interpreter import Interpreter
from cycling.limits import find
from cycling.reasons import quarantines
from cycling.sensors import cell_temperatures, cell_voltages
from cycling.steps import Safety
from tests.cycling.invented import CELL, SUPPLY, feed, profile, reading, rest, running

PACK = msgspec.structs.replace(CELL, cells_in_series=3, voltage_abs_min_v=6.0, voltage_abs_max_v=12.9)
BMS = ("vcell1_v", "vcell2_v", "vcell3_v")
ACCURATE = {"vcell1_v": 3.7, "vcell2_v": 3.7, "vcell3_v": 3.7}


def envelope(**more: object) -> Envelope:
    """Return the envelope of three cells under a BMS."""
    battery = msgspec.structs.replace(PACK, **more)
    return compute(battery, [SUPPLY], StationLimits(measures=BMS), Safety())


def limit(name: str, side: str, made: Envelope | None = None) -> Limit:
    """Return a limit that must be there."""
    found = find(made or envelope(), name, "max" if side == "max" else "min")
    assert found is not None
    return found


def tripped(**cells: float | None) -> str | None:
    """Return by what three readings trip."""
    readings = [reading(n + 1.0, 11.1, on=False, **{**ACCURATE, **cells}) for n in range(3)]
    last = feed(Interpreter(profile(rest(1e6)), envelope(), 5.0), readings)[-1]
    return last.end_reason.quantity if last.action == "violation" and last.end_reason else None


def test_each_cell_has_the_batterys_cell_limits() -> None:
    for name in BMS:
        assert (limit(name, "max").operating, limit(name, "max").trip) == (4.2, pytest.approx(4.21))
        assert (limit(name, "min").operating, limit(name, "min").trip) == (2.5, pytest.approx(2.49))


def test_a_pack_limit_is_shared_among_the_cells_and_the_absolute_limit_caps_the_trip() -> None:
    made = envelope(
        cell_voltage_max_v=None,
        cell_voltage_min_v=None,
        voltage_max_v=12.3,
        voltage_min_v=8.4,
        voltage_abs_max_v=12.309,
    )
    assert limit("vcell1_v", "max", made).operating == pytest.approx(4.1)
    assert limit("vcell1_v", "max", made).trip == pytest.approx(4.103)
    assert limit("vcell1_v", "min", made).operating == pytest.approx(2.8)


def test_a_coarse_bms_trips_by_its_own_accuracy() -> None:
    bms = msgspec.structs.replace(SUPPLY, name="bms", measures="none", cell_voltage_accuracy_v=0.025)
    made = compute(PACK, [SUPPLY, bms], StationLimits(measures=BMS), Safety())
    assert limit("vcell2_v", "max", made).trip == pytest.approx(4.225)


def test_one_cell_beyond_its_limit_trips_though_the_pack_is_fine() -> None:
    assert tripped() is None
    assert tripped(vcell2_v=4.25, vcell1_v=3.9) == "vcell2_v"
    assert tripped(vcell3_v=2.4, vcell1_v=2.6, vcell2_v=2.6) == "vcell3_v"


def test_a_silent_bms_is_a_violation() -> None:
    assert tripped(vcell1_v=None) == "vcell1_v"


def test_cells_too_far_apart_trip() -> None:
    assert tripped(vcell1_v=3.3, vcell3_v=3.75) is None
    assert tripped(vcell1_v=3.2, vcell3_v=3.8) == "cell_spread_v"
    assert limit("cell_spread_v", "max", envelope(cell_spread_max_v=0.1)).operating == 0.1


def test_names_tell_cells_from_the_rest() -> None:
    names = ["vcell1_v", "cell_12_v", "pack_cell_3_v", "vstack_v", "cell_current_a", "cellar_c", "VCELL2_V"]
    assert cell_voltages(names) == ["vcell1_v", "cell_12_v", "pack_cell_3_v", "VCELL2_V"]
    degrees = [
        "temperature_c",
        "temp1_c",
        "temperature_2_c",
        "cell_temp_c",
        "temp_body_c",
        "ambient_c",
        "pcb_temp_c",
    ]
    assert cell_temperatures(degrees) == ["temperature_c", "temp1_c", "temperature_2_c", "cell_temp_c"]


@pytest.mark.parametrize(
    ("quantity", "hurt"),
    [
        ("voltage_v", True),
        ("temperature_c", True),
        ("temperature_rise_k", True),
        ("temperature_slope_k_min", True),
        ("temp3_c", True),
        ("charge_one_way_ah", True),
        ("charge_net_abs_ah", True),
        ("cell_spread_v", True),
        ("vcell1_v", True),
        ("current_a", False),
        ("power_w", False),
        ("flow", False),
    ],
)
def test_what_hurts_a_battery_quarantines_it(quantity: str, hurt: bool) -> None:
    assert quarantines("limit", quantity) is hurt
    assert quarantines("draining", quantity) is hurt, "also one that left its limits with no test"
    assert quarantines("missing", quantity) is False
    assert quarantines("sense", quantity) is False


def test_the_voltage_of_a_shared_store_is_a_limit_of_the_channel() -> None:
    epc = msgspec.structs.replace(SUPPLY, store_voltage_min_v=6.0, store_voltage_max_v=8.5)
    station = StationLimits(measures=("hs_voltage_v",), store_max_v=8.0)
    made = compute(CELL, [epc], station, Safety())
    high, low = limit("hs_voltage_v", "max", made), limit("hs_voltage_v", "min", made)
    assert (high.trip, high.source, low.trip) == (
        8.0,
        "the station's highest voltage of the energy store",
        6.0,
    )
    readings = [reading(n + 1.0, on=False, hs_voltage_v=8.2) for n in range(3)]
    last = feed(running(profile(rest(1e6)), made), readings)[-1]
    assert last.end_reason is not None
    assert last.end_reason.quantity == "hs_voltage_v"
