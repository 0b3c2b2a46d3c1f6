"""What units say about themselves: presence, heartbeats, devices. The site mirrors it.

A unit counts as offline when its last will was seen or nothing was heard for 15 s (wire.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction
from django.utils import timezone

from web_server.experiments.models import Alarm
from web_server.lab.models import Station, Unit
from web_server.lib.entity import update_if
from web_server.lib.transactions import atomic
from wire.messages import Heartbeat, Presence, StationBeat

OFFLINE_AFTER_S = 15.0
# Larger than any sensible load or disk; keeps a stranger's number inside its column.
_BIG = 2**31 - 1
# More than any station has auxiliary outputs.
_OUTPUTS_MAX = 100


@atomic
def announced(unit: Unit, presence: Presence, at: datetime) -> bool:
    """Mirror a presence message; return whether the unit is online now.

    A will of an earlier connection may come late, after the unit is back: it changes nothing.
    """
    rows = Unit.objects.filter(pk=unit.pk)
    if not presence.online:
        if update_if(rows.filter(connection=presence.connection[:36]), online=False):
            _stations_offline([unit.pk], at)
            return False
        return bool(rows.values_list("online", flat=True).first())
    update_if(
        rows,
        online=True,
        connection=presence.connection[:36],
        boot_id=presence.boot_id[:64],
        version=presence.version[:40],
        last_seen=at,
    )
    return True


@atomic
def heard(unit: Unit, beat: Heartbeat, at: datetime) -> None:
    """Mirror a heartbeat received ``at``: the unit's health, and what each of its stations does."""
    columns: dict[str, Any] = {
        "online": True,
        "last_seen": at,
        "clock_skew_s": _skew_s(beat.sent_at, at),
        "uptime_s": beat.uptime_s,
        "load": beat.load,
        "disk_free_bytes": max(0, min(beat.disk_free_bytes, 2**62)),
        "spool_batches": _count(beat.spool_batches),
        "rejected_batches": _count(beat.rejected_batches),
        "dropped_messages": _count(beat.dropped_messages),
    }
    if beat.connection:
        columns["connection"] = beat.connection[:36]
    update_if(Unit.objects.filter(pk=unit.pk), **columns)
    told = {station.station: station for station in beat.stations}
    released = []
    for station in Station.objects.filter(unit=unit):
        of_it = told.get(str(station.uuid))
        _mirror(station, of_it, at)
        if of_it is not None and of_it.alarm is None and of_it.state != Station.State.UNSAFE:
            released.append(station.pk)
    _acknowledged(released, at)


def silent(unit_ids: Iterable[int], at: datetime) -> list[Unit]:
    """Mark those of these units offline that were not heard for 15 s; return them."""
    gone = []
    late = Unit.objects.filter(
        pk__in=list(unit_ids), online=True, last_seen__lt=at - timedelta(seconds=OFFLINE_AFTER_S)
    )
    for unit in late:
        with transaction.atomic():
            if update_if(
                Unit.objects.filter(pk=unit.pk, online=True, last_seen=unit.last_seen), online=False
            ):
                _stations_offline([unit.pk], at)
                gone.append(unit)
    return gone


def _mirror(station: Station, told: StationBeat | None, at: datetime) -> None:
    """Write what the unit says of one station; None = the unit does not know it (yet)."""
    if told is None:
        changed: dict[str, Any] = {"unit_version": None, "state": Station.State.OFFLINE}
    else:
        changed = {
            "unit_version": _count(told.version),
            "state": told.state,
            "state_detail": (told.detail or "")[:250],
            "latched_alarm": _uuid(told.alarm),
            "lease": (told.lease or "")[:36],
            "output_values": _outputs(told.outputs),
        }
        if told.reading is not None:
            changed["reading"] = msgspec.to_builtins(told.reading) | {
                name: getattr(told.reading, name) for name in ("voltage_v", "current_a", "temperature_c")
            }
            changed["reading_at"] = at - timedelta(
                seconds=min(max(told.age_of_last_reading_s or 0, 0), 86400)
            )
    if any(getattr(station, column) != value for column, value in changed.items()):
        update_if(Station.objects.filter(pk=station.pk), **changed)


def _outputs(told: dict[str, float]) -> dict[str, float]:
    return {name[:60]: value for name, value in list(told.items())[:_OUTPUTS_MAX] if math.isfinite(value)}


def _acknowledged(stations: list[int], at: datetime) -> None:
    """Show alarms as acknowledged whose release was asked for and whose station is not latched any more.

    The unit's answer may have been lost after the command expired; its heartbeat says the same.
    """
    asked = Alarm.objects.filter(
        station_id__in=stations, state=Alarm.State.RAISED, acknowledge_asked_at__isnull=False
    )
    asked.update(state=Alarm.State.ACKNOWLEDGED, acknowledged_at=at, updated_at=at)


def _stations_offline(unit_ids: list[int], at: datetime) -> None:
    rows = Station.objects.filter(unit_id__in=unit_ids).exclude(state=Station.State.OFFLINE)
    rows.update(state=Station.State.OFFLINE, updated_at=at)


def moment(text: str) -> datetime | None:
    """Return a unit's ISO 8601 time with a zone, or None when it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    if found.tzinfo is None or not 1970 < found.year < 2255:
        return None
    return found.astimezone(timezone.get_default_timezone())


def _skew_s(sent_at: str, at: datetime) -> float | None:
    """How far the unit's clock is ahead of ours, in seconds; the way through the broker counts in."""
    sent = moment(sent_at)
    return None if sent is None else round((sent - at).total_seconds(), 3)


def _count(number: int) -> int:
    return max(0, min(number, _BIG))


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
