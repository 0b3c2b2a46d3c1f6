"""A small lab, made by the real services: what the tests of the site start from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from django.utils import timezone

from web_server.accounts.models import Person
from web_server.cells import services as cells
from web_server.cells.models import Battery
from web_server.experiments import services as experiments
from web_server.experiments.models import Alarm, Experiment
from web_server.lab import services as lab
from web_server.lab.models import Device, DeviceModel, Station, Unit
from web_server.profiles import services as profiles
from web_server.profiles.models import Profile

# The simulated supply of the bench: 10 V, 5 A, 0.1 mV and 0.1 mA resolution.
SUPPLY = "ea-psb-10010-05-sim"


def make_person(name: str, role: str) -> Person:
    """Return somebody with a role, by default with the password `correct horse battery`."""
    person = Person(username=name, role=role)
    person.set_password("correct horse battery")
    person.save()
    return person


def make_unit(name: str = "unit 1", **columns: Any) -> Unit:
    """Return an approved unit that is online."""
    given = {"approved": True, "online": True, "last_seen": timezone.now(), "connection": "c1", **columns}
    return Unit.objects.create(name=name, hardware_id=f"hw-{name}", hostname=name.replace(" ", "-"), **given)


def make_device(unit: Unit, serial_number: str = "0001", *, model: str = SUPPLY, **columns: Any) -> Device:
    """Return a device that the unit found."""
    return Device.objects.create(
        unit=unit,
        model=DeviceModel.objects.get(key=model),
        serial_number=serial_number,
        link_name=f"TCPIP::127.0.0.1::{serial_number}::SOCKET",
        link='{"kind":"visa"}',
        connected=True,
        **columns,
    )


def make_station(unit: Unit, name: str = "S1", *, by: Person | None = None, **body: Any) -> Station:
    """Return an idle station with one supply, which its unit has taken."""
    devices = body.pop("devices", None)
    if devices is None:
        devices = [{"device": make_device(unit, f"{Device.objects.count():04}"), "role": "power"}]
    station = lab.compose_station(by, unit=unit, name=name, devices=devices, **body)
    return make_idle(station)


def make_idle(station: Station) -> Station:
    """Write what a heartbeat of an idle station would."""
    Station.objects.filter(pk=station.pk).update(state="idle", unit_version=station.version)
    station.refresh_from_db()
    return station


def battery_body(name: str = "B1", **body: Any) -> dict[str, Any]:
    """Return the body of a small lithium cell."""
    whole: dict[str, Any] = {
        "name": name,
        "technology": "lithium",
        "lithium": {"capacity_ah": 0.05, "chemistry": "NMC"},
        "cell_voltage_min_v": 3.0,
        "cell_voltage_max_v": 4.2,
        "current_min_a": -1.0,
        "current_max_a": 1.0,
    }
    return {**whole, **body}


def make_battery(name: str = "B1", *, by: Person | None = None, **body: Any) -> Battery:
    """Return a small lithium cell."""
    return cells.add(by, **battery_body(name, **body))


def profile_body(name: str = "P1", **body: Any) -> dict[str, Any]:
    """Return a charge to 4.1 V and a rest."""
    steps = [
        {"kind": "cccv", "label": "charge", "current_a": 0.5, "voltage_v": 4.1, "end": [_end("time_s", 60)]},
        {"kind": "rest", "end": [_end("time_s", 10)]},
    ]
    return {"name": name, "steps": steps, **body}


def _end(quantity: str, limit: float) -> dict[str, Any]:
    return {"quantity": quantity, "value": limit}


def make_profile(name: str = "P1", *, by: Person | None = None, **body: Any) -> Profile:
    """Return a saved profile."""
    return profiles.save(by, **profile_body(name, **body))


def make_experiment(
    battery: Battery, profile: Profile, station: Station, *, by: Person | None = None, **body: Any
) -> Experiment:
    """Return a queued experiment."""
    given = {"name": "E1", **body}
    return experiments.file(by, battery=battery, profile=profile, station=station, **given)


def make_running(small_lab: SimpleNamespace, **columns: Any) -> Experiment:
    """Return an experiment that runs on the lab's station, as its unit has told the site."""
    run = make_experiment(small_lab.battery, small_lab.profile, small_lab.station)
    experiments.set_status(
        run, "starting", active_station=small_lab.station, active_battery=small_lab.battery
    )
    experiments.set_status(run, "running")
    Experiment.objects.filter(pk=run.pk).update(**columns)
    Station.objects.filter(pk=small_lab.station.pk).update(state="running", reading_at=timezone.now())
    run.refresh_from_db()
    return run


def make_alarm(station: Station, **columns: Any) -> Alarm:
    """Return an alarm of a station, of a voltage above its limit unless said otherwise."""
    given = {"code": "limit", "text": "voltage above its limit", **columns}
    return Alarm.objects.create(station=station, unit=station.unit, **given)
