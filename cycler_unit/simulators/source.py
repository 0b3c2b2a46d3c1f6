"""A cell as a power stage sees it at one moment."""

from __future__ import annotations

from math import sqrt


class Source:
    """What a power stage sees at its terminals: V = ``rest_v`` + ``ohm`` I at the end of an interval."""

    __slots__ = ("ohm", "rest_v")

    def __init__(self, rest_v: float, ohm: float) -> None:
        self.rest_v, self.ohm = rest_v, ohm

    def voltage(self, current_a: float) -> float:
        """Return the voltage in V while ``current_a`` flows."""
        return self.rest_v + self.ohm * current_a

    def current_for_voltage(self, voltage_v: float) -> float:
        """Return the current in A that brings the terminals to ``voltage_v``."""
        return (voltage_v - self.rest_v) / self.ohm

    def current_for_power(self, power_w: float) -> float:
        """Return the current in A for ``power_w``; more than can be given is answered by the best."""
        inside = self.rest_v * self.rest_v + 4.0 * self.ohm * power_w
        return (
            (sqrt(inside) - self.rest_v) / (2.0 * self.ohm) if inside > 0.0 else -self.rest_v / self.ohm / 2
        )

    def current_for_resistance(self, ohm: float) -> float:
        """Return the (negative) current in A that a resistor of ``ohm`` draws."""
        return -self.rest_v / (ohm + self.ohm)
