"""Composing stations: each change of what a station is made of is its next version."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from web_server.accounts import audit
from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.lab import composition
from web_server.lab.models import (
    Device,
    Station,
    StationDevice,
    StationMeasure,
    StationVersion,
    Unit,
    Zone,
)
from web_server.lib import fields
from web_server.lib.errors import Refused
from web_server.lib.lookup import find
from web_server.lib.transactions import atomic

# Parts of a composition: a change of one of them makes a new version.
COLUMNS = (
    "name",
    "outputs",
    "limits",
    "sensing",
    "loop_period_s",
    "quadrants",
    "leak_a",
    "dead_man",
    "unguarded_max_wh",
    # The unit need not know these two: the site refuses a battery that is too large (rule 21).
    "max_energy_wh",
    "max_hazard_level",
    "zone",
)
COMPOSED = (*COLUMNS, "devices", "measures")
DESCRIBED = {"location": 100, "barcode": 100, "description": 10_000, "last_defence": 250}


@atomic
def compose_station(by: Person | None, *, station: Station | None = None, **body: Any) -> Station:
    """Compose a new station, or change ``station``; a changed composition is its next version.

    ``body``: ``name, unit, devices [{device, role}], measures [{device, measure, name}], outputs,
    limits, sensing, loop_period_s, quadrants, leak_a, dead_man, unguarded_max_wh, max_energy_wh,
    max_hazard_level, zone, location, barcode, tags, description, last_defence``; devices, zone and
    unit as rows or UUIDs. What is left out of a change stays as it was.

    Raises:
        NotAllowed: the role is too low.
        Refused: names every part that is wrong; while the station is in use everything is refused.
    """
    require(by, Role.MANAGER, "compose a station")
    known = {*COMPOSED, *DESCRIBED, "unit", "tags"}
    errors = [*fields.unknown(body, known, "station"), *fields.texts(body, DESCRIBED), *fields.tags(body)]
    if errors:
        raise Refused(errors)
    if station is not None:
        station = Station.objects.select_for_update().get(pk=station.pk)
        _refuse_while_used(station)
    unit, whole = _whole(station, body)
    errors = [*fields.name(whole), *_taken(whole, station), *composition.problems(unit, whole, station)]
    if errors:
        raise Refused(errors)
    return _write(by, station, unit, whole, body)


def _refuse_while_used(station: Station) -> None:
    if station.retired_at:
        raise Refused.one(f"{station.name} is retired.", "station")
    running = station.experiment
    if running:
        raise Refused.one(
            f"{station.name} is running {running.name}; change it when that has ended.", "station"
        )
    if station.state in (
        Station.State.RUNNING,
        Station.State.PAUSED,
        Station.State.MANUAL,
        Station.State.UNSAFE,
    ):
        raise Refused.one(f"{station.name} is {station.state}; change it when it is idle.", "station")


def _whole(station: Station | None, body: dict[str, Any]) -> tuple[Unit, dict[str, Any]]:
    """Return the unit and the complete composition: what is given over what was."""
    unit = find(Unit, body.get("unit") or (station.unit if station else None), "unit")
    if station is not None and unit != station.unit:
        raise Refused.one("A station stays on its unit; compose a new one there.", "unit")
    before: dict[str, Any] = {"devices": [], "measures": [], "outputs": [], "limits": {}}
    before |= {"name": "", "sensing": 4, "loop_period_s": 0.1, "quadrants": "both", "unguarded_max_wh": 5.0}
    before |= dict.fromkeys(("leak_a", "max_energy_wh", "max_hazard_level", "zone"))
    before["dead_man"] = ""
    if station is not None:
        before |= {part: getattr(station, part) for part in COLUMNS}
        before["devices"] = [{"device": row.device, "role": row.role} for row in station.devices.all()]
        before["measures"] = [
            {"device": row.device, "measure": row.measure, "name": row.name} for row in station.measures.all()
        ]
    whole = before | {part: body[part] for part in COMPOSED if part in body}
    whole["zone"] = find(Zone, whole["zone"], "zone") if whole["zone"] else None
    whole["dead_man"] = whole["dead_man"] or ""
    whole["devices"] = _with_devices(whole["devices"], "devices", ("device", "role"))
    whole["measures"] = _with_devices(whole["measures"], "measures", ("device", "measure", "name"))
    return unit, whole


def _with_devices(entries: Any, field: str, parts: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the entries with their device as a row."""
    shape = f"{field} is a list of objects with {', '.join(parts)}."
    if not isinstance(entries, list | tuple):
        raise Refused.one(shape, field)
    rows = []
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != set(parts):
            raise Refused.one(shape, field)
        rows.append({**entry, "device": find(Device, entry["device"], field)})
    return rows


def _taken(body: dict[str, Any], station: Station | None) -> list[fields.Error]:
    others = Station.objects.exclude(pk=station.pk if station else None)
    if others.filter(name=str(body["name"]).strip()).exists():
        return [fields.error("name", f"There is a station {str(body['name']).strip()!r} already.")]
    return []


def _write(
    by: Person | None, station: Station | None, unit: Unit, whole: dict[str, Any], body: dict[str, Any]
) -> Station:
    is_new = station is None
    station = station or Station(unit=unit, owner=by)
    before = None if is_new else composition.definition(station)
    for part in COLUMNS:
        setattr(station, part, whole[part].strip() if part == "name" else whole[part])
    station.outputs = [{**entry, "device": str(entry["device"])} for entry in whole["outputs"]]
    for part in (*DESCRIBED, "tags"):
        if part in body:
            setattr(station, part, body[part] or None if part == "barcode" else body[part])
    try:
        with transaction.atomic():
            station.save()
            _bind(station, whole)
    except IntegrityError:
        raise Refused.one(
            "A device, the name or the barcode was just taken by somebody else.", "devices"
        ) from None
    if is_new or composition.definition(station) != before:
        add_version(by, station, is_new=is_new)
    audit.record(by, "station.compose" if is_new else "station.change", station, version=station.version)
    return station


def _bind(station: Station, whole: dict[str, Any]) -> None:
    """Make the rows of the composition; devices that are not in it any more become free."""
    Device.objects.filter(station=station).update(station=None)
    station.devices.all().delete()
    station.measures.all().delete()
    for entry in whole["devices"]:
        # Taken only when free: the count is the truth when two people compose at once.
        if Device.objects.filter(pk=entry["device"].pk, station=None, zone=None).update(station=station) != 1:
            raise Refused.one(f"{entry['device']} was just taken by another station or zone.", "devices")
        StationDevice.objects.create(station=station, device=entry["device"], role=entry["role"])
    for entry in whole["measures"]:
        units = {measure["name"]: measure.get("unit", "") for measure in entry["device"].model.measures}
        StationMeasure.objects.create(
            station=station,
            device=entry["device"],
            measure=entry["measure"],
            name=entry["name"],
            unit_of_measure=units.get(entry["measure"], ""),
        )


def add_version(by: Person | None, station: Station, *, is_new: bool = False) -> None:
    """Keep what the station is made of now as its next version; its unit is told by the difference."""
    parent = None if is_new else station.versions.filter(number=station.version).first()
    if not is_new:
        station.version += 1
        station.save(update_fields=["version", "updated_at"])
    StationVersion.objects.create(
        station=station,
        number=station.version,
        parent=parent,
        definition=composition.definition(station),
        made_by=by,
    )


@atomic
def retire_station(by: Person | None, station: Station) -> Station:
    """Take a station out of use and free its devices; its experiments stay.

    Raises:
        NotAllowed: the role is too low.
        Refused: it is in use, holds a battery, or experiments wait for it.
    """
    require(by, Role.MANAGER, "retire a station")
    station = Station.objects.select_for_update().get(pk=station.pk)
    _refuse_while_used(station)
    if station.loaded_battery:
        raise Refused.one(f"{station.name} holds {station.loaded_battery.name}; eject it first.", "station")
    if station.experiments.filter(status="queued").exists():
        raise Refused.one(f"Experiments are queued on {station.name}; cancel them first.", "station")
    station.retired_at = timezone.now()
    station.save(update_fields=["retired_at", "updated_at"])
    # The version's text keeps what it was made of; the unit forgets it at its next configuration.
    add_version(by, station)
    Device.objects.filter(station=station).update(station=None)
    station.devices.all().delete()
    audit.record(by, "station.retire", station)
    return station
