"""Which stations a ``station_query`` means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cycling.envelope import DeviceLimits
from web_server.lab import composition
from web_server.lab.models import Station
from web_server.lib import fields

# Bounds: what the station's devices must be able to do, at least.
_BOUNDS = ("current_min_a", "current_max_a", "voltage_min_v", "voltage_max_v")
_TEXTS = {"location": 100, "unit": 100}
FIELDS = (*_BOUNDS, *_TEXTS, "tags", "measures", "sensing")


def problems(query: Any) -> list[fields.Error]:
    """Return everything wrong with a query."""
    if not isinstance(query, Mapping):
        return [fields.error("station_query", "station_query is an object; {} means any station that fits.")]
    own = [*fields.unknown(query, FIELDS, "station query"), *fields.numbers(query, _BOUNDS)]
    own += [*fields.texts(query, _TEXTS), *fields.tags(query)]
    if not isinstance(query.get("measures", []), list):
        own.append(fields.error("measures", "measures is a list of names."))
    return [{**error, "field": f"station_query.{error['field']}"} for error in own]


def meant(query: Mapping[str, Any]) -> list[Station]:
    """Return the stations in use that the query describes; whether a profile fits is not asked here."""
    rows = Station.objects.filter(retired_at=None, unit__approved=True, unit__retired_at=None)
    rows = rows.select_related("unit").prefetch_related("devices__device__model", "measures")
    return [station for station in rows.order_by("name") if suits(station, query)]


def suits(station: Station, query: Mapping[str, Any]) -> bool:
    """Return whether the query describes this station."""
    if query.get("location") and station.location.casefold() != str(query["location"]).casefold():
        return False
    if query.get("unit") and str(query["unit"]) not in (station.unit.name, str(station.unit.uuid)):
        return False
    if query.get("sensing") and station.sensing != query["sensing"]:
        return False
    if not set(query.get("tags") or []) <= set(station.tags):
        return False
    if not set(query.get("measures") or []) <= {row.name for row in station.measures.all()}:
        return False
    return _can(composition.limits_of_devices(station), query)


def _can(devices: list[DeviceLimits], query: Mapping[str, Any]) -> bool:
    """Return whether some power device reaches each bound (a source and a load share the work)."""
    power = [device for device in devices if device.measures == "power"]
    for bound in _BOUNDS:
        wanted = query.get(bound)
        if wanted is None:
            continue
        reach = [getattr(device, bound) for device in power if getattr(device, bound) is not None]
        enough = any(r <= wanted for r in reach) if "_min_" in bound else any(r >= wanted for r in reach)
        if not enough:
            return False
    return True
