"""Take a station's configuration from the site: only while nothing runs there, latches stay."""

from __future__ import annotations

import logging
from typing import Protocol

import msgspec

from cycler_unit.buses.protocol import device_key
from cycler_unit.commands import Answer
from cycler_unit.hub import Hub
from cycler_unit.station import BadStation, Station
from cycler_unit.stations import Kept
from wire.messages import StationConfigure, StationDevice

logger = logging.getLogger("cycler_unit.dispatch")


class Stations(Protocol):
    """The unit's stations by UUID."""

    def get(self, station: str) -> Station | None:
        """Return a station, None when the unit does not have it."""

    def all(self) -> list[Station]:
        """Return all stations."""

    def put(self, kept: Kept) -> None:
        """Make or replace a station; raises :class:`BadStation`."""

    def remove(self, station: str) -> None:
        """Stop and forget a station."""


class Configuring:
    """Makes, changes and retires the unit's stations, one after the other."""

    def __init__(self, hub: Hub, stations: Stations) -> None:
        self._hub, self._stations = hub, stations

    def configure(self, args: StationConfigure, answer: Answer) -> None:
        """Apply a station's whole configuration, only while no test has it; latches stay."""
        station = self._stations.get(args.station)
        if station is not None and station.conductor.experiment is not None:
            answer("refused", None, "the station runs an experiment; it is changed when it is idle")
            return
        if station is not None and station.by_hand.lease is not None:
            answer("refused", None, f"{station.by_hand.lease.person} controls the station by hand")
            return
        if station is not None and station.unsafe is not None and station.power.output_on:
            # A station made anew would not know any more what may still be on.
            answer("refused", None, f"the station is not confirmed off: {station.unsafe}")
            return
        if args.retired:
            try:
                self._stations.remove(args.station)
            except BadStation as error:
                answer("failed", None, f"the station cannot be removed: {error}")
                return
            answer("done", {"version": args.version, "retired": True}, None)
            return
        if station is not None and station.kept.configure == args:
            answer("done", {"version": args.version}, None)
            return
        own = [kind for each in args.devices if (kind := getattr(each, "kind", None))]
        for problem in self._hub.devices.learn(own):
            logger.warning("event=kind_refused reason='%s'", problem)
        shared = self._shared(args)
        if shared is not None:
            answer("refused", None, shared)
            return
        try:
            kept = msgspec.structs.replace(station.kept, configure=args) if station else Kept(configure=args)
            self._stations.put(kept)
        except (BadStation, ValueError, OSError) as error:
            answer("refused", None, f"the station cannot be built: {error}")
            return
        answer("done", {"version": args.version}, None)
        self._hub.changed()

    def _shared(self, args: StationConfigure) -> str | None:
        """Say which device another station has already (rule 12: one device in one station)."""
        zone = args.zone.devices if args.zone is not None else []
        wanted, guards = {_who(each) for each in args.devices}, {_who(each) for each in zone}
        if both := wanted & guards:
            return f"device {' '.join(both.pop())} guards the zone: opening it there would switch it here"
        for other in self._stations.all():
            if other.id == args.station:
                continue
            configure = other.kept.configure
            for each in configure.devices:
                if _who(each) in wanted | guards:
                    return f"device {each.model} {each.serial_number} belongs to {configure.name}"
            for each in configure.zone.devices if configure.zone is not None else []:
                if _who(each) in wanted:
                    return f"device {each.model} {each.serial_number} guards the zone of {configure.name}"
        return None


def _who(device: StationDevice) -> tuple[str, str]:
    """Return what tells a device from others: model and serial number, or model and place."""
    return device.model, device.serial_number or device_key(device.link)
