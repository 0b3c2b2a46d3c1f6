"""What the simulator program needs of a simulated device, and where each family's is found.

A family is one line in ``FAMILIES``; its factory gets one entry of the bench file's ``devices``, with
``host`` added, and raises ``BenchError`` for wrong options.
"""

from __future__ import annotations

import importlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from cycler_unit.simulators.circuit import Circuit

Asked = dict[str, Any]
Clock = Callable[[], float]
Say = Callable[[str], None]

# Enough to see what led to a fault, at a few messages per control period.
EXCHANGES = 400

# Family of the catalogue -> factory(spec, circuits, seed, clock) -> SimulatedDevice.
FAMILIES: dict[str, str] = {
    "ea": "cycler_unit.simulators.ea_device:make",
    "epc": "cycler_unit.simulators.epc_device:make",
    "bms": "cycler_unit.simulators.bms_device:make",
    "kel103": "cycler_unit.simulators.kel103:make",
    "bk": "cycler_unit.simulators.bk:make",
    "flow": "cycler_unit.simulators.flow:make",
    "sba5": "cycler_unit.simulators.sba5:make",
    "caen": "cycler_unit.simulators.caen:make",
    "esphome": "cycler_unit.simulators.esphome:make",
    "esp32": "cycler_unit.simulators.esp32:make",
    "chamber": "cycler_unit.simulators.chamber:make",
    "io": "cycler_unit.simulators.coupler:make",
}


class Refused(Exception):
    """A control line is wrong; the text says how."""


class CannotStart(Exception):
    """A port or terminal is not to be had; the text is one sentence."""


class SimulatedDevice(Protocol):
    """One simulated device with its links. ``exchanges`` holds ``{at_s, to, text}``."""

    name: str
    model: str
    exchanges: deque[dict[str, Any]]

    async def open(self, say: Say) -> None:
        """Listen, and say ``ready NAME MODEL RESOURCE`` for each way in; raise ``CannotStart``."""

    def close(self) -> None:
        """Stop listening; safe twice."""

    def tick(self) -> None:
        """Move on to the present; called every half second."""

    def links(self) -> list[dict[str, Any]]:
        """Return the ``links`` of unit.yaml that reach it."""

    def truth(self) -> dict[str, Any]:
        """Return what is really so, whatever the device says."""

    def fault(self, name: str, asked: Asked) -> bool:
        """Break it; False for a fault that it does not know. Raises ``Refused`` for wrong options."""

    def mend(self) -> None:
        """Repair everything, its circuit included."""


Factory = Callable[[dict[str, Any], Mapping[str, "Circuit"], int, Clock], SimulatedDevice]


def factory(family: str) -> Factory:
    """Import and return a family's factory; raise ``KeyError`` naming the known families."""
    if family not in FAMILIES:
        raise KeyError(f"no simulator of the family {family!r}; there are {', '.join(FAMILIES)}")
    module, _, name = FAMILIES[family].partition(":")
    found: Factory = getattr(importlib.import_module(module), name)
    return found


class UtcClock:
    """UTC seconds that never jump back; a test may let them run ahead."""

    def __init__(self) -> None:
        self._ahead_s = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Return the time in UTC seconds."""
        return time.monotonic() + self._ahead_s

    def forward(self, seconds: float) -> None:
        """Let time pass at once."""
        self._ahead_s += seconds


def utc_clock() -> UtcClock:
    """Return a clock in UTC seconds that never jumps back."""
    return UtcClock()
