"""Questions about commands that several parts ask."""

from __future__ import annotations

from django.db.models import QuerySet

from web_server.commands.models import Command
from web_server.experiments.models import Experiment
from web_server.lab.models import Station
from wire.messages import STOPS


def listed() -> QuerySet[Command]:
    """Return all commands with what a list shows, newest first."""
    return Command.objects.select_related("unit", "station", "experiment", "issued_by").order_by("-id")


def open_stop(experiment: Experiment) -> Command | None:
    """Return the stop that the unit has not confirmed yet: the page says "not confirmed off"."""
    stops = Command.objects.filter(experiment=experiment, kind="experiment.stop")
    return stops.filter(status__in=[Command.Status.QUEUED, Command.Status.SENT]).first()


def open_stops_of(station: Station) -> QuerySet[Command]:
    """Return the unconfirmed stops of a station, its experiment's among them."""
    return Command.objects.filter(
        station=station, kind__in=STOPS, status__in=[Command.Status.QUEUED, Command.Status.SENT]
    )
