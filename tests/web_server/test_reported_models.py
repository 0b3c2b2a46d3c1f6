"""Models that a unit describes and the site did not know: here a cell monitor with other words."""

from __future__ import annotations

import msgspec
import pytest

from tests.web_server import factories
from web_server.lab import detected
from web_server.lab.models import Device, DeviceModel
from wire.kinds import bms
from wire.messages import DeviceReport, ReportedDevice

pytestmark = pytest.mark.django_db

WIDE = [f"vcell{n}" for n in range(1, 26)] + ["vstack", "-", "temp1", "temp2", "pres1"]


def test_a_monitor_with_other_words_can_be_recorded_and_bound_by_its_own_measures() -> None:
    unit = factories.make_unit()
    kind = bms.with_words(WIDE)
    told = ReportedDevice(
        model=kind.key,
        serial_number="260",
        link_name="CAN unit 4",
        connected=True,
        link={"kind": "can", "unit": 4, "words": WIDE},
    )
    rows = [msgspec.to_builtins(kind)]
    assert (
        detected.report(unit, DeviceReport(scanned_at="2026-01-01T00:00:00Z", devices=[told], kinds=rows))
        == []
    )
    model = DeviceModel.objects.get(key=kind.key)
    assert (model.role, model.label) == ("bms", "BMS plak cell monitor (CAN), 25 cells, 2 temperatures")
    assert {"vcell25_v", "temp2_c", "status"} <= set(model.measure_names)
    assert "pres2_mbar" not in model.measure_names
    assert Device.objects.get(unit=unit).link_settings["words"] == WIDE
