"""The power stage and the converters of a simulated EPC on a circuit."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.epc_rules import CC, CV, Point
from cycler_unit.simulators.source import Source

# What its inductor lets through though regulation asks for more, A.
MOST_A = 25.0
# One standard deviation of its converters: a third of a step of 1.47 mV, half of one of 8.06 mA (a real
# log shows three neighbouring values).
NOISE_V, NOISE_A = 0.0005, 0.004


class EpcStage:
    """Regulate a circuit's cell and measure it with 12 bits; ``Plant`` of the machine, ``Stage`` of the circuit."""

    def __init__(self, circuit: Circuit, *, hs_v: float, seed: int, clock: Callable[[], float]) -> None:
        self.circuit, self.hs_v = circuit, hs_v
        self.charge_in_ah = self.charge_out_ah = 0.0
        self.sensors = (True, True, True)
        """Which of body, anode and ambient are there."""
        self.stepped: Callable[[int, int, float], None] = lambda mv, ma, ran_s: None
        self._clock = clock
        self._random = random.Random(seed)
        self._point: Point | None = None
        self._ran_s = 0.0
        self.release()
        circuit.join(self)

    def release(self) -> None:
        """Clear every fault."""
        self.stuck_on = False
        self.frozen: tuple[int, int, int] | None = None
        self.noise_v, self.noise_a = NOISE_V, NOISE_A
        self.drift: tuple[float, float, float] | None = None
        self.sense_share: float | None = None
        self.sensor_off = False
        self._stuck: Point | None = None

    # --- orders -----------------------------------------------------------------------------------

    def drive(self, point: Point | None) -> None:
        """Hold a set point from now on, or switch off; a stuck stage goes on."""
        self.circuit.advance()
        if point is None and self._point is not None and self.stuck_on:
            self._stuck = self._point
        if point is not None:
            self._stuck = None
        self._point, self._ran_s = point, 0.0
        if not self.flowing:
            self.circuit.settle(self)

    # --- the circuit's side -----------------------------------------------------------------------

    @property
    def flowing(self) -> bool:
        """Tell whether it is on, by order or because it is stuck."""
        return self._point is not None or self._stuck is not None

    def regulate(self, source: Source, dt_s: float) -> float:
        """Return the current in A that the set point lets flow."""
        point = self._point or self._stuck
        assert point is not None
        if point.mode == CC:
            wanted_a = point.ref / 1000.0
        elif point.mode == CV:
            wanted_a = source.current_for_voltage(point.ref / 1000.0)
        else:
            wanted_a = source.current_for_power(point.ref / 10.0)
        return min(max(wanted_a, -MOST_A), MOST_A)

    def carried(self, current_a: float, dt_s: float) -> None:
        """Count charge, and let the machine see what its 10 kHz loop would."""
        moved_ah = current_a * dt_s / 3600.0
        self.charge_in_ah += max(moved_ah, 0.0)
        self.charge_out_ah += max(-moved_ah, 0.0)
        if self._point is not None:
            self._ran_s += dt_s / self.circuit.speed
            self.stepped(self._volts(0.0), amperes(current_a), self._ran_s)

    def open_v(self) -> float:
        """Return what it shows with nothing connected: a buck converter rises to its set point."""
        point = self._point or self._stuck
        return point.ref / 1000.0 if point is not None and point.mode == CV else self.hs_v

    # --- the converters ---------------------------------------------------------------------------

    def _volts(self, noise_v: float) -> int:
        volts = self.circuit.terminal_v()
        if self.sense_share is not None:
            volts *= self.sense_share
        if self.drift is not None:
            offset_v, rate_v_s, since_s = self.drift
            volts += offset_v + rate_v_s * (self._clock() - since_s)
        return millivolts(volts + noise_v, 6000)

    def electrical(self) -> tuple[int, int, int]:
        """Return low-side mV and mA and high-side mV as the converters show them."""
        self.circuit.advance()
        if self.frozen is not None:
            return self.frozen
        return self.measured()

    def measured(self) -> tuple[int, int, int]:
        """Return the same whatever is frozen."""
        current_a = self.circuit.current_of(self) + self._random.gauss(0.0, self.noise_a)
        hs_mv = millivolts(self.hs_v + self._random.gauss(0.0, 0.001), 15000)
        return self._volts(self._random.gauss(0.0, self.noise_v)), amperes(current_a), hs_mv

    def temperatures(self) -> tuple[int, int, int]:
        """Return body, anode and ambient in 0.1 °C."""
        if self.sensor_off:
            return 0, 0, 0
        ambient_c = self.circuit.ambient_c
        ambient_c = 25.0 if ambient_c is None else ambient_c
        cell = self.circuit.cell
        cell_c = ambient_c if cell is None else cell.temperature_c
        # The power stage warms its own heat sink: 1 K per 2 A.
        body_c = ambient_c + 3.0 + 0.5 * abs(self.circuit.current_of(self))
        values = (body(body_c), round(cell_c * 10.0), round(ambient_c * 10.0))
        body_there, anode_there, ambient_there = self.sensors
        return values[0] * body_there, values[1] * anode_there, values[2] * ambient_there

    def truth(self) -> dict[str, Any]:
        """Return what really happens."""
        truth = self.circuit.truth()
        return truth | {
            "output": self.flowing,
            "device_current_a": self.circuit.current_of(self),
            "charge_in_ah": self.charge_in_ah,
            "charge_out_ah": self.charge_out_ah,
            "charge_ah": self.charge_in_ah - self.charge_out_ah,
        }


def millivolts(volts: float, full_scale: int) -> int:
    """Return what a 12-bit converter with a full scale in mV shows (device sheet 1.3)."""
    adc = min(max(int(volts * 1000.0 * 4095 / full_scale + 0.5), 0), 4095)
    return adc * full_scale // 4095


def amperes(current_a: float) -> int:
    """Return what the current converter shows in mA: 8.06 mA steps, -4 or 4 at nothing."""
    adc = min(max(int((current_a * 1000.0 + 16000) * 4095 / 33000 + 0.5), 0), 4095)
    return adc * 33000 // 4095 - 16000


def body(celsius: float) -> int:
    """Return the digital sensor's 0.1 °C: 1750 parts of 16 bits, less 45 °C."""
    raw = min(max(int((celsius * 10.0 + 450.0) * 65536 / 1750 + 0.5), 0), 65535)
    return (1750 * raw >> 16) - 450
