"""The supplies of EA Elektro-Automatik: the family's commands, and which register carries which limit.

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

**Two outputs.** ``channel_no`` in the link settings is the output that a driver drives; every command of it ends
in `` (@n)``, but ``*IDN?``. Both outputs share one link; remote control is given back by the last one.

**Remote control.** Taken at ``open()`` only. Lost (front panel, restart), every set point is answered by a
``DeviceFault`` until the device is opened again; ``make_safe()`` takes it to be able to switch off.

**Protections.** OVP ``VOLT:PROT``, OCP ``CURR:PROT`` and ``SINK:CURR:PROT``, OPP ``POW:PROT`` and
``SINK:POW:PROT``: up to 110 % of nominal, rounded up one step. There is no under-voltage trip.

There is no communication timeout: a unit that dies leaves the last set points, which is why they are bounds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from cycler_unit.buses.shared import SharedLink
from cycler_unit.buses.transport import Transport
from cycler_unit.drivers import numbers
from cycler_unit.drivers.base import Identity, Measured, Protections, Target
from cycler_unit.drivers.errors import DeviceFault, DeviceRefused, DriverError
from cycler_unit.drivers.scpi import ScpiPower, Setting
from cycler_unit.drivers.targets import asked, direction_of

# Set points reach 102 % of nominal, protections 110 % (device sheet 4.3).
SET_SHARE = 1.02
PROTECTION_SHARE = 1.10
# Two ratings of the catalogue and the device agree within this share, or it is another model.
NOMINAL_SHARE = 0.01

# Bits of the questionable register as public readings of the guide give them (not confirmed by us on
# a device, and therefore only a reason given beside the output's own state and the error queue).
ALARMS = {
    0: "over-voltage protection (OVP)",
    1: "over-current protection (OCP)",
    2: "over-power protection (OPP)",
    3: "over-temperature (OT)",
    13: "mains failure (PF)",
}


@dataclass(frozen=True)
class Registers:
    """What the set point registers hold; magnitudes in V, A, W, Ohm. None: does not act, left alone."""

    voltage_v: float
    source_a: float
    source_w: float
    sink_a: float | None = None
    sink_w: float | None = None
    sink_ohm: float | None = None


class EaSource(ScpiPower):
    """A source of the family; model files state only what ``ClassVar`` declares here.

    Resolutions are those of the printed answers in V, A, W.
    """

    model: ClassVar[str] = ""
    nominal_v: ClassVar[float] = 0.0
    nominal_a: ClassVar[float] = 0.0
    nominal_w: ClassVar[float] = 0.0
    step_v: ClassVar[float] = 0.01
    step_a: ClassVar[float] = 0.01
    step_w: ClassVar[float] = 1.0

    # Register -> (header, which step): the order is that of the table above.
    headers: ClassVar[dict[str, tuple[str, str]]] = {
        "voltage_v": ("VOLT", "step_v"),
        "source_a": ("CURR", "step_a"),
        "source_w": ("POW", "step_w"),
    }
    # Asked back with every set point: what keeps the cell inside by itself.
    bounds: ClassVar[tuple[str, ...]] = ("VOLT", "CURR")
    # What the family calls its output.
    output: ClassVar[str] = "OUTP"
    # How many outputs one device of the model has.
    channels: ClassVar[int] = 1

    def __init__(self, link: dict[str, Any], *, name: str = "", transport: Transport | None = None) -> None:
        if transport is None and self.channels > 1:
            transport = SharedLink(link)
        super().__init__(link, name=name, transport=transport)
        self.channel_no = int(link.get("channel_no", 1))
        self.suffix = f" (@{self.channel_no})" if self.channels > 1 else ""
        self._held: dict[str, float] | None = None
        self._on = True
        self._in_control = False

    @property
    def label(self) -> str:
        """Return name and model for messages, and which output of several."""
        model = f"{self.model} output {self.channel_no}" if self.channels > 1 else self.model
        return f"{self.name} ({model})" if self.name else model

    # --- opening and closing ----------------------------------------------------------------------

    def open(self) -> Identity:
        """Connect and take control.

        1. ``OUTP OFF``, before anything is known. 2. Remote control, then ``OUTP OFF`` again: in local
        control the first one was refused. 3. Read back off. 4. Identity, owner and ratings must be
        those of this model. 5. The error queue is emptied. Raises ``DeviceLost``, ``DeviceRefused``.
        """
        with self._lock:
            if not 1 <= self.channel_no <= self.channels:
                raise DeviceRefused(f"{self.model} has no output {self.channel_no}")
            self._held, self._on, self._in_control = None, True, False
            self.transport.open()
            self._order_off("SYST:LOCK ON")
            self._confirm_off()
            identity = self._identity()
            self._check(identity)
            self.error_texts()
            self._start()
            self._in_control = True
            return self._of_channel(identity)

    def _order_off(self, *between: str) -> None:
        """Send off, and after what is ``between`` once more."""
        for command in (f"{self.output} OFF", *between, f"{self.output} OFF"):
            self._send([command])

    def _of_channel(self, identity: Identity) -> Identity:
        """Give each output of a device a serial number of its own."""
        if self.channels == 1:
            return identity
        return replace(identity, serial_number=f"{identity.serial_number}/{self.channel_no}")

    def _check(self, identity: Identity) -> None:
        if identity.model.upper() != self.model.upper():
            raise DeviceRefused(f"the device at this link is {identity.model!r}, not {self.model!r}")
        owner, *ratings = self._ask(["SYST:LOCK:OWN?", "SYST:NOM:VOLT?", "SYST:NOM:CURR?", "SYST:NOM:POW?"])
        if owner.upper() != "REMOTE":
            raise DeviceRefused(f"{self.label} does not give remote control: it is {owner}")
        for text, nominal in zip(ratings, (self.nominal_v, self.nominal_a, self.nominal_w), strict=True):
            rated = numbers.value(text)
            if rated is None or not self._fits_rating(rated, nominal):
                raise DeviceRefused(f"{self.label} is rated {text}, the catalogue says {nominal:g}")

    def _fits_rating(self, rated: float, nominal: float) -> bool:
        """Tell whether the device is rated as the catalogue says; a model that a person added may promise less."""
        if "rated" in self.link and rated > nominal:
            return True
        return abs(rated - nominal) <= NOMINAL_SHARE * nominal

    def _start(self) -> None:
        """Bring modes that outlive a power cycle to what ``apply`` assumes; nothing on a source."""

    def close(self) -> None:
        """Give remote control back when the output is off, and disconnect; safe twice; never raises."""
        with self._lock, contextlib.suppress(DriverError):
            if not self._on:
                self._on = True
                if getattr(self.transport, "alone", True):
                    self._send(["SYST:LOCK OFF"])
        self._held = None
        self.transport.close()

    # --- output -----------------------------------------------------------------------------------

    def make_safe(self) -> None:
        """Switch the output off and read it back off; take control again if it was lost.

        Raises ``DeviceLost``, or ``DeviceRefused`` when the device goes on saying that it is on.
        """
        with self._lock:
            # While off, whoever stands at the device may change its set points: read them again.
            self._held = None
            self._send([f"{self.output} OFF"])
            if self._output() == "OFF":
                self._on = False
                return
            self._send(["SYST:LOCK ON"])
            self._send([f"{self.output} OFF"])
            # Whoever took control away is answered by a fault at the next set point, not overruled.
            self._in_control = False
            self._confirm_off()

    def _confirm_off(self) -> None:
        if not self._becomes(f"{self.output}?", "OFF"):
            owner = self._ask(["SYST:LOCK:OWN?"])[0]
            raise DeviceRefused(f"{self.label} does not switch its output off (control: {owner})")
        self._on = False

    def output_is_on(self) -> bool:
        """Ask whether the output is on; what is not clearly ``OFF`` counts as on."""
        with self._lock:
            return self._output() != "OFF"

    def _output(self) -> str:
        return self._ask([f"{self.output}?"])[0].upper()

    # --- readings ---------------------------------------------------------------------------------

    def read(self) -> Measured:
        """Read voltage, current and power by one ``MEAS:ARR?``; current is negative while sinking."""
        return self._measure("MEAS:ARR?")

    def fault(self) -> str | None:
        """Return the device's own error in words, or None.

        The registers are read before the error queue: reading the queue acknowledges alarms.
        """
        with self._lock:
            questionable, output, owner = self._ask(["STAT:QUES:COND?", f"{self.output}?", "SYST:LOCK:OWN?"])
            bits = int(numbers.value(questionable) or 0)
            causes = [text for bit, text in ALARMS.items() if bits & 1 << bit]
            if self._on and output.upper() != "ON":
                causes.append("the output is off though it was ordered on")
            if owner.upper() != "REMOTE":
                causes.append(f"remote control was taken away (owner: {owner})")
            causes.extend(self.error_texts())
            return "; ".join(causes) or None

    def unasked(self) -> str | None:
        """Return what is not as it was ordered last: output, owner, mode, any set point."""
        with self._lock:
            output, owner = self._ask([f"{self.output}?", "SYST:LOCK:OWN?"])
            causes = []
            if owner.upper() != "REMOTE":
                causes.append(f"remote control was lost (owner: {owner}): the panel, or a restart")
            if (output.upper() == "ON") != self._on:
                causes.append(f"the output is {output} though it was ordered {'ON' if self._on else 'OFF'}")
            if self._on and self._held is not None:
                causes.extend(self._changed(self._held))
            return "; ".join(causes) or None

    def _changed(self, held: dict[str, float]) -> list[str]:
        settings = self._settings(held)
        echoes = self._ask([f"{setting.header}?" for setting in settings])
        return [
            f"{setting.header} is {echo} though {setting.wanted:g} was ordered"
            for setting, echo in zip(settings, echoes, strict=True)
            if not setting.fits(echo)
        ]

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

    def _settings(self, registers: dict[str, float]) -> list[Setting]:
        steps = {register: getattr(self, step) for register, (_, step) in self.headers.items()}
        return [Setting(self.headers[name][0], value, steps[name]) for name, value in registers.items()]

    def _reasons(self) -> str:
        return "; ".join(self.error_texts()) or "no error reported"

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
