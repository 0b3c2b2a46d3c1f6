"""A lab with one of everything, as the tests of the pages see it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from django.utils import timezone

from tests.web_server import factories
from web_server.accounts.models import Person
from web_server.cells import services as cells
from web_server.experiments import services as experiments
from web_server.experiments.models import Alarm, Experiment
from web_server.lab import services as lab
from web_server.lab.models import Station, Unit
from web_server.measurements import services as measurements
from wire.messages import SampleBatch


def fill(by: Person) -> SimpleNamespace:
    """Make a station that runs, one that tripped, one queue entry, a pending unit; return the parts."""
    unit = factories.make_unit("bench")
    running = factories.make_station(unit, "S1", location="Basement")
    tripped = factories.make_station(unit, "S2")
    cell = factories.make_battery("B1")
    pack = factories.make_battery("B2")
    profile = factories.make_profile()
    cells.load(by, cell, running)
    experiment = run(by, factories.make_experiment(cell, profile, running, by=by))
    ended = factories.make_experiment(pack, profile, tripped, name="E0", by=by)
    finish(ended)
    queued = factories.make_experiment(pack, profile, tripped, name="E2", by=by)
    alarm = trip(tripped)
    relays = factories.make_device(unit, "relays", model="esp32-relay-board")
    coupler = factories.make_device(unit, "coupler", model="modbus-io-coupler")
    zone = lab.save_zone(
        by,
        name="Room 1",
        unit=unit,
        interlocks=[{"name": "door", "device": str(coupler.uuid), "measure": "door_closed"}],
    )
    Unit.objects.filter(pk=unit.pk).update(
        unknown_devices=[{"link_name": "COM7", "answered": "ACME,9000", "since": "2026-05-01T12:00:00Z"}]
    )
    pending = Unit.objects.create(
        name="new", hostname="raspi", hardware_id="b8:27:eb:00:00:01", ip="10.0.0.9"
    )
    return SimpleNamespace(
        unit=unit,
        station=running,
        tripped=tripped,
        battery=cell,
        free=pack,
        profile=profile,
        experiment=experiment,
        ended=ended,
        queued=queued,
        alarm=alarm,
        pending=pending,
        relays=relays,
        zone=zone,
    )


def run(by: Person, experiment: Experiment, samples: int = 40) -> Experiment:
    """Let an experiment run in its station, with some samples stored."""
    station = experiment.station
    assert station is not None
    experiments.set_status(
        experiment, "starting", active_station=station, active_battery=experiment.battery, envelope="{}"
    )
    experiments.set_status(experiment, "running", at=timezone.now())
    measurements.store(station.unit, batch(experiment, samples))
    Station.objects.filter(pk=station.pk).update(
        state="running",
        reading={"voltage_v": 3.7, "current_a": 0.5, "temperature_c": None},
        reading_at=timezone.now(),
    )
    experiment.refresh_from_db()
    return experiment


def batch(experiment: Experiment, count: int) -> SampleBatch:
    """Return samples of a charge, one a second."""
    now_us = int(time.time() * 1e6)
    at = [float(i) for i in range(count)]
    columns: dict[str, list[Any]] = {
        "time_us": [now_us + i * 1_000_000 for i in range(count)],
        "elapsed_s": at,
        "step": [1] * count,
        "step_count": [1] * count,
        "cycle": [0] * count,
        "mode": ["cc"] * count,
        "voltage_v": [3.6 + 0.001 * i for i in range(count)],
        "current_a": [0.5] * count,
        "power_w": [1.8] * count,
        "temperature_c": [None] * count,
        "charge_in_ah": [i * 0.5 / 3600 for i in range(count)],
        "charge_out_ah": [0.0] * count,
        "energy_in_wh": [i * 1.8 / 3600 for i in range(count)],
        "energy_out_wh": [0.0] * count,
        "flags": [0] * count,
    }
    return SampleBatch(experiment=str(experiment.uuid), first_seq=1, count=count, columns=columns)


def finish(experiment: Experiment) -> Experiment:
    """Let a queued experiment have ended by an error, with its numbers."""
    reason = {
        "code": "voltage_max",
        "text": "voltage above its limit",
        "quantity": "voltage_v",
        "limit": 4.23,
        "measured": 4.2412,
        "delay_s": 0.3,
    }
    experiments.set_status(experiment, "starting")
    experiments.set_status(experiment, "error", reason)
    experiment.refresh_from_db()
    return experiment


def trip(station: Station) -> Alarm:
    """Let a station have tripped."""
    alarm = Alarm.objects.create(
        station=station,
        unit=station.unit,
        code="voltage_max",
        text="Voltage above its limit",
        quantity="voltage_v",
        limit=4.23,
        measured=4.2412,
    )
    Station.objects.filter(pk=station.pk).update(state="tripped", latched_alarm=alarm.uuid)
    return alarm


def addresses(lab: SimpleNamespace) -> list[str]:
    """Return the address of every page of this lab."""
    e, b, p, s, u = (lab.experiment.uuid, lab.battery.uuid, lab.profile.uuid, lab.station.uuid, lab.unit.uuid)
    return [
        *EMPTY,
        f"/experiments/{e}/",
        f"/experiments/{e}/live/",
        f"/experiments/{lab.ended.uuid}/",
        f"/experiments/{lab.queued.uuid}/",
        f"/experiments/new/?battery={b}&station={s}",
        f"/experiments/new/fits/?battery={b}&station={s}",
        f"/experiments/new/?like={e}",
        "/experiments/?format=csv",
        f"/batteries/{b}/",
        f"/batteries/{lab.free.uuid}/",
        f"/batteries/{b}/edit/",
        f"/batteries/new/?copy={b}",
        f"/profiles/{p}/",
        f"/profiles/{p}/?version=1",
        f"/profiles/{p}/edit/",
        f"/profiles/{p}/v1.json",
        f"/profiles/new/?copy={p}",
        f"/stations/{s}/",
        f"/stations/{s}/edit/",
        f"/stations/new/?unit={u}",
        f"/stations/{s}/control/",
        f"/stations/{s}/control/now/",
        f"/stations/{lab.tripped.uuid}/control/",
        f"/devices/{lab.relays.uuid}/",
        f"/devices/{lab.relays.uuid}/now/",
        f"/zones/new/?unit={u}",
        f"/zones/{lab.zone.uuid}/edit/",
        f"/catalogue/add/?base={lab.relays.model.uuid}",
        f"/catalogue/{lab.relays.model.uuid}/",
        f"/units/{u}/",
        f"/units/{u}/devices/",
        f"/units/{u}/console/",
        f"/units/{u}/log/",
        f"/units/{u}/log/lines/",
        f"/units/{lab.pending.uuid}/",
        f"/experiments/{e}/repeat/",
        f"/alarms/{lab.alarm.uuid}/",
        "/monitor/trouble/",
        f"/monitor/tile/{s}/",
        "/?wall=1",
    ]


EMPTY = [
    "/",
    "/experiments/",
    "/experiments/new/",
    "/experiments/batch/",
    "/batteries/",
    "/batteries/new/",
    "/batteries/bulk/",
    "/load/",
    "/notices/",
    "/profiles/",
    "/profiles/new/",
    "/stations/",
    "/stations/new/",
    "/zones/new/",
    "/catalogue/",
    "/catalogue/add/",
    "/units/",
    "/alarms/",
    "/system/",
    "/account/",
]
