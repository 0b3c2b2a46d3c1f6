"""The devices of a station that do not drive it: meters, BMS, flow meters, relays, chambers.

Each has a thread of its own: a slow serial meter never delays the control loop, which takes the newest
values as they are. Whether these are too old is judged like every reading (safety.md rule 5).
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cycler_unit.detection import name_of
from cycler_unit.drivers.base import Device, Exchange, Identity, Measured
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DriverError
from cycler_unit.readings import AGE_MIN_S, AGE_PERIODS
from wire.catalogue import Kind, KindMeasure
from wire.messages import StationDevice

if TYPE_CHECKING:
    from cycler_unit.hub import Hub

logger = logging.getLogger("cycler_unit.instruments")

# A device that was lost is opened again at once and then this often.
REOPEN_S = 1.0
# What a device holds of its controls is read back this often (rule 13).
HELD_S = 2.0
# At rest a device is read often enough that nothing of it is ever too old.
AGE_SHARE = 0.4


@dataclass
class Write:
    """One control to set: waits, then ``done``, with what the device holds or why it does not."""

    control: str
    value: float
    done: threading.Event = field(default_factory=threading.Event)
    held: float | None = None
    error: str | None = None


Moved = tuple[dict[str, Any], Device]
"""Where a device turned up after it was lost, and its driver there, not opened."""


class Instrument(threading.Thread):
    """One device: read on its own period, written to between two readings."""

    def __init__(
        self,
        device: Device,
        kind: Kind,
        *,
        link: dict[str, Any],
        period_s: float,
        serial_number: str = "",
        found: Callable[[Identity], None] = lambda identity: None,
        missed: Callable[[str], None] = lambda why: None,
        elsewhere: Callable[[dict[str, Any]], Moved | None] = lambda link: None,
    ) -> None:
        super().__init__(name=f"device-{device.name}", daemon=True)
        self.device, self.kind, self.link = device, kind, link
        self.serial_number = serial_number
        self.latest: Measured | None = None
        """The newest reading, however old; None before the first and while the device is lost."""
        self.held: dict[str, float] = {}
        """What the device holds of its controls, as it was read back."""
        self.why_not: str | None = "not reached yet"
        """Why the device cannot be used now, None while it answers."""
        self.opened = 0
        """How often it was opened: opening makes it safe, so what was set before is gone."""
        self.reads = 0
        """How often it was read: one that never was may only be starting."""
        self.period_s = max(period_s, own_period_s(kind))
        self._found, self._missed, self._elsewhere = found, missed, elsewhere
        self._writes: dict[str, Write] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._is_open = False
        self._held_due_s = 0.0

    # --- from other threads -----------------------------------------------------------------------

    def pace(self, period_s: float) -> None:
        """Read with this period from now on, or slower where the device cannot; at once when sooner."""
        oldest_s = min((_max_age_s(each) for each in self.kind.measures), default=period_s)
        wanted_s = max(min(period_s, AGE_SHARE * oldest_s), own_period_s(self.kind))
        sooner = wanted_s < self.period_s
        self.period_s = wanted_s
        if sooner:
            self._wake.set()

    def write(self, control: str, value: float) -> Write:
        """Set a control soon; never waits. A newer value for a control replaces one that still waits."""
        asked = Write(control, value)
        with self._lock:
            before = self._writes.get(control)
            self._writes[control] = asked
        if before is not None:
            before.error = "replaced by a newer value"
            before.done.set()
        self._wake.set()
        return asked

    def stop(self, *, keep: bool = False) -> None:
        """End the thread and disconnect; with ``keep`` what is set stays set, else its owner makes it safe."""
        self._stopping = True
        self._wake.set()
        if self.is_alive():
            self.join(5.0)
        if keep and hasattr(self.device, "keep"):
            with contextlib.suppress(DriverError):
                self.device.keep()
        self.device.close()

    def exchanges(self) -> list[Exchange]:
        """Return the last exchanges, for the black box."""
        return self.device.exchanges()

    # --- the thread -------------------------------------------------------------------------------

    def run(self) -> None:
        """Open, write, read, until stopped."""
        due_s = time.monotonic()
        while not self._stopping:
            self._wake.wait(max(0.0, due_s - time.monotonic()))
            self._wake.clear()
            if self._stopping:
                return
            if not self._is_open and time.monotonic() < due_s:
                continue
            try:
                self._turn(due_s)
            except DriverError as error:
                self._lose(str(error))
            except Exception as error:
                # The one broad except of this thread: a device that is not read is missing, and said so.
                logger.exception("event=instrument_failed device=%s", self.device.name)
                self._lose(f"its program failed: {type(error).__name__}: {error}")
            now_s = time.monotonic()
            if not self._is_open:
                due_s = now_s + REOPEN_S
            elif now_s >= due_s:
                due_s = max(due_s + self.period_s, now_s)
            # Paced faster meanwhile: the old due time would leave its values too old for once.
            due_s = min(due_s, now_s + max(self.period_s, 0.0 if self._is_open else REOPEN_S))

    def _turn(self, due_s: float) -> None:
        if not self._is_open:
            self._open()
        while (asked := self._next()) is not None:
            self._set(asked)
        if time.monotonic() >= due_s or self.latest is None:
            self.latest = self.device.read()
            self.reads += 1
            if self.kind.controls and time.monotonic() >= self._held_due_s:
                self._held_due_s = time.monotonic() + HELD_S
                self.held = self.device.held()
        self.why_not = None

    def _open(self) -> None:
        if (moved := self._elsewhere(self.link)) is not None:
            logger.info("event=device_moved device=%s to='%s'", self.device.name, name_of(moved[0]))
            self.link, self.device = moved
        identity = self.device.open()
        if self.serial_number and identity.serial_number != self.serial_number:
            raise DeviceFault(
                f"the device at this link is {identity.model} {identity.serial_number},"
                f" not {self.serial_number}: was it exchanged?"
            )
        self._is_open = True
        self.opened += 1
        self.held = self.device.held() if self.kind.controls else {}
        self._found(identity)

    def _next(self) -> Write | None:
        with self._lock:
            return self._writes.pop(next(iter(self._writes))) if self._writes else None

    def _set(self, asked: Write) -> None:
        try:
            asked.held = self.device.set(asked.control, asked.value)
            self.held = {**self.held, asked.control: asked.held}
        except DeviceLost as error:
            asked.error = str(error)
            raise
        except DriverError as error:
            asked.error = str(error)
        finally:
            if asked.held is None and asked.error is None:
                asked.error = "its program failed"
            asked.done.set()

    def _lose(self, why: str) -> None:
        if self.why_not != why:
            logger.warning("event=device_lost device=%s reason='%s'", self.device.name, why)
            self._missed(why)
        self._is_open = False
        self.why_not, self.latest, self.held = why, None, {}
        with self._lock:
            waiting, self._writes = list(self._writes.values()), {}
        for each in waiting:
            each.error = why
            each.done.set()
        self.device.close()


def of(
    hub: Hub,
    device: StationDevice,
    kind: Kind,
    driver: Callable[[dict[str, Any]], Device],
    period_s: float,
) -> Instrument:
    """Return the instrument of a station's or zone's device where it was seen last; the site is told of it.

    ``driver`` makes its driver for a link, not opened; its errors come through.
    """
    devices = hub.devices
    link = devices.link_of(device)

    def found(identity: Identity) -> None:
        devices.seen(made.link, kind, identity)
        hub.devices_changed()

    def missed(why: str) -> None:
        devices.missed(made.link, why)
        hub.devices_changed()

    made = Instrument(
        driver(link),
        kind,
        link=link,
        period_s=period_s,
        serial_number=device.serial_number,
        found=found,
        missed=missed,
        elsewhere=lambda now: devices.moved(device, now, driver),
    )
    return made


def own_period_s(kind: Kind) -> float:
    """Return how often the device has news, as the catalogue says; 0.0 for as often as it is asked."""
    return min((each.period_s for each in kind.measures if each.period_s is not None), default=0.0)


def _max_age_s(measure: KindMeasure) -> float:
    """Return the age at which a value is missing, as ``readings.MissingJudge`` has it."""
    if measure.max_age_s is not None:
        return measure.max_age_s
    return max(AGE_MIN_S, AGE_PERIODS * (measure.period_s or 0.0))
