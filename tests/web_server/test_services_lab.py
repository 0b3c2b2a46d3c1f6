"""Units are approved, stations composed in versions, outputs stopped; each by the right person."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from tests.web_server import factories
from web_server.accounts.models import Person
from web_server.commands.models import Command
from web_server.experiments import services as experiments
from web_server.experiments.models import Alarm
from web_server.lab import catalogue, composition, services, stops
from web_server.lab.models import Device, DeviceModel, EnrolToken, Station, Unit
from web_server.lib.errors import NotAllowed, Refused
from wire.kinds import KINDS

# --- catalogue --------------------------------------------------------------------------------


def test_migrating_seeds_the_catalogue(db: None) -> None:
    assert set(DeviceModel.objects.values_list("key", flat=True)) >= {kind.key for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.key)
def test_a_row_gives_back_the_very_kind(db: None, kind: Any) -> None:
    assert catalogue.kind_of(DeviceModel.objects.get(key=kind.key)) == kind


def test_seeding_again_repairs_a_row_and_adds_none(db: None) -> None:
    before = DeviceModel.objects.count()
    DeviceModel.objects.filter(key=factories.SUPPLY).update(current_max_a=500)
    catalogue.seed()
    assert DeviceModel.objects.count() == before
    assert DeviceModel.objects.get(key=factories.SUPPLY).current_max_a == 5.0


def test_a_unit_teaches_new_models_but_never_changes_ours(db: None) -> None:
    import msgspec

    ours = msgspec.to_builtins(KINDS[0]) | {"current_max_a": 9999.0}
    new = msgspec.to_builtins(KINDS[0]) | {"key": "other", "label": "Other", "model": "X"}
    problems = catalogue.learn([ours, new, {"key": "broken"}])
    assert DeviceModel.objects.get(key=KINDS[0].key).current_max_a == KINDS[0].current_max_a
    assert DeviceModel.objects.get(key="other").source == "unit"
    assert len(problems) == 1
    assert "broken" in problems[0]


# --- units ------------------------------------------------------------------------------------


def test_a_manager_approves_a_pending_unit(manager: Person, operator: Person) -> None:
    unit = factories.make_unit(approved=False)
    assert unit.status == "pending"
    with pytest.raises(NotAllowed):
        services.approve(operator, unit)
    services.approve(manager, unit)
    assert (unit.status, unit.approved_by) == ("online", manager)


def test_a_one_time_token_approves_one_unit_once(manager: Person) -> None:
    token, secret = services.issue_enrol_token(manager, note="rack 3")
    first, second = (factories.make_unit(name, approved=False) for name in ("a", "b"))
    assert secret not in str(EnrolToken.objects.filter(pk=token.pk).values().get())
    assert not services.redeem_enrol_token("wrong", first)
    assert services.redeem_enrol_token(secret, first)
    assert first.approved
    assert not services.redeem_enrol_token(secret, second)
    assert not second.approved


def test_an_old_token_approves_nobody(manager: Person) -> None:
    token, secret = services.issue_enrol_token(manager)
    EnrolToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert not services.redeem_enrol_token(secret, factories.make_unit(approved=False))


def test_a_unit_is_retired_after_its_stations(station: Station, manager: Person) -> None:
    with pytest.raises(Refused, match="S1 is composed"):
        services.retire_unit(manager, station.unit)
    services.retire_station(manager, station)
    assert services.retire_unit(manager, station.unit).status == "retired"


# --- composing --------------------------------------------------------------------------------


def test_a_composed_station_holds_its_devices_and_has_a_first_version(manager: Person) -> None:
    unit = factories.make_unit()
    device = factories.make_device(unit)
    station = services.compose_station(
        manager,
        unit=str(unit.uuid),
        name="S1",
        location="Room 1",
        devices=[{"device": str(device.uuid), "role": "power"}],
        limits={"current_max_a": 3.0},
    )
    device.refresh_from_db()
    version = station.versions.get()
    assert device.station == station
    assert (station.version, version.number, version.parent) == (1, 1, None)
    assert json.loads(version.definition)["limits"] == {"current_max_a": 3.0}


def test_a_change_is_the_next_version_with_the_old_one_as_its_parent(
    station: Station, manager: Person
) -> None:
    old = station.versions.get()
    services.compose_station(manager, station=station, limits={"current_max_a": 2.0})
    station.refresh_from_db()
    new = station.versions.get(number=2)
    assert (station.version, new.parent, station.parent) == (2, old, old)
    assert "limits" not in json.loads(old.definition)


def test_a_description_makes_no_version(station: Station, manager: Person) -> None:
    services.compose_station(manager, station=station, location="Room 2", last_defence="fuse 10 A")
    station.refresh_from_db()
    assert (station.version, station.location) == (1, "Room 2")


def test_the_configuration_is_what_the_unit_needs(station: Station) -> None:
    sent = composition.configuration(station)
    [device] = sent.devices
    assert (sent.station, sent.version) == (str(station.uuid), 1)
    assert (device.model, device.role, device.link) == (factories.SUPPLY, "power", {"kind": "visa"})


def _body(unit: Unit, **body: Any) -> dict[str, Any]:
    devices = body.pop("devices", None) or [{"device": factories.make_device(unit, "77"), "role": "power"}]
    return {"unit": unit, "name": "S9", "devices": devices, **body}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": ""}, "Give it a name"),
        ({"sensing": 3}, "2 \\(two-wire\\)"),
        ({"loop_period_s": 0.001}, "0.01 to 10 s"),
        ({"limits": {"volts": 3}}, "no field 'volts'"),
        (
            {"limits": {"voltage_min_v": 5, "voltage_max_v": 4}},
            "voltage_min_v \\(5\\) must be below voltage_max_v",
        ),
        ({"outputs": [{"name": "Pump 1"}]}, "is no name"),
        ({"outputs": [{"name": "pump"}, {"name": "pump"}]}, "twice"),
        ({"devices": ["x"]}, "objects with device, role"),
        ({"devices": [{"device": "nonsense", "role": "power"}]}, "no device 'nonsense'"),
        ({"colour": "red"}, "no field 'colour'"),
    ],
)
def test_wrong_compositions_are_refused_with_their_reason(
    manager: Person, body: dict[str, Any], said: str
) -> None:
    unit = factories.make_unit()
    with pytest.raises(Refused, match=said):
        services.compose_station(manager, **_body(unit, **body))
    assert not Station.objects.exists()
    assert not Device.objects.exclude(station=None).exists()


def test_a_device_is_in_one_station(station: Station, manager: Person) -> None:
    used = station.used_devices.get()
    with pytest.raises(Refused, match="used by S1 already"):
        services.compose_station(manager, **_body(station.unit, devices=[{"device": used, "role": "power"}]))


def test_a_station_has_devices_of_one_unit(station: Station, manager: Person) -> None:
    foreign = factories.make_device(factories.make_unit("unit 2"))
    with pytest.raises(Refused, match="devices of one unit only"):
        services.compose_station(
            manager, **_body(station.unit, devices=[{"device": foreign, "role": "power"}])
        )


def test_a_station_needs_something_that_drives(manager: Person) -> None:
    unit = factories.make_unit()
    entry = {"device": factories.make_device(unit), "role": "meter"}
    with pytest.raises(Refused, match="role power"):
        services.compose_station(manager, **_body(unit, devices=[entry]))


def test_one_device_drives_a_station(manager: Person) -> None:
    unit = factories.make_unit()
    both = [{"device": factories.make_device(unit, serial), "role": "power"} for serial in ("1", "2")]
    with pytest.raises(Refused, match="a source and a load, one of each"):
        services.compose_station(manager, **_body(unit, devices=both))


def test_measures_are_named_by_the_station(manager: Person) -> None:
    unit = factories.make_unit()
    device = factories.make_device(unit)
    devices = [{"device": device, "role": "power"}]

    def compose(**measure: str) -> Station:
        return services.compose_station(
            manager, unit=unit, name="S1", devices=devices, measures=[{"device": device, **measure}]
        )

    with pytest.raises(Refused, match="does not measure 'pressure'; it offers"):
        compose(measure="pressure", name="p")
    with pytest.raises(Refused, match="column of every sample"):
        compose(measure="power_w", name="voltage_v")
    with pytest.raises(Refused, match="is no name"):
        compose(measure="power_w", name="Power!")
    station = compose(measure="power_w", name="supply_power_w")
    row = station.measures.get()
    assert (row.name, row.unit_of_measure) == ("supply_power_w", "W")
    assert composition.limits_of_station(station).measures == ("supply_power_w",)


def test_a_freed_device_can_be_used_again(station: Station, manager: Person) -> None:
    old = station.used_devices.get()
    new = factories.make_device(station.unit, "88")
    services.compose_station(manager, station=station, devices=[{"device": new, "role": "power"}])
    other = services.compose_station(
        manager, **_body(station.unit, devices=[{"device": old, "role": "power"}])
    )
    assert other.used_devices.get() == old


def test_nothing_is_composed_while_it_runs(small_lab: SimpleNamespace, manager: Person) -> None:
    factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station)
    experiments.start_next(small_lab.station)
    with pytest.raises(Refused, match="running E1"):
        services.compose_station(manager, station=small_lab.station, limits={"current_max_a": 2.0})


@pytest.mark.parametrize("state", ["running", "paused", "manual", "unsafe"])
def test_nothing_is_composed_while_the_unit_uses_it(station: Station, manager: Person, state: str) -> None:
    Station.objects.filter(pk=station.pk).update(state=state)
    with pytest.raises(Refused, match=state):
        services.compose_station(manager, station=station, limits={})


def test_operators_compose_nothing(operator: Person) -> None:
    with pytest.raises(NotAllowed):
        services.compose_station(operator, **_body(factories.make_unit()))


def test_retiring_frees_devices_and_refuses_what_is_used(small_lab: SimpleNamespace, manager: Person) -> None:
    from web_server.cells import services as cells

    with pytest.raises(Refused, match="holds B1"):
        services.retire_station(manager, small_lab.station)
    cells.eject(manager, small_lab.battery)
    queued = factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station)
    with pytest.raises(Refused, match="queued"):
        services.retire_station(manager, small_lab.station)
    experiments.cancel(manager, queued)
    retired = services.retire_station(manager, small_lab.station)
    assert not Device.objects.exclude(station=None).exists()
    assert retired.version == 2
    assert composition.configuration(retired).retired


# --- stop all, acknowledge --------------------------------------------------------------------


def test_stop_all_is_one_urgent_command_per_unit(station: Station, operator: Person) -> None:
    second = factories.make_station(station.unit, "S2")
    other = factories.make_station(factories.make_unit("unit 2"), "S3")
    commands = services.stop_all(operator)
    assert {command.unit for command in commands} == {station.unit, other.unit}
    assert all(command.urgent and command.expires_at is None for command in commands)
    [together] = [command for command in commands if command.unit == station.unit]
    assert together.args == {}, "whatever the unit has, also what people hold in no station"
    assert stops.of_station(second, [together]) == together


def test_stop_all_of_a_set_leaves_the_others(station: Station, operator: Person) -> None:
    factories.make_station(factories.make_unit("unit 2"), "S3")
    [command] = services.stop_all(operator, [station])
    assert (command.unit, command.station) == (station.unit, station)


def test_a_viewer_stops_and_acknowledges_nothing(station: Station, viewer: Person) -> None:
    alarm = Alarm.objects.create(station=station, code="voltage", text="4.3 V")
    with pytest.raises(NotAllowed):
        services.stop_all(viewer)
    with pytest.raises(NotAllowed):
        services.acknowledge(viewer, alarm)
    assert not Command.objects.exists()


def test_an_alarm_without_a_latch_is_acknowledged_at_once(operator: Person) -> None:
    alarm = Alarm.objects.create(code="unit_lost", text="unit 1 is away")
    assert services.acknowledge(operator, alarm) is None
    alarm.refresh_from_db()
    assert (alarm.state, alarm.acknowledged_by) == ("acknowledged", operator)
    with pytest.raises(Refused, match="acknowledged already"):
        services.acknowledge(operator, alarm)
