"""Devices in no station: each opened when first needed, read and set under a lock of its own.

Idle readings and manual control share the open driver; a station that takes the device gets it closed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cycler_unit.buses.protocol import device_key
from cycler_unit.devices import Devices, Found
from cycler_unit.drivers.base import Measured
from cycler_unit.drivers.errors import DeviceLost, DriverError
from cycler_unit.readings import MissingJudge
from wire.catalogue import Kind

logger = logging.getLogger("cycler_unit.free")

# A person who waits for a device may wait for the detection's present link, not for all of it.
OPEN_WAIT_S = 8.0


@dataclass
class Lent:
    """One device in no station."""

    kind: Kind
    link: dict[str, Any]
    device: Any
    judge: MissingJudge
    lock: threading.RLock = field(default_factory=threading.RLock)
    is_open: bool = False
    gone: bool = False
    """Whether a station has taken it: nothing may be sent from here any more."""


class Free:
    """The open drivers of devices in no station."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._lent: dict[str, Lent] = {}
        self._lock = threading.Lock()
        devices.let_go = self.let_go
        devices.borrowed = self.links

    def links(self) -> list[dict[str, Any]]:
        """Return the links of the devices that are open here."""
        with self._lock:
            return [lent.link for lent in self._lent.values() if lent.is_open]

    def rest(self, in_hand: set[str]) -> None:
        """Close what nobody holds in hand, as it is: a detection asks there anew who it is."""
        with self._lock:
            idle = [lent for key, lent in self._lent.items() if lent.is_open and key not in in_hand]
        for lent in idle:
            with lent.lock:
                if not lent.gone:
                    self._close(lent)

    @contextmanager
    def use(self, found: Found, *, wait_s: float = OPEN_WAIT_S) -> Iterator[Lent]:
        """Lend a device, open, to the caller alone.

        Raises ``DeviceLost`` when a station has it, or when a detection goes on for longer than ``wait_s``,
        and what its driver raises. One that is lost or cannot be opened is closed and reported with the
        reason; the next use opens it again.
        """
        lent = self._get(found)
        with lent.lock:
            if lent.gone:
                raise DeviceLost("a station has taken this device")
            try:
                if not lent.is_open:
                    self._open(lent, wait_s)
                yield lent
            except DriverError as error:
                if isinstance(error, DeviceLost) or not lent.is_open:
                    self._close(lent)
                    if not isinstance(error, Busy):
                        self._devices.missed(lent.link, str(error))
                raise

    def _get(self, found: Found) -> Lent:
        assert found.kind is not None
        key = device_key(found.link)
        with self._lock:
            lent = self._lent.get(key)
            if lent is None or lent.gone or lent.kind != found.kind:
                device = self._devices.buses.device(found.kind, found.link, found.kind.label)
                lent = Lent(found.kind, found.link, device, MissingJudge(found.kind, 1.0))
                self._lent[key] = lent
        return lent

    def _open(self, lent: Lent, wait_s: float) -> None:
        with self._devices.opening(lent.link, wait_s) as may:
            if not may:
                raise Busy("a detection is going on; try again when it has ended")
            if self._devices.is_held(lent.link):
                raise Busy("a station has this device")
            identity = lent.device.open()
            lent.is_open = True
        self._devices.seen(lent.link, lent.kind, identity)

    def _close(self, lent: Lent) -> None:
        lent.is_open = False
        lent.device.close()

    def let_go(self, key: str) -> None:
        """End every use of a place; what was set by hand there is made safe before."""
        with self._lock:
            lent = self._lent.pop(key, None)
        if lent is None:
            return
        with lent.lock:
            lent.gone = True
            self._safe_and_close(lent)

    def stop(self) -> None:
        """Make safe and close everything."""
        with self._lock:
            keys = list(self._lent)
        for key in keys:
            self.let_go(key)

    def _safe_and_close(self, lent: Lent) -> None:
        if lent.is_open:
            try:
                lent.device.make_safe()
            except DriverError as error:
                logger.error("event=not_confirmed_safe device='%s' reason='%s'", lent.kind.label, error)
        self._close(lent)


class Busy(DeviceLost):
    """The device is there, but somebody else has it now."""


def values_of(kind: Kind, measured: Measured, judge: MissingJudge, now_s: float) -> dict[str, float | None]:
    """Return a reading under the catalogue's names, what is missing as None."""
    raw = {
        "voltage_v": measured.voltage_v,
        "current_a": measured.current_a,
        "power_w": measured.power_w,
    }
    offered = {measure.name for measure in kind.measures}
    found = {name: value for name, value in raw.items() if name in offered or value is not None}
    found |= measured.extended
    return {name: judge.clean(name, value, measured.began_s, now_s) for name, value in found.items()}
