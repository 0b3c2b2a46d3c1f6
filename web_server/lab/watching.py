"""Tell units which battery is loaded where, so that they watch it also at rest (safety.md rule 17)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from cycling import envelope
from cycling.contract import Envelope, EnvelopeError, Resolution
from cycling.steps import Safety
from web_server.cells.models import Battery
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.experiments.contract import battery_limits
from web_server.lab.models import Station
from web_server.lab.station_message import limits_of_devices, limits_of_station
from wire import messages

logger = logging.getLogger("web_server.lab.watching")

# An unanswered telling is made afresh after this, with what is true then; a refused one waits as long.
EXPIRES_S, AGAIN_S = 10.0, 20.0
KIND = "station.battery"
# Nothing flows through a battery at rest that a budget would count: any bound makes its limits complete.
UNCOUNTED_AH = 1e6


@dataclass
class Told:
    """What one station's unit is known to have. ``basis`` is what its limits were computed from."""

    battery: str | None
    basis: tuple[Any, ...] | None = None


@dataclass
class Watching:
    """What a manager knows of its units' watches; it begins with what heartbeats say."""

    told: dict[str, Told] = field(default_factory=dict)

    def heard(self, beat: messages.Heartbeat) -> None:
        """Take what a heartbeat says; a difference to what was told means that it must be told again."""
        for station in beat.stations:
            known = self.told.get(station.station)
            if known is None or known.battery != station.battery:
                self.told[station.station] = Told(station.battery)

    def has_another(self, station: Station) -> bool:
        """Say whether the unit still watches a battery that is not in this station any more.

        It would refuse a test of the one that is (rule 12), until it has been told.
        """
        told = self.told.get(str(station.uuid))
        return told is not None and told.battery not in (None, _key(station.loaded_battery))

    def send_where_different(self, unit_ids: Iterable[int]) -> list[Command]:
        """Tell every online unit about the stations whose battery, or whose limits, it does not have."""
        stations = Station.objects.filter(
            unit_id__in=list(unit_ids), unit__online=True, retired_at=None, unit_version__isnull=False
        ).select_related("unit", "battery")
        sent = []
        for station in stations:
            told = self.told.get(str(station.uuid))
            battery = station.loaded_battery
            if told is None or told == Told(_key(battery), _basis(station, battery)):
                continue
            if _asked_lately(station):
                continue
            args = message(station, battery)
            sent.append(commands.request(KIND, args, station.unit, station=station, expires_s=EXPIRES_S))
        return sent

    def replied(self, command: Command) -> None:
        """Take a unit's answer: it has what it was told, if that is still what is true."""
        if command.kind != KIND or command.status != Command.Status.DONE or command.station is None:
            return
        station = Station.objects.select_related("battery").get(pk=command.station_id)
        battery = station.loaded_battery
        now = Told(_key(battery), _basis(station, battery))
        if _same(command.args, message(station, battery)):
            self.told[str(station.uuid)] = now


def message(station: Station, battery: Battery | None) -> messages.StationBattery:
    """Return what the unit is told: the battery and its own limits in this station."""
    if battery is None:
        return messages.StationBattery(station=str(station.uuid))
    limits = battery_limits(battery)
    try:
        made = envelope.compute(
            limits,
            limits_of_devices(station),
            limits_of_station(station),
            Safety(q_abs_max_ah=None if limits.capacity_ah else UNCOUNTED_AH),
        )
        text = envelope.canonical(made)
    except EnvelopeError as error:
        # Its limits leave nothing in this station: it is never started here, yet it is named there.
        logger.warning("event=watch_without_limits station=%s reason='%s'", station.uuid, error)
        text = envelope.canonical(Envelope(limits=(), resolution=Resolution()))
    return messages.StationBattery(
        station=str(station.uuid),
        battery=messages.BatteryRef(
            battery=str(battery.uuid),
            name=battery.name,
            technology=battery.technology,
            cells_in_series=battery.cells_in_series,
            capacity_ah=battery.capacity_ah,
            last_rest_voltage_v=battery.last_rest_voltage_v,
            resistance_ohm=battery.resistance_ohm,
            energy_wh=envelope.energy_wh(limits),
        ),
        envelope=text,
        envelope_sha256=envelope.sha256(text),
        loaded_at=_iso(battery.loaded_at),
    )


def _same(args: dict[str, Any], message: messages.StationBattery) -> bool:
    battery = args.get("battery") or {}
    mine = message.battery.battery if message.battery else None
    return battery.get("battery") == mine and args.get("envelope_sha256", "") == message.envelope_sha256


def _key(battery: Battery | None) -> str | None:
    return str(battery.uuid) if battery is not None else None


def _basis(station: Station, battery: Battery | None) -> tuple[Any, ...] | None:
    """Return what decides about the limits; cheap, because it is asked every second."""
    return None if battery is None else (station.version, battery.loaded_at, battery_limits(battery))


def _asked_lately(station: Station) -> bool:
    last = Command.objects.filter(station=station, kind=KIND).order_by("-id").first()
    if last is None:
        return False
    if last.is_open:
        return True
    if last.status in (Command.Status.DONE, Command.Status.EXPIRED):
        return False
    return last.created_at > timezone.now() - timedelta(seconds=AGAIN_S)


def _iso(moment: datetime | None) -> str:
    return moment.isoformat() if moment is not None else ""
