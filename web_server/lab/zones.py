"""Zones: what stations share, its interlocks, and the outputs that act when one opens (rule 18)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction

from web_server.accounts import audit
from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.lab import composing, outputs
from web_server.lab.models import Device, Unit, Zone
from web_server.lib import fields
from web_server.lib.errors import Refused
from web_server.lib.lookup import find
from web_server.lib.transactions import atomic

COLUMNS = ("name", "description", "interlocks", "outputs", "max_age_s")
_OUTPUT = ("name", "device", "control", "on_trip", "normal", "on_server_lost")
_INTERLOCK = ("name", "device", "measure", "ok")


@atomic
def save_zone(by: Person | None, *, zone: Zone | None = None, **body: Any) -> Zone:
    """Make a zone, or change ``zone``; each of its stations gets a next version that carries it.

    ``body``: ``name, unit, description, interlocks [{name, device, measure, ok}], outputs [{name,
    device, control, on_trip, normal, on_server_lost}], max_age_s``; devices and unit as UUIDs. A
    station that runs takes the change when it is idle again.

    Raises:
        NotAllowed: the role is too low.
        Refused: names every part that is wrong.
    """
    require(by, Role.MANAGER, "change a zone")
    errors = fields.unknown(body, {*COLUMNS, "unit"}, "zone")
    if errors:
        raise Refused(errors)
    is_new = zone is None
    unit = find(Unit, body.get("unit") or (zone.unit if zone else None), "unit")
    if zone is not None and unit != zone.unit:
        raise Refused.one("A zone stays on its unit; make another there.", "unit")
    zone = Zone.objects.select_for_update().get(pk=zone.pk) if zone else Zone(unit=unit)
    whole = {column: body.get(column, getattr(zone, column)) for column in COLUMNS}
    devices = _devices(whole)
    errors = [*fields.name(whole), *_taken(zone, whole), *_problems(unit, zone, whole, devices)]
    if errors:
        raise Refused(errors)
    for column in COLUMNS:
        setattr(zone, column, whole[column])
    zone.name = zone.name.strip()
    try:
        with transaction.atomic():
            zone.save()
            _bind(zone, devices)
    except IntegrityError:
        raise Refused.one("The name was just taken by somebody else.", "name") from None
    audit.record(by, "zone.make" if is_new else "zone.change", zone)
    _tell_stations(by, zone)
    return zone


@atomic
def remove_zone(by: Person | None, zone: Zone) -> None:
    """Remove a zone that no station is in; its devices become free.

    Raises:
        NotAllowed: the role is too low.
        Refused: a station is in it.
    """
    require(by, Role.MANAGER, "remove a zone")
    inside = zone.stations.filter(retired_at=None).first()
    if inside:
        raise Refused.one(f"{inside.name} is in {zone.name}; take it out first.", "zone")
    audit.record(by, "zone.remove", zone)
    zone.stations.update(zone=None)
    zone.delete()


def _devices(whole: Mapping[str, Any]) -> list[Device]:
    """Return the rows of all devices that interlocks and outputs name; a stranger is left to the rules."""
    entries = [
        entry
        for part in ("interlocks", "outputs")
        if isinstance(whole[part], list)
        for entry in whole[part]
        if isinstance(entry, dict)
    ]
    found: dict[str, Device] = {}
    for entry in entries:
        device = find(Device, entry.get("device"), "devices")
        found[str(device.uuid)] = device
        entry["device"] = str(device.uuid)
    return list(found.values())


def _taken(zone: Zone, whole: Mapping[str, Any]) -> list[fields.Error]:
    name = str(whole["name"]).strip()
    if Zone.objects.exclude(pk=zone.pk).filter(name=name).exists():
        return [fields.error("name", f"There is a zone {name!r} already.")]
    return []


def _problems(unit: Unit, zone: Zone, whole: Mapping[str, Any], devices: list[Device]) -> list[fields.Error]:
    errors = []
    for device in devices:
        if device.unit_id != unit.pk:
            errors.append(fields.error("devices", f"{device} is on {device.unit.name}, not on {unit.name}."))
        elif device.station_id is not None:
            errors.append(fields.error("devices", f"{device} is part of the station {device.station.name}."))
        elif device.zone_id is not None and device.zone_id != zone.pk:
            errors.append(fields.error("devices", f"{device} guards the zone {device.zone.name} already."))
    errors += _interlocks(whole["interlocks"], devices)
    errors += outputs.problems(
        "outputs", whole["outputs"], devices, known=_OUTPUT, required=("name", "device", "control", "on_trip")
    )
    errors += fields.texts(whole, {"description": 10_000}) + fields.numbers(whole, ["max_age_s"])
    if not errors and not (whole["max_age_s"] is not None and 0.5 <= whole["max_age_s"] <= 60):
        errors.append(fields.error("max_age_s", "max_age_s is 0.5 to 60 s."))
    return errors


def _interlocks(entries: Any, devices: list[Device]) -> list[fields.Error]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return [fields.error("interlocks", "interlocks is a list of objects with name, device, measure.")]
    by_uuid = {str(device.uuid): device for device in devices}
    errors, seen = [], set()
    for entry in entries:
        name, device = entry.get("name"), by_uuid[entry["device"]]
        errors += outputs.name_error("interlocks", name)
        for part in entry:
            if part not in _INTERLOCK:
                errors.append(fields.error("interlocks", f"An interlock has no field {part!r}."))
        if entry.get("measure") not in device.model.measure_names:
            offered = ", ".join(device.model.measure_names) or "nothing"
            text = f"{device} does not measure {entry.get('measure')!r}; it offers {offered}."
            errors.append(fields.error("interlocks", text))
        if entry.get("ok", 1) not in (0, 1):
            errors.append(fields.error("interlocks", f"{name}: ok is 1 (closed) or 0 (open)."))
        if name in seen:
            errors.append(fields.error("interlocks", f"The name {name} is given twice."))
        seen.add(name)
    return errors


def _bind(zone: Zone, devices: list[Device]) -> None:
    """Take the zone's devices; those that are not in it any more become free."""
    keys = [device.pk for device in devices]
    Device.objects.filter(zone=zone).exclude(pk__in=keys).update(zone=None)
    for device in devices:
        rows = Device.objects.filter(pk=device.pk, station=None)
        if rows.filter(zone=None).update(zone=zone) != 1 and not rows.filter(zone=zone).exists():
            raise Refused.one(f"{device} was just taken by a station or another zone.", "devices")


def _tell_stations(by: Person | None, zone: Zone) -> None:
    """Give each station of the zone a next version: its unit is told by the difference."""
    for station in zone.stations.select_for_update().filter(retired_at=None):
        newest = station.versions.filter(number=station.version).first()
        if newest is None or newest.definition != composing.composition.definition(station):
            composing.add_version(by, station)
