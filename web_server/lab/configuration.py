"""A station as its unit needs it: sent whenever the unit's version is not the site's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.db.models import F, Q
from django.utils import timezone

from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.lab import composition
from web_server.lab.models import Station, Unit
from web_server.lib.entity import update_if

# A unit that refuses a composition is asked again this much later, not with every heartbeat.
AGAIN_AFTER_S = 60.0
# Two heartbeats: a unit that did not answer by then is asked afresh, with what the site knows then.
EXPIRES_S = 10.0


def send_where_different(unit: Unit) -> list[Command]:
    """Ask ``unit`` to take every idle station whose version differs; return the commands."""
    sent = []
    for station in Station.objects.filter(unit=unit):
        if _differs(station) and not _asked_lately(station):
            args = composition.configuration(station)
            sent.append(
                commands.request("station.configure", args, unit, station=station, expires_s=EXPIRES_S)
            )
    return sent


def units_to_configure(unit_ids: Iterable[int]) -> list[Unit]:
    """Return those of these units that are online and lack the newest version of a station."""
    behind = Q(stations__unit_version=None) | ~Q(stations__unit_version=F("stations__version"))
    rows = Unit.objects.filter(behind, pk__in=list(unit_ids), online=True, stations__retired_at=None)
    return list(rows.distinct())


def taken(command: Command) -> None:
    """Note that the unit has taken a composition, without waiting for its next heartbeat."""
    if command.kind == "station.configure" and command.status == Command.Status.DONE and command.station:
        row = Station.objects.filter(pk=command.station_id, retired_at=None)
        update_if(row, unit_version=command.args["version"])


def _differs(station: Station) -> bool:
    if station.retired_at is not None:
        # The unit forgets a retired station; until then it still reports it.
        return station.unit_version is not None and station.state == Station.State.IDLE
    if station.unit_version is None:
        return True
    return station.unit_version != station.version and station.state == Station.State.IDLE


def _asked_lately(station: Station) -> bool:
    last = Command.objects.filter(station=station, kind="station.configure").order_by("-id").first()
    if last is None:
        return False
    if last.is_open:
        return True
    # One that was done shows in the next heartbeat; one that was not wanted is not repeated at once.
    wait_s = EXPIRES_S if last.status == Command.Status.DONE else AGAIN_AFTER_S
    if last.status == Command.Status.EXPIRED:
        return False
    recent = last.created_at > timezone.now() - timedelta(seconds=wait_s)
    return recent and last.args.get("version") == station.version
