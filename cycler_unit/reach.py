"""Off, lost and found: what a station does about its power device (safety.md rules 6 and 13)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cycler_unit.drivers.base import Identity
from cycler_unit.drivers.errors import DeviceLost, DriverError
from cycler_unit.power import OffResult

if TYPE_CHECKING:
    from cycler_unit.station import Station

logger = logging.getLogger("cycler_unit.reach")

# A device that was lost is opened again at once and then this often (safety.md rule 6).
REOPEN_S = 1.0


class Reach:
    """Keep track of whether a station is confirmed off; used by its thread only."""

    def __init__(self, station: Station) -> None:
        self._station = station
        # Until its device is opened and switched off, nobody knows what it does (rule 10).
        self.unsafe: str | None = "its device was not reached since the unit started"
        """Why the station is not confirmed off, None when it is."""
        self._off_failed = False
        self.said = ""

    def reopen(self) -> bool:
        """Open the device, off first; True when it is there and confirmed off."""
        station, parts = self._station, self._station.parts
        if parts.moved():
            parts.release()
            last, on = station.power.last, station.power.output_on
            station.power = parts.make_power()
            station.power.last, station.power.output_on = last, on
        parts.hold()
        try:
            identity = station.power.open()
        except DriverError as error:
            if self.said != str(error):
                self.said = str(error)
                logger.warning("event=device_unreached station=%s reason='%s'", station.id, error)
            # Whatever was said before: a device that cannot be opened is not confirmed off.
            self.unsafe = f"{error}; {station.power.may_be_on()}"
            return False
        self.said = ""
        self._seen(identity)
        return True

    def _seen(self, identity: Identity) -> None:
        station = self._station
        found = [identity]
        parts = getattr(station.power.device, "identities", None)
        if parts:
            found = parts
        for place, each in zip(station.parts.places, found, strict=True):
            station.hub.devices.seen(place.link, place.kind, each)
        station.hub.devices_changed()

    def switch_off(self) -> OffResult | None:
        """Switch off and confirm (rule 6); not confirmed makes the station unsafe. None: device lost."""
        station = self._station
        try:
            result = station.power.off()
        except DeviceLost as error:
            self.lose(str(error))
            return None
        if result.confirmed:
            self._confirmed_off()
        else:
            self.unsafe = f"{result.text}; {station.power.may_be_on()}"
            self._isolate()
            if not self._off_failed:
                self._off_failed = True
                text = f"{station.kept.configure.name}: not confirmed off: {self.unsafe}"
                station.alarm("off_failed", text, "unsafe")
        return result

    def _isolate(self) -> None:
        """Open the isolator, if there is one: the last switch between a device that stays on and its cell."""
        isolator = self._station.parts.isolator
        if isolator is None or isolator.is_open:
            return
        why = isolator.open(self._station.taken, off=False, force=True)
        self.unsafe = f"{self.unsafe}; " + (why or "the isolator was opened")

    def _confirmed_off(self) -> None:
        if self.unsafe is None:
            return
        station = self._station
        logger.info("event=confirmed_off station=%s", station.id)
        if self._off_failed or station.rounds > 1:
            station.event("device", "the device answers and is confirmed off", {"was": self.unsafe})
        self.unsafe = None
        self._off_failed = False

    def lose(self, why: str) -> None:
        """Take a lost device: it is not off; the link is opened again at once, then the test ends."""
        station = self._station
        self.unsafe = f"{why}; {station.power.may_be_on()}"
        station.power.close()
        logger.error("event=device_lost station=%s reason='%s'", station.id, self.unsafe)
        for place in station.parts.places:
            station.hub.devices.missed(place.link, why)
        station.hub.changed()
        # Reaching it comes before telling anybody; if it fails, the next rounds go on trying.
        self._reach_again()
        if self.unsafe is not None:
            self._isolate()
        if not station.ended_by("device_lost", f"device lost: {why}"):
            station.event("device", f"device lost: {self.unsafe or why}", {"lost": True})
        station.hub.devices_changed()
        station.soon()

    def _reach_again(self) -> None:
        if not self.reopen():
            return
        try:
            if self._station.power.off().confirmed:
                self.unsafe = None
        except DeviceLost:
            self._station.power.close()
