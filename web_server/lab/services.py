"""Changes to units, devices and stations, and what people ask of them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from web_server.accounts import audit
from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.experiments.models import Alarm
from web_server.lab import composition
from web_server.lab.models import (
    Device,
    EnrolToken,
    Station,
    StationDevice,
    StationMeasure,
    StationVersion,
    Unit,
)
from web_server.lib import fields
from web_server.lib.entity import update_if
from web_server.lib.errors import Refused
from web_server.lib.lookup import find
from wire import messages

# A token for a new unit is used within minutes; an unused one must not lie about for long.
ENROL_TOKEN_HOURS = 24
# Parts of a composition: a change of one of them makes a new version.
COMPOSED = ("name", "devices", "measures", "outputs", "limits", "sensing", "loop_period_s")
DESCRIBED = {"location": 100, "barcode": 100, "description": 10_000, "last_defence": 250}


# --- units ----------------------------------------------------------------------------------------


@transaction.atomic
def approve(by: Person | None, unit: Unit) -> Unit:
    """Let a pending unit take part; it learns so within its next question (10 s).

    Raises:
        NotAllowed: the role is too low.
        Refused: the unit is retired.
    """
    require(by, Role.MANAGER, "approve a unit")
    if unit.retired_at:
        raise Refused.one(f"{unit.name} is retired.", "unit")
    waiting = Unit.objects.filter(pk=unit.pk, approved=False)
    if update_if(waiting, approved=True, approved_at=timezone.now(), approved_by=by):
        audit.record(by, "unit.approve", unit, hardware_id=unit.hardware_id)
    unit.refresh_from_db()
    return unit


@transaction.atomic
def rename_unit(by: Person | None, unit: Unit, name: str) -> Unit:
    """Give a unit another name.

    Raises:
        NotAllowed: the role is too low.
        Refused: the name is empty, too long or taken.
    """
    require(by, Role.MANAGER, "rename a unit")
    errors = fields.name({"name": name})
    if not errors and Unit.objects.exclude(pk=unit.pk).filter(name=name.strip()).exists():
        errors = [fields.error("name", f"There is a unit {name.strip()!r} already.")]
    if errors:
        raise Refused(errors)
    before, unit.name = unit.name, name.strip()
    unit.save(update_fields=["name", "updated_at"])
    audit.record(by, "unit.rename", unit, name=[before, unit.name])
    return unit


@transaction.atomic
def retire_unit(by: Person | None, unit: Unit) -> Unit:
    """Take a unit out of use; its stations must be retired before.

    Raises:
        NotAllowed: the role is too low.
        Refused: a station of it is in use.
    """
    require(by, Role.MANAGER, "retire a unit")
    in_use = unit.stations.filter(retired_at=None).first()
    if in_use:
        raise Refused.one(f"{in_use.name} is composed on {unit.name}; retire it first.", "unit")
    unit.retired_at, unit.approved = timezone.now(), False
    unit.save(update_fields=["retired_at", "approved", "updated_at"])
    audit.record(by, "unit.retire", unit)
    return unit


def detect(by: Person | None, unit: Unit, links: list[str] | None = None) -> Command:
    """Ask a unit to look for devices; what it finds comes as a device report."""
    return commands.request("detect", messages.Detect(links=links or []), unit, by=by)


@transaction.atomic
def issue_enrol_token(
    by: Person | None, *, note: str = "", hours: float = ENROL_TOKEN_HOURS, plan: dict[str, Any] | None = None
) -> tuple[EnrolToken, str]:
    """Make a one-time token with which a new unit is approved at once; return its row and secret.

    ``plan`` is what to compose once the unit has reported its devices (`lab.bench`).
    """
    require(by, Role.MANAGER, "issue a token for a unit")
    secret = secrets.token_urlsafe(32)
    token = EnrolToken.objects.create(
        note=note[:100],
        digest=_digest(secret),
        expires_at=timezone.now() + timedelta(hours=hours),
        issued_by=by,
        plan=plan or {},
    )
    audit.record(by, "enrol_token.issue", token)
    return token, secret


@transaction.atomic
def redeem_enrol_token(secret: str, unit: Unit) -> bool:
    """Use up a token for ``unit``, which it approves; False when it opens no door (any more)."""
    now = timezone.now()
    row = EnrolToken.objects.filter(digest=_digest(secret), used_at=None, expires_at__gt=now)
    if unit.retired_at or not update_if(row, used_at=now, unit=unit):
        return False
    token = EnrolToken.objects.select_related("issued_by").get(digest=_digest(secret))
    if update_if(
        Unit.objects.filter(pk=unit.pk, approved=False),
        approved=True,
        approved_at=now,
        approved_by=token.issued_by,
    ):
        audit.record(token.issued_by, "unit.approve", unit, token=str(token))
    unit.refresh_from_db()
    return True


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


# --- stations -------------------------------------------------------------------------------------


@transaction.atomic
def compose_station(by: Person | None, *, station: Station | None = None, **body: Any) -> Station:
    """Compose a new station, or change ``station``; a changed composition is its next version.

    ``body``: ``name, unit, devices [{device, role}], measures [{device, measure, name}], outputs,
    limits, sensing, loop_period_s, location, barcode, tags, description, last_defence``; devices and
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
    before |= {"name": "", "sensing": 4, "loop_period_s": 0.1}
    if station is not None:
        before |= {
            part: getattr(station, part) for part in ("name", "outputs", "limits", "sensing", "loop_period_s")
        }
        before["devices"] = [{"device": row.device, "role": row.role} for row in station.devices.all()]
        before["measures"] = [
            {"device": row.device, "measure": row.measure, "name": row.name} for row in station.measures.all()
        ]
    whole = before | {part: body[part] for part in COMPOSED if part in body}
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
    for part in ("name", "outputs", "limits", "sensing", "loop_period_s"):
        setattr(station, part, whole[part].strip() if part == "name" else whole[part])
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
        _add_version(by, station, is_new)
    audit.record(by, "station.compose" if is_new else "station.change", station, version=station.version)
    return station


def _bind(station: Station, whole: dict[str, Any]) -> None:
    """Make the rows of the composition; devices that are not in it any more become free."""
    Device.objects.filter(station=station).update(station=None)
    station.devices.all().delete()
    station.measures.all().delete()
    for entry in whole["devices"]:
        # Taken only when free: the count is the truth when two people compose at once.
        if Device.objects.filter(pk=entry["device"].pk, station=None).update(station=station) != 1:
            raise Refused.one(f"{entry['device']} was just taken by another station.", "devices")
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


def _add_version(by: Person | None, station: Station, is_new: bool) -> None:
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


@transaction.atomic
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
    station.version += 1
    station.save(update_fields=["retired_at", "version", "updated_at"])
    # The version's text keeps what it was made of; the unit forgets it at its next configuration.
    parent = station.versions.filter(number=station.version - 1).first()
    StationVersion.objects.create(
        station=station,
        number=station.version,
        parent=parent,
        definition=composition.definition(station),
        made_by=by,
    )
    Device.objects.filter(station=station).update(station=None)
    station.devices.all().delete()
    audit.record(by, "station.retire", station)
    return station


@transaction.atomic
def stop_all(by: Person | None, stations: Iterable[Station] | None = None) -> list[Command]:
    """Switch off these stations, or all of the lab: one command per unit, never expiring.

    Raises:
        NotAllowed: the role is too low.
    """
    require(by, Role.OPERATOR, "stop stations")
    chosen = Station.objects.filter(retired_at=None).select_related("unit")
    if stations is not None:
        chosen = chosen.filter(pk__in=[station.pk for station in stations])
    by_unit: dict[Unit, list[Station]] = {}
    for station in chosen:
        by_unit.setdefault(station.unit, []).append(station)
    return [
        commands.request(
            "station.stop_all",
            messages.StationStopAll(stations=[str(station.uuid) for station in together]),
            unit,
            station=together[0] if len(together) == 1 else None,
            by=by,
        )
        for unit, together in by_unit.items()
        if unit.approved and not unit.retired_at
    ]


@transaction.atomic
def acknowledge(by: Person, alarm: Alarm) -> Command | None:
    """Acknowledge an alarm: ask its unit to release the latch, which alone makes it acknowledged.

    An alarm without a station has no latch and is acknowledged at once (no command: None).

    Raises:
        NotAllowed: the role is too low.
        Refused: it is not raised any more.
    """
    require(by, Role.OPERATOR, "acknowledge an alarm")
    if alarm.state != Alarm.State.RAISED:
        raise Refused.one(f"This alarm is {alarm.state} already.", "alarm")
    now, station = timezone.now(), alarm.station
    raised = Alarm.objects.filter(pk=alarm.pk, state=Alarm.State.RAISED)
    if station is None:
        update_if(raised, state=Alarm.State.ACKNOWLEDGED, acknowledged_by=by, acknowledged_at=now)
        audit.record(by, "alarm.acknowledge", alarm)
        return None
    update_if(raised, acknowledge_asked_at=now, acknowledged_by=by)
    audit.record(by, "alarm.acknowledge", alarm, station=station.name)
    args = messages.StationAcknowledge(station=str(station.uuid), alarm=str(alarm.uuid))
    return commands.request(
        "station.acknowledge", args, station.unit, station=station, experiment=alarm.experiment, by=by
    )
