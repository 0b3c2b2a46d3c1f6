"""What is known of all devices of this unit: where each was seen last, and who uses it.

Finding them is ``detection``; reaching them is ``hub.buses``.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from cycler_unit import catalogue
from cycler_unit.buses.local import LocalBuses
from cycler_unit.buses.protocol import Buses, Link, Say, Seen, bus_key, device_key
from cycler_unit.clock import iso
from cycler_unit.detection import Detection, Place, name_of, quiet
from cycler_unit.drivers.base import Device, Identity
from wire.catalogue import Kind
from wire.kinds import bms
from wire.messages import DevicePlace, DeviceReport, ReportedDevice, StationDevice

logger = logging.getLogger("cycler_unit.devices")

# A station waits so long for a scan of its own device: some questions on a serial line, then off.
HOLD_WAIT_S = 10.0


@dataclass
class Found:
    """A device as it was seen last; ``since`` when it came or went."""

    kind: Kind | None
    seen: Seen
    connected: bool
    detail: str = ""
    since: str = field(default_factory=lambda: iso(time.time()))

    @property
    def link(self) -> dict[str, Any]:
        """Return where it was seen."""
        return self.seen.link

    @property
    def place(self) -> DevicePlace:
        """Return how others name it."""
        key = self.kind.key if self.kind else ""
        return DevicePlace(model=key, serial_number=self.seen.serial_number, link_name=name_of(self.link))


class Devices:
    """All devices of this unit. Places that a station holds are never touched by a scan."""

    def __init__(
        self,
        links: list[dict[str, Any]],
        buses: Buses | None = None,
        *,
        discover: Iterable[str] = (),
        file: Path | None = None,
    ) -> None:
        self.buses: Buses = buses if buses is not None else LocalBuses()
        self._detection = Detection(links, self.buses, tuple(discover))
        self._found: dict[str, Found] = {}
        self._held: dict[str, dict[str, Any]] = {}
        self._lock = threading.RLock()
        self._scanning = threading.Lock()
        self._asked = threading.Condition(self._lock)
        self._asking: set[str] = set()
        """The buses that a scan asks at now."""
        self._switching: set[str] = set()
        """Places where a scan switches a device off now, by their ``device_key``."""
        self._opening: list[dict[str, Any]] = []
        """Places that somebody opens or talks to now, though nobody holds them."""
        self._file = file
        self.let_go: Callable[[str], None] = lambda key: None
        """Called before a station takes a place, with its ``device_key``: whoever reads there ends it."""
        self.borrowed: Callable[[], list[dict[str, Any]]] = list
        """Links of devices that are open though no station holds them: a scan skips them too."""
        self.flipped = threading.Event()
        """Set when a device came or went, for who tells the site."""
        self.last: list[Place] = []
        """What the newest scan did, link by link."""
        self.scanned_at = iso(time.time())
        if file is not None:
            catalogue.restore(file)
        for problem in catalogue.learn(_own_rows(links)):
            logger.error("event=kind_refused reason='%s'", problem)

    # --- what stations do with them -------------------------------------------------------------

    def link_of(self, device: StationDevice) -> dict[str, Any]:
        """Return where this device was seen last, there or lost: a serial port's name may have changed."""
        last = device.link
        with self._lock:
            for found in self._found.values():
                if found.kind is None or not device.serial_number:
                    continue
                if (found.kind.key, found.seen.serial_number) == (device.model, device.serial_number):
                    if found.connected:
                        return found.link
                    last = found.link
        return last

    def moved(
        self, device: StationDevice, now: dict[str, Any], driver: Callable[[dict[str, Any]], Device]
    ) -> tuple[dict[str, Any], Device] | None:
        """Return where a device of a station is, and its driver there, when that is not ``now`` any more.

        The new place is held from here on, the old one given back. Raises the errors of ``driver``.
        """
        link = self.link_of(device)
        if link == now:
            return None
        made = driver(link)
        self.release(now)
        self.hold(link)
        return link, made

    def hold(self, link: dict[str, Any]) -> None:
        """Keep scans and idle readings off this place; returns when nobody else uses it.

        A scan that asks or switches off there already comes to its end: closing its device it would
        take the remote control from under the station.
        """
        key = device_key(link)
        with self._asked:
            fresh = key not in self._held
            self._held[key] = dict(link)
            if fresh and not self._asked.wait_for(lambda: not self._scanned(link), HOLD_WAIT_S):
                logger.error("event=scan_does_not_end link='%s'", name_of(link))
        self.let_go(key)

    def _scanned(self, link: Link) -> bool:
        """Tell whether a scan talks to this place now; on buses of many devices only who is switched off."""
        whole = link.get("kind") in ("visa", "serial")
        return device_key(link) in self._switching or (whole and bus_key(link) in self._asking)

    def release(self, link: dict[str, Any]) -> None:
        """Let others use this place again."""
        with self._lock:
            self._held.pop(device_key(link), None)
            # A serial port's device file may have changed meanwhile: the same link had another key.
            self._held = {key: each for key, each in self._held.items() if each != link}

    def is_held(self, link: Link) -> bool:
        """Tell whether a station has this place."""
        with self._lock:
            return device_key(link) in self._held

    def held(self) -> list[dict[str, Any]]:
        """Return the links that stations hold."""
        with self._lock:
            return list(self._held.values())

    def seen(self, link: dict[str, Any], kind: Kind, identity: Identity) -> None:
        """Note that somebody reached a device."""
        seen = Seen(
            link=dict(link), kind=kind.key, maker=identity.maker, model=identity.model,
            serial_number=identity.serial_number, firmware=identity.firmware,
        )  # fmt: skip
        self._note(device_key(link), kind, seen)

    def missed(self, link: dict[str, Any], why: str) -> None:
        """Note that somebody lost a device."""
        with self._lock:
            found = self._found.get(device_key(link))
            if found is None:
                return
            if found.connected:
                found.since = iso(time.time())
                self.flipped.set()
            found.connected, found.detail = False, why

    def _note(self, key: str, kind: Kind | None, seen: Seen, detail: str = "") -> None:
        """Keep what was seen; a device that turned up elsewhere leaves its old place."""
        with self._lock:
            before = self._found.get(key)
            made = Found(kind, seen, True, detail)
            if before is not None and before.connected and _who(before) == _who(made):
                made.since = before.since
            else:
                self.flipped.set()
            self._found[key] = made
            if seen.serial_number and kind is not None:
                for other, found in list(self._found.items()):
                    if other != key and not found.connected and _who(found) == _who(made):
                        del self._found[other]

    # --- who is there ---------------------------------------------------------------------------

    def free(self) -> list[Found]:
        """Return the devices of known models that no station holds, connected or not."""
        with self._lock:
            return [
                found
                for key, found in self._found.items()
                if found.kind is not None and key not in self._held
            ]

    @contextlib.contextmanager
    def opening(self, link: dict[str, Any], wait_s: float) -> Iterator[bool]:
        """Keep a scan away from one place; False when its bus is being asked for longer than ``wait_s``."""
        bus = bus_key(link)
        with self._asked:
            may = self._asked.wait_for(lambda: bus not in self._asking, wait_s)
            if may:
                self._opening.append(link)
        try:
            yield may
        finally:
            if may:
                with self._lock:
                    self._opening.remove(link)

    def find(self, place: DevicePlace) -> Found | None:
        """Return a device by its model and serial number, or by its link where it has none."""
        with self._lock:
            for found in self._found.values():
                here = found.place
                same = (here.model, here.serial_number) == (place.model, place.serial_number)
                if same and (place.serial_number or here.link_name == place.link_name):
                    return found
        return None

    def bus_named(self, name: str) -> dict[str, Any] | None:
        """Return the link that the unit's file, or the device report, calls ``name``."""
        for link in self._detection.links():
            if name in (name_of(link), bus_key(link)):
                return link
        with self._lock:
            for found in self._found.values():
                if name in (name_of(found.link), bus_key(found.link), device_key(found.link)):
                    return found.link
        return None

    def known(self) -> list[Found]:
        """Return everything that was ever seen since the start."""
        with self._lock:
            return list(self._found.values())

    # --- scanning -------------------------------------------------------------------------------

    def learn(self, kinds: list[dict[str, Any]]) -> list[str]:
        """Take catalogue rows that operators made; return what was wrong with them."""
        return catalogue.learn(kinds, self._file)

    def scan(self, *, make_safe: bool, say: Say = quiet, only: Iterable[str] = ()) -> DeviceReport:
        """Ask at every free place; with ``make_safe`` each device of a known model is switched off too.

        That is what a starting unit does: it cannot know what it left on (safety.md rule 10). ``only``
        names links; what was done at each is in ``last`` afterwards.
        """
        with self._scanning:

            def take(place: Place) -> None:
                try:
                    self._take(place, make_safe)
                finally:
                    self._asking_at(place.link, False)

            try:
                self.last = self._detection.run(say, self._begin, set(only), take)
            finally:
                self._asking_at(None, False)
            self.scanned_at = iso(time.time())
        return self.report()

    def _begin(self, link: Link) -> list[dict[str, Any]]:
        """Note that the scan asks at this link now; return what is in use."""
        self._asking_at(link, True)
        return self._busy()

    def _asking_at(self, link: Link | None, asking: bool) -> None:
        """Note at which buses the scan is; without a link, that it is at none."""
        with self._asked:
            if link is None:
                self._asking.clear()
            elif asking:
                self._asking.add(bus_key(link))
            else:
                self._asking.discard(bus_key(link))
            self._asked.notify_all()

    def _busy(self) -> list[dict[str, Any]]:
        with self._lock:
            held = [*self._held.values(), *self._opening]
        return [*held, *self.borrowed()]

    def _take(self, place: Place, make_safe: bool) -> None:
        """Note what answered at one link, and what does not any more."""
        answered = set()
        for seen in place.seen:
            key = device_key(seen.link)
            if self.is_held(seen.link):
                continue  # a station took it meanwhile and knows better
            answered.add(key)
            kind = _kind(seen)
            detail = ""
            if kind is None:
                detail = f"no catalogue entry fits: {seen.answered or seen.model}"
                logger.warning(
                    "event=device_unknown link='%s' answered='%s'", name_of(seen.link), seen.answered
                )
            elif make_safe:
                detail = self._switch_off(kind, seen.link)
            if kind is not None:
                logger.info("event=device_found link='%s' model=%s serial=%s", name_of(seen.link), kind.key, seen.serial_number)  # fmt: skip
            self._note(key, kind, seen, detail)
        if place.outcome == "busy":
            return
        in_use = {device_key(link) for link in self._busy()}
        for found in self.known():
            key = device_key(found.link)
            if bus_key(found.link) == bus_key(place.link) and key not in answered | in_use:
                self.missed(found.link, place.reason or "it does not answer any more")

    def _switch_off(self, kind: Kind, link: dict[str, Any]) -> str:
        key = device_key(link)
        with self._asked:
            if key in self._held:
                return ""  # a station has taken it, and opens it off first
            self._switching.add(key)
        try:
            device = self.buses.device(kind, link, name_of(link))
            try:
                device.open()  # sends off first and confirms it
            finally:
                device.close()
        except Exception as error:
            # Drivers' errors, and whatever else: the other devices are switched off all the same.
            logger.error("event=off_not_confirmed link='%s' reason='%s'", name_of(link), error)
            return f"not confirmed off: {error}"
        finally:
            with self._asked:
                self._switching.discard(key)
                self._asked.notify_all()
        return ""

    def report(self) -> DeviceReport:
        """Return what is known of all devices, for the site."""
        with self._lock:
            everything = sorted(self._found.values(), key=lambda each: name_of(each.link))
        devices = [
            ReportedDevice(
                model=found.place.model,
                serial_number=found.seen.serial_number,
                link_name=name_of(found.link),
                connected=found.connected,
                detail=found.detail,
                link=found.link,
                answered="" if found.kind else found.seen.answered,
                since=found.since,
            )
            for found in everything
        ]
        rows = {found.kind.key: msgspec.to_builtins(found.kind) for found in everything if found.kind}
        return DeviceReport(scanned_at=self.scanned_at, devices=devices, kinds=list(rows.values()))


def _own_rows(links: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the catalogue rows of monitors whose word list the unit's file says."""
    rows = []
    for link in links:
        try:
            if link.get("kind") == "can" and link.get("words"):
                rows.append(msgspec.to_builtins(bms.with_words(link["words"])))
        except ValueError as error:
            logger.error("event=words_refused link='%s' reason='%s'", name_of(link), error)
    return rows


def _who(found: Found) -> tuple[str, str]:
    return (found.kind.key if found.kind else found.seen.answered, found.seen.serial_number)


def _kind(seen: Seen) -> Kind | None:
    """Return the row of what was seen; rows learned from the site are known here only."""
    if seen.kind:
        with contextlib.suppress(KeyError):
            return catalogue.get(seen.kind)
    identity = Identity(seen.maker, seen.model, seen.serial_number, seen.firmware)
    return catalogue.match(seen.answered) or catalogue.match(identity.text)
