"""Changes to batteries."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from web_server.accounts import audit
from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.cells import limits, technologies
from web_server.cells.models import Battery
from web_server.lab.models import Station
from web_server.lib import fields
from web_server.lib.errors import Refused
from web_server.lib.transactions import atomic

_TEXTS = {
    "description": 10_000,
    "manufacturer": 100,
    "model": 100,
    "serial_number": 100,
    "barcode": 100,
    "project": 100,
}
COLUMNS = (
    "name",
    *_TEXTS,
    "manufactured_on",
    "technology",
    "cells_in_series",
    *limits.NUMBERS,
    "hazard_level",
    "owner",
    "tags",
)
# Unique where given, so an empty text must become "unknown".
_NULL_WHEN_EMPTY = ("serial_number", "barcode")


def is_uuid(text: str | None) -> bool:
    """Return whether ``text`` is a UUID."""
    try:
        UUID(text or "")
    except ValueError:
        return False
    return True


def as_body(battery: Battery) -> dict[str, Any]:
    """Return the battery's own fields as a body that `add` and `change` would take."""
    body = {column: getattr(battery, column) for column in COLUMNS}
    detail = battery.detail
    own = technologies.FIELDS[battery.technology]
    body[battery.technology] = {field: getattr(detail, field) for field in own} if detail else None
    return body


def problems(body: dict[str, Any]) -> list[fields.Error]:
    """Return everything wrong with a whole body; forms and the API show it at the fields."""
    return [
        *fields.unknown(body, {*COLUMNS, *technologies.MODELS}, "battery"),
        *fields.name(body),
        *fields.texts(body, _TEXTS),
        *fields.tags(body),
        *_manufactured_on(body),
        *technologies.problems(body),
        *limits.problems(body),
    ]


def _manufactured_on(body: dict[str, Any]) -> list[fields.Error]:
    given = body.get("manufactured_on")
    if given is None or isinstance(given, date):
        return []
    try:
        date.fromisoformat(given)
    except (TypeError, ValueError):
        return [fields.error("manufactured_on", f"manufactured_on is a date like 2026-05-31; got {given!r}.")]
    return []


@atomic
def add(by: Person | None, **body: Any) -> Battery:
    """Record a new battery; fields as in the API's body.

    Raises:
        NotAllowed: the role is too low.
        Refused: names every field that is wrong, crossed limits included.
    """
    require(by, Role.OPERATOR, "add a battery")
    battery = Battery(owner=by)
    _write(battery, {"cells_in_series": 1, **body})
    audit.record(by, "battery.add", battery)
    return battery


@atomic
def change(by: Person | None, battery: Battery, **body: Any) -> Battery:
    """Change the given fields of a battery. A running experiment keeps the contract it started with.

    Raises:
        NotAllowed: the role is too low.
        Refused: names every field that is wrong; the technology cannot change once it has experiments.
    """
    require(by, Role.OPERATOR, "change a battery")
    before = as_body(battery)
    after = {**before, **body}
    if after["technology"] != before["technology"]:
        if battery.experiments.exists():
            raise Refused.one("This battery has experiments: its technology stays.", "technology")
        after.pop(before["technology"])
    elif isinstance(body.get(battery.technology), dict):
        after[battery.technology] = {**(before[battery.technology] or {}), **body[battery.technology]}
    _write(battery, after)
    audit.record(by, "battery.change", battery, changed=audit.differences(before, as_body(battery)))
    return battery


def _write(battery: Battery, body: dict[str, Any]) -> None:
    for column in _NULL_WHEN_EMPTY:
        body[column] = (
            (body.get(column) or "").strip() or None
            if isinstance(body.get(column), str)
            else body.get(column)
        )
    errors = problems(body)
    if errors:
        raise Refused(errors)
    _check_unique(battery, body)
    for column in COLUMNS:
        if column in body:
            setattr(battery, column, _stored(column, body[column]))
    try:
        with transaction.atomic():
            battery.save()
            technologies.save_part(battery, body[battery.technology])
    except IntegrityError:
        # Somebody else took the name between the check and the write.
        raise Refused.one(
            "A battery with this name, barcode or serial number was just added.", "name"
        ) from None
    battery.refresh_from_db()


def _stored(column: str, given: Any) -> Any:
    if column == "manufactured_on" and isinstance(given, str):
        return date.fromisoformat(given)
    if column in _TEXTS and column not in _NULL_WHEN_EMPTY and given is None:
        return ""
    return given.strip() if column == "name" else given


def _check_unique(battery: Battery, body: dict[str, Any]) -> None:
    others = Battery.objects.exclude(pk=battery.pk)
    if others.filter(name=body["name"].strip()).exists():
        raise Refused.one(f"There is a battery {body['name'].strip()!r} already.", "name")
    same = others.filter(barcode=body["barcode"]).first() if body.get("barcode") else None
    if same:
        raise Refused.one(f"{same.name} has this barcode already.", "barcode")
    maker, model = body.get("manufacturer") or "", body.get("model") or ""
    number = body.get("serial_number")
    same = others.filter(manufacturer=maker, model=model, serial_number=number).first() if number else None
    if same:
        raise Refused.one(f"{same.name} has this maker, model and serial number already.", "serial_number")


@atomic
def retire(by: Person | None, battery: Battery) -> Battery:
    """Take a battery out of use; its experiments and samples stay.

    Raises:
        NotAllowed: the role is too low.
        Refused: it is loaded, or waits in the queue.
    """
    require(by, Role.OPERATOR, "retire a battery")
    battery = Battery.objects.select_for_update().get(pk=battery.pk)
    if battery.station:
        raise Refused.one(f"{battery.name} is loaded in {battery.station.name}; eject it first.", "battery")
    if battery.experiments.filter(status="queued").exists():
        raise Refused.one(f"{battery.name} has queued experiments; cancel them first.", "battery")
    battery.retired_at = timezone.now()
    battery.save(update_fields=["retired_at", "updated_at"])
    audit.record(by, "battery.retire", battery)
    return battery


@atomic
def load(by: Person | None, battery: Battery, station: Station) -> Battery:
    """Record that somebody put ``battery`` into ``station`` (safety.md rule 12).

    Raises:
        NotAllowed: the role is too low.
        Refused: it is somewhere else, something else is in the station, or either is retired.
    """
    require(by, Role.OPERATOR, "load a battery")
    battery = Battery.objects.select_for_update().select_related("station").get(pk=battery.pk)
    station = Station.objects.select_for_update().get(pk=station.pk)
    if battery.station_id == station.pk:
        return battery
    _check_loadable(battery, station)
    battery.station, battery.loaded_at, battery.loaded_by = station, timezone.now(), by
    try:
        with transaction.atomic():
            battery.save(update_fields=["station", "loaded_at", "loaded_by", "updated_at"])
    except IntegrityError:
        raise Refused.one(f"Another battery was just loaded into {station.name}.", "station") from None
    station.save(update_fields=["updated_at"])
    audit.record(by, "battery.load", battery, station=station.name)
    return battery


def _check_loadable(battery: Battery, station: Station) -> None:
    if battery.retired_at:
        raise Refused.one(f"{battery.name} is retired.", "battery")
    if station.retired_at:
        raise Refused.one(f"{station.name} is retired.", "station")
    if battery.station:
        raise Refused.one(f"{battery.name} is in {battery.station.name}; eject it there first.", "battery")
    inside = Battery.objects.filter(station=station).first()
    if inside:
        raise Refused.one(f"{station.name} holds {inside.name}; eject it first.", "station")
    if station.experiment:
        raise Refused.one(f"{station.name} is running {station.experiment.name}.", "station")


@atomic
def eject(by: Person | None, battery: Battery) -> Battery:
    """Record that somebody took ``battery`` out of its station.

    Raises:
        NotAllowed: the role is too low.
        Refused: an experiment has it, or its station's output may still be on.
    """
    require(by, Role.OPERATOR, "eject a battery")
    battery = Battery.objects.select_for_update().select_related("station").get(pk=battery.pk)
    station = battery.station
    if station is None:
        return battery
    running = getattr(battery, "active_experiment", None)
    if running:
        raise Refused.one(
            f"{battery.name} is in {running.name} ({running.status}); stop it first.", "battery"
        )
    if station.state in (Station.State.UNSAFE, Station.State.MANUAL):
        raise Refused.one(f"{station.name} is {station.state}: its output may be on.", "station")
    battery.station, battery.loaded_at, battery.loaded_by = None, None, None
    battery.save(update_fields=["station", "loaded_at", "loaded_by", "updated_at"])
    station.save(update_fields=["updated_at"])
    audit.record(by, "battery.eject", battery, station=station.name)
    return battery
