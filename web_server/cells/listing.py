"""What the pages of batteries ask of the database."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet
from django.http import QueryDict

from web_server.cells.models import Battery
from web_server.experiments.models import Experiment
from web_server.lab.models import Station
from web_server.measurements.models import CycleRow

SORTS = ("name", "technology", "created_at", "loaded_at", "manufacturer")
# Cycles drawn in a battery's life; more would not be seen.
CYCLES_SHOWN = 2000


def listed(asked: QueryDict) -> QuerySet[Battery]:
    """Return the batteries that the list's filters ask for."""
    found = Battery.objects.select_related(
        "lithium", "lead_acid", "redox_stack", "station", "active_experiment"
    )
    found = found.annotate(runs=Count("experiments"))
    if asked.get("retired") != "yes":
        found = found.filter(retired_at=None)
    if asked.get("technology") in Battery.Technology.values:
        found = found.filter(technology=asked["technology"])
    where = {"loaded": Q(station__isnull=False), "free": Q(station=None), "quarantined": Q(quarantined=True)}
    if asked.get("where") in where:
        found = found.filter(where[asked["where"]])
    for word in asked.get("q", "").split():
        found = found.filter(
            Q(name__icontains=word)
            | Q(manufacturer__icontains=word)
            | Q(model__icontains=word)
            | Q(serial_number__icontains=word)
            | Q(barcode__icontains=word)
            | Q(project__icontains=word)
        )
    return found


def one(uuid: UUID) -> QuerySet[Battery]:
    """Return a battery with what its page shows."""
    return Battery.objects.select_related(
        "lithium", "lead_acid", "redox_stack", "station", "loaded_by", "owner", "active_experiment"
    ).filter(uuid=uuid)


def experiments_of(battery: Battery) -> QuerySet[Experiment]:
    """Return a battery's experiments, newest first."""
    return battery.experiments.select_related("profile_version__profile", "station").order_by("-id")


def capacity_over_time(battery: Battery) -> list[CycleRow]:
    """Return the battery's ended cycles that moved charge out, oldest first."""
    rows = CycleRow.objects.filter(experiment__battery=battery, charge_out_ah__gt=0)
    return list(rows.order_by("-ended_at")[:CYCLES_SHOWN])[::-1]


def places(battery: Battery) -> list[dict[str, Any]]:
    """Return the stations with what keeps this battery from being put in; those that fit come first."""
    stations = Station.objects.filter(retired_at=None).select_related("battery", "active_experiment")
    shown = [{"station": station, "why": _why_not(station)} for station in stations]
    return sorted(shown, key=lambda place: bool(place["why"]))


def _why_not(station: Station) -> str:
    if station.loaded_battery:
        return f"holds {station.loaded_battery.name}"
    if station.experiment:
        return f"is running {station.experiment.name}"
    return ""
