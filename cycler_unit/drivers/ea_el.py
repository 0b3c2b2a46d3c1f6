"""The electronic loads of EA Elektro-Automatik (EL 9000): the sink half of a PSB (registers: ``ea.py``)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from cycler_unit.drivers.base import Measured, Protections, Target
from cycler_unit.drivers.ea import Registers
from cycler_unit.drivers.ea_psb import EaBidirectional
from cycler_unit.drivers.errors import DeviceRefused
from cycler_unit.drivers.scpi import Setting
from cycler_unit.drivers.targets import direction_of


class EaLoad(EaBidirectional):
    """An EL: ``VOLT`` is the floor that it holds by itself, ``INP`` its output."""

    headers: ClassVar[dict[str, tuple[str, str]]] = {
        "voltage_v": ("VOLT", "step_v"),
        "sink_a": ("CURR", "step_a"),
        "sink_w": ("POW", "step_w"),
        "sink_ohm": ("RES", "step_ohm"),
    }
    bounds: ClassVar[tuple[str, ...]] = ("VOLT", "CURR")
    output: ClassVar[str] = "INP"

    def read(self) -> Measured:
        """Read voltage, current and power by one ``MEAS:ARR?``; what it sinks is negative for us."""
        found = super().read()
        return replace(found, current_a=_negative(found.current_a), power_w=_negative(found.power_w))

    def registers(self, target: Target) -> Registers:
        """Return what the registers shall hold for a target; raise ``DeviceRefused`` for a charge."""
        if target.mode != "cv" and direction_of(target) == "charge":
            raise DeviceRefused(f"{self.label} cannot charge")
        if target.mode == "cv" and (target.direction == "charge" or not target.discharge_current_max_a):
            raise DeviceRefused(
                f"{self.label} cannot charge, and needs a discharge current to hold a voltage"
            )
        return super().registers(replace(target, direction="discharge"))

    def _protecting(self, wanted: Protections) -> list[Setting]:
        return [
            self._protection("VOLT:PROT", wanted.voltage_max_v, self.nominal_v, self.step_v),
            self._protection("CURR:PROT", wanted.discharge_current_max_a, self.nominal_a, self.step_a),
            self._protection("POW:PROT", wanted.power_max_w, self.nominal_w, self.step_w),
        ]

    def _held_protections(self, wanted: Protections, held: dict[str, float | None]) -> Protections:
        return Protections(
            voltage_max_v=held["VOLT:PROT"],
            # It has no source: any bound of the charge is held.
            charge_current_max_a=wanted.charge_current_max_a,
            discharge_current_max_a=held["CURR:PROT"],
            power_max_w=held["POW:PROT"],
        )


def _negative(magnitude: float | None) -> float | None:
    return None if magnitude is None else 0.0 - magnitude
