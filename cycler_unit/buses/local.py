"""The buses of a unit, in this process: drivers, scans and the console's raw messages.

One thing at a time per bus for scans and raw messages; devices of a bus have their own locks below.
A raw message to a place that a driver of this process holds open goes over that driver's own link:
most instruments take one connection only.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from cycler_unit import catalogue, drivers
from cycler_unit.buses import can_scan, text_scan
from cycler_unit.buses.protocol import Frame, Link, Say, Seen, bus_key, device_key
from cycler_unit.buses.visa import VisaLink
from cycler_unit.drivers.base import Device, Identity
from cycler_unit.drivers.errors import DeviceLost, DeviceRefused, DriverError
from wire.catalogue import Kind

TEXT = ("visa", "serial")
# A listener stays this long after it was asked last.
KEEP_EAR_S = 4.0


class LocalBuses:
    """All buses of a unit; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        self._made: weakref.WeakSet[Device] = weakref.WeakSet()
        self._ears: dict[tuple[str, int, int], can_scan.Ear] = {}
        self._reap: threading.Timer | None = None
        self._stopped = False

    # --- devices --------------------------------------------------------------------------------

    def device(self, kind: Kind, link: Link, name: str) -> Device:
        """Return the driver of a device, not opened; raises ``DriverMissing``."""
        settings = text_scan.full({**kind.link_settings, **kind.settings, **catalogue.ratings(kind), **link})
        device: Device = drivers.load(kind.driver)(settings, name=name)
        with self._lock:
            if self._stopped:
                raise DeviceLost("the unit is stopping")
            self._made.add(device)
        return device

    def stop(self) -> None:
        """Close everything; safe twice."""
        with self._lock:
            self._stopped = True
            made = list(self._made)
        self._drop_ears(all_of_them=True)
        for device in made:
            device.close()

    def _turn(self, link: Link) -> threading.RLock:
        with self._lock:
            return self._turns[bus_key(link)]

    # --- scanning -------------------------------------------------------------------------------

    def scan(self, link: Link, say: Say, busy: list[dict[str, Any]]) -> list[Seen]:
        """Ask who is on one bus, paced, without touching the devices at the links ``busy``."""
        with self._turn(link):
            if link.get("kind") == "can":
                return can_scan.scan(link, say, busy)
            taken = {device_key(each) for each in busy}
            # A text instrument with several outputs is one place: its line is in use as a whole.
            place = bus_key if link.get("kind") in TEXT else device_key
            if place(link) in {place(each) for each in busy}:
                return []
            if link.get("model"):
                return self._open_model(link, say, str(link["model"]))
            if link.get("kind") in TEXT:
                return text_scan.scan(link, say)
            return self._probe(link, say, taken)

    def _open_model(self, link: Link, say: Say, model: str) -> list[Seen]:
        """Ask the one device that the unit's file names; a driver that can only look switches nothing."""
        try:
            kind = catalogue.get(model)
        except KeyError as error:
            raise DeviceRefused(str(error.args[0])) from None
        say(0, 1, f"opening {kind.label}")
        device = self.device(kind, link, kind.label)
        try:
            look = getattr(device, "look", None) or device.open
            return [_seen(link, kind, look())]
        finally:
            device.close()

    def _probe(self, link: Link, say: Say, taken: set[str]) -> list[Seen]:
        """Let each family of this kind of link look whether it is one of its own.

        A driver class may have ``scan(link) -> [(device link, Identity)]`` for several devices at one
        place, or ``probe(link) -> Identity | None`` for one.
        """
        kinds = [kind for kind in catalogue.all_kinds() if kind.link == link.get("kind")]
        if not kinds:
            raise DeviceRefused(f"nothing here speaks {link.get('kind')!r}")
        trouble: DriverError | None = None
        for done, kind in enumerate(kinds):
            say(done, len(kinds), f"looking for {kind.label}")
            settings = {**kind.link_settings, **kind.settings, **link}
            try:
                found = _look(drivers.load(kind.driver), settings, dict(link))
            except DriverError as error:
                trouble = error
                continue
            fitting = [
                (where, identity)
                for where, identity in found
                if catalogue.match(identity.text, [kind]) is not None and device_key(where) not in taken
            ]
            if fitting:
                return [
                    _seen(where, catalogue.narrowed(kind, identity.text), identity)
                    for where, identity in fitting
                ]
        if trouble is not None:
            raise trouble
        return []

    # --- raw messages ---------------------------------------------------------------------------

    def query(self, link: Link, text: str, timeout_s: float) -> list[str]:
        """Send one text message and return the lines answered, the first within ``timeout_s``."""
        lines: list[str] = self._text(link, lambda wire: wire.converse(text, timeout_s))
        return lines

    def write(self, link: Link, text: str) -> None:
        """Send one text message that has no answer."""
        self._text(link, lambda wire: wire.write(text))

    def _text(self, link: Link, act: Callable[[VisaLink], Any]) -> Any:
        if link.get("kind") not in TEXT:
            raise DeviceRefused(f"a bus of kind {link.get('kind')!r} carries no text messages")
        with self._turn(link):
            if (wire := self._open_wire(link)) is not None:
                return act(wire)
            wire = VisaLink(text_scan.full(self._settings(link)))
            wire.open()
            try:
                return act(wire)
            finally:
                wire.close()

    @staticmethod
    def _settings(link: Link) -> dict[str, Any]:
        """Return the line settings of a link that names its model, else the link as it is."""
        try:
            return {**catalogue.get(str(link.get("model"))).link_settings, **link}
        except KeyError:
            return dict(link)

    def _open_wire(self, link: Link) -> VisaLink | None:
        """Return the link of a driver that holds this place open, None when nobody does."""
        key = bus_key(text_scan.full(link))
        with self._lock:
            made = list(self._made)
        for device in made:
            transport = getattr(device, "transport", None)
            wire = getattr(transport, "wire", transport)
            if isinstance(wire, VisaLink) and wire.is_open and bus_key(device.link) == key:
                return wire
        return None

    def send(self, link: Link, frame_id: int, payload: bytes, listen_s: float) -> list[Frame]:
        """Send one CAN frame; return what was heard until ``listen_s`` later, its own frame left out."""
        with can_scan.Ear(can_scan.shared(link)) as ear:
            ear.bus.send(frame_id, payload)
            return ear.hear(listen_s, most=500)

    def listen(self, link: Link, seconds: float, frame_id: int, mask: int, most: int) -> list[Frame]:
        """Return CAN frames with ``id & mask == frame_id & mask``, at most ``most``.

        Who listens again with the same filter within ``KEEP_EAR_S`` misses nothing in between.
        """
        ear = self._ear(link, frame_id & mask, mask)
        try:
            return ear.hear(seconds, most)
        finally:
            with self._lock:
                ear.free_s = time.monotonic()
                if self._reap is None:
                    self._reap_later()

    def _reap_later(self) -> None:
        """Have unasked listeners closed; the lock is held."""
        self._reap = threading.Timer(KEEP_EAR_S, self._drop_ears)
        self._reap.daemon = True
        self._reap.start()

    def _ear(self, link: Link, frame_id: int, mask: int) -> can_scan.Ear:
        key = (bus_key(link), frame_id, mask)
        with self._lock:
            ear = self._ears.get(key)
        if ear is None:
            ear = can_scan.Ear(can_scan.shared(link), frame_id, mask).open()
            with self._lock:
                other = self._ears.setdefault(key, ear)
            if other is not ear:
                ear.close()
                ear = other
        ear.free_s = math.inf
        return ear

    def _drop_ears(self, *, all_of_them: bool = False) -> None:
        """Close the listeners that nobody asks any more."""
        with self._lock:
            self._reap = None
            late_s = time.monotonic() - KEEP_EAR_S / 2
            gone = [key for key, ear in self._ears.items() if all_of_them or ear.free_s < late_s]
            ears = [self._ears.pop(key) for key in gone]
            if self._ears and not self._stopped:
                self._reap_later()
        for ear in ears:
            ear.close()


def _look(
    driver: Any, settings: dict[str, Any], link: dict[str, Any]
) -> list[tuple[dict[str, Any], Identity]]:
    if (scan := getattr(driver, "scan", None)) is not None:
        return list(scan(settings))
    if (probe := getattr(driver, "probe", None)) is not None:
        identity = probe(settings)
        return [] if identity is None else [(link, identity)]
    return []


def _seen(link: Link, kind: Kind, identity: Identity) -> Seen:
    return Seen(
        link=dict(link), kind=kind.key, maker=identity.maker or kind.maker, model=identity.model or kind.model,
        serial_number=identity.serial_number, firmware=identity.firmware, answered=identity.text,
    )  # fmt: skip
