"""Questions about commands that several parts ask."""

from __future__ import annotations

from django.db import connection
from django.db.models import QuerySet

from web_server.commands.models import Command
from web_server.experiments.models import Experiment
from web_server.lab.models import Station
from wire.messages import STOPS


def listed() -> QuerySet[Command]:
    """Return all commands with what a list shows, newest first."""
    return Command.objects.select_related("unit", "station", "experiment", "issued_by").order_by("-id")


def anything_queued() -> bool:
    """Return whether the outbox holds anything, for whichever unit.

    Managers ask a hundred times a second while somebody is active, and nearly always for nothing: the
    ORM, which makes the query anew each time, would take a tenth of a core for it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT 1 FROM {Command._meta.db_table} WHERE status = %s LIMIT 1", [Command.Status.QUEUED.value]
        )
        return cursor.fetchone() is not None


def open_stop(experiment: Experiment) -> Command | None:
    """Return the stop that the unit has not confirmed yet: the page says "not confirmed off"."""
    stops = Command.objects.filter(experiment=experiment, kind="experiment.stop")
    return stops.filter(status__in=[Command.Status.QUEUED, Command.Status.SENT]).first()


def open_stops_of(station: Station) -> QuerySet[Command]:
    """Return the unconfirmed stops of a station, its experiment's among them."""
    return Command.objects.filter(
        station=station, kind__in=STOPS, status__in=[Command.Status.QUEUED, Command.Status.SENT]
    )
