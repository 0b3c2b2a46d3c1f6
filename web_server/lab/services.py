"""Changes to units, devices and stations, and what people ask of them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from web_server.accounts import audit
from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.experiments.models import Alarm
from web_server.lab import periods
from web_server.lab.composing import compose_station, retire_station
from web_server.lab.models import Device, EnrolToken, Station, Unit, Zone
from web_server.lab.own_models import add_model, remove_model
from web_server.lab.station_message import own_kinds
from web_server.lab.zones import remove_zone, save_zone
from web_server.lib import fields
from web_server.lib.entity import update_if
from web_server.lib.errors import Refused
from web_server.lib.transactions import atomic
from wire import messages

__all__ = [
    "acknowledge",
    "add_model",
    "approve",
    "compose_station",
    "detect",
    "issue_enrol_token",
    "record_every",
    "redeem_enrol_token",
    "remove_model",
    "remove_zone",
    "rename_unit",
    "retire_station",
    "retire_unit",
    "save_zone",
    "stop_all",
]

# A token for a new unit is used within minutes; an unused one must not lie about for long.
ENROL_TOKEN_HOURS = 24
# A scan of slow serial ports, or of a CAN bus, may take minutes.
DETECT_EXPIRES_S = 300.0


# --- units ----------------------------------------------------------------------------------------


@atomic
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


@atomic
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


@atomic
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
    # A unit learns here of models that people added; it keeps them.
    args = messages.Detect(links=links or [], kinds=own_kinds())
    return commands.request("detect", args, unit, by=by, expires_s=DETECT_EXPIRES_S)


@atomic
def record_every(by: Person | None, device: Device, record_every_s: float | None) -> Device:
    """Set how often a device's readings are recorded while nothing runs; None = every 10 s.

    Raises:
        NotAllowed: the role is too low.
        Refused: outside 1 s to 1 h.
    """
    require(by, Role.OPERATOR, "change the period of recording")
    if record_every_s is not None and not 1 <= record_every_s <= 3600:
        raise Refused.one("Readings are recorded every 1 s to 1 h.", "record_every_s")
    before, device.record_every_s = device.record_every_s, record_every_s
    device.save(update_fields=["record_every_s", "updated_at"])
    audit.record(by, "device.record_every", device, record_every_s=[before, record_every_s])
    periods.send(device)
    return device


@atomic
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


@atomic
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


# --- what people ask of stations -------------------------------------------------------------------


@atomic
def stop_all(
    by: Person | None, stations: Iterable[Station] | None = None, *, zone: Zone | None = None
) -> list[Command]:
    """Switch off these stations, those of a zone, or all of the lab: one command per unit, never expiring.

    Raises:
        NotAllowed: the role is too low.
    """
    require(by, Role.OPERATOR, "stop stations")
    chosen = Station.objects.filter(retired_at=None).select_related("unit")
    if stations is not None:
        chosen = chosen.filter(pk__in=[station.pk for station in stations])
    if zone is not None:
        chosen = chosen.filter(zone=zone)
    by_unit: dict[Unit, list[Station]] = {}
    whole = stations is None and zone is None
    if whole:
        # The whole lab: also units on which people hold devices that are in no station.
        by_unit = {unit: [] for unit in Unit.objects.filter(approved=True, retired_at=None)}
    for station in chosen:
        by_unit.setdefault(station.unit, []).append(station)
    return [
        commands.request(
            "station.stop_all",
            # Of the whole lab no station is named: the unit may have more than the site knows of.
            messages.StationStopAll(stations=[] if whole else [str(station.uuid) for station in together]),
            unit,
            station=together[0] if len(together) == 1 else None,
            by=by,
        )
        for unit, together in by_unit.items()
        if unit.approved and not unit.retired_at
    ]


@atomic
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
    update_if(raised, acknowledge_asked_at=now, acknowledge_refused="", acknowledged_by=by)
    audit.record(by, "alarm.acknowledge", alarm, station=station.name)
    args = messages.StationAcknowledge(station=str(station.uuid), alarm=str(alarm.uuid))
    return commands.request(
        "station.acknowledge", args, station.unit, station=station, experiment=alarm.experiment, by=by
    )
