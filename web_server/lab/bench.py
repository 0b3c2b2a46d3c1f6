"""A bench prepared before its unit exists: composed, loaded and queued once the unit has come.

`prepare --demo` makes a one-time token that carries a plan. When the unit that used the token has
reported its devices, the manager calls `apply_bench_plan`, which does what a person would do by the
same services: compose the stations, load the batteries, file the experiment.
"""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction
from django.utils import timezone

from web_server.accounts.models import Person
from web_server.cells import services as cells
from web_server.cells.models import Battery
from web_server.experiments import services as experiments
from web_server.lab import services
from web_server.lab.models import Device, EnrolToken, Station, Unit
from web_server.lib.entity import update_if
from web_server.lib.errors import ServiceError
from web_server.lib.lookup import find

log = logging.getLogger(__name__)


def apply_bench_plan(unit: Unit) -> list[Station]:
    """Apply the plan that came with the unit's token, once, when its devices are there.

    Returns the stations made; none while there is no plan or not yet enough free power devices.
    A plan that cannot be applied is logged in one line and left for the next report.
    """
    token = (
        EnrolToken.objects.filter(unit=unit, plan_applied_at=None)
        .exclude(used_at=None)
        .exclude(plan={})
        .select_related("issued_by")
        .first()
    )
    if token is None:
        return []
    wanted = token.plan.get("stations", [])
    free = list(
        Device.objects.filter(unit=unit, station=None, connected=True, model__role="power")
        .select_related("model", "unit")
        .order_by("link_name", "serial_number")
    )
    free = _chosen(wanted, free)
    if len(free) < len(wanted):
        log.info("bench plan waits for devices", extra={"unit": unit.name, "free": len(free)})
        return []
    try:
        with transaction.atomic():
            row = EnrolToken.objects.filter(pk=token.pk, plan_applied_at=None)
            if not update_if(row, plan_applied_at=timezone.now()):
                return []
            return _apply(token.issued_by, unit, token.plan, free)
    except ServiceError as error:
        log.warning("bench plan not applied: %s", error, extra={"unit": unit.name})
        return []


def _chosen(wanted: list[dict[str, Any]], free: list[Device]) -> list[Device]:
    """Return a device for each wanted station in turn, of the ``model`` (a catalogue key) that it names."""
    left, chosen = list(free), []
    for station in wanted:
        model = station.get("model")
        device = next((each for each in left if model in (None, each.model.key)), None)
        if device is not None:
            left.remove(device)
            chosen.append(device)
    return chosen


def _apply(by: Person | None, unit: Unit, plan: dict[str, Any], free: list[Device]) -> list[Station]:
    name = plan.get("unit")
    if name and not Unit.objects.exclude(pk=unit.pk).filter(name=name).exists():
        services.rename_unit(by, unit, name)
    stations = []
    for wanted, device in zip(plan["stations"], free, strict=False):
        station = services.compose_station(
            by,
            unit=unit,
            name=wanted["name"],
            location=wanted.get("location", ""),
            last_defence=wanted.get("last_defence", ""),
            devices=[{"device": device, "role": "power"}],
        )
        if wanted.get("battery"):
            cells.load(by, find(Battery, wanted["battery"], "battery"), station)
        stations.append(station)
    _file(by, plan.get("experiment"), stations)
    return stations


def _file(by: Person | None, wanted: dict[str, Any] | None, stations: list[Station]) -> None:
    """File the first experiment on the station that the plan names."""
    if not wanted:
        return
    station = next(station for station in stations if station.name == wanted["station"])
    body = {key: entry for key, entry in wanted.items() if key != "station"}
    battery = body.pop("battery", None) or station.loaded_battery
    experiments.file(by, station=station, battery=battery, **body)
