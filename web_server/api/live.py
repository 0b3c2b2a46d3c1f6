"""The bodies and rows that the event stream tells: the same serializers as the resources' own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from web_server.api.fields import written
from web_server.commands.api import CommandRow
from web_server.commands.models import Command
from web_server.experiments.bodies import AlarmBody, EventBody
from web_server.experiments.models import Alarm, Event, Experiment
from web_server.lab.bodies import StationLive
from web_server.lab.models import Device, Station
from web_server.measurements.models import DeviceReading


def stations() -> QuerySet[Station]:
    """Return stations with what a live body reads."""
    rows = Station.objects.filter(retired_at=None).select_related("unit", "battery", "active_experiment")
    return rows.order_by("name")


def experiments() -> QuerySet[Experiment]:
    """Return experiments with what a sample message reads."""
    return Experiment.objects.select_related("station")


def events() -> QuerySet[Event]:
    """Return events in order."""
    return Event.objects.select_related("experiment", "station", "unit").order_by("pk")


def alarms() -> QuerySet[Alarm]:
    """Return alarms in order."""
    return Alarm.objects.select_related("experiment", "station", "unit", "acknowledged_by").order_by("pk")


def commands() -> QuerySet[Command]:
    """Return commands in order."""
    return Command.objects.select_related("experiment", "station", "unit", "issued_by").order_by("pk")


def readings(devices: Collection[str]) -> list[DeviceReading]:
    """Return the newest recorded reading of each of these devices (UUIDs)."""
    if not devices:
        return []
    newest = DeviceReading.objects.filter(device=OuterRef("pk")).order_by("-at").values("pk")[:1]
    keys = Device.objects.filter(uuid__in=devices).annotate(newest=Subquery(newest))
    found = [key for key in keys.values_list("newest", flat=True) if key is not None]
    return list(DeviceReading.objects.filter(pk__in=found).select_related("device"))


def station_body(row: Station) -> dict[str, Any]:
    """Return what the Monitor's tile shows of a station."""
    return written(StationLive, row)


def event_body(row: Event) -> dict[str, Any]:
    """Return an event."""
    return written(EventBody, row)


def alarm_body(row: Alarm) -> dict[str, Any]:
    """Return an alarm."""
    return written(AlarmBody, row)


def command_body(row: Command) -> dict[str, Any]:
    """Return a command."""
    return written(CommandRow, row)
