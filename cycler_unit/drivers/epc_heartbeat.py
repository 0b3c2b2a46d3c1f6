"""An EPC's heartbeat: armed before its output goes on, renewed by whoever lives, never by a thread."""

from __future__ import annotations

import time

from cycler_unit.drivers import epc_frames as frames
from cycler_unit.drivers.epc_frames import PERIODIC
from cycler_unit.drivers.epc_port import EpcPort
from cycler_unit.drivers.errors import DeviceRefused

# The firmware counts every 5 ms though 10 were meant: what was meant trips after twice this.
COUNT_S = 0.005
LEAST_S, MOST_S = 0.2, 5.0
# Renewed this often within its period.
RENEWALS = 8.0


class Heartbeat:
    """One device's heartbeat of ``period_s``."""

    def __init__(self, port: EpcPort, period_s: float) -> None:
        if not LEAST_S <= period_s <= MOST_S:
            raise DeviceRefused(f"heartbeat_s is {LEAST_S:g} to {MOST_S:g} s, not {period_s:g}")
        self._port, self.period_s = port, period_s
        self.armed = True
        """Until it was seen to be off, it may be on."""
        self.changed: str | None = None
        """What another host made of it since it was set here, None for nothing."""
        self._commanding = False
        self._held: bytes | None = None
        self._renewed_s = 0.0

    def heard(self, message: int, payload: bytes) -> None:
        """Take note of a PERIODIC frame, on the bus's thread: the device cannot be asked for it."""
        if message == PERIODIC and not self._commanding and self._held not in (None, payload):
            self.changed = payload.hex(" ").upper()

    def arm(self) -> None:
        """Reset the counter, then enable it: it runs from boot and would trip at once."""
        self._beat()
        self._set(frames.periodic(heartbeat=max(10, round(self.period_s / COUNT_S))), "the heartbeat")
        self.armed = True

    def disarm(self) -> None:
        """Switch it off, and all periodic frames with it."""
        if self.armed:
            self._set(frames.periodic(), "periodic frames off")
            self.armed = False

    def _set(self, wanted: bytes, words: str) -> None:
        self._commanding = True
        try:
            self._held = self._port.command(PERIODIC, wanted, lambda echo: echo == wanted, words)
            self.changed = None
        finally:
            self._commanding = False

    def renew(self) -> None:
        """Reset the counter when it is time to; called by readings and set points of the loop only."""
        if self.armed and time.monotonic() - self._renewed_s >= self.period_s / RENEWALS:
            self._beat()

    def _beat(self) -> None:
        self._port.send(frames.REQUEST, frames.HEARTBEAT)
        self._renewed_s = time.monotonic()
