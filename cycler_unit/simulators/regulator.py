"""A bidirectional power stage regulating a simulated cell, integrated between events."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from cycling.cell import Cell

# Regulation is solved anew at least this often: 10 ms is a tenth of the usual control period.
STEP_S = 0.01
# Nothing flows while off, and the cell's relaxation is exact for any interval; the lumped heat is not.
OFF_STEP_S = 1.0
# A look back long enough for an end-to-end test, short enough to never matter in memory.
HISTORY = 2000

Regulation = Literal["off", "cv", "cc", "cp", "cr"]


@dataclass
class SetPoints:
    """What the power stage shall hold; currents, powers and resistance are magnitudes."""

    voltage_v: float = 0.0
    source_a: float = 0.0
    source_w: float = 0.0
    sink_a: float = 0.0
    sink_w: float = 0.0
    sink_ohm: float | None = None


@dataclass
class Trips:
    """The device's own protections (OVP, OCP, OPP); magnitudes."""

    voltage_v: float
    source_a: float
    source_w: float
    sink_a: float
    sink_w: float


@dataclass
class Faults:
    """What is broken on purpose. Times are the regulator's own clock."""

    frozen: tuple[float, float, float] | None = None
    drift_since_s: float | None = None
    drift_v_s: float = 0.0
    drift_offset_v: float = 0.0
    stuck_on: bool = False
    stuck_answer: str = "OFF"
    local: bool = False
    clamp_a: float | None = None


class Regulator:
    """Hold one cell at set points in both quadrants.

    Voltage above the cell sources up to ``source_a`` and ``source_w``; below it sinks down to it with
    ``sink_a``, ``sink_w`` and, in resistance mode, at most V / R. ``clock`` gives seconds and only
    rises. ``on_trip`` is told which protection switched the output off.
    """

    def __init__(
        self,
        cell: Cell | None,
        points: SetPoints,
        trips: Trips,
        *,
        clock: Callable[[], float],
        speed: float = 1.0,
        noise_v: float = 0.0,
        noise_a: float = 0.0,
        seed: int = 1,
        on_trip: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.cell, self.points, self.trips = cell, points, trips
        self.speed, self.noise_v, self.noise_a = speed, noise_v, noise_a
        self.faults = Faults()
        self.output = False
        self.regulation: Regulation = "off"
        self.charge_in_ah = self.charge_out_ah = 0.0
        self.on_trip = on_trip
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self._clock = clock
        self._at_s = clock()
        self._stuck: SetPoints | None = None
        self._random = random.Random(seed)

    # --- time -----------------------------------------------------------------------------------

    def advance(self) -> None:
        """Integrate up to the present; called before every question and every change."""
        now_s = self._clock()
        left_s = now_s - self._at_s
        self._at_s = now_s
        while left_s > 0.0:
            dt_s = min(left_s, STEP_S if self.flowing else OFF_STEP_S)
            self._step(dt_s * self.speed)
            left_s -= dt_s

    def now_s(self) -> float:
        """Return the time up to which was integrated."""
        return self._at_s

    @property
    def flowing(self) -> bool:
        """Tell whether the power stage is on, by order or because it is stuck."""
        return self.output or self._stuck is not None

    def _step(self, dt_s: float) -> None:
        cell = self.cell
        if cell is None:
            return
        current_a = self._regulate(cell, dt_s) if self.flowing else 0.0
        cell.advance_current(current_a, dt_s)
        moved_ah = current_a * dt_s / 3600.0
        if moved_ah > 0.0:
            self.charge_in_ah += moved_ah
        else:
            self.charge_out_ah -= moved_ah
        if self.output:
            self._guard()

    def _regulate(self, cell: Cell, dt_s: float) -> float:
        """Return the current that the present set points let flow, in A."""
        points = self._stuck if self._stuck is not None and not self.output else self.points
        current_a = cell.current_for_voltage(points.voltage_v, dt_s=dt_s)
        self.regulation = "cv"
        if current_a > 0.0:
            return self._source(cell, points, current_a, dt_s)
        return self._sink(cell, points, current_a, dt_s)

    def _source(self, cell: Cell, points: SetPoints, current_a: float, dt_s: float) -> float:
        if current_a > points.source_a:
            current_a, self.regulation = points.source_a, "cc"
        if current_a * cell.voltage_v > 0.5 * points.source_w:
            most_a = cell.current_for_power(points.source_w, dt_s=dt_s)
            if current_a > most_a:
                current_a, self.regulation = max(most_a, 0.0), "cp"
        return current_a

    def _sink(self, cell: Cell, points: SetPoints, current_a: float, dt_s: float) -> float:
        if -current_a > points.sink_a:
            current_a, self.regulation = -points.sink_a, "cc"
        if -current_a * cell.voltage_v > 0.5 * points.sink_w:
            most_a = cell.current_for_power(-points.sink_w, dt_s=dt_s)
            if current_a < most_a:
                current_a, self.regulation = min(most_a, 0.0), "cp"
        if points.sink_ohm is not None:
            most_a = cell.current_for_resistance(points.sink_ohm, dt_s=dt_s)
            if current_a < most_a:
                current_a, self.regulation = most_a, "cr"
        return current_a

    def _guard(self) -> None:
        """Switch off by the device's own protections, on what its converters show."""
        voltage_v, current_a = self.terminal_v() + self._drift_v(), self.current_a
        power_w = voltage_v * current_a
        trips = self.trips
        if voltage_v > trips.voltage_v:
            name = "OVP"
        elif current_a > trips.source_a or -current_a > trips.sink_a:
            name = "OCP"
        elif power_w > trips.source_w or -power_w > trips.sink_w:
            name = "OPP"
        else:
            return
        self._switch(False)
        self.on_trip(name)

    # --- orders ---------------------------------------------------------------------------------

    def switch(self, on: bool) -> None:
        """Switch the output; a stuck one goes on at its last set points."""
        self.advance()
        self._switch(on)

    def _switch(self, on: bool) -> None:
        if self.output and not on and self.faults.stuck_on:
            self._stuck = SetPoints(**vars(self.points))
        if self.output != on:
            self.output = on
            self.note("on" if on else "off")
        if not self.flowing:
            self._rest()

    def _rest(self) -> None:
        self.regulation = "off"
        if self.cell is not None:
            self.cell.current_a = 0.0

    def note(self, what: str) -> None:
        """Write one line of history with the charge moved so far."""
        self.history.append(
            {
                "at_s": self._at_s,
                "what": what,
                "charge_in_ah": self.charge_in_ah,
                "charge_out_ah": self.charge_out_ah,
                "voltage_v": self.terminal_v(),
                **vars(self.points),
            }
        )

    def release(self) -> None:
        """Clear all faults; a stuck output opens."""
        self.advance()
        self.faults = Faults()
        self._stuck = None
        if not self.output:
            self._rest()

    def swap(self, cell: Cell | None) -> None:
        """Put another cell in, or none."""
        self.advance()
        self.cell = cell
        self.note("cell")

    # --- answers --------------------------------------------------------------------------------

    @property
    def current_a(self) -> float:
        """Return the true current in A, positive into the cell."""
        return self.cell.current_a if self.cell is not None and self.flowing else 0.0

    def terminal_v(self) -> float:
        """Return the true voltage at the terminals in V."""
        if self.cell is None:
            return self.points.voltage_v if self.output else 0.0
        return self.cell.at_device_v

    def _drift_v(self) -> float:
        faults = self.faults
        if faults.drift_since_s is None:
            return 0.0
        return faults.drift_offset_v + faults.drift_v_s * (self._at_s - faults.drift_since_s)

    def measure(self) -> tuple[float, float, float]:
        """Return voltage, current and power as the converters show them: with noise, not rounded."""
        self.advance()
        if self.faults.frozen is not None:
            return self.faults.frozen
        voltage_v = self.terminal_v() + self._drift_v() + self._random.gauss(0.0, self.noise_v)
        current_a = self.current_a + self._random.gauss(0.0, self.noise_a)
        return voltage_v, current_a, voltage_v * current_a

    def truth(self) -> dict[str, Any]:
        """Return what really happens in the cell, and the charge really moved."""
        self.advance()
        cell = self.cell
        return {
            "output": self.flowing,
            "ordered": self.output,
            "regulation": self.regulation,
            "voltage_v": self.terminal_v(),
            "current_a": self.current_a,
            "charge_ah": self.charge_in_ah - self.charge_out_ah,
            "charge_in_ah": self.charge_in_ah,
            "charge_out_ah": self.charge_out_ah,
            "soc": cell.soc if cell else None,
            "at_rest_v": cell.at_rest_v if cell else None,
            "temperature_c": cell.temperature_c if cell else None,
            "at_s": self._at_s,
        }
