"""Presence, heartbeats and devices: mirrored, answered, and offline when nothing is heard."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.mn_manager.conftest import Bridge, beat
from tests.web_server import factories
from web_server.commands.models import Command
from web_server.experiments.models import Alarm
from web_server.lab import configuration, presence
from web_server.lab.models import Device, DeviceModel, Station, Unit
from wire import messages
from wire.kinds import KINDS


def hello(online: bool = True, connection: str = "c2") -> messages.Presence:
    return messages.Presence(
        online=online,
        connection=connection,
        boot_id="b",
        version="0.1.0",
        since=datetime.now(UTC).isoformat(),
    )


def test_presence_makes_a_unit_online_with_its_connection(bridge: Bridge, station: Station) -> None:
    Unit.objects.update(online=False)
    bridge.unit_says(station.unit, "presence", hello())
    unit = Unit.objects.get()
    assert (unit.online, unit.connection, unit.version) == (True, "c2", "0.1.0")


def test_the_last_will_makes_unit_and_stations_offline(bridge: Bridge, station: Station) -> None:
    bridge.unit_says(station.unit, "presence", hello())
    bridge.unit_says(station.unit, "presence", hello(online=False))
    station.refresh_from_db()
    assert (Unit.objects.get().online, station.state) == (False, "offline")


def test_a_late_will_of_an_earlier_connection_changes_nothing(bridge: Bridge, station: Station) -> None:
    bridge.unit_says(station.unit, "presence", hello(connection="c2"))
    bridge.unit_says(station.unit, "presence", hello(online=False, connection="c1"))
    assert Unit.objects.get().online


def test_a_heartbeat_is_answered_with_contact_and_clock(bridge: Bridge, station: Station) -> None:
    told = beat(station)
    at = datetime.now(UTC) - timedelta(seconds=5)
    bridge.unit_says(station.unit, "heartbeat", told, at=at)
    ack = bridge.link.take("/acks")[0]
    assert ack["heard_sent_at"] == told.sent_at
    assert datetime.fromisoformat(ack["sent_at"]).tzinfo is not None
    assert Unit.objects.get().clock_skew_s == pytest.approx(5, abs=0.5)


def test_a_heartbeat_mirrors_what_stations_do(bridge: Bridge, station: Station) -> None:
    reading = messages.StationReading(voltage_v=3.7, current_a=0.0)
    bridge.unit_says(
        station.unit,
        "heartbeat",
        beat(
            station,
            state="tripped",
            alarm="6f2c1ad4-0a60-4d67-b9a5-8b7e4f1a2b3c",
            reading=reading,
            detail="4.31 V",
        ),
    )
    station.refresh_from_db()
    assert (station.state, station.state_detail, str(station.latched_alarm)[:4]) == (
        "tripped",
        "4.31 V",
        "6f2c",
    )
    assert station.reading == {"voltage_v": 3.7, "current_a": 0.0, "temperature_c": None}


def test_a_unit_not_heard_for_15_s_is_offline(bridge: Bridge, station: Station) -> None:
    bridge.unit_says(station.unit, "heartbeat", beat(station))
    now = datetime.now(UTC)
    assert presence.silent([station.unit.pk], now + timedelta(seconds=14)) == []
    assert presence.silent([station.unit.pk], now + timedelta(seconds=16)) == [station.unit]
    station.refresh_from_db()
    assert station.state == "offline"
    bridge.unit_says(station.unit, "heartbeat", beat(station))
    assert Unit.objects.get().online, "the next heartbeat brings it back"


def test_another_version_is_configured_once_while_idle_only(bridge: Bridge, station: Station) -> None:
    unit = station.unit
    bridge.unit_says(unit, "heartbeat", beat(station, version=9, state="running"))
    assert not Command.objects.exists()
    for _ in range(3):
        bridge.unit_says(unit, "heartbeat", beat(station, version=9))
    command = Command.objects.get()
    assert (command.kind, command.args["version"], command.args["station"]) == (
        "station.configure",
        station.version,
        str(station.uuid),
    )
    assert command.args["devices"][0]["role"] == "power"


def test_a_station_that_the_unit_does_not_know_is_configured(bridge: Bridge, station: Station) -> None:
    bridge.unit_says(station.unit, "heartbeat", msgspec.structs.replace(beat(station), stations=[]))
    assert Command.objects.get().kind == "station.configure"
    station.refresh_from_db()
    assert (station.unit_version, station.state) == (None, "offline")


def test_a_refused_composition_is_not_sent_with_every_heartbeat(bridge: Bridge, station: Station) -> None:
    bridge.unit_says(station.unit, "heartbeat", beat(station, version=9))
    Command.objects.update(status="refused")
    bridge.unit_says(station.unit, "heartbeat", beat(station, version=9))
    assert Command.objects.count() == 1


def test_a_unit_cannot_speak_for_the_station_of_another(bridge: Bridge, station: Station) -> None:
    stranger = factories.make_unit("stranger")
    bridge.leases.renew()
    bridge.unit_says(stranger, "heartbeat", beat(station, state="unsafe"))
    station.refresh_from_db()
    assert station.state == "idle"


def report(
    *devices: messages.ReportedDevice, kinds: list[dict[str, object]] | None = None
) -> messages.DeviceReport:
    return messages.DeviceReport(scanned_at="2026-01-01T00:00:00Z", devices=list(devices), kinds=kinds or [])


def supply(serial_number: str, model: str = factories.SUPPLY) -> messages.ReportedDevice:
    return messages.ReportedDevice(
        model=model, serial_number=serial_number, link_name="psb1", connected=True, link={"port": 5025}
    )


def test_reported_devices_become_rows_and_stay_when_they_are_gone(bridge: Bridge, station: Station) -> None:
    unit = station.unit
    before = Device.objects.count()
    bridge.unit_says(unit, "devices", report(supply("123"), supply("124")))
    bridge.unit_says(unit, "devices", report(supply("123")))
    assert Device.objects.count() == before + 2
    assert Device.objects.get(serial_number="123").link_settings == {"port": 5025}
    assert not Device.objects.get(serial_number="124").connected


def test_a_model_that_came_along_is_learnt_and_an_impossible_one_counted(
    bridge: Bridge, station: Station
) -> None:
    known = msgspec.to_builtins(KINDS[0])
    new = known | {"key": "own-build", "label": "Own build", "model": "OB1"}
    bridge.unit_says(
        station.unit,
        "devices",
        report(supply("9", "own-build"), supply("8", "never heard"), kinds=[new, {"key": 1}]),
    )
    assert DeviceModel.objects.get(key="own-build").source == "unit"
    assert Device.objects.get(serial_number="9").model.key == "own-build"
    assert bridge.counters.dropped["unusable"] == 2


def test_a_new_composition_is_sent_without_waiting_for_a_heartbeat(bridge: Bridge, station: Station) -> None:
    keys = [station.unit.pk]
    assert configuration.units_to_configure(keys) == []
    Station.objects.update(version=5)
    assert configuration.units_to_configure(keys) == [station.unit]
    command = configuration.send_where_different(station.unit)[0]
    bridge.unit_says(station.unit, "replies", messages.Reply(command=str(command.uuid), outcome="done"))
    assert configuration.units_to_configure(keys) == []
    assert configuration.send_where_different(station.unit) == []


def test_a_composition_that_the_heartbeat_still_contradicts_is_sent_again(
    bridge: Bridge, station: Station
) -> None:
    bridge.unit_says(station.unit, "heartbeat", beat(station, version=9))
    Command.objects.update(status="done", created_at=datetime.now(UTC) - timedelta(seconds=11))
    bridge.unit_says(station.unit, "heartbeat", beat(station, version=9))
    assert Command.objects.count() == 2


@pytest.mark.parametrize(
    ("latched", "asked", "state"),
    [(True, True, "raised"), (False, False, "raised"), (False, True, "acknowledged")],
)
def test_an_alarm_is_acknowledged_only_when_asked_for_and_released_by_the_unit(
    bridge: Bridge, station: Station, latched: bool, asked: bool, state: str
) -> None:
    now = datetime.now(UTC)
    alarm = Alarm.objects.create(
        station=station,
        unit=station.unit,
        code="limit",
        text="4.31 V",
        acknowledge_asked_at=now if asked else None,
    )
    latch = str(alarm.uuid) if latched else None
    bridge.unit_says(
        station.unit, "heartbeat", beat(station, state="tripped" if latched else "idle", alarm=latch)
    )
    alarm.refresh_from_db()
    assert alarm.state == state
