"""A battery to rehearse on: open-circuit voltage, series resistance, two RC pairs, lumped heat.

Positive current charges. All resistances are those of the whole battery, not of one cell.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import Literal

from cycling.chemistry import TABLES, at_rest

# The two RC pairs as shares of the series resistance, and their time constants: charge transfer
# (tens of seconds) and diffusion (tens of minutes), as commonly fitted to 18650 and 21700 cells.
PAIRS: tuple[tuple[float, float], tuple[float, float]] = ((0.4, 15.0), (0.8, 900.0))
# A 21700 cell: about 70 g at 0.95 J/gK, per 5 Ah; others in proportion to their capacity.
HEAT_CAPACITY_J_K_PER_AH = 13.0
# Free convection around the same cell, about 0.1 W/K.
COOLING_W_K_PER_AH = 0.02

Mode = Literal["off", "cc", "cv", "cp", "cr"]


class Cell:
    """Behave like a battery of ``cells_in_series`` cells of one chemistry.

    ``chemistry`` is a key of ``cycling.chemistry.TABLES``. ``r0_ohm`` defaults to 0.1 Ohm Ah per cell
    over the capacity. ``lead_ohm`` is the wiring between device and cell: it changes the voltage that
    a two-wire device sees (``at_device_v``), not the cell's own. ``fade_per_cycle`` is the share of
    capacity lost for each full charge and discharge moved. Raises ``ValueError`` for an unknown
    chemistry or a capacity or resistance that is not positive.
    """

    def __init__(
        self,
        chemistry: str = "NMC",
        capacity_ah: float = 5.0,
        r0_ohm: float | None = None,
        soc: float = 0.5,
        cells_in_series: int = 1,
        temperature_c: float = 25.0,
        *,
        ambient_c: float | None = None,
        pairs: tuple[tuple[float, float], tuple[float, float]] = PAIRS,
        lead_ohm: float = 0.0,
        fade_per_cycle: float = 0.0,
    ) -> None:
        if chemistry not in TABLES:
            raise ValueError(f"unknown chemistry {chemistry!r}; one of {', '.join(TABLES)}")
        if r0_ohm is None:
            r0_ohm = 0.1 * cells_in_series / max(capacity_ah, 1e-9)
        if capacity_ah <= 0 or r0_ohm <= 0 or cells_in_series < 1:
            raise ValueError("capacity_ah and r0_ohm must be positive, cells_in_series at least 1")
        self.chemistry = chemistry
        self.capacity_ah = capacity_ah
        self.r0_ohm = r0_ohm
        self.cells_in_series = cells_in_series
        self.lead_ohm = lead_ohm
        self.fade_per_cycle = fade_per_cycle
        self.ambient_c = temperature_c if ambient_c is None else ambient_c
        self.soc = soc
        self.temperature_c = temperature_c
        self.current_a = 0.0
        self.charge_ah = 0.0
        self.energy_wh = 0.0
        self.moved_ah = 0.0
        self._table = TABLES[chemistry]
        (share1, self._tau1), (share2, self._tau2) = pairs
        self._r1, self._r2 = share1 * r0_ohm, share2 * r0_ohm
        self._u1 = self._u2 = 0.0
        self._heat_j_k = HEAT_CAPACITY_J_K_PER_AH * capacity_ah * cells_in_series
        self._cooling_w_k = COOLING_W_K_PER_AH * capacity_ah * cells_in_series
        self._dt = -1.0
        self._e1 = self._e2 = self._eh = 1.0

    @property
    def at_rest_v(self) -> float:
        """Return the open-circuit voltage in V."""
        return at_rest(self._table, self.soc)[0] * self.cells_in_series

    @property
    def voltage_v(self) -> float:
        """Return the voltage at the cell with the present current, in V."""
        return self._inner_v() + self.current_a * self.r0_ohm

    @property
    def at_device_v(self) -> float:
        """Return what a two-wire device sees: the cell and the drop over the leads, in V."""
        return self.voltage_v + self.current_a * self.lead_ohm

    def _inner_v(self) -> float:
        return at_rest(self._table, self.soc)[0] * self.cells_in_series + self._u1 + self._u2

    def _set_interval(self, dt_s: float) -> None:
        """Keep the exponentials of the last interval: the loop's period seldom changes."""
        self._dt = dt_s
        self._e1, self._e2 = exp(-dt_s / self._tau1), exp(-dt_s / self._tau2)
        self._eh = exp(-dt_s * self._cooling_w_k / self._heat_j_k)

    def advance_current(self, current_a: float, dt_s: float) -> float:
        """Let ``current_a`` flow for ``dt_s`` seconds; return the voltage at the end, in V.

        The RC pairs are updated exactly for a constant current; the heat relaxes exactly under the losses
        that the interval began with.
        """
        if dt_s != self._dt:
            self._set_interval(dt_s)
        before_v = self._inner_v() + current_a * self.r0_ohm
        heat_w = (
            current_a * current_a * self.r0_ohm
            + self._u1 * self._u1 / self._r1
            + self._u2 * self._u2 / self._r2
        )
        self._u1 = self._u1 * self._e1 + current_a * self._r1 * (1.0 - self._e1)
        self._u2 = self._u2 * self._e2 + current_a * self._r2 * (1.0 - self._e2)
        end_c = self.ambient_c + heat_w / self._cooling_w_k
        self.temperature_c = end_c + (self.temperature_c - end_c) * self._eh
        moved_ah = current_a * dt_s / 3600.0
        self.charge_ah += moved_ah
        self.soc += moved_ah / self.capacity_ah
        self.current_a = current_a
        if self.fade_per_cycle:
            self._fade(abs(moved_ah))
        after_v = self.voltage_v
        self.energy_wh += moved_ah * 0.5 * (before_v + after_v)
        return after_v

    def _fade(self, moved_ah: float) -> None:
        self.moved_ah += moved_ah
        lost = self.fade_per_cycle * moved_ah / 2.0
        held_ah = self.soc * self.capacity_ah
        self.capacity_ah -= lost
        self.soc = held_ah / self.capacity_ah

    def _source(self, dt_s: float) -> tuple[float, float]:
        """Return (E, R) so that the voltage after ``dt_s`` with a current I is E + I R (linearised)."""
        rest_v, slope_v = at_rest(self._table, self.soc)
        if dt_s <= 0.0:
            return rest_v * self.cells_in_series + self._u1 + self._u2, self.r0_ohm
        if dt_s != self._dt:
            self._set_interval(dt_s)
        source_v = rest_v * self.cells_in_series + self._u1 * self._e1 + self._u2 * self._e2
        per_a = dt_s / 3600.0 / self.capacity_ah * slope_v * self.cells_in_series
        ohm = self.r0_ohm + self._r1 * (1.0 - self._e1) + self._r2 * (1.0 - self._e2) + per_a
        return source_v, ohm

    def current_for_voltage(
        self, voltage_v: float, i_min: float = -1e9, i_max: float = 1e9, *, dt_s: float = 0.0
    ) -> float:
        """Return the current (A) at which the cell shows ``voltage_v``, within [i_min, i_max].

        ``dt_s`` > 0: so that it shows that voltage at the end of such an interval, which keeps long
        intervals stable.
        """
        source_v, ohm = self._source(dt_s)
        return min(max((voltage_v - source_v) / ohm, i_min), i_max)

    def current_for_power(
        self, power_w: float, i_min: float = -1e9, i_max: float = 1e9, *, dt_s: float = 0.0
    ) -> float:
        """Return the current (A) for ``power_w`` (positive charges), within [i_min, i_max].

        The root of R I^2 + E I = P; more than the cell can give is answered by its best, -E/2R.
        """
        source_v, ohm = self._source(dt_s)
        inside = source_v * source_v + 4.0 * ohm * power_w
        current_a = (-source_v + sqrt(inside)) / (2.0 * ohm) if inside > 0.0 else -source_v / (2.0 * ohm)
        return min(max(current_a, i_min), i_max)

    def current_for_resistance(
        self,
        resistance_ohm: float,
        i_min: float = -1e9,
        i_max: float = 1e9,
        *,
        direction: str = "discharge",
        dt_s: float = 0.0,
    ) -> float:
        """Return the current (A) at which voltage over current is ``resistance_ohm`` (magnitude)."""
        source_v, ohm = self._source(dt_s)
        if direction == "charge":
            gap_ohm = resistance_ohm - ohm
            current_a = source_v / gap_ohm if gap_ohm > 0.0 else i_max
        else:
            current_a = -source_v / (resistance_ohm + ohm)
        return min(max(current_a, i_min), i_max)

    def step(
        self,
        dt_s: float,
        mode: Mode,
        value: float = 0.0,
        *,
        i_min: float = -1e9,
        i_max: float = 1e9,
        v_min: float = -1e9,
        v_max: float = 1e9,
        direction: str = "discharge",
    ) -> float:
        """Let a device in ``mode`` (value in A, V, W or Ohm) act for ``dt_s``; return the voltage in V.

        ``v_min`` holds while discharging and ``v_max`` while charging, as a device's own bounds do.
        """
        if mode == "off":
            return self.advance_current(0.0, dt_s)
        if mode == "cv":
            current_a = self.current_for_voltage(value, i_min, i_max, dt_s=dt_s)
        elif mode == "cp":
            current_a = self.current_for_power(value, i_min, i_max, dt_s=dt_s)
        elif mode == "cr":
            current_a = self.current_for_resistance(value, i_min, i_max, direction=direction, dt_s=dt_s)
        else:
            current_a = min(max(value, i_min), i_max)
        return self.advance_current(self._bounded(current_a, v_min, v_max, dt_s), dt_s)

    def _bounded(self, current_a: float, v_min: float, v_max: float, dt_s: float) -> float:
        if current_a > 0.0 and v_max < 1e9:
            return max(min(current_a, self.current_for_voltage(v_max, dt_s=dt_s)), 0.0)
        if current_a < 0.0 and v_min > -1e9:
            return min(max(current_a, self.current_for_voltage(v_min, dt_s=dt_s)), 0.0)
        return current_a
