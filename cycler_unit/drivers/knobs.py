"""Base of devices that only switch and measure: relays, lamps, chambers, couplers, high voltage.

A family says what its controls are (``Knob``) and how its measures are read; setting, confirming by
reading back, one repeat and the way to safety are here.
"""

from __future__ import annotations

import math
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cycler_unit.buses.ring import Ring
from cycler_unit.drivers.base import SAFE_VALUES, Device, Exchange, Identity, Measured
from cycler_unit.drivers.errors import DeviceLost, DeviceRefused, DriverError

# safety.md rule 13: what was set must read back within this time; then one repeat.
ECHO_S = 0.5
# Between two looks at a value that does not fit yet.
LOOK_AGAIN_S = 0.02


@dataclass(frozen=True)
class Knob:
    """One control: how it is written, how it is read back, what it may be.

    ``switch`` takes 0 and 1 only. ``safe`` None: ``make_safe`` leaves it alone (a ramp).
    ``step`` is by how much the value read back may differ.
    """

    write: Callable[[float], None]
    look: Callable[[], float | None]
    minimum: float = 0.0
    maximum: float = 1.0
    step: float = 0.0
    switch: bool = False
    safe: float | None = None

    def fits(self, held: float | None, wanted: float) -> bool:
        """Tell whether the device holds what was asked."""
        return held is not None and abs(held - wanted) <= self.step * (1.0 + 1e-9) + 1e-9


class KnobDevice(Device):
    """A device whose controls are ``knobs()``, in the order in which ``make_safe`` writes them."""

    def __init__(self, link: dict[str, Any], *, name: str = "") -> None:
        super().__init__(link, name=name)
        self.ring = Ring()
        self._lock = threading.RLock()
        self._knobs: dict[str, Knob] = {}
        # What a station or a zone wants safe to be, where it says so: an exhaust is safe when it runs.
        self._safe_values: dict[str, float] = dict(link.get(SAFE_VALUES) or {})

    @property
    def label(self) -> str:
        """Return how messages call this device."""
        return self.name or self.kind

    # --- what a family says -----------------------------------------------------------------------

    @abstractmethod
    def connect(self) -> None:
        """Open the link and fill ``_knobs``; nothing is switched here."""

    @abstractmethod
    def identify(self) -> Identity:
        """Ask who is there, after everything is safe."""

    def prepare(self) -> None:
        """Write what the device needs before it is used (ramps, a watchdog), after everything is safe."""

    @abstractmethod
    def values(self) -> dict[str, float | None]:
        """Read all measures; ``None`` is missing."""

    # --- what all do the same ---------------------------------------------------------------------

    def open(self) -> Identity:
        """Connect, bring every control to its safe value, confirm it, identify, prepare."""
        with self._lock:
            try:
                self.connect()
                self.make_safe()
                identity = self.identify()
                self.prepare()
                return identity
            except BaseException:
                self.close()
                raise

    def look(self) -> Identity:
        """Ask who is there without switching anything, and disconnect; for a detection by a person."""
        with self._lock:
            try:
                self.connect()
                return self.identify()
            finally:
                self.close()

    def read(self) -> Measured:
        """Read all measures into ``extended``."""
        with self._lock:
            before_ns = time.time_ns()
            began_s = time.monotonic()
            values = self.values()
            middle_us = (before_ns + time.time_ns()) // 2000
        return Measured(None, None, None, began_s, middle_us, values)

    def set(self, name: str, value: float) -> float:
        """Set one control and confirm it; raise ``DeviceRefused`` for what it does not have or take."""
        knob = self._knobs.get(name)
        if knob is None:
            there = ", ".join(self._knobs) or "none"
            raise DeviceRefused(f"{self.label} has no setting {name!r}; there are {there}")
        self._check(name, knob, value)
        with self._lock:
            return self._confirmed(name, knob, value)

    def _check(self, name: str, knob: Knob, value: float) -> None:
        if not math.isfinite(value):
            raise DeviceRefused(f"{self.label}: {name} must be a number")
        if knob.switch and value not in (0.0, 1.0):
            raise DeviceRefused(f"{self.label}: {name} is a switch: 0 or 1, not {value:g}")
        if not knob.minimum - 1e-9 <= value <= knob.maximum + 1e-9:
            raise DeviceRefused(
                f"{self.label}: {name} must be within {knob.minimum:g} and {knob.maximum:g}, not {value:g}"
            )

    def _confirmed(self, name: str, knob: Knob, value: float) -> float:
        """Write and look; one repeat of both, then ``DeviceRefused``."""
        held: float | None = None
        for _ in range(2):
            knob.write(value)
            held = self._becomes(knob, value)
            if knob.fits(held, value) and held is not None:
                return held
        holds = "nothing readable" if held is None else f"{held:g}"
        raise DeviceRefused(f"{self.label} holds {name} at {holds} instead of {value:g}")

    def _becomes(self, knob: Knob, value: float) -> float | None:
        until_s = time.monotonic() + ECHO_S
        while True:
            held = knob.look()
            if knob.fits(held, value) or time.monotonic() >= until_s:
                return held
            time.sleep(LOOK_AGAIN_S)

    def make_safe(self) -> None:
        """Bring every control to its safe value, in order; one that refuses does not keep the others.

        A link that is gone ends it at once: the caller opens again and repeats.
        """
        failed: DriverError | None = None
        with self._lock:
            for name, knob in self._knobs.items():
                safe = self._safe_values.get(name, knob.safe)
                if safe is None:
                    continue
                try:
                    self._confirmed(name, knob, safe)
                except DeviceLost:
                    raise
                except DriverError as error:
                    failed = failed or error
        if failed is not None:
            raise failed

    def held(self) -> dict[str, float]:
        """Read back what the device holds of its controls; what cannot be read is left out."""
        with self._lock:
            looked = {name: knob.look() for name, knob in self._knobs.items()}
        return {name: value for name, value in looked.items() if value is not None}

    def exchanges(self) -> list[Exchange]:
        """Return the last exchanges, oldest first."""
        return self.ring.last()


def number(found: object) -> float | None:
    """Return what a device calls a value as a finite number; bool, text and NaN are none."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found) if math.isfinite(found) else None
