"""Record devices that run no experiment: those in no station, and those of idle stations.

Each at its own period: what the site asked for this device, else ``record_every_s`` of its link, of
its kind, of the unit. One slow device holds up its own bus only.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from cycler_unit import disk
from cycler_unit.buses.protocol import bus_key, device_key
from cycler_unit.clock import iso
from cycler_unit.detection import name_of
from cycler_unit.devices import Devices, Found
from cycler_unit.drivers.errors import DriverError
from cycler_unit.free import Busy, Free, values_of
from cycler_unit.readings import MissingJudge
from cycler_unit.spool import Entry, Spool
from wire.catalogue import Kind
from wire.messages import DevicePlace, ReadingPeriod

logger = logging.getLogger("cycler_unit.idle_readings")

TICK_S = 0.1
# The round of a station that comes so little before its time is taken: the next may be a second later.
EARLY_S = 2 * TICK_S
# Buses that are read at the same time.
AT_ONCE = 4
# A device that does not answer is tried again this often, not each period.
LOST_AGAIN_S = 30.0
# What a person holds is shown live.
IN_HAND_S = 1.0


class Periods:
    """How often each device is recorded; what the site asked for survives restarts."""

    def __init__(self, file: Path, default_s: float) -> None:
        self._file, self._default_s = file, default_s
        self._asked: dict[str, float] = {}
        try:
            self._asked = disk.read(file, dict[str, float]) or {}
        except (msgspec.MsgspecError, OSError) as error:
            logger.error("event=periods_unreadable file=%s reason='%s'", file, error)

    def take(self, periods: list[ReadingPeriod]) -> None:
        """Keep what the site asks for; raises ``OSError``."""
        for each in periods:
            if each.every_s is None:
                self._asked.pop(_key(each.where), None)
            else:
                self._asked[_key(each.where)] = each.every_s
        disk.write(self._file, msgspec.json.encode(self._asked))

    def of(self, place: DevicePlace, kind: Kind, link: dict[str, Any]) -> float:
        """Return a device's period in seconds."""
        asked = self._asked.get(_key(place))
        given = asked or link.get("record_every_s") or kind.settings.get("record_every_s")
        return float(given or self._default_s)


def _key(place: DevicePlace) -> str:
    return (
        f"{place.model}/{place.serial_number}" if place.serial_number else f"{place.model}@{place.link_name}"
    )


class IdleReadings:
    """Reads and records; nothing here may hold up a station."""

    def __init__(
        self,
        devices: Devices,
        free: Free,
        spool: Spool,
        periods: Periods,
        stations: Callable[[], list[Any]],
        in_hand: Callable[[], set[str]] = set,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        self._devices, self._free, self._spool = devices, free, spool
        self._periods, self._stations, self._in_hand = periods, stations, in_hand
        self._tell = tell
        self._due: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._at_work: set[str] = set()
        self._seen: dict[str, float] = {}
        self._judges: dict[str, MissingJudge] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="idle-readings", daemon=True)
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="idle-reading")

    def start(self) -> None:
        """Begin; safe twice."""
        if not self._thread.is_alive() and not self._stopping.is_set():
            self._thread.start()

    def look_anew(self) -> None:
        """Take changed periods at once."""
        self._due.clear()

    def stop(self) -> None:
        """End, after the readings that are going on."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        while not self._stopping.wait(TICK_S):
            try:
                self._look()
            except Exception:
                # The one broad except of this thread.
                logger.exception("event=idle_readings_failed")

    def _look(self) -> None:
        if self._devices.flipped.is_set():
            self._devices.flipped.clear()
            self._tell()
        self._from_stations()
        now = time.monotonic()
        in_hand = self._in_hand()
        for found in self._devices.free():
            key, bus = device_key(found.link), bus_key(found.link)
            due_s = self._due.get(key, 0.0)
            if key in in_hand:
                due_s = min(due_s, self._last.get(key, 0.0) + IN_HAND_S)
            if due_s > now or bus in self._at_work or found.kind is None:
                continue
            self._last[key] = now
            period_s = self._periods.of(found.place, found.kind, found.link)
            if key in in_hand:
                period_s = min(period_s, IN_HAND_S)
            self._due[key] = now + (period_s if found.connected else max(period_s, LOST_AGAIN_S))
            self._at_work.add(bus)
            self._pool.submit(self._read, found, bus)

    def _read(self, found: Found, bus: str) -> None:
        try:
            with self._free.use(found, wait_s=0.0) as lent:
                measured = lent.device.read()
                values = values_of(lent.kind, measured, lent.judge, time.monotonic())
            self._record(values, msgspec.to_builtins(found.place))
        except Busy:
            self._due[device_key(found.link)] = 0.0  # as soon as it is free again
        except DriverError as error:
            logger.info("event=idle_device_lost link='%s' reason='%s'", name_of(found.link), error)
        except Exception:
            logger.exception("event=idle_reading_failed link='%s'", name_of(found.link))
        finally:
            self._at_work.discard(bus)

    # --- devices of stations: their own thread reads them, what it read is recorded here -------------

    def _from_stations(self) -> None:
        now = time.monotonic()
        for station in self._stations():
            if station.conductor.experiment is not None:
                continue  # its samples hold everything
            for device in station.kept.configure.devices:
                measured = getattr(station, "measured", {}).get(device.device)
                kind = station.kinds.get(device.device)
                key = f"station:{device.device}"
                if measured is None or kind is None or self._seen.get(key) == measured.began_s:
                    continue
                self._seen[key] = measured.began_s
                # As it was when it was read, and every round: two equal values 10 s apart are not frozen.
                judge = self._judges.setdefault(key, MissingJudge(kind, station.period_s))
                values = values_of(kind, measured, judge, measured.began_s)
                due_s = self._due.get(key, now)
                if due_s > now + EARLY_S:
                    continue
                place = DevicePlace(
                    model=device.model, serial_number=device.serial_number, link_name=name_of(device.link)
                )
                period_s = self._periods.of(place, kind, device.link)
                if station.state == "manual":
                    period_s = min(period_s, IN_HAND_S)
                self._due[key] = max(due_s, now - EARLY_S) + period_s
                where = {"device": device.device, **msgspec.to_builtins(place)}
                self._record(values, where, station.id, measured.time_us / 1e6)

    def _record(
        self,
        values: dict[str, float | None],
        place: dict[str, Any],
        station: str | None = None,
        at_s: float | None = None,
    ) -> None:
        at = iso(time.time() if at_s is None else at_s)
        event = {"at": at, "kind": "reading", "text": "", "station": station, "detail": {**place, "values": values}}  # fmt: skip
        self._spool.put(Entry(events=[event]))
