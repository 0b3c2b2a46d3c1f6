"""The PSB of EA Elektro-Automatik: source and sink on one pair of terminals (registers: ``ea.py``)."""

from __future__ import annotations

from typing import Any, ClassVar

from cycler_unit.buses.transport import Transport
from cycler_unit.drivers import numbers
from cycler_unit.drivers.base import Protections, Target
from cycler_unit.drivers.ea import EaSource, Registers
from cycler_unit.drivers.errors import DeviceRefused
from cycler_unit.drivers.scpi import Setting
from cycler_unit.drivers.targets import asked, direction_of


class EaBidirectional(EaSource):
    """A PSB: the source, and a sink of the same ratings."""

    step_ohm: ClassVar[float] = 0.001

    headers: ClassVar[dict[str, tuple[str, str]]] = {
        **EaSource.headers,
        "sink_a": ("SINK:CURR", "step_a"),
        "sink_w": ("SINK:POW", "step_w"),
        "sink_ohm": ("SINK:RES", "step_ohm"),
    }
    bounds: ClassVar[tuple[str, ...]] = ("VOLT", "CURR", "SINK:CURR")

    def __init__(self, link: dict[str, Any], *, name: str = "", transport: Transport | None = None) -> None:
        super().__init__(link, name=name, transport=transport)
        self._mode = ""

    def _start(self) -> None:
        self._mode = self._ask(["SYST:CONF:MODE?"])[0].upper()

    def _prepare(self, target: Target) -> None:
        """Select resistance mode or leave it; the device takes that only while its output is off."""
        mode = "UIR" if target.mode == "cr" else "UIP"
        if mode == self._mode:
            return
        if self._on:
            self.make_safe()
        self._send([f"SYST:CONF:MODE {mode}"])
        if not self._becomes("SYST:CONF:MODE?", mode):
            raise DeviceRefused(f"{self.label} does not change to {mode} ({self._reasons()})")
        self._mode = mode

    def _changed(self, held: dict[str, float]) -> list[str]:
        mode = self._ask(["SYST:CONF:MODE?"])[0].upper()
        changed = [f"the mode is {mode} though {self._mode} was ordered"] if mode != self._mode else []
        return [*changed, *super()._changed(held)]

    def registers(self, target: Target) -> Registers:
        """Return what the registers shall hold for a target; raise ``DeviceRefused`` for an unbounded one."""
        way = direction_of(target)
        if target.mode == "cv":
            return self._regulating(target, way)
        if way == "discharge":
            return self._discharging(target)
        volts, source_a, source_w = self._charging(target)
        return Registers(
            voltage_v=volts, source_a=source_a, source_w=source_w, sink_a=0.0, sink_w=self.nominal_w
        )

    def _regulating(self, target: Target, way: str) -> Registers:
        """CV: the voltage from one side, rounded towards where it comes from, or from both."""
        charge_a = 0.0 if way == "discharge" else target.charge_current_max_a
        discharge_a = 0.0 if way == "charge" else target.discharge_current_max_a
        self._bound(charge_a + discharge_a, "compliance current")
        rounded = {"charge": numbers.down, "discharge": numbers.up}.get(way, numbers.near)
        return Registers(
            voltage_v=rounded(self._bound(target.voltage_v, "voltage"), self.step_v),
            source_a=charge_a,
            source_w=self.nominal_w,
            sink_a=discharge_a,
            sink_w=self.nominal_w,
        )

    def _discharging(self, target: Target) -> Registers:
        floor_v = numbers.up(self._bound(target.voltage_min_v, "voltage floor"), self.step_v)
        wanted = abs(asked(target))
        bound_a = wanted
        if target.mode != "cc" and wanted > 0.0:
            bound_a = self._bound(target.discharge_current_max_a, "discharge current")
        return Registers(
            voltage_v=floor_v,
            source_a=0.0,
            source_w=self.nominal_w,
            sink_a=bound_a,
            sink_w=wanted if target.mode == "cp" and wanted > 0.0 else self.nominal_w,
            sink_ohm=self._bound(wanted, "resistance") if target.mode == "cr" else None,
        )

    def _protecting(self, wanted: Protections) -> list[Setting]:
        return [
            *super()._protecting(wanted),
            self._protection("SINK:CURR:PROT", wanted.discharge_current_max_a, self.nominal_a, self.step_a),
            self._protection("SINK:POW:PROT", wanted.power_max_w, self.nominal_w, self.step_w),
        ]

    def _held_protections(self, wanted: Protections, held: dict[str, float | None]) -> Protections:
        source_w, sink_w = held["POW:PROT"], held["SINK:POW:PROT"]
        return Protections(
            voltage_max_v=held["VOLT:PROT"],
            charge_current_max_a=held["CURR:PROT"],
            discharge_current_max_a=held["SINK:CURR:PROT"],
            power_max_w=None if source_w is None or sink_w is None else max(source_w, sink_w),
        )
