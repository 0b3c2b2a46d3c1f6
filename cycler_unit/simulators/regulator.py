"""A bidirectional power stage regulating the cell of a circuit, integrated between events."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from cycler_unit.simulators.capacitor import Capacitor
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.source import Source
from cycling.cell import Cell

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
    refuse: bool = False
    noise_v: float | None = None
    noise_a: float | None = None
    sensor_off: bool = False
    # What a sense input with an open wire still sees of the voltage: 0 = nothing.
    sense_share: float | None = None


class Regulator:
    """Hold one circuit's cell at set points in both quadrants; a bare cell gets a circuit of its own.

    Voltage above the cell sources up to ``source_a`` and ``source_w``; below it sinks down to it with
    ``sink_a``, ``sink_w`` and, in resistance mode, at most V / R. ``clock`` gives seconds and only
    rises. ``on_trip`` is told which protection switched the output off.
    """

    def __init__(
        self,
        circuit: Circuit | Cell | None,
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
        if not isinstance(circuit, Circuit):
            circuit = Circuit(circuit, clock=clock, speed=speed)
        self.circuit, self.points, self.trips = circuit, points, trips
        self.noise_v, self.noise_a = noise_v, noise_a
        self.faults = Faults()
        self.output = False
        self.regulation: Regulation = "off"
        self.charge_in_ah = self.charge_out_ah = 0.0
        self.on_trip = on_trip
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self._stuck: SetPoints | None = None
        self._random = random.Random(seed)
        circuit.join(self)

    # --- time -----------------------------------------------------------------------------------

    def advance(self) -> None:
        """Integrate up to the present; called before every question and every change."""
        self.circuit.advance()

    def now_s(self) -> float:
        """Return the time up to which was integrated."""
        return self.circuit.now_s()

    @property
    def cell(self) -> Cell | Capacitor | None:
        """Return what is between the terminals."""
        return self.circuit.cell

    @property
    def speed(self) -> float:
        """Return how many seconds of the cell pass in one."""
        return self.circuit.speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self.circuit.speed = speed

    @property
    def flowing(self) -> bool:
        """Tell whether the power stage is on, by order or because it is stuck."""
        return self.output or self._stuck is not None

    def carried(self, current_a: float, dt_s: float) -> None:
        """Count the charge and let the own protections look."""
        moved_ah = current_a * dt_s / 3600.0
        if moved_ah > 0.0:
            self.charge_in_ah += moved_ah
        else:
            self.charge_out_ah -= moved_ah
        if self.output:
            self._guard()

    def regulate(self, source: Source, dt_s: float) -> float:
        """Return the current that the present set points let flow, in A."""
        points = self._stuck if self._stuck is not None and not self.output else self.points
        source = self._sensed(source)
        current_a = source.current_for_voltage(points.voltage_v)
        self.regulation = "cv"
        if current_a > 0.0:
            return self._source(source, points, current_a)
        return self._sink(source, points, current_a)

    def _sensed(self, source: Source) -> Source:
        """Return the terminals as the sense wires show them: too low a voltage when one is open."""
        share = self.faults.sense_share
        return source if share is None else Source(source.rest_v * share, source.ohm * max(share, 1e-6))

    def _source(self, source: Source, points: SetPoints, current_a: float) -> float:
        if current_a > points.source_a:
            current_a, self.regulation = points.source_a, "cc"
        if current_a * source.voltage(current_a) > points.source_w:
            most_a = source.current_for_power(points.source_w)
            if current_a > most_a:
                current_a, self.regulation = max(most_a, 0.0), "cp"
        return current_a

    def _sink(self, source: Source, points: SetPoints, current_a: float) -> float:
        if -current_a > points.sink_a:
            current_a, self.regulation = -points.sink_a, "cc"
        if -current_a * source.voltage(current_a) > points.sink_w:
            most_a = source.current_for_power(-points.sink_w)
            if current_a < most_a:
                current_a, self.regulation = min(most_a, 0.0), "cp"
        if points.sink_ohm is not None:
            most_a = source.current_for_resistance(points.sink_ohm)
            if current_a < most_a:
                current_a, self.regulation = most_a, "cr"
        return current_a

    def _guard(self) -> None:
        """Switch off by the device's own protections, on what its converters show."""
        voltage_v, current_a = self._sensed_v() + self._drift_v(), self.current_a
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
        self.circuit.settle(self)

    def note(self, what: str) -> None:
        """Write one line of history with the charge moved so far."""
        self.history.append(
            {
                "at_s": self.now_s(),
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
        self.circuit.swap(cell)
        self.note("cell")

    # --- answers --------------------------------------------------------------------------------

    @property
    def current_a(self) -> float:
        """Return the true current in A, positive into the cell."""
        return self.circuit.current_of(self)

    def open_v(self) -> float:
        """Return the voltage at terminals with nothing on them in V."""
        return self.points.voltage_v if self.output else 0.0

    def terminal_v(self) -> float:
        """Return the true voltage at the terminals in V."""
        return self.circuit.terminal_v() if self.circuit.connected else self.open_v()

    def _sensed_v(self) -> float:
        share = self.faults.sense_share
        return self.terminal_v() * (1.0 if share is None else share)

    def _drift_v(self) -> float:
        faults = self.faults
        if faults.drift_since_s is None:
            return 0.0
        return faults.drift_offset_v + faults.drift_v_s * (self.now_s() - faults.drift_since_s)

    def measure(self) -> tuple[float, float, float]:
        """Return voltage, current and power as the converters show them: with noise, not rounded."""
        self.advance()
        if self.faults.frozen is not None:
            return self.faults.frozen
        faults = self.faults
        voltage_v = (
            self._sensed_v() + self._drift_v() + self._random.gauss(0.0, faults.noise_v or self.noise_v)
        )
        current_a = self.current_a + self._random.gauss(0.0, faults.noise_a or self.noise_a)
        return voltage_v, current_a, voltage_v * current_a

    def truth(self) -> dict[str, Any]:
        """Return what really happens in the cell; output, current and charge are this stage's own."""
        of_cell = self.circuit.truth()
        return {
            **of_cell,
            "output": self.flowing,
            "ordered": self.output,
            "regulation": self.regulation,
            "voltage_v": self.terminal_v(),
            "current_a": self.current_a,
            "charge_ah": self.charge_in_ah - self.charge_out_ah,
            "charge_in_ah": self.charge_in_ah,
            "charge_out_ah": self.charge_out_ah,
            "circuit": {key: of_cell[key] for key in ("current_a", "charge_in_ah", "charge_out_ah")},
        }
