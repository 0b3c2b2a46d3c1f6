"""A unit's log, a device's period, a station's drill and outputs, on their pages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from tests.web_server import factories, pages_lab
from web_server.accounts.models import Person
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.lab import services
from web_server.lab.models import Station
from web_server.notices.models import Target

IN_USE = "a device is in use here"


@pytest.fixture
def lab(administrator: Person, client: Client) -> SimpleNamespace:
    client.force_login(administrator)
    return pages_lab.fill(administrator)


def _text(client: Client, address: str) -> str:
    return client.get(address).content.decode()


def test_the_log_is_asked_for_followed_and_shown(lab: SimpleNamespace, client: Client) -> None:
    address = f"/units/{lab.unit.uuid}/log/"
    assert "Nobody has asked yet" in _text(client, address)
    assert client.post(address, follow=True).status_code == 200
    asked = Command.objects.get(kind="unit.log")
    assert 'hx-trigger="load delay' in _text(client, address)
    commands.close(asked.uuid, "done", {"lines": ["12:00 INFO <began>", "12:01 WARNING late"], "levels": {}})
    page = _text(client, f"{address}lines/")
    assert "12:00 INFO &lt;began&gt;" in page
    assert "hx-trigger" not in page
    client.post(address)
    commands.close(Command.objects.filter(kind="unit.log").latest("id").uuid, "expired", None, "offline")
    page = _text(client, address)
    assert "did not tell: offline" in page
    assert "12:01 WARNING late" in page


def test_an_operator_reads_no_log(lab: SimpleNamespace, operator: Person, client: Client) -> None:
    client.force_login(operator)
    for address in (f"/units/{lab.unit.uuid}/log/", f"/units/{lab.unit.uuid}/log/lines/"):
        assert client.get(address).status_code == 403
        assert client.post(address).status_code == 403
    assert not Command.objects.filter(kind="unit.log").exists()


@pytest.mark.parametrize(("typed", "kept", "said"), [
    ("2,5", 2.5, "is recorded every 2.5 s"),
    ("", None, "is recorded every 10 s"),
    ("0.1", 4.0, "every 1 s to 1 h"),
    ("often", 4.0, "no number of seconds"),
    ("nan", 4.0, "every 1 s to 1 h"),
])  # fmt: skip
def test_the_period_of_recording_is_a_field(
    lab: SimpleNamespace, client: Client, typed: str, kept: float | None, said: str
) -> None:
    type(lab.relays).objects.filter(pk=lab.relays.pk).update(record_every_s=4.0)
    assert 'value="4.0"' in _text(client, f"/devices/{lab.relays.uuid}/")
    page = client.post(f"/devices/{lab.relays.uuid}/period/", {"record_every_s": typed}, follow=True)
    assert said in page.content.decode()
    lab.relays.refresh_from_db()
    assert lab.relays.record_every_s == kept


def test_links_in_use_are_one_line_and_other_reasons_stand_by_themselves(
    administrator: Person, lab: SimpleNamespace, client: Client
) -> None:
    links = [{"link": name, "outcome": "busy", "reason": IN_USE} for name in ("psb1", "psb2")]
    links.append({"link": "can0", "outcome": "failed", "reason": "no such interface"})
    command = services.detect(administrator, lab.unit)
    commands.close(command.uuid, "done", {"devices": 3, "links": links})
    page = _text(client, f"/units/{lab.unit.uuid}/devices/")
    assert "because they are in use: psb1, psb2." in page
    assert "can0: no such interface" in page


def test_a_running_station_offers_its_drill_and_an_idle_one_does_not(
    lab: SimpleNamespace, client: Client
) -> None:
    assert f"/experiments/{lab.experiment.uuid}/drill/" in _text(client, f"/stations/{lab.station.uuid}/")
    assert "/drill/" not in _text(client, f"/stations/{lab.tripped.uuid}/")


def test_outputs_say_on_and_off_and_their_unit(lab: SimpleNamespace, client: Client) -> None:
    station = factories.make_station(lab.unit, "Column")
    chamber = factories.make_device(lab.unit, "c1", model="chamber-modbus-int16")
    relays = factories.make_device(lab.unit, "r9", model="esp32-relay-board")
    for device in (chamber, relays):
        station.devices.create(device=device, role="auxiliary")
    outputs: list[dict[str, Any]] = [
        {"name": "pump", "device": str(relays.uuid), "control": "relay_0", "on_trip": 0.0, "on_finish": 1.0},
        {"name": "room", "device": str(chamber.uuid), "control": "set_point_c", "on_finish": 23.0},
    ]
    Station.objects.filter(pk=station.pk).update(outputs=outputs, output_values={"pump": 1.0})
    page = _text(client, f"/stations/{station.uuid}/")
    assert 'pump, on trip off, on finish on<span class="text-secondary">, now on</span>' in page
    assert "room, on finish 23 °C" in page


def test_the_system_page_says_when_something_tripped_and_nobody_is_told(
    lab: SimpleNamespace, client: Client
) -> None:
    assert "something tripped and nobody is told" in _text(client, "/system/")
    assert "Nobody is told of this" in _text(client, "/")
    Target.objects.create(name="somebody", way="webhook", shown="somewhere")
    assert "somebody is told of them" in _text(client, "/system/")
    assert "Nobody is told of this" not in _text(client, "/")
