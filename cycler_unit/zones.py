"""Safety rule 18: interlocks that stations share, and the outputs that act when one opens.

Each zone of a unit has one watch: it reads the zone's digital inputs on their own threads, and when one
is open, missing or too old, every station of the zone is told to switch off (they do it themselves, at
once), and the zone's outputs take their trip value. The annunciator (rule 19) is an output that also
acts when an alarm cannot reach the server.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from cycler_unit import catalogue, instruments
from cycler_unit.drivers.base import SAFE_VALUES, Device
from cycler_unit.drivers.errors import DriverError
from cycler_unit.instruments import Instrument, Write
from cycler_unit.readings import AGE_PERIODS, MissingJudge
from wire.catalogue import Kind
from wire.messages import Interlock, StationDevice, Zone, ZoneOutput

if TYPE_CHECKING:
    from cycler_unit.hub import Hub

logger = logging.getLogger("cycler_unit.zones")

# Inputs are read at least this often, and the watch looks as often: well inside any max_age_s.
LOOK_S = 0.1
# A device has this long to answer the first time before its silence counts as open.
GRACE_S = 5.0
# An alarm that the server has not taken after this switches the annunciator on; heartbeats come every 5 s.
UNHEARD_S = 12.0
# Outputs take their trip value when this process did not read for ``max_age_s``, at least so long (rule 8), and
# at least three periods of a device that has no news more often: a chamber is read every 2 s.
PERMIT_MIN_S = 0.5
AGAIN_S = 1.0

Told = Callable[[str | None], None]
"""What a station is called with: why its zone is not safe, None when it is again."""


class BadZone(Exception):
    """A zone cannot be built from its configuration; the text says why."""


@dataclass
class Held:
    """A zone output and what it shall hold now."""

    row: ZoneOutput
    instrument: Instrument
    wanted: float | None = None
    write: Write | None = None
    at_s: float = 0.0
    acted: bool = False

    def act(self, now_s: float) -> None:
        """Let it hold its trip value."""
        self.acted = True
        self.bring(self.row.on_trip, now_s)

    def rest(self, now_s: float) -> None:
        """Let it hold its normal value; without one it stays as it is once it has acted."""
        normal = self.row.normal
        if normal is None and not self.acted:
            rows = (each for each in self.instrument.kind.controls if each.name == self.row.control)
            normal = next((each.safe for each in rows), None)
        self.bring(normal, now_s)

    def bring(self, value: float | None, now_s: float) -> None:
        """Let the output hold a value; written again until it is confirmed, also after a loss."""
        if value is not None and (value != self.wanted or not self._fits(value)):
            waits = self.write is not None and not self.write.done.is_set()
            if value != self.wanted or (not waits and now_s - self.at_s > AGAIN_S):
                self.write, self.at_s = self.instrument.write(self.row.control, value), now_s
        self.wanted = value

    def _fits(self, value: float) -> bool:
        held = self.instrument.held.get(self.row.control)
        return held is not None and abs(held - value) < 1e-9


class Watch(threading.Thread):
    """One zone's watch."""

    def __init__(self, zone: Zone, hub: Hub) -> None:
        super().__init__(name=f"zone-{zone.name}", daemon=True)
        self.zone, self._hub = zone, hub
        self.why: str | None = "the interlocks were not read yet"
        """Why no station of the zone may be on, None while all interlocks are closed."""
        self.instruments = self._make()
        self._judges = {
            key: MissingJudge(each.kind, zone.max_age_s / 3.0) for key, each in self.instruments.items()
        }
        self.outputs = [Held(row, self._instrument(row.device, f"output {row.name}")) for row in zone.outputs]
        for row in zone.interlocks:
            self._instrument(row.device, f"interlock {row.name}")
        self._told: dict[str, Told] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._began_s = time.monotonic()
        self._was_open = False
        self._unsent_since_s: float | None = None

    def _make(self) -> dict[str, Instrument]:
        found = {}
        period_s = min(LOOK_S, self.zone.max_age_s / 4.0)
        for each in self.zone.devices:
            try:
                kind = catalogue.get(each.model)
                driver = partial(self._driver, each, kind)
                found[each.device] = instruments.of(self._hub, each, kind, driver, period_s)
            except KeyError as error:
                raise BadZone(f"zone {self.zone.name}: {error.args[0]}") from None
            except DriverError as error:
                raise BadZone(f"zone {self.zone.name}: {error}") from None
        return found

    def _driver(self, each: StationDevice, kind: Kind, link: dict[str, Any]) -> Device:
        """Return a device's driver; its owner trips the outputs when nobody watches any more (rule 8)."""
        device = self._hub.buses.device(kind, {**link, SAFE_VALUES: self._trip_values(each)}, each.name)
        if hasattr(device, "permit_s"):
            slowest_s = AGE_PERIODS * instruments.own_period_s(kind)
            device.permit_s = max(PERMIT_MIN_S, self.zone.max_age_s, slowest_s)
        return device

    def _trip_values(self, device: StationDevice) -> dict[str, float]:
        """Return what its outputs take when it is opened, and when its owner finds that nobody watches."""
        return {each.control: each.on_trip for each in self.zone.outputs if each.device == device.device}

    def _instrument(self, device: str, what: str) -> Instrument:
        try:
            return self.instruments[device]
        except KeyError:
            raise BadZone(f"zone {self.zone.name}: {what} names the device {device}, which it does not have") from None  # fmt: skip

    # --- members ----------------------------------------------------------------------------------

    def join_in(self, station: str, told: Told) -> None:
        """Let a station be told; at once when the zone is not safe."""
        with self._lock:
            self._told[station] = told
        if self.why is not None and self._was_open:
            told(self.why)

    @property
    def members(self) -> dict[str, Told]:
        """Return the stations that are told, by UUID."""
        with self._lock:
            return dict(self._told)

    def leave(self, station: str) -> bool:
        """Forget a station; True when it was the last one."""
        with self._lock:
            self._told.pop(station, None)
            return not self._told

    # --- the thread -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Open the zone's devices and watch."""
        for each in self.instruments.values():
            self._hub.devices.hold(each.link)
            each.start()
        self.start()

    def stop(self) -> None:
        """End; outputs stay as they are."""
        self._stopping.set()
        if self.is_alive():
            self.join(5.0)
        for each in self.instruments.values():
            each.stop(keep=True)
            self._hub.devices.release(each.link)

    def run(self) -> None:
        """Look until stopped."""
        while not self._stopping.wait(min(LOOK_S, self.zone.max_age_s / 4.0)):
            try:
                self._look(time.monotonic())
            except Exception as error:
                # The one broad except of this thread: a watch that fails is an open interlock.
                logger.exception("event=zone_failed zone=%s", self.zone.zone)
                self._tell(f"the watch of zone {self.zone.name} failed: {error}")

    def _look(self, now_s: float) -> None:
        found = [(each, said) for each in self.zone.interlocks if (said := self._open(each, now_s))]
        why = next((said for each, said in found if not self._awaited(each, now_s)), None)
        if why is None and found:
            # A unit that has just started: nothing may start yet, and nothing more is latched yet.
            self.why = f"{found[0][1]}: it has just been looked for"
            if self._was_open:
                self._bring(now_s)  # another interlock was open: not safe before this one was read
            return
        if why != self.why:
            self._tell(why)
        self._bring(now_s)

    def _awaited(self, row: Interlock, now_s: float) -> bool:
        """Say whether an interlock's device may still be about to answer for the first time."""
        instrument = self.instruments[row.device]
        return instrument.reads == 0 and now_s - self._began_s < GRACE_S

    def _tell(self, why: str | None) -> None:
        before, self.why = self.why, why
        opened = why is not None and not self._was_open
        self._was_open = why is not None
        with self._lock:
            told = list(self._told.values())
        if opened:
            logger.error("event=interlock_open zone=%s reason='%s'", self.zone.zone, why)
        elif why is None and before is not None:
            logger.info("event=interlocks_closed zone=%s", self.zone.zone)
        if opened or why is None:
            for each in told:
                each(why)

    def _open(self, row: Interlock, now_s: float) -> str | None:
        """Return why an interlock is not closed, None when it is."""
        instrument = self.instruments[row.device]
        latest = instrument.latest
        name = f"interlock {row.name} of zone {self.zone.name}"
        if latest is None:
            return f"{name} is missing: {instrument.why_not or 'no reading'}"
        age_s = now_s - latest.began_s
        if age_s > self.zone.max_age_s:
            return f"{name} was read {age_s:.1f} s ago, more than {self.zone.max_age_s:g} s"
        value = latest.extended.get(row.measure)
        value = self._judges[row.device].clean(row.measure, value, latest.began_s, now_s)
        if value is None:
            return f"{name} gives no value"
        return None if value == row.ok else f"{name} is open"

    # --- outputs ----------------------------------------------------------------------------------

    def _bring(self, now_s: float) -> None:
        unheard = self._unheard(now_s)
        for each in self.outputs:
            acts = self._was_open or (each.row.on_server_lost and unheard)
            each.act(now_s) if acts else each.rest(now_s)

    def alarm_raised(self) -> None:
        """Note that an alarm is on its way to the server (rule 19)."""
        if self._unsent_since_s is None:
            self._unsent_since_s = time.monotonic()

    def _unheard(self, now_s: float) -> bool:
        """Say whether an alarm could not reach the server: until the server has taken all events."""
        if self._unsent_since_s is None:
            return False
        heard = self._hub.heard_within(UNHEARD_S)
        if heard and self._hub.spool.pending_events == 0 and now_s - self._unsent_since_s > AGAIN_S:
            self._unsent_since_s = None
            return False
        return not heard and now_s - self._unsent_since_s > UNHEARD_S


def check(zone: Zone, hub: Hub) -> None:
    """Raise :class:`BadZone` when a zone cannot be watched by this unit; nothing is opened."""
    Watch(zone, hub)


class Zones:
    """All zones of this unit; they begin with their first station and end with their last."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._watches: dict[str, Watch] = {}
        self._lock = threading.Lock()

    def join(self, zone: Zone, station: str, told: Told) -> Watch:
        """Let a station belong to a zone; a changed zone is built anew. Raises :class:`BadZone`."""
        with self._lock:
            watch = self._watches.get(zone.zone)
            if watch is None or watch.zone != zone:
                fresh = Watch(zone, self._hub)
                if watch is not None:
                    for key, each in list(watch.members.items()):
                        fresh.join_in(key, each)
                    watch.stop()
                self._watches[zone.zone] = watch = fresh
                watch.begin()
        watch.join_in(station, told)
        return watch

    def leave(self, zone: Zone, station: str) -> None:
        """Take a station out of its zone."""
        with self._lock:
            watch = self._watches.get(zone.zone)
            if watch is None or not watch.leave(station):
                return
            del self._watches[zone.zone]
        watch.stop()

    def get(self, zone: Zone) -> Watch | None:
        """Return a zone's watch."""
        with self._lock:
            return self._watches.get(zone.zone)

    def alarm_raised(self) -> None:
        """Tell all zones that an alarm was raised: if it cannot be sent, their annunciators act."""
        with self._lock:
            watches = list(self._watches.values())
        for each in watches:
            each.alarm_raised()
