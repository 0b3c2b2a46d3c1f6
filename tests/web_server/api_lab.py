"""A small laboratory and three standing people for the tests of the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group
from django.utils import timezone
from rest_framework.test import APIClient

from web_server.accounts import services as accounts
from web_server.accounts.models import Person
from web_server.accounts.roles import Role
from web_server.cells import services as cells
from web_server.cells.models import Battery
from web_server.experiments import services as experiments
from web_server.experiments.models import Experiment, Status
from web_server.lab import services as lab
from web_server.lab.catalogue import seed
from web_server.lab.models import Device, DeviceModel, Station, Unit
from web_server.measurements import services as measurements
from web_server.profiles import services as profiles
from web_server.profiles.models import Profile
from wire.messages import SampleBatch

PASSWORD = "correct horse battery"
MODEL = "ea-psb-10060-60"
BATTERY: dict[str, Any] = {
    "name": "Cell 1",
    "technology": "lithium",
    "cell_voltage_min_v": 2.7,
    "cell_voltage_max_v": 4.2,
    "voltage_abs_min_v": 2.0,
    "voltage_abs_max_v": 4.4,
    "current_min_a": -2.0,
    "current_max_a": 2.0,
    "lithium": {"capacity_ah": 1.0, "chemistry": "NMC"},
}
PROFILE: dict[str, Any] = {
    "name": "Charge and rest",
    "steps": [
        {
            "kind": "cc",
            "current_a": 0.5,
            "end": [{"quantity": "voltage_v", "value": 4.1}, {"quantity": "time_s", "value": 60}],
        },
        {"kind": "rest", "end": [{"quantity": "time_s", "value": 10}]},
    ],
}


def person(name: str, role: str, group: str, password: str | None = None) -> Person:
    """Return somebody of a group; hashing a password takes long, so most have none."""
    someone = Person.objects.create_user(name, password=password, role=role)
    someone.groups.add(Group.objects.get_or_create(name=group)[0])
    return someone


def client_of(someone: Person | None) -> APIClient:
    """Return a program acting for somebody by token; for None, a stranger's."""
    client = APIClient()
    if someone is not None:
        _, secret = accounts.issue_token(someone)
        client.credentials(HTTP_AUTHORIZATION=f"Token {secret}")
    return client


@dataclass
class Lab:
    """One unit with two stations, a battery in the first, a profile; and the people."""

    manager: Person
    operator: Person
    colleague: Person
    unit: Unit
    devices: list[Device]
    stations: list[Station]
    battery: Battery
    profile: Profile

    def file(self, **body: Any) -> Experiment:
        """File an experiment on the first station."""
        whole = {"name": "Run", "battery": self.battery, "profile": self.profile, "station": self.stations[0]}
        return experiments.file(self.operator, **{**whole, **body})

    def running(self, **body: Any) -> Experiment:
        """File an experiment and let it run."""
        experiment = self.file(**body)
        experiments.set_status(
            experiment, Status.STARTING, active_station=self.stations[0], active_battery=self.battery
        )
        experiments.set_status(experiment, Status.RUNNING)
        return experiment

    def demo_cell_in_the_last_station(self) -> None:
        """Put another battery into the second station, as on the demo bench."""
        other = cells.add(self.operator, **{**BATTERY, "name": "Cell 2"})
        cells.load(self.operator, other, self.stations[1])

    def measure(self, experiment: Experiment, first: int, count: int, **columns: list[Any]) -> None:
        """Store samples of 1 s distance, as the manager does; ``columns`` replace or add some."""
        seqs = range(first, first + count)
        plain: dict[str, list[Any]] = {
            "time_us": [1_750_000_000_000_000 + seq * 1_000_000 for seq in seqs],
            "elapsed_s": [float(seq) for seq in seqs],
            "step": [1] * count,
            "step_count": [1] * count,
            "cycle": [0] * count,
            "mode": ["cc"] * count,
            "voltage_v": [3.5 + seq * 1e-5 for seq in seqs],
            "current_a": [0.5] * count,
            "power_w": [1.75] * count,
            "temperature_c": [None] * count,
            **{f"charge_{way}_ah": [0.0] * count for way in ("in", "out")},
            **{f"energy_{way}_wh": [0.0] * count for way in ("in", "out")},
            "flags": [0] * count,
        }
        batch = SampleBatch(
            experiment=str(experiment.uuid), first_seq=first, count=count, columns={**plain, **columns}
        )
        measurements.store(self.unit, batch)
        experiment.refresh_from_db()


def build() -> Lab:
    """Return the laboratory."""
    seed()
    manager = person("marie", Role.MANAGER, "cells")
    unit = Unit.objects.create(name="bench", hardware_id="bench-1", approved=True, online=True)
    model = DeviceModel.objects.get(key=MODEL)
    devices = [
        Device.objects.create(unit=unit, model=model, serial_number=f"sn-{n}", connected=True)
        for n in range(3)
    ]
    stations = [
        lab.compose_station(
            manager, name=f"Station {n + 1}", unit=unit, devices=[{"device": devices[n], "role": "power"}]
        )
        for n in range(2)
    ]
    Station.objects.update(state="idle", unit_version=1, updated_at=timezone.now())
    operator = person("otto", Role.OPERATOR, "cells")
    battery = cells.add(operator, **BATTERY)
    cells.load(operator, battery, stations[0])
    return Lab(
        manager=manager,
        operator=operator,
        colleague=person("carla", Role.VIEWER, "flow batteries"),
        unit=unit,
        devices=devices,
        stations=[Station.objects.get(pk=station.pk) for station in stations],
        battery=Battery.objects.get(pk=battery.pk),
        profile=profiles.save(operator, **PROFILE),
    )
