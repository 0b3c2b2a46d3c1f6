"""What units tell of their devices: reports, readings, progress; and what they are told about batteries."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from cycling import envelope
from tests.mn_manager.conftest import Bridge, beat, event
from tests.web_server import factories
from web_server.accounts.models import AuditEntry
from web_server.cells import services as cells
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.experiments.models import Event
from web_server.lab import services as lab
from web_server.lab.models import Device, Station
from web_server.lib.errors import NotAllowed, Refused
from web_server.measurements import readings
from web_server.measurements.models import DeviceReading
from wire import messages

Make = Callable[..., messages.EventBatch]


def device_of(station: Station) -> Device:
    """Return the station's power device."""
    return station.devices.get().device


def reading(device: Device | None = None, **more: Any) -> messages.Event:
    """Return a reading event as a unit sends it."""
    where: dict[str, Any] = {"model": "strange", "serial_number": "1", "link_name": "x"}
    if device is not None:
        where = {
            "model": device.model.key,
            "serial_number": device.serial_number,
            "link_name": device.link_name,
        }
    return event("reading", **{**where, "values": {"voltage_v": 3.7, "temperature_c": None}, **more})


# --- readings ---------------------------------------------------------------------------------------


def test_a_reading_is_stored_with_its_device_once_however_often_it_comes(
    bridge: Bridge, station: Station, events: Make
) -> None:
    device = device_of(station)
    batch = events(reading(device), reading(device))
    for _ in range(3):
        bridge.unit_says(station.unit, "events", batch)
    stored = DeviceReading.objects.filter(device=device)
    assert [row.values for row in stored] == [{"voltage_v": 3.7, "temperature_c": None}] * 2
    assert Event.objects.filter(kind="reading").count() == 0, "readings would drown the events"
    assert [ack["events"]["through"] for ack in bridge.link.take("/acks")] == [2, 2, 2]


def test_readings_and_other_events_share_one_numbering(
    bridge: Bridge, station: Station, events: Make
) -> None:
    device = device_of(station)
    bridge.unit_says(station.unit, "events", events(reading(device), event("note")))
    bridge.unit_says(station.unit, "events", events(reading(device)))
    bridge.unit_says(station.unit, "events", events(event("note")))
    assert (DeviceReading.objects.count(), Event.objects.filter(unit=station.unit).count()) == (2, 2)
    assert bridge.link.take("/acks")[-1]["events"]["through"] == 4


def test_a_reading_of_an_unknown_device_is_counted_and_keeps_its_number(
    bridge: Bridge, station: Station, events: Make
) -> None:
    bridge.unit_says(station.unit, "events", events(reading()))
    bridge.unit_says(station.unit, "events", events(event("note")))
    assert DeviceReading.objects.get().device is None
    assert bridge.link.take("/acks")[-1]["events"]["through"] == 2
    assert any("unknown device" in str(each) for each in bridge.counters.as_row().values())


def test_a_unit_cannot_write_into_another_units_device(
    bridge: Bridge, station: Station, events: Make
) -> None:
    other = factories.make_station(factories.make_unit("u2"), "S2")
    stolen = device_of(other)
    bridge.unit_says(station.unit, "events", events(reading(stolen), reading(device=None, device_=1)))
    bridge.unit_says(
        station.unit, "events", events(event("reading", device=str(stolen.uuid), values={"voltage_v": 1.0}))
    )
    assert not DeviceReading.objects.filter(device=stolen).exists()


@pytest.mark.parametrize(
    "values", [None, 3, {"voltage_v": "high"}, {"voltage_v": 1e300}, {"x" * 100: 1.0}, {"voltage_v": [1]}]
)
def test_what_is_no_number_is_left_out(bridge: Bridge, station: Station, events: Make, values: Any) -> None:
    bridge.unit_says(station.unit, "events", events(reading(device_of(station), values=values)))
    assert DeviceReading.objects.get().values == {}


def test_a_history_is_in_order_and_keeps_the_extremes(station: Station) -> None:
    device, begin = device_of(station), timezone.now()
    for n in range(400):
        value = 9.9 if n == 123 else -9.9 if n == 301 else 1.0
        DeviceReading.objects.create(
            device=device, unit=station.unit, spool=uuid.uuid4(), spool_seq=n,
            at=begin + timedelta(seconds=n), values={"voltage_v": value, "other": None},
        )  # fmt: skip
    found = readings.history(device, "voltage_v", points=50)
    assert len(found) <= 50
    assert [at for at, _ in found] == sorted(at for at, _ in found)
    assert {max(value for _, value in found), min(value for _, value in found)} == {9.9, -9.9}
    assert readings.history(device, "other") == []
    late = readings.history(device, "voltage_v", since=begin + timedelta(seconds=398))
    assert len(late) == 2
    newest = readings.latest(device)
    assert newest is not None
    assert newest.at == begin + timedelta(seconds=399)


# --- reports ----------------------------------------------------------------------------------------


def report(*devices: messages.ReportedDevice) -> messages.DeviceReport:
    """Return a device report."""
    return messages.DeviceReport(scanned_at="2026-01-01T00:00:00Z", devices=list(devices))


def told(device: Device, **more: Any) -> messages.ReportedDevice:
    """Return how a unit reports this device."""
    values: dict[str, Any] = {
        "model": device.model.key, "serial_number": device.serial_number, "link_name": device.link_name,
        "connected": True,
    }  # fmt: skip
    return messages.ReportedDevice(**{**values, **more})


def test_a_device_nobody_knows_is_kept_with_what_it_answered(bridge: Bridge, station: Station) -> None:
    stranger = messages.ReportedDevice(
        model="", serial_number="7", link_name="left", connected=True, answered="Acme,Toaster,7"
    )
    bridge.unit_says(station.unit, "devices", report(told(device_of(station)), stranger))
    station.unit.refresh_from_db()
    (shown,) = station.unit.unknown_devices
    assert (shown["link_name"], shown["answered"]) == ("left", "Acme,Toaster,7")
    assert station.unit.devices.count() == 1
    bridge.unit_says(station.unit, "devices", report(told(device_of(station))))
    station.unit.refresh_from_db()
    assert station.unit.unknown_devices == []


def test_a_device_that_disappeared_says_since_when_until_it_is_back(bridge: Bridge, station: Station) -> None:
    device = device_of(station)
    since = "2026-03-04T05:06:07+00:00"
    bridge.unit_says(station.unit, "devices", report(told(device, connected=False, since=since)))
    device.refresh_from_db()
    assert (device.connected, device.gone_since) == (False, datetime.fromisoformat(since))
    bridge.unit_says(
        station.unit, "devices", report(told(device, connected=False, since="2026-04-01T00:00:00Z"))
    )
    device.refresh_from_db()
    assert device.gone_since == datetime.fromisoformat(since), "the first time counts"
    bridge.unit_says(station.unit, "devices", report(told(device)))
    device.refresh_from_db()
    assert (device.connected, device.gone_since) == (True, None)
    bridge.unit_says(station.unit, "devices", report())
    device.refresh_from_db()
    assert not device.connected
    assert device.gone_since is not None


def test_a_heartbeat_says_who_holds_a_station_and_what_its_outputs_are(
    bridge: Bridge, station: Station
) -> None:
    lease = str(uuid.uuid4())
    bridge.unit_says(
        station.unit, "heartbeat", beat(station, state="manual", lease=lease, outputs={"pump": 1.0})
    )
    station.refresh_from_db()
    assert (station.state, station.lease, station.output_values) == ("manual", lease, {"pump": 1.0})
    bridge.unit_says(station.unit, "heartbeat", beat(station))
    station.refresh_from_db()
    assert (station.lease, station.output_values) == ("", {})


# --- progress ---------------------------------------------------------------------------------------


def test_a_long_command_shows_how_far_it_is_until_it_is_closed(
    bridge: Bridge, station: Station, events: Make
) -> None:
    command = lab.detect(factories.make_person("mia", "manager"), station.unit)
    for done in (10, 60):
        told_of = event("progress", command=str(command.uuid), done=done, of=100)
        bridge.unit_says(station.unit, "events", events(told_of))
    command.refresh_from_db()
    assert command.progress == {"done": 60, "of": 100, "text": "it happened"}
    commands.close(command.uuid, "done", {"devices": 1})
    bridge.unit_says(
        station.unit,
        "events",
        events(event("progress", command=str(command.uuid), done=70, of=100, text="late")),
    )
    command.refresh_from_db()
    assert command.progress == {"done": 100, "of": 100, "text": ""}, "done is done, whatever comes late"


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"command": "x", "done": 1, "of": 2},
        {"done": "1", "of": 2},
        {"done": 3, "of": 2},
        {"done": -1, "of": 2},
    ],
)
def test_a_malformed_progress_changes_nothing(
    bridge: Bridge, station: Station, events: Make, detail: dict[str, Any]
) -> None:
    command = lab.detect(factories.make_person("mia", "manager"), station.unit)
    bridge.unit_says(
        station.unit, "events", events(event("progress", **{"command": str(command.uuid), **detail}))
    )
    command.refresh_from_db()
    assert command.progress is None


# --- the battery that is loaded ---------------------------------------------------------------------


def batteries_told(bridge: Bridge) -> list[dict[str, Any]]:
    """Return the ``station.battery`` commands that go out now."""
    bridge.receive.watching.send_where_different(bridge.leases.keys())
    bridge.dispatch.look_around()
    bridge.dispatch.send_new()
    return [each for each in bridge.link.take("/commands") if each["kind"] == "station.battery"]


def reply(bridge: Bridge, station: Station, command: dict[str, Any], outcome: str = "done") -> None:
    """Let the unit answer."""
    bridge.unit_says(
        station.unit,
        "replies",
        messages.Reply(command=command["id"], outcome=outcome),  # type: ignore[arg-type]
    )


@pytest.fixture
def here(bridge: Bridge, station: Station) -> Station:
    """A station that its unit has and reports as empty."""
    bridge.unit_says(station.unit, "heartbeat", beat(station))
    station.refresh_from_db()
    return station


def test_loading_and_ejecting_is_told_to_the_unit_with_the_batterys_limits(
    bridge: Bridge, here: Station
) -> None:
    assert batteries_told(bridge) == []
    battery = cells.load(None, factories.make_battery(), here)
    (command,) = batteries_told(bridge)
    args = command["args"]
    assert (args["station"], args["battery"]["battery"]) == (str(here.uuid), str(battery.uuid))
    assert envelope.sha256(args["envelope"]) == args["envelope_sha256"]
    assert any(limit.quantity == "voltage_v" for limit in envelope.parse(args["envelope"]).limits)
    assert batteries_told(bridge) == [], "one at a time"
    reply(bridge, here, command)
    bridge.unit_says(here.unit, "heartbeat", beat(here, battery=str(battery.uuid)))
    assert batteries_told(bridge) == []
    cells.eject(None, battery)
    (command,) = batteries_told(bridge)
    assert command["args"].get("battery") is None


def test_it_is_told_again_while_the_heartbeat_differs(bridge: Bridge, here: Station) -> None:
    battery = cells.load(None, factories.make_battery(), here)
    (command,) = batteries_told(bridge)
    reply(bridge, here, command)
    # The unit has lost it: its state folder was replaced, for example.
    bridge.unit_says(here.unit, "heartbeat", beat(here))
    (again,) = batteries_told(bridge)
    assert again["args"]["battery"]["battery"] == str(battery.uuid)


def test_nothing_is_started_while_the_unit_still_watches_another_battery(
    bridge: Bridge, here: Station
) -> None:
    """The unit would refuse it, and the experiment would come back into the queue."""
    first, second = factories.make_battery(), factories.make_battery(name="the next one")
    cells.load(None, first, here)
    (command,) = batteries_told(bridge)
    reply(bridge, here, command)
    watching = bridge.receive.watching
    assert not watching.has_another(Station.objects.get(pk=here.pk))
    cells.eject(None, first)
    cells.load(None, second, here)
    assert watching.has_another(Station.objects.get(pk=here.pk))
    (command,) = batteries_told(bridge)
    reply(bridge, here, command)
    assert not watching.has_another(Station.objects.get(pk=here.pk))


def test_changed_limits_are_told_without_a_new_load(bridge: Bridge, here: Station) -> None:
    battery = cells.load(None, factories.make_battery(), here)
    (command,) = batteries_told(bridge)
    reply(bridge, here, command)
    type(battery).objects.filter(pk=battery.pk).update(cell_voltage_max_v=4.1)
    (changed,) = batteries_told(bridge)
    assert changed["args"]["envelope_sha256"] != command["args"]["envelope_sha256"]


def test_a_refusal_is_not_repeated_at_once(bridge: Bridge, here: Station) -> None:
    cells.load(None, factories.make_battery(), here)
    (command,) = batteries_told(bridge)
    reply(bridge, here, command, "refused")
    assert batteries_told(bridge) == []
    Command.objects.filter(kind="station.battery").update(created_at=timezone.now() - timedelta(minutes=1))
    assert len(batteries_told(bridge)) == 1


def test_a_battery_of_unknown_capacity_is_watched_too(bridge: Bridge, here: Station) -> None:
    # A redox stack's capacity is its electrolyte's, which no field of the battery holds.
    battery = factories.make_battery(
        technology="redox_stack", lithium=None, energy_wh=1.0,
        redox_stack={"electrode_size_cm2": 10.0, "electrode_composition": "carbon", "bipolar_type": "plate",
                     "membrane_type": "x", "electrolyte_type": "y"},
    )  # fmt: skip
    assert battery.capacity_ah is None
    cells.load(None, battery, here)
    (command,) = batteries_told(bridge)
    assert envelope.parse(command["args"]["envelope"]).limits


# --- who may, and what is recorded --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "args", "role"),
    [
        ("scpi.query", {"link": "a", "text": "*IDN?"}, "manager"),
        ("scpi.write", {"link": "a", "text": "OUTP OFF"}, "manager"),
        ("can.send", {"link": "a", "id": 0x131, "payload": "00"}, "manager"),
        ("can.listen", {"link": "a"}, "manager"),
        ("unit.log", {}, "manager"),
        ("unit.restart", {}, "manager"),
        ("device.read", {}, "operator"),
        ("device.set", {"lease": "l", "values": {"duty": 1.0}}, "operator"),
        ("device.lease", {"lease": "l", "person": "p"}, "operator"),
        ("device.off", {}, "operator"),
        ("detect", {}, "operator"),
    ],
)
def test_each_command_needs_its_role_and_is_in_the_audit_trail(
    station: Station, kind: str, args: dict[str, Any], role: str
) -> None:
    below = {"manager": "operator", "operator": "viewer"}[role]
    if kind.startswith("device."):
        args = {**args, "device": str(device_of(station).uuid)}
    with pytest.raises(NotAllowed):
        commands.request(kind, args, station.unit, by=factories.make_person("low", below))
    person = factories.make_person("high", role)
    command = commands.request(kind, args, station.unit, by=person)
    assert AuditEntry.objects.filter(act=f"command.{kind}", person=person).exists()
    assert command.urgent == (kind == "device.off")


@pytest.mark.parametrize(
    ("kind", "args", "told"),
    [
        ("scpi.write", {"link": "a", "text": "OUTP OFF"}, {"link": "a", "text": "OUTP OFF"}),
        (
            "can.send",
            {"link": "a", "id": 0, "payload": "08", "force": True},
            {"id": 0, "payload": "08", "force": True},
        ),
        ("device.set", {"lease": "secret", "values": {"duty": 1.0}}, {"values": {"duty": 1.0}}),
        ("device.lease", {"lease": "secret", "person": "p", "duration_s": 60.0}, {"duration_s": 60.0}),
    ],
)
def test_the_audit_trail_tells_what_was_sent(
    station: Station, kind: str, args: dict[str, Any], told: dict[str, Any]
) -> None:
    device = device_of(station)
    if kind.startswith("device."):
        args, told = {**args, "device": str(device.uuid)}, {**told, "where": places_of(device)}
    person = factories.make_person("ada", "manager")
    command = commands.request(kind, args, station.unit, by=person)
    entry = AuditEntry.objects.get(act=f"command.{kind}")
    assert entry.detail["command"] == str(command.uuid)
    assert {name: entry.detail[name] for name in told} == told
    assert "secret" not in str(entry.detail), "who reads the trail does not hold the device"


def places_of(device: Device) -> dict[str, str]:
    """Return how a unit knows a device."""
    return {
        "model": device.model.key,
        "serial_number": device.serial_number,
        "link_name": device.link_name,
    }


def test_a_command_names_the_device_as_its_unit_knows_it(station: Station) -> None:
    device = device_of(station)
    by = factories.make_person("otto", "operator")
    command = commands.request("device.read", {"device": str(device.uuid)}, station.unit, by=by)
    assert command.args["where"] == {
        "model": device.model.key, "serial_number": device.serial_number, "link_name": device.link_name,
    }  # fmt: skip


@pytest.mark.parametrize("named", ["nonsense", "6f0d1a52-5d0f-4f7c-9a53-0c4f5f8f2f11", None])
def test_a_device_that_the_unit_does_not_have_is_refused(station: Station, named: str | None) -> None:
    with pytest.raises(Refused):
        commands.request(
            "device.read",
            {"device": named} if named else {},
            station.unit,
            by=factories.make_person("otto", "operator"),
        )


def test_a_period_is_told_to_the_unit_and_waits_until_it_is_there(bridge: Bridge, station: Station) -> None:
    device = device_of(station)
    lab.record_every(factories.make_person("otto", "operator"), device, 30.0)
    command = Command.objects.get(kind="unit.readings")
    assert command.expires_at is None
    assert command.args["periods"][0]["every_s"] == 30.0
    assert command.args["periods"][0]["where"]["serial_number"] == device.serial_number
