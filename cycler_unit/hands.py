"""Bring manual control to who owns the device: a station's mailbox, or ``manual`` for all others.

Each command on a thread that may wait for a device; Down never waits for a free one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from cycler_unit.commands import Answer
from cycler_unit.configuring import Stations
from cycler_unit.contract import Refusal
from cycler_unit.drivers.errors import DriverError
from cycler_unit.free import values_of
from cycler_unit.mail import Ask
from cycler_unit.manual import Manual
from cycler_unit.readings import MissingJudge
from cycler_unit.station import Station
from wire.messages import DeviceLease, DeviceOff, DeviceRead, DeviceSet

logger = logging.getLogger("cycler_unit.hands")

AT_ONCE = 6
Wanted = DeviceRead | DeviceLease | DeviceSet | DeviceOff


class Hands:
    """Routes what people do by hand."""

    def __init__(self, manual: Manual, stations: Stations) -> None:
        self._manual, self._stations = manual, stations
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="by-hand")

    def stop(self) -> None:
        """End after what is being done."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def do(self, args: Wanted, answer: Answer) -> None:
        """Act on a device or a station; raises :class:`Refusal` for what is refused at once."""
        station = self._station(args)
        if station is not None:
            self._of_station(station, args, answer)
            return
        if args.device is None:
            raise Refusal("name a device or a station")
        match args:
            case DeviceRead():
                self._later(lambda: self._manual.read(args, answer), answer)
            case DeviceLease():
                self._later(lambda: self._manual.lease(args, answer), answer)
            case DeviceSet():
                self._later(lambda: self._manual.set(args, answer), answer)
            case DeviceOff():
                self._now(lambda: self._manual.off(args, answer), answer)

    def all_off(self, why: str, answer: Answer) -> None:
        """Make everything safe that people hold in no station."""

        def act() -> None:
            left = self._manual.all_off(why)
            answer("failed" if left else "done", {}, "; ".join(left) or None)

        self._now(act, answer)

    # --- stations -------------------------------------------------------------------------------

    def _station(self, args: Wanted) -> Station | None:
        """Return the station that owns what is named; None for a device in no station."""
        named = getattr(args, "station", None)
        if named is not None:
            station = self._stations.get(named)
            if station is None:
                raise Refusal("this unit does not have that station (yet)")
            return station
        for station in self._stations.all():
            configure = station.kept.configure
            if any(each.device == args.device for each in configure.devices):
                return station
            zone = configure.zone
            shared = any(each.device == args.device for each in zone.devices) if zone else False
            if zone and shared and not isinstance(args, DeviceRead):
                raise Refusal(f"this device guards the zone {zone.name}; it is not set by hand")
        return None

    def _of_station(self, station: Station, args: Wanted, answer: Answer) -> None:
        match args:
            case DeviceRead():
                self._read(station, args, answer)
            case DeviceLease():
                asked = msgspec.structs.replace(args, station=station.id)
                station.mail.put(Ask("lease", asked, answer))
            case DeviceSet():
                station.mail.put(Ask("manual_set", args, answer))
            case DeviceOff():
                # During an experiment that is its stop (wire.md).
                asked_off = msgspec.structs.replace(args, station=station.id)
                station.mail.put(Ask("manual_off", asked_off, answer, urgent=True))

    @staticmethod
    def _read(station: Station, args: DeviceRead, answer: Answer) -> None:
        """Answer from the station's newest round: its own thread alone talks to its devices."""
        measured = station.measured.get(args.device)
        if measured is None:
            raise Refusal(f"{station.kept.configure.name} has no reading of this device: {station.unsafe or 'it does not answer'}")  # fmt: skip
        kind, now_s = station.kinds[args.device], time.monotonic()
        power = args.device == station.power_device.device
        # An idle station is read seldom: its newest round is no older than that, and its age is told.
        due_s = max(measured.began_s, now_s - station.read_every_s)
        answer("done", {
            "values": values_of(kind, measured, MissingJudge(kind, station.period_s), due_s),
            "held": dict(station.held.get(args.device, {})),
            "output_on": station.power.output_on if power else None,
            "age_s": round(now_s - measured.began_s, 3),
            "lease": {"lease": lease} if (lease := station.beat().lease) else None,
        }, None)  # fmt: skip

    # --- devices in no station ------------------------------------------------------------------

    def _later(self, act: Callable[[], None], answer: Answer) -> None:
        self._pool.submit(guarded, act, answer)

    @staticmethod
    def _now(act: Callable[[], None], answer: Answer) -> None:
        threading.Thread(target=guarded, args=(act, answer), name="down", daemon=True).start()


def guarded(act: Callable[[], None], answer: Answer) -> None:
    """Act, and answer with what stood in the way, if anything did."""
    try:
        act()
    except Refusal as refusal:
        answer("refused", None, refusal.text)
    except DriverError as error:
        answer("failed", None, str(error))
    except Exception as error:
        # The one broad except of these threads: somebody waits for an answer.
        logger.exception("event=manual_failed")
        answer("failed", None, f"internal error: {type(error).__name__}: {error}")
