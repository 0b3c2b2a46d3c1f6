"""Stops that a unit has not confirmed yet: until then a page says "not confirmed off" (rule 11)."""

from __future__ import annotations

from collections.abc import Iterable

from web_server.commands.models import Command
from web_server.lab.models import Device, Station
from wire.messages import STOPS


def unconfirmed(units: Iterable[int]) -> list[Command]:
    """Return the stops that these units (primary keys) have not answered, oldest first."""
    still = [Command.Status.QUEUED, Command.Status.SENT]
    rows = Command.objects.filter(unit__in=list(units), kind__in=STOPS, status__in=still)
    return list(rows.select_related("station").order_by("id"))


def of_station(station: Station, stops: Iterable[Command]) -> Command | None:
    """Return the first of these stops that is about a station or its whole unit."""
    return _first(stops, station.unit_id, {str(station.uuid)})


def of_device(device: Device, stops: Iterable[Command]) -> Command | None:
    """Return the first of these stops that is about a device, its station or its whole unit."""
    wanted = {str(device.uuid), *([str(device.station.uuid)] if device.station else [])}
    return _first(stops, device.unit_id, wanted)


def _first(stops: Iterable[Command], unit_id: int, wanted: set[str]) -> Command | None:
    return next((stop for stop in stops if stop.unit_id == unit_id and _concerns(stop, wanted)), None)


def _concerns(stop: Command, wanted: set[str]) -> bool:
    args = stop.args
    if stop.kind == "station.stop_all":
        named = set(args.get("stations") or ())
        return not named or bool(named & wanted)
    if {str(args.get("device")), str(args.get("station"))} & wanted:
        return True
    return stop.station is not None and str(stop.station.uuid) in wanted and not args.get("device")
