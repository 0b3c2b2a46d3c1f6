"""The bodies and rows that the event stream tells: the same serializers as the resources' own."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from web_server.api.fields import written
from web_server.commands.api import CommandRow
from web_server.commands.models import Command
from web_server.experiments.bodies import AlarmBody, EventBody
from web_server.experiments.models import Alarm, Event, Experiment
from web_server.lab.bodies import StationLive
from web_server.lab.models import Station


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
