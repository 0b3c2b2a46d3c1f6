"""What the pages of stations, units and the system ask of the database."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import QueryDict

from web_server.experiments.models import Experiment
from web_server.lab import roles
from web_server.lab.models import Device, ManagerBeat, Station, StationVersion, Unit, Zone

STATION_SORTS = ("name", "location", "state", "unit__name", "updated_at")
UNIT_SORTS = ("name", "last_seen", "version")


def stations(asked: QueryDict) -> QuerySet[Station]:
    """Return the stations that the list's filters ask for."""
    found = Station.objects.select_related("unit", "battery", "active_experiment").annotate(
        parts=Count("devices")
    )
    if asked.get("retired") != "yes":
        found = found.filter(retired_at=None)
    if asked.get("state") in Station.State.values:
        found = found.filter(state=asked["state"])
    for word in asked.get("q", "").split():
        found = found.filter(
            Q(name__icontains=word)
            | Q(location__icontains=word)
            | Q(unit__name__icontains=word)
            | Q(barcode__icontains=word)
        )
    return found


def station(uuid: UUID) -> QuerySet[Station]:
    """Return a station with what its page shows."""
    found = Station.objects.select_related(
        "unit",
        "zone",
        "battery",
        "active_experiment__profile_version__profile",
        "active_experiment__battery",
        "owner",
    )
    return found.prefetch_related("devices__device__model", "measures__device__model").filter(uuid=uuid)


def versions(row: Station) -> list[dict[str, Any]]:
    """Return a station's versions, newest first, with what they were made of."""
    shown = []
    for version in row.versions.select_related("made_by").order_by("-number")[:50]:
        shown.append({"version": version, "made_of": _made_of(version)})
    return shown


def _made_of(version: StationVersion) -> str:
    whole = json.loads(version.definition)
    parts = [
        f"{device.get('name') or device['model']} as {roles.said(device['role'])}"
        for device in whole.get("devices", [])
    ]
    named = [measure["name"] for measure in whole.get("measures", [])]
    return ", ".join(parts) + (f"; records {', '.join(named)}" if named else "")


def experiments_on(row: Station) -> QuerySet[Experiment]:
    """Return a station's experiments, newest first."""
    return row.experiments.select_related("battery", "profile_version__profile").order_by("-id")


def units(asked: QueryDict) -> QuerySet[Unit]:
    """Return the units that the list's filters ask for."""
    found = Unit.objects.annotate(
        channels=Count("stations", filter=Q(stations__retired_at=None), distinct=True),
        parts=Count("devices", distinct=True),
    )
    if asked.get("retired") != "yes":
        found = found.filter(retired_at=None)
    for word in asked.get("q", "").split():
        found = found.filter(
            Q(name__icontains=word)
            | Q(hostname__icontains=word)
            | Q(ip__icontains=word)
            | Q(hardware_id__icontains=word)
        )
    return found


def devices(row: Unit) -> list[Device]:
    """Return a unit's devices."""
    return list(
        row.devices.select_related("model", "station", "zone").order_by("model__label", "serial_number")
    )


def zones() -> list[Zone]:
    """Return the zones, each with the stations ``inside`` it."""
    inside = Prefetch("stations", Station.objects.filter(retired_at=None).order_by("name"), to_attr="inside")
    return list(Zone.objects.select_related("unit").prefetch_related(inside))


def managers() -> list[ManagerBeat]:
    """Return the manager processes, the one heard last first."""
    return list(ManagerBeat.objects.order_by("-seen_at")[:20])
