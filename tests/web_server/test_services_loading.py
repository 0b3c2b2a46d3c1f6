"""Loading by scanner: what a code means, what the voltage at rest says, and undo."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from tests.web_server import factories
from web_server.accounts.models import Person
from web_server.cells import loading
from web_server.cells import services as cells
from web_server.cells.models import Battery
from web_server.commands import services as commands
from web_server.lab.models import Station, Unit
from web_server.lib.errors import NotAllowed, Refused


def test_a_code_is_a_barcode_first_then_a_serial_number_a_name_or_an_id(station: Station) -> None:
    Station.objects.filter(pk=station.pk).update(barcode="H-1")
    battery = factories.make_battery("B1", barcode="C-1", serial_number="SN-7")
    for code in ("C-1", " C-1 ", "SN-7", "B1", str(battery.uuid)):
        assert loading.scanned(code) == battery
    for code in ("H-1", "S1", str(station.uuid)):
        assert loading.scanned(code) == station
    other = factories.make_battery("SN-7", barcode="S1")
    assert loading.scanned("S1") == other


@pytest.mark.parametrize(
    ("code", "said"),
    [("", "Nothing was scanned"), ("nobody", "Nothing here has the code"), ("x" * 300, "300")],
)
def test_a_code_of_nothing_is_said(code: str, said: str, station: Station) -> None:
    with pytest.raises(Refused, match=said):
        loading.scanned(code)


def test_a_code_of_two_things_is_said_with_both(station: Station) -> None:
    factories.make_battery("B1", serial_number="7", manufacturer="A")
    factories.make_battery("B2", serial_number="7", manufacturer="B")
    with pytest.raises(Refused, match="more than one thing: B1 and B2"):
        loading.scanned("7")


def test_what_is_retired_has_no_code(operator: Person, station: Station) -> None:
    cells.retire(operator, factories.make_battery("B1", barcode="C-1"))
    with pytest.raises(Refused, match="Nothing here"):
        loading.scanned("C-1")


@pytest.mark.parametrize(
    ("volts", "rest", "level", "said"),
    [
        (3.70, None, "success", "inside the limits"),
        (3.72, 3.70, "success", "as expected"),
        (3.80, 3.70, "warning", "rested at 3.700 V last"),
        (4.35, 3.70, "error", "outside B1's limits"),
        (0.01, 3.70, "error", "empty"),
        (-3.70, 3.70, "error", "reversed"),
    ],
)
def test_the_voltage_at_rest_is_compared_with_the_expected(
    db: None, volts: float, rest: float | None, level: str, said: str
) -> None:
    battery = factories.make_battery()
    battery.last_rest_voltage_v = rest
    verdict = loading.judge(battery, volts)
    assert (verdict.level, verdict.voltage_v) == (level, volts)
    assert said in verdict.text


def test_the_unit_is_asked_and_its_answer_judged(small_lab: SimpleNamespace) -> None:
    command = loading.ask_voltage(small_lab.operator, small_lab.battery)
    device = small_lab.station.devices.get().device
    assert (command.kind, command.args["device"]) == ("device.read", str(device.uuid))
    closed = commands.close(command.uuid, "done", {"values": {"voltage_v": 3.701}})
    assert closed is not None
    assert loading.verdict(small_lab.battery, closed).voltage_v == 3.701


def test_without_an_answer_the_stations_own_fresh_reading_counts(small_lab: SimpleNamespace) -> None:
    command = loading.ask_voltage(small_lab.operator, small_lab.battery)
    closed = commands.close(command.uuid, "refused", reason="the station has it")
    assert closed is not None
    assert "the station has it" in loading.verdict(small_lab.battery, closed).text

    def reads(at: Any) -> Battery:
        Station.objects.filter(pk=small_lab.station.pk).update(reading={"voltage_v": 3.69}, reading_at=at)
        return Battery.objects.select_related("station").get(pk=small_lab.battery.pk)

    before = reads(small_lab.battery.loaded_at - timedelta(seconds=1))
    assert loading.verdict(before, closed).voltage_v is None
    assert loading.verdict(reads(timezone.now()), closed).voltage_v == 3.69


def test_an_offline_unit_is_said(small_lab: SimpleNamespace) -> None:
    Unit.objects.update(online=False)
    battery = Battery.objects.select_related("station__unit").get()
    with pytest.raises(Refused, match="S1 is offline"):
        loading.ask_voltage(small_lab.operator, battery)


def test_an_undo_is_for_that_station_and_soon_after(small_lab: SimpleNamespace) -> None:
    second = factories.make_station(small_lab.unit, "S2")
    with pytest.raises(Refused, match="not in S2"):
        loading.undo(small_lab.operator, small_lab.battery, second)
    Battery.objects.update(loaded_at=timezone.now() - timedelta(hours=2))
    with pytest.raises(Refused, match="more than an hour ago"):
        loading.undo(small_lab.operator, small_lab.battery, small_lab.station)
    Battery.objects.update(loaded_at=timezone.now())
    assert loading.undo(small_lab.operator, small_lab.battery, small_lab.station).station is None


def test_viewers_undo_nothing(small_lab: SimpleNamespace, viewer: Person) -> None:
    with pytest.raises(NotAllowed):
        loading.undo(viewer, small_lab.battery, small_lab.station)
    with pytest.raises(NotAllowed):
        loading.ask_voltage(viewer, small_lab.battery)
