"""What a station does with its outputs and its isolator around the power device.

A set point's outputs are asked for before its current flows; with an ``off`` set point after it. The
isolator opens at zero current, and closes before the check at rest or the next current. On a trip the
power device goes off first; only then outputs move.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from cycler_unit.drivers.base import Target
from cycler_unit.drivers.errors import DeviceRefused, DriverError
from cycler_unit.isolator import Isolator
from cycler_unit.outputs import CONFIRM_S
from cycler_unit.terminals import Terminals
from cycling.reading import SetPoint

if TYPE_CHECKING:
    from cycler_unit.station import Station

logger = logging.getLogger("cycler_unit.auxiliaries")

# The dead-man output opens when it is not refreshed for 5 s (rule 3): three chances.
REFRESH_S = 1.5
# Terminals are brought to the cell's voltage with this share of the range, and within this time.
RAISE_SHARE, RAISE_S, LOOK_S = 0.01, 3.0, 0.02
# A cell monitor speaks once a second, in fragments.
SNAPSHOT_S = 3.0
# A stopping unit waits so long for its outputs.
LEAVE_S = 2.0
# After a refresh that was not confirmed for this long the current goes off before the output opens.
UNREFRESHED_S = 4.0


class Auxiliaries:
    """One station's outputs and isolator; used by its thread only, ``shown`` and ``held`` by others."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self.outputs, self.isolator = station.parts.outputs, station.parts.isolator
        self._dead_man = station.kept.configure.dead_man
        self._refreshed_s = 0.0
        self._isolator_seen_s = time.monotonic()

    # --- what others see --------------------------------------------------------------------------

    @property
    def names(self) -> frozenset[str]:
        """Return the names that steps may set."""
        return self.outputs.names

    @property
    def shown(self) -> dict[str, float]:
        """Return what the outputs hold, as confirmed."""
        return self.outputs.shown

    # --- set points -------------------------------------------------------------------------------

    def take(self, point: SetPoint) -> None:
        """Do what a set point says of outputs and isolator; raises the errors of drivers.

        Called before the power device is set, and for ``off`` after it was confirmed off.
        """
        if point.isolate:
            self.isolate()
        elif point.mode != "off":
            self.connect()
        for name in point.outputs:
            if self._is_isolator(name):
                raise DeviceRefused("the isolator is opened by a rest with isolate, not by an output")
        self.outputs.apply(point.outputs)

    def _is_isolator(self, name: str) -> bool:
        if self.isolator is None or name not in self.names:
            return False
        output = self.outputs.get(name)
        same = output.instrument is self.isolator.instrument
        return same and output.row.control == self.isolator.control

    def connect(self) -> None:
        """Close isolator and dead-man output, where there are; raises ``DeviceRefused`` with why not."""
        parts = self._station.parts
        for name, each in (("isolator", self.isolator), ("dead-man output", parts.dead_man)):
            if each is not None and each.is_open is not False:
                self._close(name, each)

    def _close(self, name: str, switch: Isolator) -> None:
        station = self._station
        station.read()
        if station.power.output_on or station.unsafe is not None:
            raise DeviceRefused(f"the {name} stays open: the output is on")
        cell_v = self._cell_v(switch)
        if cell_v is None:
            cell_v = self._first_snapshot()
        if cell_v is None:
            raise DeviceRefused(
                f"the {name} stays open: nobody knows the cell's voltage; record its rest voltage or bind a meter"
            )
        self.outputs.forget(switch.instrument, switch.control)
        terminals = Terminals(station, name)
        try:
            device_v = self._device_v()
            if device_v is not None and abs(device_v - cell_v) > switch.difference_v:
                device_v = self._raise_to(cell_v, switch.difference_v, terminals)
            # Read meanwhile: without readings the bus's owner would switch the terminals off again.
            why = switch.close(device_v, cell_v, no_current=self._no_current(), meanwhile=terminals.read)
        finally:
            if station.power.output_on:
                station.switch_off()
        if why is not None:
            raise DeviceRefused(f"the {name} stays open: {why}")
        self._moved(name, "closed")

    def _cell_v(self, switch: Isolator) -> float | None:
        """Return the cell's voltage: measured behind the switch, or seen before it opened, or on record."""
        station = self._station
        measured_v = station.parts.cell_v(station.measured, self._device_v())
        if measured_v is not None:
            return measured_v
        if switch.opened_at_v is not None:
            return switch.opened_at_v
        run, watched = station.conductor.run, station.watch.battery
        ref = run.start.battery if run is not None else watched.battery if watched is not None else None
        return ref.last_rest_voltage_v if ref is not None else None

    def _first_snapshot(self) -> float | None:
        """Wait for what a monitor or meter on the cell's side says first: it may just have been opened."""
        parts, until_s = self._station.parts, time.monotonic() + SNAPSHOT_S
        if not any(each.kind.role in ("meter", "bms") for each in parts.instruments.values()):
            return None
        while time.monotonic() < until_s:
            time.sleep(LOOK_S)
            self._station.read()
            measured_v = parts.cell_v(self._station.measured, self._device_v())
            if measured_v is not None:
                return measured_v
        return None

    def _device_v(self) -> float | None:
        """Return what the power device saw at its own terminals in the last reading."""
        measured = self._station.measured.get(self._station.power_device.device)
        return measured.voltage_v if measured is not None else None

    def _raise_to(self, cell_v: float, difference_v: float, terminals: Terminals) -> float | None:
        """Bring the device's own terminals to the cell's voltage, with next to no current, before closing.

        Every reading on the way is judged.
        """
        power = self._station.power
        least_a = max(RAISE_SHARE * abs(power.kind.current_max_a or 0.0), 5.0 * power.off_rule.i_off_a)
        power.apply(
            Target(
                "cv", direction="charge", voltage_v=cell_v, voltage_max_v=cell_v, charge_current_max_a=least_a
            )
        )
        until_s = time.monotonic() + RAISE_S
        while True:
            terminals.read()
            device_v = self._device_v()
            near = device_v is not None and abs(device_v - cell_v) <= difference_v
            if (near and self._no_current()) or time.monotonic() > until_s:
                return device_v
            time.sleep(LOOK_S)

    def isolate(self) -> None:
        """Open the isolator, if there is one; raises ``DeviceRefused`` with why not."""
        if self.isolator is None:
            raise DeviceRefused("the station has no isolator")
        if self.isolator.is_open:
            return
        station = self._station
        taken = station.read()  # the last one may be of before the output went off
        off = not station.power.output_on and station.unsafe is None and self._no_current()
        self.outputs.forget(self.isolator.instrument, self.isolator.control)
        why = self.isolator.open(taken, off=off)
        if why is not None:
            raise DeviceRefused(f"the isolator stays closed: {why}")
        self._moved("isolator", "open")

    def _no_current(self) -> bool:
        taken = self._station.taken
        return (
            taken is not None
            and taken.current_a is not None
            and abs(taken.current_a) < self._station.power.off_rule.i_off_a
        )

    def _moved(self, name: str, where: str) -> None:
        station = self._station
        station.event("device", f"the {name} is {where}", {name: where}, station.conductor.experiment)

    # --- every round ------------------------------------------------------------------------------

    def look(self) -> None:
        """See whether outputs hold what a step asked for; if not, the test is an error (rule 13)."""
        if self._station.busy:
            self.refresh_dead_man()
        station = self._station
        if station.power.output_on and station.parts.isolated and station.unsafe is None and station.busy:
            station.fail("isolator", "the isolator or dead-man output opened while current was asked for")
            return
        if (lost := self._isolator_lost()) is not None:
            station.fail("isolator", lost)
            return
        why = self.outputs.look()
        if why is None:
            return
        self.outputs.let_go()
        self._station.fail("output", why)

    def _isolator_lost(self) -> str | None:
        """Return why the last switch of the current path cannot be trusted while current flows (rule 13)."""
        isolator, now_s = self.isolator, time.monotonic()
        if isolator is None or isolator.is_open is not None or not self._station.power.output_on:
            self._isolator_seen_s = now_s
            return None
        if now_s - self._isolator_seen_s < CONFIRM_S:
            return None
        return f"the isolator was lost while current flows: {isolator.instrument.why_not or 'it does not answer'}"

    def refresh_dead_man(self) -> None:
        """Refresh the dead-man output from the control loop; raises ``DeviceRefused`` when it does not take it."""
        if self._dead_man is None:
            return
        output, now_s = self.outputs.get(self._dead_man), time.monotonic()
        asked = output.asked
        if asked is None or not asked.strict:  # the last end may have opened it
            output.ask(1.0, strict=True)
            self._refreshed_s = now_s
            return
        if not output.fits() and now_s - asked.since_s > UNREFRESHED_S:
            raise DeviceRefused(
                f"the dead-man output {self._dead_man} is not refreshed: {output.instrument.why_not}"
            )
        if now_s - self._refreshed_s >= REFRESH_S:
            self._refreshed_s = now_s
            output.refresh()

    def unrefreshed_s(self, now_s: float) -> float:
        """Return for how long the dead-man output was not told to stay closed, 0.0 while nobody wants it so."""
        asked = None if self._dead_man is None else self.outputs.get(self._dead_man).asked
        return now_s - self._refreshed_s if asked is not None and asked.strict else 0.0

    # --- ends -------------------------------------------------------------------------------------

    def ended(self, status: str) -> None:
        """Bring the outputs where an end wants them; the power device has been switched off before."""
        if status == "error":
            self.outputs.trip()
        else:
            self.outputs.finish()

    def let_go(self) -> None:
        """Let a person set outputs by hand: no step asks for them now."""
        self.outputs.let_go()

    def leave(self) -> None:
        """Bring outputs to their safe values before the unit ends, and give them a moment to get there."""
        self.safe()
        until_s = time.monotonic() + LEAVE_S
        while time.monotonic() < until_s and not self.outputs.settled():
            time.sleep(0.02)

    def safe(self) -> None:
        """Bring outputs to their safe values; never raises."""
        try:
            self.outputs.safe()
        except DriverError as error:
            logger.error("event=output_not_safe station=%s reason='%s'", self._station.id, error)
