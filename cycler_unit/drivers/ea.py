"""The supplies of EA Elektro-Automatik: which register carries which limit (control and output: ``ea_output.py``).

Source: the maker's SCPI as collected in the project's device sheet, sections 4.3 and 4.4.

**Where the limits are.** A PSB regulates one voltage (``VOLT``). A cell below it is charged, with at most
``CURR`` and ``POW``; a cell above it is discharged, with at most ``SINK:CURR`` and ``SINK:POW`` (and, in
resistance mode, ``SINK:RES``). So ``VOLT`` is the ceiling of a charge and the floor of a discharge, kept
by the device itself though no further byte arrives; it is never 0 while discharging, and the current of
the other direction is 0.

| step | ``VOLT`` | ``CURR`` | ``POW`` | ``SINK:CURR`` | ``SINK:POW`` | ``SINK:RES`` |
|---|---|---|---|---|---|---|
| CC, charge | ceiling, rounded down | set point | nominal | 0 | nominal | |
| CC, discharge | floor, rounded up | 0 | nominal | set point | nominal | |
| CV, charge | set point, rounded down | compliance | nominal | 0 | nominal | |
| CV, discharge | set point, rounded up | 0 | nominal | compliance | nominal | |
| CV, both | set point | compliance | nominal | compliance | nominal | |
| CP, charge | ceiling, rounded down | current bound | set point | 0 | nominal | |
| CP, discharge | floor, rounded up | 0 | nominal | current bound | set point | |
| CR, discharge | floor, rounded up | 0 | nominal | current bound | nominal | set point |
| CC or CP at 0 | floor or ceiling | 0 | nominal | 0 | nominal | |

Ceiling and floor are ``Target.voltage_max_v`` and ``voltage_min_v``; a target without the one that it
needs is refused. ``SINK:RES`` acts in resistance mode (``SYST:CONF:MODE UIR``), left for ``UIP`` by every
other step; changing between the two needs the output off for a moment. A PSB cannot charge by resistance.
Power set points stay at nominal because the protections bound power (``POW:PROT``, ``SINK:POW:PROT``).

**Order of writes.** (1) every current, power and conductance that gets smaller, (2) ``VOLT``, (3) every
one that gets larger, (4) the output on; each stage is confirmed by its echo before the next is sent. After
(1) the device is inside the old target with the smaller of both currents, after (2) inside the new one with
the smaller of both: no moment exceeds either, also when charge turns into discharge (0 A between them).

A load (EL) is the sink half of that: ``VOLT`` is its floor, ``CURR``, ``POW`` and ``RES`` bound the sink, its
output is called ``INP``, and what it measures has no sign.

**Protections.** OVP ``VOLT:PROT``, OCP ``CURR:PROT`` and ``SINK:CURR:PROT``, OPP ``POW:PROT`` and
``SINK:POW:PROT``: up to 110 % of nominal, rounded up one step. There is no under-voltage trip.

There is no communication timeout: a unit that dies leaves the last set points, which is why they are bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from cycler_unit.drivers import numbers
from cycler_unit.drivers.base import Protections, Target
from cycler_unit.drivers.ea_output import EaOutput
from cycler_unit.drivers.errors import DeviceFault, DeviceRefused
from cycler_unit.drivers.scpi import Setting
from cycler_unit.drivers.targets import asked, direction_of

# Set points reach 102 % of nominal, protections 110 % (device sheet 4.3).
SET_SHARE = 1.02
PROTECTION_SHARE = 1.10


@dataclass(frozen=True)
class Registers:
    """What the set point registers hold; magnitudes in V, A, W, Ohm. None: does not act, left alone."""

    voltage_v: float
    source_a: float
    source_w: float
    sink_a: float | None = None
    sink_w: float | None = None
    sink_ohm: float | None = None


class EaSource(EaOutput):
    """A source of the family."""

    # --- set points -------------------------------------------------------------------------------

    def apply(self, target: Target) -> None:
        """Hold ``target``; see the module for registers and order. Raises the errors of drivers.

        An error leaves unknown what the device holds: switch off by ``make_safe()``.
        """
        if target.mode == "off":
            self.make_safe()
            return
        registers = asdict(self.registers(target))
        wanted = {name: registers[name] for name in self.headers if registers[name] is not None}
        self._check_range(wanted)
        with self._lock:
            if not self._in_control:
                raise DeviceFault(f"remote control of {self.label} was taken away; open it again")
            self._prepare(target)
            held = self._held if self._held is not None else self._read_registers()
            self._held = None
            for stage in self._stages(held, wanted):
                self._set(stage)
            self._switch_on({**held, **wanted})
            # Known only after all of it succeeded: a later set point builds on what the device holds.
            self._held = {**held, **wanted}

    def registers(self, target: Target) -> Registers:
        """Return what the registers shall hold for a target; raise ``DeviceRefused`` for an unbounded one."""
        if direction_of(target) == "discharge":
            raise DeviceRefused(f"{self.label} cannot discharge")
        volts, source_a, source_w = self._charging(target)
        return Registers(voltage_v=volts, source_a=source_a, source_w=source_w)

    def _charging(self, target: Target) -> tuple[float, float, float]:
        """Return voltage, current and power that charge."""
        wanted = asked(target)
        if target.mode == "cr":
            raise DeviceRefused(f"{self.label} cannot charge by resistance")
        if target.mode == "cv":
            bound_a = self._bound(target.charge_current_max_a, "charge current")
            return numbers.down(self._bound(wanted, "voltage"), self.step_v), bound_a, self.nominal_w
        ceiling_v = self._ceiling(target)
        if target.mode == "cc":
            return ceiling_v, wanted, self.nominal_w
        if wanted == 0.0:
            return ceiling_v, 0.0, self.nominal_w
        return ceiling_v, self._bound(target.charge_current_max_a, "charge current"), wanted

    def _ceiling(self, target: Target) -> float:
        volts = self._bound(target.voltage_max_v, "voltage ceiling")
        return min(numbers.down(volts, self.step_v), self.nominal_v)

    def _bound(self, bound: float | None, what: str) -> float:
        if bound is None or bound <= 0.0:
            raise DeviceRefused(f"{self.label} needs a {what} above 0 for this set point")
        return bound

    def _check_range(self, wanted: dict[str, float]) -> None:
        nominals = {"voltage_v": self.nominal_v, "source_a": self.nominal_a, "sink_a": self.nominal_a}
        nominals |= {"source_w": self.nominal_w, "sink_w": self.nominal_w}
        for register, value in wanted.items():
            most = SET_SHARE * nominals.get(register, float("inf"))
            if not 0.0 <= value <= most:
                header = self.headers[register][0]
                raise DeviceRefused(f"{self.label} cannot hold {header} {value:g}: 0 to {most:g}")

    def _stages(self, held: dict[str, float], wanted: dict[str, float]) -> list[list[Setting]]:
        """Return the changed registers in the safe order: lower, voltage, raise."""
        lower, voltage, higher = [], [], []
        for register, setting in zip(wanted, self._settings(wanted), strict=True):
            before = held.get(register)
            if before is not None and abs(before - setting.wanted) < setting.step / 2.0:
                continue
            if register == "voltage_v":
                voltage.append(setting)
            elif before is None or (setting.wanted < before) != (register == "sink_ohm"):
                lower.append(setting)
            else:
                higher.append(setting)
        return [lower, voltage, higher]

    def _read_registers(self) -> dict[str, float]:
        """Ask what the registers hold; what is no number is left out and will be written."""
        headers = [header for header, _ in self.headers.values()]
        answers = self._ask([f"{header}?" for header in headers])
        found = {key: numbers.value(text) for key, text in zip(self.headers, answers, strict=True)}
        return {key: value for key, value in found.items() if value is not None}

    def _prepare(self, target: Target) -> None:
        """Select what has to be selected before set points; nothing on a source."""

    def _switch_on(self, held: dict[str, float]) -> None:
        """Switch the output on, or see that it and the bounds are still what was ordered."""
        if self._on:
            self._confirm_unchanged(held)
            return
        self._on = True
        self._send([f"{self.output} ON"])
        if not self._becomes(f"{self.output}?", "ON"):
            raise DeviceRefused(f"{self.label} does not switch its output on ({self._reasons()})")

    def _confirm_unchanged(self, held: dict[str, float]) -> None:
        """Ask back voltage, currents and output in one message, also those that were not written now."""
        bounds = [each for each in self._settings(held) if each.header in self.bounds]
        *echoes, output = self._ask([*(f"{each.header}?" for each in bounds), f"{self.output}?"])
        if output.upper() != "ON":
            raise DeviceFault(f"{self.label} switched its output off by itself ({self._reasons()})")
        for bound, echo in zip(bounds, echoes, strict=True):
            if not bound.fits(echo):
                raise DeviceFault(
                    f"{self.label} holds {bound.header} at {echo}, not {bound.wanted:g}: changed by hand?"
                )

    # --- protections ------------------------------------------------------------------------------

    def protect(self, protections: Protections) -> Protections:
        """Write OVP, OCP and OPP, rounded up one step, and return what the device holds.

        None sets the device's own maximum. ``voltage_min_v`` comes back as None: the floor is carried
        by ``VOLT`` while discharging. Raises ``DeviceRefused`` when an echo differs.
        """
        with self._lock:
            settings = self._protecting(protections)
            for start in range(0, len(settings), 2):
                self._set(settings[start : start + 2])
            held = {s.header: numbers.value(t) for s, t in zip(settings, self._echoes(settings), strict=True)}
            return self._held_protections(protections, held)

    def _echoes(self, settings: Sequence[Setting]) -> list[str]:
        return self._ask([f"{setting.header}?" for setting in settings])

    def _protecting(self, wanted: Protections) -> list[Setting]:
        return [
            self._protection("VOLT:PROT", wanted.voltage_max_v, self.nominal_v, self.step_v),
            self._protection("CURR:PROT", wanted.charge_current_max_a, self.nominal_a, self.step_a),
            self._protection("POW:PROT", wanted.power_max_w, self.nominal_w, self.step_w),
        ]

    def _protection(self, header: str, wanted: float | None, nominal: float, step: float) -> Setting:
        most = PROTECTION_SHARE * nominal
        return Setting(header, most if wanted is None else min(numbers.up(wanted, step), most), step)

    def _held_protections(self, wanted: Protections, held: dict[str, float | None]) -> Protections:
        return Protections(
            voltage_max_v=held["VOLT:PROT"],
            charge_current_max_a=held["CURR:PROT"],
            # It has no sink: any bound of the discharge is held.
            discharge_current_max_a=wanted.discharge_current_max_a,
            power_max_w=held["POW:PROT"],
        )
