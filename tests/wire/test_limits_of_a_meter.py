"""What a meter's accuracy means for the envelope of its station."""

from __future__ import annotations

import pytest

from wire import kinds
from wire.limits import device_limits

METER, CYCLER = kinds.get("bk-2831e"), kinds.get("epc")


def test_a_relative_accuracy_counts_at_what_the_stations_power_device_can_bring() -> None:
    alone = device_limits(METER, "meter", "meter")
    in_station = device_limits(METER, "meter", "meter", [CYCLER])
    # 3 mV and 0.03 % of the reading: of 1000 V on its own, of 5.1 V on a cell.
    assert alone.voltage_accuracy_v == pytest.approx(0.003 + 0.0003 * 1000.0)
    assert in_station.voltage_accuracy_v == pytest.approx(0.003 + 0.0003 * 5.1)


def test_a_source_and_a_load_count_with_the_larger_of_both() -> None:
    path = [kinds.get("ea-ps-2084-05-b"), kinds.get("rs-pro-kel103")]
    in_station = device_limits(METER, "meter", "meter", path)
    assert in_station.voltage_accuracy_v == pytest.approx(0.003 + 0.0003 * 120.0)


def test_a_power_device_keeps_its_own_accuracy() -> None:
    assert device_limits(CYCLER, "epc", "power", [CYCLER]) == device_limits(CYCLER, "epc", "power")
