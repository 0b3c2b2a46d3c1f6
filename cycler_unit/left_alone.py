"""Safety rule 3: what the device does when no further byte arrives, made sure before its output goes on.

Its own protections lie between trip and absolute limit, written and read back. Where it does not bound
a direction by itself, a dead-man output opens the circuit when nobody refreshes it for 5 s; without
one a battery that holds much is refused, at filing and here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cycler_unit import contract
from cycler_unit.contract import Refusal
from cycler_unit.drivers.base import Target
from cycler_unit.drivers.errors import DeviceLost, DriverError
from cycling import rules_station
from cycling.envelope import BatteryLimits, Envelope
from cycling.limits import operating

if TYPE_CHECKING:
    from cycler_unit.station import Station

# A dead-man output that is not confirmed after this is none (the rule's own 5 s).
CONFIRM_S = 5.0
# It opens 5 s after the last refresh; the current goes off before it could.
LAPSE_S = 4.0


def refuse_by_hand(station: Station, target: Target, limits: Envelope) -> None:
    """Raise :class:`Refusal` when nothing would end what a person asks for if the unit fell silent.

    As for steps: a device that does not bound the direction, no dead-man output, and more than the station's
    ``unguarded_max_wh``, or nobody knows how much (it is no recorded battery).
    """
    wake = station.conductor.wake
    own, loaded = wake.station_limits(), station.watch.battery
    ref = loaded.battery if loaded is not None else None
    holds = BatteryLimits(
        cells_in_series=ref.cells_in_series if ref is not None else 1,
        capacity_ah=ref.capacity_ah if ref is not None else None,
        energy_wh=ref.energy_wh if ref is not None else None,
        voltage_max_v=operating(limits, "voltage_v", "max"),
    )
    asked = {"charge": target.charge_current_max_a, "discharge": target.discharge_current_max_a}
    for way in rules_station.bare_ways(own, wake.limits(), holds):
        if asked[way] > 0.0:
            raise Refusal(
                f"left alone, the device does not end a {way} by itself, and what is connected holds more than "
                f"{own.unguarded_max_wh:g} Wh or nobody knows: give the station a dead-man output",
                3,
            )


class LeftAlone:
    """Make one station safe to be left alone; used by its thread only."""

    def __init__(self, station: Station, now: Callable[[], float] = time.monotonic) -> None:
        self._station, self._now = station, now
        self._since_s: float | None = None

    def lapsed(self) -> str | None:
        """Return why the dead-man output may have opened since the last turn of the loop, None if not.

        Refreshed again it would close on a cell under load: the test ends first.
        """
        away_s = self._station.outputs.unrefreshed_s(self._now())
        if not self._station.power.output_on or away_s < LAPSE_S:
            return None
        return (
            f"the control loop stood still: the dead-man output {self._station.kept.configure.dead_man} was not"
            f" refreshed for {away_s:.1f} s and may have opened"
        )

    def begin(self) -> None:
        """Ask the dead-man output to close; the rounds that follow refresh it."""
        self._since_s = self._now()
        self._refresh()

    def ready(self) -> bool:
        """Say whether the dead-man output is confirmed closed; raises :class:`Refusal` when it stays open."""
        name = self._station.kept.configure.dead_man
        if not name:
            return True
        self._refresh()
        if self._station.outputs.shown.get(name) == 1.0:
            return True
        since_s = self._now() if self._since_s is None else self._since_s
        if self._now() - since_s > CONFIRM_S:
            raise Refusal(f"the dead-man output {name} did not close within {CONFIRM_S:g} s", 3)
        return False

    def _refresh(self) -> None:
        try:
            self._station.outputs.refresh_dead_man()
        except DriverError as error:
            raise Refusal(str(error), 3) from None

    def protect(self, envelope: Envelope) -> None:
        """Write the device's own protections and read them back; raises :class:`Refusal`."""
        try:
            differs = self._station.power.protect(contract.protections(envelope))
        except DeviceLost:
            raise
        except DriverError as error:
            differs = str(error)
        if differs is not None:
            raise Refusal(f"the device does not take its protections: {differs}", 3)
