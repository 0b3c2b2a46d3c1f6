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
        self._renewed_s = 0.0

    def arm(self) -> None:
        """Reset the counter, then enable it: it runs from boot and would trip at once."""
        self._beat()
        wanted = frames.periodic(heartbeat=max(10, round(self.period_s / COUNT_S)))
        self._port.command(PERIODIC, wanted, lambda echo: echo == wanted, "the heartbeat")
        self.armed = True

    def disarm(self) -> None:
        """Switch it off, and all periodic frames with it."""
        if self.armed:
            wanted = frames.periodic()
            self._port.command(PERIODIC, wanted, lambda echo: echo == wanted, "periodic frames off")
            self.armed = False

    def renew(self) -> None:
        """Reset the counter when it is time to; called by readings and set points of the loop only."""
        if self.armed and time.monotonic() - self._renewed_s >= self.period_s / RENEWALS:
            self._beat()

    def _beat(self) -> None:
        self._port.send(frames.REQUEST, frames.HEARTBEAT)
        self._renewed_s = time.monotonic()
