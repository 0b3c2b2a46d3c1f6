"""The cell monitor "BMS plak" on a CAN bus: it only transmits (device sheet 2).

A snapshot counts from the arrival of its first fragment. A lost or wrong fragment drops it, and until the
next whole one every value is missing and ``status`` is -1. A snapshot of nothing but zeros is missing too.

An error frame's code is a mask. It stays until the device says 0 or has not repeated it for
``timeout_s``. Communication and hardware errors make the values missing, since nobody knows what they
are then; the others leave them and are told by ``status``, which a station can bind with a limit of 0.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from cycler_unit.buses import can
from cycler_unit.buses.ring import Ring
from cycler_unit.drivers import bms_frames as frames
from cycler_unit.drivers.base import Device, Exchange, Identity, Measured
from cycler_unit.drivers.errors import DeviceLost, DeviceRefused

FIRST_ID, UNITS = 0x100, range(0x21)
TIMEOUT_S, PERIOD_S = 30.0, 1.0
# How many periods a bus that was just opened is listened to before nobody is there.
FIRST_PERIODS = 2.5
COMM_ERROR = -1.0


class Bms(Device):
    """One cell monitor. Link: the bus's keys and ``unit``; options ``words``, ``timeout_s``, ``period_s``."""

    kind = "bms-plak"

    def __init__(self, link: dict[str, Any], *, name: str = "") -> None:
        super().__init__(link, name=name)
        self.unit = _unit(link)
        self.frame_id = FIRST_ID + self.unit
        self.timeout_s = float(link.get("timeout_s", TIMEOUT_S))
        self.period_s = float(link.get("period_s", PERIOD_S))
        try:
            self._words = frames.words(link.get("words") or frames.usual_words())
        except ValueError as error:
            raise DeviceRefused(f"the word list of {self.label}: {error}") from None
        self._assembly = frames.Assembly(2 * len(self._words))
        self._came = threading.Condition()
        self._snapshot: tuple[float, int, dict[str, float]] | None = None
        self._trouble: str | None = None
        self._error: tuple[float, int] = (0.0, 0)
        self._ring = Ring()
        self._bus: can.CanBus | None = None
        self._end: Callable[[], None] = lambda: None

    @property
    def label(self) -> str:
        """Return how messages call this device."""
        return f"{self.name or 'BMS'} (id 0x{FIRST_ID + self.unit:03X})"

    @property
    def identity(self) -> Identity:
        """Return who it is: a device that only transmits is known by its identifier alone."""
        return Identity("Liftec", "BMS plak", str(self.frame_id), "")

    def exchanges(self) -> list[Exchange]:
        """Return the last frames, oldest first."""
        return self._ring.last()

    # --- opening and closing ----------------------------------------------------------------------

    def open(self) -> Identity:
        """Listen; raise ``DeviceLost`` when it is not heard.

        A bus that is open for long knows at once; one just opened is listened to for two periods.
        """
        if self._bus is None:
            bus = can.shared(self.link)
            self._bus, self._snapshot, self._trouble = bus, None, None
            self._end = bus.subscribe(lambda frame_id: frame_id == self.frame_id, self._take)
        if not self._is_heard(self._bus):
            raise DeviceLost(f"{self.label} is not heard")
        return self.identity

    def _is_heard(self, bus: can.CanBus) -> bool:
        until_s = bus.opened_s + FIRST_PERIODS * self.period_s
        with self._came:
            while not self._lately(bus):
                left_s = until_s - time.monotonic()
                if left_s <= 0.0:
                    return False
                self._came.wait(left_s)
        return True

    def _lately(self, bus: can.CanBus) -> bool:
        heard_s = bus.heard_s.get(self.frame_id)
        return heard_s is not None and time.monotonic() - heard_s < FIRST_PERIODS * self.period_s

    def close(self) -> None:
        """Stop listening; safe twice; never raises."""
        bus, self._bus = self._bus, None
        if bus is not None:
            self._end()
            bus.close()

    # --- frames -----------------------------------------------------------------------------------

    def _take(self, frame_id: int, payload: bytes) -> None:
        """Take one frame, on the bus's thread."""
        now_s = time.monotonic()
        self._ring.heard(f"{frame_id:03X} {payload.hex(' ').upper()}")
        with self._came:
            code = frames.error_code(payload)
            if code is not None:
                self._error = (now_s, code)
            else:
                self._add(payload, now_s)
            self._came.notify_all()

    def _add(self, payload: bytes, now_s: float) -> None:
        found = self._assembly.add(payload, now_s)
        if isinstance(found, str):
            self._trouble = found
        elif found is not None:
            self._trouble = None if any(found) else "a snapshot of nothing but zeros"
            middle_us = time.time_ns() // 1000 - int((now_s - self._assembly.began_s) * 5e5)
            self._snapshot = (self._assembly.began_s, middle_us, frames.values(self._words, found))

    # --- readings ---------------------------------------------------------------------------------

    def read(self) -> Measured:
        """Return the last whole snapshot, at once; raise ``DeviceLost`` without one for ``timeout_s``."""
        if self._bus is None or self._bus.broken is not None:
            raise DeviceLost(f"{self.label} is not open")
        with self._came:
            now_s = time.monotonic()
            snapshot, code, trouble = self._snapshot, self._code(now_s), self._trouble
            since_s = snapshot[0] if snapshot is not None else self._bus.opened_s
        if now_s - since_s > self.timeout_s:
            raise DeviceLost(
                f"{self.label} sent no whole snapshot for {self.timeout_s:g} s ({trouble or 'silent'})"
            )
        began_s, time_us, values = snapshot or (now_s, time.time_ns() // 1000, {})
        missing = snapshot is None or trouble is not None or code & (frames.COMMUNICATION | frames.HARDWARE)
        names = [word.measure for word in self._words if word.measure]
        extended: dict[str, float | None] = {name: None if missing else values[name] for name in names}
        extended["status"] = COMM_ERROR if snapshot is None or trouble is not None else float(code)
        return Measured(None, None, None, began_s, time_us, extended)

    def _code(self, now_s: float) -> int:
        at_s, code = self._error
        return code if now_s - at_s < self.timeout_s else 0

    def fault(self) -> str | None:
        """Return what the device or its frames complain of, in words, or None."""
        with self._came:
            code, trouble = self._code(time.monotonic()), self._trouble
        causes = [f"error: {frames.error_words(code)}"] if code else []
        causes += [f"communication: {trouble}"] if trouble else []
        return "; ".join(causes) or None


def _unit(link: dict[str, Any]) -> int:
    try:
        unit = int(str(link["unit"]), 0)
    except (KeyError, ValueError) as error:
        raise DeviceRefused(f"a BMS's link needs a unit, 0 to 0x20: {error}") from None
    if unit not in UNITS:
        raise DeviceRefused(f"a BMS's unit is 0 to 0x20, not {unit}")
    return unit
