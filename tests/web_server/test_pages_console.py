"""What the console's page offers: text links by device, CAN buses by their own names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.web_server import factories
from web_server.accounts.models import Person
from web_server.lab.models import Device, DeviceModel, Unit
from web_server.lab.views.console import bus_of, links_of

pytestmark = pytest.mark.django_db


def on_can(unit: Unit, serial_number: str, place: str) -> None:
    Device.objects.create(
        unit=unit,
        model=DeviceModel.objects.get(key="epc"),
        serial_number=serial_number,
        link_name=place,
        link=json.dumps({"kind": "can"}),
        connected=True,
    )


def test_a_can_bus_is_offered_once_by_its_own_name(client: Any, manager: Person) -> None:
    unit = factories.make_unit()
    on_can(unit, "41", "CAN node 0x13")
    on_can(unit, "42", "CAN node 0x14")
    on_can(unit, "43", "left bench node 0x13")
    factories.make_device(unit, "7")
    unit.unknown_devices = [
        {"link_name": "CAN node 0x66", "link": {"kind": "can"}, "answered": "id 0x661: 00"}
    ]
    unit.save()
    found = {each["name"]: each for each in links_of(unit) if each["kind"] == "can"}
    assert list(found) == ["CAN", "left bench"]
    assert "41" in found["CAN"]["who"]
    assert "42" in found["CAN"]["who"]
    assert "id 0x661" in found["CAN"]["who"]
    client.force_login(manager)
    page = client.get(f"/units/{unit.uuid}/console/").content.decode()
    assert 'name="link" list="can-links" autocomplete="off" required value="CAN"' in page
    assert '<option value="TCPIP::127.0.0.1::7::SOCKET">' in page


@pytest.mark.parametrize(
    ("place", "bus"),
    [
        ("CAN node 0x13", "CAN"),
        ("CAN unit 4", "CAN"),
        ("node 0x12 rack node 0x3F", "node 0x12 rack"),
        ("my unit", "my unit"),
    ],
)
def test_the_bus_of_a_place_is_what_stands_before_its_address(place: str, bus: str) -> None:
    assert bus_of(place) == bus
