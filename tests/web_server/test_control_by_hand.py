"""Rule 20 on the site: who takes control of what, within which limits; and Down, which needs neither."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags

from cycling import envelope
from tests.web_server import factories
from tests.web_server.api_lab import client_of
from web_server.accounts.models import AuditEntry, Person
from web_server.cells import services as cells
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.lab import control, holds, stops
from web_server.lab.models import Device, Station
from web_server.lib.errors import NotAllowed, Refused

TYPED = {
    "voltage_min_v": 2.5,
    "voltage_max_v": 4.2,
    "current_min_a": -1.0,
    "current_max_a": 1.0,
    "duration_s": 600.0,
}
RELAYS = "esp32-relay-board"


@pytest.fixture
def relays(station: Station) -> Device:
    return factories.make_device(station.unit, "r1", model=RELAYS)


def _done(command: Command, **result: Any) -> None:
    commands.close(command.uuid, "done", result)


def _held(by: Person, station: Station) -> str:
    command = control.lease(by, station, connected="other", **TYPED)
    _done(command)
    return str(command.args["lease"])


def test_with_a_battery_loaded_the_site_sends_that_batterys_envelope(small_lab: Any) -> None:
    args = control.lease(small_lab.operator, small_lab.station, connected="battery").args
    assert args["battery"] == str(small_lab.battery.uuid)
    assert envelope.sha256(args["envelope"]) == args["envelope_sha256"]
    limits = {(each.quantity, each.side): each.operating for each in envelope.parse(args["envelope"]).limits}
    assert limits["voltage_v", "max"] == 4.2
    assert limits["current_a", "min"] == -1.0


def test_a_loaded_battery_is_not_called_something_else(small_lab: Any) -> None:
    with pytest.raises(Refused, match="B1 is loaded in S1"):
        control.lease(small_lab.operator, small_lab.station, connected="other", **TYPED)
    with pytest.raises(Refused, match="limits of its own"):
        control.lease(small_lab.operator, small_lab.station, connected="battery", voltage_max_v=5.0)


def test_an_empty_station_holds_no_battery(station: Station, operator: Person) -> None:
    with pytest.raises(Refused, match="No battery is recorded"):
        control.lease(operator, station, connected="battery")


@pytest.mark.parametrize("left_out", TYPED)
def test_device_limits_alone_never_suffice(station: Station, operator: Person, left_out: str) -> None:
    typed = {name: given for name, given in TYPED.items() if name != left_out}
    with pytest.raises(Refused) as refused:
        control.lease(operator, station, **typed)
    assert [error["field"] for error in refused.value.errors] == [left_out]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"voltage_max_v": 11.0}, "outside what S1 can do"),
        ({"current_max_a": 6.0}, "outside what S1 can do"),
        ({"current_min_a": 0.5}, "zero or negative"),
        ({"voltage_min_v": 4.3}, "must be below"),
        ({"duration_s": 0.0}, "1 s to 8 h"),
        ({"duration_s": 1e6}, "1 s to 8 h"),
        ({"voltage_max_v": float("nan")}, "finite number"),
    ],
)
def test_typed_limits_that_make_no_sense_are_refused(
    station: Station, operator: Person, typed: dict[str, float], said: str
) -> None:
    with pytest.raises(Refused, match=said):
        control.lease(operator, station, **{**TYPED, **typed})
    assert not Command.objects.filter(kind="device.lease").exists()


def test_the_stations_own_wires_bound_what_is_typed(operator: Person) -> None:
    station = factories.make_station(factories.make_unit(), limits={"current_max_a": 0.5})
    with pytest.raises(Refused, match="outside what S1 can do"):
        control.lease(operator, station, **TYPED)


def test_viewers_take_nothing_and_switch_nothing_off(station: Station, viewer: Person) -> None:
    with pytest.raises(NotAllowed):
        control.lease(viewer, station, **TYPED)
    with pytest.raises(NotAllowed):
        control.down(viewer, station)


def test_a_running_station_is_not_taken_but_down_reaches_it(small_lab: Any) -> None:
    from tests.web_server import pages_lab

    experiment = factories.make_experiment(
        small_lab.battery, small_lab.profile, small_lab.station, by=small_lab.operator
    )
    pages_lab.run(small_lab.operator, experiment)
    station = Station.objects.get(pk=small_lab.station.pk)
    with pytest.raises(Refused, match="is running E1"):
        control.lease(small_lab.operator, station, connected="battery")
    command = control.down(small_lab.operator, station)
    assert (command.kind, command.urgent, command.expires_at) == ("device.off", True, None)
    assert command.experiment == experiment
    assert stops.of_station(station, stops.unconfirmed([station.unit_id])) == command
    _done(command, stopped=str(experiment.uuid))
    assert stops.of_station(station, stops.unconfirmed([station.unit_id])) is None


def test_a_relay_needs_a_duration_and_no_voltage(relays: Device, operator: Person) -> None:
    with pytest.raises(Refused, match="Give duration_s"):
        control.lease(operator, relays)
    args = control.lease(operator, relays, duration_s=60).args
    assert args["duration_s"] == 60
    assert "voltage_max_v" not in args
    assert args["where"]["model"] == RELAYS, "the unit learns which of its devices is meant"


def test_a_power_device_in_no_station_is_not_taken(station: Station, operator: Person) -> None:
    loose = factories.make_device(station.unit, "loose")
    with pytest.raises(Refused, match="compose a station with it"):
        control.lease(operator, loose, **TYPED)


def test_a_device_of_a_station_is_taken_with_its_station(station: Station, operator: Person) -> None:
    device = Device.objects.get(station=station)
    with pytest.raises(Refused, match="is part of S1; take S1"):
        control.lease(operator, device, **TYPED)


def test_who_holds_it_is_known_only_when_the_unit_said_so(station: Station, operator: Person) -> None:
    command = control.lease(operator, station, **TYPED)
    assert holds.now(station) is None
    _done(command)
    hold = holds.now(station)
    assert hold is not None
    assert (hold.person, str(hold.lease)) == (operator, command.args["lease"])


def test_a_lapsed_lease_holds_nothing(station: Station, operator: Person) -> None:
    _held(operator, station)
    holds.of(station).update(until=timezone.now())
    assert holds.now(station) is None


def test_renewing_repeats_the_terms_and_floods_neither_outbox_nor_trail(
    station: Station, operator: Person
) -> None:
    first = control.lease(operator, station, **TYPED)
    _done(first)
    for _ in range(5):
        renewal = control.lease(operator, station, lease=first.args["lease"])
        assert renewal.args == first.args
        _done(renewal)
    assert Command.objects.filter(kind="device.lease").count() <= 2
    assert Command.objects.filter(pk=first.pk).exists(), "who took it when stays"
    assert AuditEntry.objects.filter(act="command.device.lease").count() == 1


def test_another_person_does_not_renew_somebody_elses_lease(
    station: Station, operator: Person, manager: Person
) -> None:
    lease = _held(operator, station)
    with pytest.raises(Refused, match="has ended, or is somebody else's"):
        control.lease(manager, station, lease=lease)


def test_giving_back_and_down_end_the_hold(station: Station, operator: Person, manager: Person) -> None:
    lease = _held(operator, station)
    _done(control.lease(operator, station, lease=lease, release=True), released=True)
    assert holds.now(station) is None
    _held(operator, station)
    _done(control.down(manager, station), off=True)
    assert holds.now(station) is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mode": "cr"}, "mode is one of"),
        ({"mode": "cc"}, "cc needs current_a"),
        ({"mode": "cv", "current_a": 1.0}, "cv needs voltage_v"),
        ({"mode": "cc", "current_a": float("inf")}, "finite number"),
        ({"mode": "cc", "current_a": 1.0, "volts": 3}, "no field 'volts'"),
    ],
)
def test_set_points_of_a_power_device_are_checked(
    station: Station, operator: Person, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refused, match=said):
        control.set_values(operator, station, _held(operator, station), values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"relay_0": 2}, r"0 \(off\) or 1 \(on\)"),
        ({"relay_9": 1}, "has no control 'relay_9'"),
        ({"relay_0": "on"}, "finite number"),
        ({}, "at least one"),
    ],
)
def test_controls_are_checked_by_the_catalogue(
    relays: Device, operator: Person, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refused, match=said):
        control.set_values(operator, relays, "11111111-1111-4111-8111-111111111111", values)


def test_quarantined_batteries_are_not_driven_by_hand_either(small_lab: Any) -> None:
    type(small_lab.battery).objects.filter(pk=small_lab.battery.pk).update(quarantined=True)
    station = Station.objects.get(pk=small_lab.station.pk)
    with pytest.raises(Refused, match="quarantined"):
        control.lease(small_lab.operator, station, connected="battery")


@pytest.mark.parametrize(
    ("of", "columns", "words"),
    [
        ("station", {"max_energy_wh": 0.001}, "max_energy_wh"),
        ("station", {"max_hazard_level": 3}, "hazard level"),
        ("battery", {"energy_wh": 30.0}, "no sensor at the cell"),
    ],
)
def test_what_a_station_cannot_bear_in_a_test_it_cannot_by_hand(
    small_lab: Any, of: str, columns: dict[str, float], words: str
) -> None:
    row = getattr(small_lab, of)
    type(row).objects.filter(pk=row.pk).update(**columns)
    with pytest.raises(Refused, match=words):
        control.lease(small_lab.operator, Station.objects.get(pk=small_lab.station.pk), connected="battery")


# --- the same through the API ------------------------------------------------------------------------


def _post(by: Person, address: str, kind: str, **args: Any) -> Any:
    return client_of(by).post(f"/api/v1/{address}/commands/", {"kind": kind, "args": args}, format="json")


def test_the_api_takes_sets_and_switches_off(station: Station, operator: Person) -> None:
    address = f"stations/{station.uuid}"
    taken = _post(operator, address, "device.lease", **TYPED)
    assert taken.status_code == 201
    lease = taken.json()["args"]["lease"]
    set_ = _post(operator, address, "device.set", lease=lease, values={"mode": "cc", "current_a": 0.5})
    assert set_.status_code == 201
    assert set_.json()["args"]["person"] == "otto"
    assert _post(operator, address, "device.read").json()["args"]["device"]
    assert _post(operator, address, "device.off").json()["expires_at"] is None


@pytest.mark.parametrize(
    ("kind", "args", "field"),
    [
        ("device.lease", {"envelope": "{}"}, "args.envelope"),
        ("device.lease", {"person": "somebody else"}, "args.person"),
        ("device.set", {"values": {"mode": "off"}}, "args.lease"),
        ("device.set", {"lease": "11111111-1111-4111-8111-111111111111", "values": 1}, "args.values"),
        ("can.send", {"link": "can0", "id": 1, "payload": "0"}, "args.payload"),
        ("can.send", {"link": "can0", "id": -1}, "args.id"),
        ("can.listen", {"link": "can0", "seconds": 100}, "args.seconds"),
        ("scpi.query", {"text": "*IDN?"}, "args.link"),
        ("station.drill", {"seconds": 0}, "args.seconds"),
        ("station.battery", {}, "kind"),
        ("unit.readings", {}, "kind"),
    ],
)
def test_wrong_arguments_are_named(
    station: Station, manager: Person, kind: str, args: dict[str, Any], field: str
) -> None:
    answer = _post(manager, f"stations/{station.uuid}", kind, **args)
    assert answer.status_code == 400, answer.content
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert not Command.objects.exclude(kind="station.configure").exists()


@pytest.mark.parametrize(
    "kind", ["scpi.query", "scpi.write", "can.send", "can.listen", "unit.log", "unit.restart"]
)
def test_the_console_belongs_to_managers(
    station: Station, operator: Person, manager: Person, kind: str
) -> None:
    args: dict[str, Any] = {"link": "x"} if kind.startswith(("scpi", "can")) else {}
    args |= {"text": "*IDN?"} if kind.startswith("scpi") else {}
    args |= {"id": 0x130} if kind == "can.send" else {}
    address = f"units/{station.unit.uuid}"
    assert _post(operator, address, kind, **args).status_code == 403
    assert _post(manager, address, kind, **args).status_code == 201
    assert AuditEntry.objects.filter(act=f"command.{kind}").count() == 1


def test_listening_on_is_audited_once(station: Station, manager: Person) -> None:
    address = f"units/{station.unit.uuid}"
    for after in (None, 1, 2, 3):
        args = {"link": "can0", **({"after": after} if after else {})}
        made = _post(manager, address, "can.listen", **args)
        commands.close(made.json()["id"], "done", {"frames": [], "next": 4, "lost": 0})
    assert AuditEntry.objects.filter(act="command.can.listen").count() == 1
    assert Command.objects.filter(kind="can.listen").count() == 2


def test_a_device_of_another_unit_is_refused(station: Station, operator: Person) -> None:
    other = factories.make_device(factories.make_unit("unit 2"), "x", model=RELAYS)
    answer = _post(operator, f"units/{station.unit.uuid}", "device.off", device=str(other.uuid))
    assert answer.status_code == 400
    assert "is on unit 2" in answer.json()["errors"][0]["message"]


def test_cells_of_a_battery_are_not_ejected_by_taking_control(small_lab: Any) -> None:
    _done(control.lease(small_lab.operator, small_lab.station, connected="battery"))
    assert cells.Battery.objects.get(pk=small_lab.battery.pk).station == small_lab.station


# --- what the page says, and what a station made of its outputs --------------------------------------------


@pytest.fixture
def oven(station: Station, operator: Person) -> Station:
    """Return a station that composed a chamber's set point as an output of its own range and safe value."""
    chamber = factories.make_device(station.unit, "ch1", model="chamber-modbus-int16")
    power = factories.make_device(station.unit, "77")
    output = {"name": "oven", "device": str(chamber.uuid), "control": "set_point_c"}
    return factories.make_station(
        station.unit,
        name="Oven",
        devices=[{"device": power, "role": "power"}, {"device": chamber, "role": "auxiliary"}],
        outputs=[{**output, "minimum": 10.0, "maximum": 60.0, "safe": 25.0}],
        limits={"current_max_a": 2.0},
    )


def test_an_outputs_own_range_holds_by_hand(oven: Station, operator: Person) -> None:
    chamber = oven.devices.get(role="auxiliary").device
    lease = _held(operator, oven)
    with pytest.raises(Refused, match="at most 60 °C; got 70"):
        control.set_values(operator, oven, lease, {"set_point_c": 70.0}, chamber)
    assert control.set_values(operator, oven, lease, {"set_point_c": 60.0}, chamber).status == "queued"


def test_the_page_shows_what_the_station_composed_not_what_the_catalogue_has(
    oven: Station, operator: Person, client: Client
) -> None:
    client.force_login(operator)
    page = client.get(f"/stations/{oven.uuid}/control/").content.decode()
    said = " ".join(strip_tags(page).split())
    assert "output oven; 10 °C to 60 °C" in said
    assert "Down: 25 °C" in said
    assert "−5 A to 2 A; positive charges" in said
    # What drives the battery stands first.
    assert page.index('data-point="current_a"') < page.index('data-knob="set_point_c"')


def test_an_input_is_true_or_not_and_an_output_is_on_or_off(
    station: Station, operator: Person, client: Client
) -> None:
    coupler = factories.make_device(station.unit, "c1", model="modbus-io-coupler")
    client.force_login(operator)
    page = client.get(f"/devices/{coupler.uuid}/").content.decode()
    assert f'data-read="{coupler.uuid}:door_closed" data-unit="" data-switch="yes|no"' in page
    assert f'data-read="{coupler.uuid}:siren" data-unit="" data-switch="on|off"' in page
    assert f'data-read="{coupler.uuid}:life_count" data-unit=""' in page


def test_a_station_under_hand_is_not_called_nothing(
    station: Station, operator: Person, client: Client
) -> None:
    client.force_login(operator)
    assert "nothing is running" in client.get("/monitor/glance/").content.decode()
    _held(operator, station)
    line = client.get("/monitor/glance/").content.decode()
    assert "1 by hand" in line
    assert "nothing is running" not in line


def test_names_are_checked_where_they_are_typed_and_need_a_role(
    station: Station, manager: Person, client: Client
) -> None:
    relays = factories.make_device(station.unit, "r2", model=RELAYS)
    client.force_login(manager)
    typed = {"name": "New", "sensing": "4", f"output-{relays.uuid}-relay_0": "My Pump"}
    answer = client.post(f"/stations/new/?unit={station.unit.uuid}", typed)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "&#x27;My Pump&#x27; is no name" in page
    assert "choose its role" in page
    assert 'value="My Pump"' in page
