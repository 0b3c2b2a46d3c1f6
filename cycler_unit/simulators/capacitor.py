"""What an empty holder may hold instead of a cell."""

from __future__ import annotations


class Capacitor:
    """A charged capacitor where a cell should be: right voltage at rest, nothing behind it."""

    def __init__(self, voltage_v: float, farad: float = 0.01, ohm: float = 0.05) -> None:
        self.rest_v, self.farad, self.r0_ohm = voltage_v, farad, ohm
        self.current_a = 0.0
        self.soc = 0.0
        self.temperature_c = self.ambient_c = 25.0

    @property
    def at_rest_v(self) -> float:
        """Return its voltage without current in V."""
        return self.rest_v

    @property
    def voltage_v(self) -> float:
        """Return its voltage with the present current in V."""
        return self.rest_v + self.current_a * self.r0_ohm

    @property
    def at_device_v(self) -> float:
        """Return the same: it has no leads of its own."""
        return self.voltage_v

    def advance_current(self, current_a: float, dt_s: float) -> float:
        """Let ``current_a`` flow for ``dt_s``; return the voltage at the end in V."""
        self.current_a = current_a
        self.rest_v += current_a * dt_s / self.farad
        return self.voltage_v

    def current_for_voltage(self, voltage_v: float, *, dt_s: float = 0.0) -> float:
        """Return the current in A that brings it to ``voltage_v`` at the end of ``dt_s``."""
        return (voltage_v - self.rest_v) / (self.r0_ohm + dt_s / self.farad)
