"""Zones with interlocks, several devices in one station, and models that people add."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from tests.web_server import factories
from tests.web_server.api_lab import client_of
from web_server.accounts.models import Person
from web_server.lab import composition, model_form, services
from web_server.lab.models import Device, DeviceModel, Station, Unit
from web_server.lib.errors import NotAllowed, Refused
from web_server.measurements.models import DeviceReading
from wire.kinds import KINDS

COUPLER, RELAYS, BASE = "modbus-io-coupler", "esp32-relay-board", "ea-psb-10060-60"


@pytest.fixture
def unit(db: None) -> Unit:
    return factories.make_unit()


@pytest.fixture
def coupler(unit: Unit) -> Device:
    return factories.make_device(unit, "c1", model=COUPLER)


def _zone(by: Person | None, unit: Unit, coupler: Device, **body: Any) -> Any:
    given = {
        "name": "Room 1",
        "interlocks": [{"name": "door", "device": str(coupler.uuid), "measure": "door_closed"}],
        "outputs": [{"name": "siren", "device": str(coupler.uuid), "control": "siren", "on_trip": 1}],
    }
    return services.save_zone(by, unit=unit, **{**given, **body})


# --- zones --------------------------------------------------------------------------------------------


def test_a_zone_reaches_the_unit_with_its_stations(unit: Unit, coupler: Device, manager: Person) -> None:
    zone = _zone(manager, unit, coupler)
    station = factories.make_station(unit, zone=zone)
    sent = composition.configuration(station).zone
    assert sent is not None
    assert [lock.measure for lock in sent.interlocks] == ["door_closed"]
    assert [device.device for device in sent.devices] == [str(coupler.uuid)]


def test_a_changed_zone_is_a_next_version_of_its_stations(
    unit: Unit, coupler: Device, manager: Person
) -> None:
    zone = _zone(manager, unit, coupler)
    inside, outside = factories.make_station(unit, zone=zone), factories.make_station(unit, "S2")
    services.save_zone(manager, zone=zone, max_age_s=1.0)
    services.save_zone(manager, zone=zone, max_age_s=1.0)
    inside.refresh_from_db()
    outside.refresh_from_db()
    assert (inside.version, outside.version) == (2, 1)


@pytest.mark.parametrize(
    ("part", "entry", "said"),
    [
        ("interlocks", {"name": "Door", "measure": "door_closed"}, "is no name"),
        ("interlocks", {"name": "door", "measure": "window"}, "does not measure 'window'"),
        ("interlocks", {"name": "door", "measure": "door_closed", "ok": 3}, "ok is 1"),
        ("outputs", {"name": "siren", "control": "siren"}, "lacks on_trip"),
        ("outputs", {"name": "siren", "control": "horn", "on_trip": 1}, "has no control 'horn'"),
        ("outputs", {"name": "siren", "control": "siren", "on_trip": 5}, "is 0 or 1"),
    ],
)
def test_wrong_zones_are_refused(
    unit: Unit, coupler: Device, manager: Person, part: str, entry: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refused, match=said):
        _zone(manager, unit, coupler, **{part: [{**entry, "device": str(coupler.uuid)}]})


def test_a_device_guards_one_zone_and_is_in_no_station(unit: Unit, coupler: Device, manager: Person) -> None:
    _zone(manager, unit, coupler)
    with pytest.raises(Refused, match="guards the zone Room 1"):
        _zone(manager, unit, coupler, name="Room 2")
    devices = [
        {"device": factories.make_device(unit, "p"), "role": "power"},
        {"device": coupler, "role": "auxiliary"},
    ]
    with pytest.raises(Refused, match="guards the zone Room 1"):
        factories.make_station(unit, devices=devices)


def test_a_zone_with_stations_stays(unit: Unit, coupler: Device, manager: Person, operator: Person) -> None:
    zone = _zone(manager, unit, coupler)
    station = factories.make_station(unit, zone=zone)
    with pytest.raises(Refused, match="S1 is in Room 1"):
        services.remove_zone(manager, zone)
    services.compose_station(manager, station=station, zone=None)
    services.remove_zone(manager, zone)
    coupler.refresh_from_db()
    assert coupler.zone is None
    with pytest.raises(NotAllowed):
        services.save_zone(operator, unit=unit, name="x")


def test_a_zone_is_stopped_as_one(unit: Unit, coupler: Device, manager: Person, operator: Person) -> None:
    zone = _zone(manager, unit, coupler)
    inside = factories.make_station(unit, zone=zone)
    factories.make_station(unit, "S2")
    [command] = services.stop_all(operator, zone=zone)
    assert command.args["stations"] == [str(inside.uuid)]
    answer = client_of(operator).post("/api/v1/stations/stop-all/", {"zone": str(zone.uuid)}, format="json")
    assert answer.json()[0]["args"]["stations"] == [str(inside.uuid)]


# --- several devices ------------------------------------------------------------------------------------


def _composed(unit: Unit, serial: str = "p", **body: Any) -> Station:
    relays = Device.objects.get(model__key=RELAYS)
    devices = [
        {"device": factories.make_device(unit, serial), "role": "power"},
        {"device": relays, "role": "isolator"},
    ]
    return factories.make_station(unit, devices=devices, **body)


@pytest.fixture
def relays(unit: Unit) -> Device:
    return factories.make_device(unit, "r1", model=RELAYS)


def test_source_and_load_drive_one_battery(unit: Unit) -> None:
    devices = [
        {"device": factories.make_device(unit, "1", model="ea-ps-2084-05-b"), "role": "power"},
        {"device": factories.make_device(unit, "2", model="ea-el-9080-170-b"), "role": "power"},
    ]
    station = factories.make_station(unit, devices=devices, quadrants="both")
    assert [use.role for use in station.devices.all()] == ["power", "power"]


@pytest.mark.parametrize(("role", "said"), [("power", "cannot drive a battery"), ("bms", "no battery management"),
                                            ("meter", "measures neither"), ("flow", "no flow meter")])  # fmt: skip
def test_a_role_that_does_not_fit_is_refused_with_its_reason(
    unit: Unit, relays: Device, role: str, said: str
) -> None:
    devices = [
        {"device": factories.make_device(unit, "p"), "role": "power"},
        {"device": relays, "role": role},
    ]
    with pytest.raises(Refused, match=said):
        factories.make_station(unit, devices=devices)


def test_outputs_name_controls_and_reach_the_unit(unit: Unit, relays: Device) -> None:
    output = {"name": "pump", "device": str(relays.uuid), "control": "relay_0", "on_trip": 0, "safe": 0}
    station = _composed(unit, outputs=[output], dead_man="pump", leak_a=1e-5)
    sent = composition.configuration(station)
    assert (sent.outputs[0].control, sent.dead_man, sent.leak_a) == ("relay_0", "pump", 1e-5)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"outputs": [{"name": "pump"}]}, "lacks device, control"),
        ({"outputs": [{"name": "pump", "control": "relay_0", "on_trip": 2}]}, "is 0 or 1"),
        ({"outputs": [{"name": "pump", "control": "valve"}]}, "has no control 'valve'"),
        ({"dead_man": "pump"}, "no output 'pump'"),
        ({"quadrants": "up"}, "both, charge or discharge"),
        ({"leak_a": -1.0}, "not negative"),
        ({"max_hazard_level": 8}, "EUCAR level"),
        ({"limits": {"volts": 1}}, "no field 'volts'"),
    ],
)
def test_wrong_parts_are_refused(unit: Unit, relays: Device, body: dict[str, Any], said: str) -> None:
    for entry in body.get("outputs", []):
        if "control" in entry:
            entry["device"] = str(relays.uuid)
    with pytest.raises(Refused, match=said):
        _composed(unit, **body)


def test_only_a_temperature_is_named_temperature(unit: Unit, relays: Device) -> None:
    measure = {"device": relays, "measure": "ext_humidity_pct", "name": "temperature_c"}
    with pytest.raises(Refused, match="not in °C"):
        _composed(unit, measures=[measure])
    _composed(unit, "q", measures=[{**measure, "measure": "ext_temperature_c"}])


def test_a_zones_form_brings_back_every_value_as_it_was_saved(
    unit: Unit, coupler: Device, manager: Person, client: Client
) -> None:
    """A form that lost what an output does would take it away with the next change of the name."""
    output = {"name": "siren", "device": str(coupler.uuid), "control": "siren"}
    zone = _zone(manager, unit, coupler, outputs=[{**output, "on_trip": 1.0, "normal": 0.0}])
    client.force_login(manager)
    typed = _typed(client, f"/zones/{zone.uuid}/edit/")
    assert client.post(f"/zones/{zone.uuid}/edit/", {**typed, "name": "Room 2"}).status_code == 302
    zone.refresh_from_db()
    assert zone.name == "Room 2"
    assert zone.outputs == [{**output, "on_trip": 1.0, "normal": 0.0, "on_server_lost": False}]


def test_a_stations_form_brings_back_every_value_as_it_was_saved(
    unit: Unit, relays: Device, manager: Person, client: Client
) -> None:
    power = factories.make_device(unit, "3")
    output = {"name": "pump", "device": str(relays.uuid), "control": "relay_0", "safe": 1.0, "on_trip": 0.0}
    station = factories.make_station(
        unit,
        devices=[{"device": power, "role": "power"}, {"device": relays, "role": "auxiliary"}],
        outputs=[output],
    )
    client.force_login(manager)
    address = f"/stations/{station.uuid}/edit/"
    assert client.post(address, {**_typed(client, address), "location": "Shelf 2"}).status_code == 302
    station.refresh_from_db()
    assert (station.location, station.outputs) == ("Shelf 2", [output])


def _typed(client: Client, address: str) -> dict[str, Any]:
    """Return what a browser sends when the form of a page is saved as it stands."""
    form = client.get(address).context["form"]
    return {field.html_name: option for field in form if (option := _sent(field)) not in (None, "", False)}


def _sent(field: Any) -> Any:
    """Return what one field sends: of a select the option that is marked, else its first."""
    given = field.value()
    if not hasattr(field.field.widget, "choices"):
        return given
    offered = [str(value) for value, _ in field.field.choices]
    return str(given) if str(given) in offered else offered[0]


def test_what_a_zones_output_lacks_is_said_at_its_field(
    unit: Unit, coupler: Device, manager: Person, client: Client
) -> None:
    client.force_login(manager)
    typed = {
        "name": "Room 1",
        f"lock-{coupler.uuid}-door_closed": "The door",
        f"act-{coupler.uuid}-siren": "siren",
    }
    page = client.post(f"/zones/new/?unit={unit.uuid}", typed).content.decode()
    assert "&#x27;The door&#x27; is no name" in page
    assert "Say what it does when an interlock opens." in page
    assert 'value="The door"' in page


# --- models that people add -------------------------------------------------------------------------------


def _model(by: Person | None, **body: Any) -> DeviceModel:
    given = {
        "base": DeviceModel.objects.get(key=BASE),
        "label": "PSB small",
        "maker": "EA",
        "model": "PSB 10040-30",
    }
    return services.add_model(by, **{**given, **body})


def test_an_added_model_travels_with_detection_and_with_its_station(unit: Unit, manager: Person) -> None:
    model = _model(manager, voltage_max_v=40.0, measures={"voltage_v": {"accuracy": 0.1}})
    assert (model.source, model.voltage_max_v) == ("operator", 40.0)
    detect = services.detect(manager, unit)
    assert [kind["label"] for kind in detect.args["kinds"]] == ["PSB small"]
    device = factories.make_device(unit, "9", model=model.key)
    station = factories.make_station(unit, devices=[{"device": device, "role": "power"}])
    kind = composition.configuration(station).devices[0].kind
    assert kind is not None
    assert kind["measures"][0]["accuracy"] == 0.1


def test_a_shipped_models_row_does_not_travel(unit: Unit) -> None:
    assert composition.configuration(factories.make_station(unit)).devices[0].kind is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"voltage_max_v": 61.0}, "for which the driver was written"),
        ({"current_min_a": -61.0}, "for which the driver was written"),
        ({"label": ""}, "Give it a label"),
        ({"identity": "("}, "no regular expression"),
        ({"measures": {"humidity": {"accuracy": 1}}}, "does not measure 'humidity'"),
        ({"measures": {"voltage_v": {"accuracy": -1}}}, "not negative"),
        ({"link_settings": {"colour": "red"}}, "no link setting 'colour'"),
        ({"link_settings": {"baud_rate": "fast"}}, "must be like"),
    ],
)
def test_a_model_outside_its_family_is_refused(manager: Person, body: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        _model(manager, **body)


def test_only_managers_add_models_and_only_added_ones_are_removed(manager: Person, operator: Person) -> None:
    with pytest.raises(NotAllowed):
        _model(operator)
    services.remove_model(manager, _model(manager))
    with pytest.raises(Refused, match="belongs to the catalogue"):
        services.remove_model(manager, DeviceModel.objects.get(key=BASE))


@pytest.mark.parametrize(
    ("answered", "cut"),
    [
        ("EA Elektro-Automatik, PSB 10040-30, 2538170001, V3.02", ("EA Elektro-Automatik", "PSB 10040-30")),
        ("ACME 320-KEL203 V1.10 SN:998877", (None, "ACME 320-KEL203")),
        ("2831E  Multimeter,Ver1.4.14.06.18,124E16150", (None, "2831E")),
        ("", (None, None)),
    ],
)
def test_an_unknown_answer_is_cut_into_maker_and_model(
    answered: str, cut: tuple[str | None, str | None]
) -> None:
    # Taken whole, with version and serial number, the driver would never know the device as this model.
    found = model_form.from_answer(answered)
    assert (found.get("maker"), found.get("model")) == cut


def test_the_page_to_add_a_model_says_what_answered_and_offers_the_likest_first(
    manager: Person, client: Client
) -> None:
    client.force_login(manager)
    answered = "ACME 320-KEL203 V1.10 SN:998877"
    chosen = client.get("/catalogue/add/", {"answered": answered}).content.decode()
    assert answered in chosen
    assert chosen.index("KEL103") < chosen.index("BK Precision")
    base = DeviceModel.objects.get(key="rs-pro-kel103")
    form = client.get("/catalogue/add/", {"answered": answered, "base": str(base.uuid)}).content.decode()
    assert 'value="ACME 320-KEL203"' in form
    assert "at least −30 A" in form


@pytest.mark.parametrize("key", [kind.key for kind in KINDS])
def test_the_page_of_a_model_says_all_that_the_catalogue_says(
    key: str, viewer: Person, client: Client
) -> None:
    client.force_login(viewer)
    row = DeviceModel.objects.get(key=key)
    assert f'href="/catalogue/{row.uuid}/"' in client.get("/catalogue/").content.decode()
    shown = unescape(client.get(f"/catalogue/{row.uuid}/").content.decode())
    (kind,) = (each for each in KINDS if each.key == key)
    for measure in kind.measures:
        assert f"<code>{measure.name}</code>" in shown
    for control in kind.controls:
        assert control.label in shown
    if kind.off is not None:
        off = kind.off
        for text in (off.command, off.stays_connected, off.after_power_on, off.high_cutoff, off.low_cutoff):
            assert text in shown
        assert f"below {off.i_off_a} A within {off.t_off_s} s" in shown
        timeout = f"{off.communication_timeout_s} s" if off.communication_timeout_s else "none"
        assert f"<dt>Communication timeout</dt><dd>{timeout}</dd>" in shown


# --- recorded readings ---------------------------------------------------------------------------------------


def _record(device: Device, seq: int, at: datetime, **values: float | None) -> None:
    DeviceReading.objects.create(
        device=device, at=at, values=values, unit=device.unit, spool=SPOOL, spool_seq=seq
    )


SPOOL = uuid4()
BEGAN = datetime(2026, 5, 1, 12, tzinfo=UTC)


def _asked(by: Person, device: Device, **query: Any) -> dict[str, Any]:
    return dict(client_of(by).get(f"/api/v1/devices/{device.uuid}/readings/", query).json())


def test_readings_come_as_columns_with_gaps_as_gaps(relays: Device, viewer: Person) -> None:
    for seq, away_s in enumerate((0, 10, 20, 600, 610)):
        _record(relays, seq, BEGAN + timedelta(seconds=away_s), relay_0=0.0, pcb_temperature_c=20.0 + seq)
    columns = _asked(viewer, relays, **{"from": "2026-05-01T12:00:00Z", "to": "2026-05-01T13:00:00Z"})[
        "columns"
    ]
    assert columns["pcb_temperature_c"] == [20.0, 21.0, 22.0, None, 23.0, 24.0]
    assert len(columns["time_us"]) == 6


def test_downsampling_keeps_the_extremes(relays: Device, viewer: Person) -> None:
    for seq in (*range(200), *range(260, 400)):
        spike = 99.0 if seq == 137 else -7.0 if seq == 311 else 20.0
        _record(relays, seq, BEGAN + timedelta(seconds=10 * seq), pcb_temperature_c=spike)
    window = {"from": "2026-05-01T12:00:00Z", "to": "2026-05-01T14:00:00Z", "points": 20}
    answer = _asked(viewer, relays, **window)
    column = answer["columns"]["pcb_temperature_c"]
    assert answer["downsampled"]
    assert len(column) <= 24
    assert column.count(None) == 1, "the pause of ten minutes stays a gap"
    assert (max(filter(None, column)), min(filter(None, column))) == (99.0, -7.0)


@pytest.mark.parametrize("query", [{"points": "x"}, {"from": "yesterday"}, {"until": "now"}])
def test_a_wrong_window_is_refused(relays: Device, viewer: Person, query: dict[str, str]) -> None:
    answer = client_of(viewer).get(f"/api/v1/devices/{relays.uuid}/readings/", query)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == next(iter(query))


def test_the_period_of_recording_is_set_by_operators(
    relays: Device, operator: Person, viewer: Person
) -> None:
    address = f"/api/v1/devices/{relays.uuid}/"
    assert client_of(viewer).patch(address, {"record_every_s": 2}, format="json").status_code == 403
    assert (
        client_of(operator).patch(address, {"record_every_s": 2}, format="json").json()["record_every_s"] == 2
    )
    assert client_of(operator).patch(address, {"record_every_s": 0}, format="json").status_code == 400
