"""The RS PRO load of the Korad KEL103 family: one command a message, units glued to numbers.

Source: the project's device sheet, section 5. What it does and does not bound by itself:

| step | command | bounds by itself |
|---|---|---|
| CC, discharge | ``:CURR 1.000A`` | the current; **no floor** |
| CP, discharge | ``:POW 5.00W`` | the power; no floor, and the current rises as the voltage falls |
| CR, discharge | ``:RES 10.000OHM`` | voltage over current; no floor |

Writing a set point also selects its mode, at once and also while the input is on. In these direct modes there
is no low cut-off: a discharge that is left alone goes on (the catalogue says ``guards_discharge=False``). Its
battery test has a cut-off, but how a program starts one is not documented, so it is not used. CV is refused:
the load bounds no current there.

A set point above a limit is clamped silently and there is no error queue, so every set point is asked back.
``:CURR:UPP`` is the only protection that holds: it keeps a hand at the panel from asking for more. The power
and resistance limits are said to be cross-wired and are left alone.
"""

from __future__ import annotations

import contextlib
import re
import time
from typing import ClassVar

from cycler_unit.drivers import numbers
from cycler_unit.drivers.base import Identity, Measured, Protections, Target
from cycler_unit.drivers.errors import DeviceFault, DeviceRefused, DriverError
from cycler_unit.drivers.scpi import ScpiPower, Setting
from cycler_unit.drivers.targets import asked, direction_of

VERSION = re.compile(r"^V\d")
# Mode of a target -> header, the mode's name as the load says it, unit, step.
MODES = {
    "cc": (":CURR", "CC", "A", 0.001),
    "cp": (":POW", "CW", "W", 0.01),
    "cr": (":RES", "CR", "OHM", 0.001),
}
# Place of the panel lock in ``:STAT?``: beep, baud rate, lock, trigger, compensation, unused.
LOCK_FIELD = 2


class Kel103(ScpiPower):
    """A KEL103: 120 V, 30 A, 300 W, load only. What it sinks is negative for us."""

    kind = "rs-pro-kel103"
    model: ClassVar[str] = "KEL103"
    nominal_v: ClassVar[float] = 120.0
    nominal_a: ClassVar[float] = 30.0
    nominal_w: ClassVar[float] = 300.0
    step_v: ClassVar[float] = 0.001
    step_a: ClassVar[float] = 0.001
    step_w: ClassVar[float] = 0.01
    most_commands: ClassVar[int] = 1

    _on = True
    _wanted: tuple[Setting, str] | None = None

    @property
    def label(self) -> str:
        """Return name and model for messages."""
        return f"{self.name} ({self.model})" if self.name else self.model

    @staticmethod
    def identity_of(answer: str) -> Identity:
        """Cut ``RND 320-KEL103 V2.60 SN:01234567``: three or four words, known by their marks."""
        words = answer.split()
        serial = next((word[3:] for word in words if word.upper().startswith("SN:")), "")
        version = next((word for word in words if VERSION.match(word)), "")
        model = " ".join(word for word in words if word != version and not word.upper().startswith("SN:"))
        return Identity("Korad", model, serial, version)

    # --- opening and closing ----------------------------------------------------------------------

    def open(self) -> Identity:
        """Connect and take the panel.

        1. ``:INP 0``, before anything is known. 2. Panel lock. 3. Read back off. 4. It must be a KEL103,
        and its panel locked. Raises ``DeviceLost``, ``DeviceRefused``.
        """
        with self._lock:
            self._wanted, self._on = None, True
            self.transport.open()
            self._send([":INP 0", ":SYST:LOCK 1"])
            self._confirm_off()
            identity = self.identity_of(self.transport.query("*IDN?"))
            if self.model.upper().replace("-", "") not in identity.model.upper().replace("-", ""):
                raise DeviceRefused(f"the device at this link is {identity.model!r}, not a {self.model}")
            if not self._panel_is_locked():
                raise DeviceRefused(f"{self.label} does not lock its panel")
            return identity

    def close(self) -> None:
        """Unlock the panel when the input is off, and disconnect; safe twice; never raises."""
        with self._lock, contextlib.suppress(DriverError):
            if not self._on:
                self._on = True
                self._send([":SYST:LOCK 0"])
        self.transport.close()

    # --- input ------------------------------------------------------------------------------------

    def make_safe(self) -> None:
        """Switch the input off and read it back off."""
        with self._lock:
            self._wanted = None
            self._send([":INP 0"])
            self._confirm_off()

    def _confirm_off(self) -> None:
        if not self._becomes(":INP?", "OFF"):
            self._send([":INP 0"])
            if not self._becomes(":INP?", "OFF"):
                raise DeviceRefused(f"{self.label} does not switch its input off")
        self._on = False

    def output_is_on(self) -> bool:
        """Ask whether the input is on; what is not clearly ``OFF`` counts as on."""
        with self._lock:
            return self._ask([":INP?"])[0].upper() != "OFF"

    # --- readings ---------------------------------------------------------------------------------

    def read(self) -> Measured:
        """Read voltage, then current, in two exchanges; the power is their product."""
        with self._lock:
            before_ns = time.time_ns()
            began_s = time.monotonic()
            (volts,) = self._ask([":MEAS:VOLT?"])
            middle_us = (before_ns + time.time_ns()) // 2000
            (amps,) = self._ask([":MEAS:CURR?"])
        voltage_v, sunk_a = numbers.value(volts, "V"), numbers.value(amps, "A")
        current_a = None if sunk_a is None else 0.0 - sunk_a
        power_w = None if voltage_v is None or current_a is None else voltage_v * current_a
        return Measured(voltage_v, current_a, power_w, began_s, middle_us)

    def fault(self) -> str | None:
        """Return what the load can tell of itself: it has no error queue and no alarm register."""
        return self.unasked()

    def unasked(self) -> str | None:
        """Return what is not as it was ordered last: input, panel lock, mode, set point."""
        with self._lock:
            output = self._ask([":INP?"])[0].upper()
            causes = []
            if not self._panel_is_locked():
                causes.append("its panel is unlocked: by hand, or it restarted")
            if (output == "ON") != self._on:
                causes.append(f"the input is {output} though it was ordered {'ON' if self._on else 'OFF'}")
            if self._on and self._wanted is not None:
                causes.extend(self._changed(*self._wanted))
            return "; ".join(causes) or None

    def _changed(self, setting: Setting, mode: str) -> list[str]:
        found, echo = self._ask([":FUNC?", f"{setting.header}?"])
        changed = [f"the mode is {found} though {mode} was ordered"] if found.upper() != mode else []
        if not setting.fits(echo):
            changed.append(f"{setting.header} is {echo} though {setting.wanted:g} was ordered")
        return changed

    def _panel_is_locked(self) -> bool:
        fields = self._ask([":STAT?"])[0].split(",")
        return len(fields) > LOCK_FIELD and fields[LOCK_FIELD].strip() == "1"

    def error_texts(self) -> list[str]:
        """Return nothing: there is no error queue."""
        return []

    # --- set points -------------------------------------------------------------------------------

    def apply(self, target: Target) -> None:
        """Hold ``target``: set point and mode first, confirmed, then the input on."""
        if target.mode == "off":
            self.make_safe()
            return
        setting, mode = self._setting(target)
        with self._lock:
            if self._on and self._ask([":INP?"])[0].upper() != "ON":
                raise DeviceFault(f"{self.label} switched its input off by itself")
            self._wanted = None
            self._set([setting])
            if not self._becomes(":FUNC?", mode):
                raise DeviceRefused(f"{self.label} does not change to {mode}")
            self._wanted = (setting, mode)
            self._switch_on()

    def _switch_on(self) -> None:
        if self._on:
            return
        self._on = True
        self._send([":INP 1"])
        if not self._becomes(":INP?", "ON"):
            raise DeviceRefused(f"{self.label} does not switch its input on")

    def _setting(self, target: Target) -> tuple[Setting, str]:
        """Return the set point for a target and its mode; raise ``DeviceRefused`` for what it cannot do."""
        if target.mode == "cv":
            raise DeviceRefused(f"{self.label} bounds no current while it holds a voltage: use CC, CP or CR")
        wanted = asked(target)
        if wanted and direction_of(target) == "charge":
            raise DeviceRefused(f"{self.label} cannot charge")
        header, mode, unit, step = MODES[target.mode]
        most = {"cc": self.nominal_a, "cp": self.nominal_w, "cr": float("inf")}[target.mode]
        if abs(wanted) > most or (target.mode == "cr" and wanted <= 0.0):
            raise DeviceRefused(f"{self.label} cannot hold {header} {abs(wanted):g}: up to {most:g}")
        return Setting(header, abs(wanted), step, unit), mode

    # --- protections ------------------------------------------------------------------------------

    def protect(self, protections: Protections) -> Protections:
        """Write the upper limit of the current and return what holds.

        A load cannot charge, so every bound of charge and of the highest voltage holds. Power holds when
        the current limit at the highest voltage stays below it, else it is the load's own 300 W. There is
        no low cut-off: ``voltage_min_v`` comes back as None.
        """
        wanted_a = protections.discharge_current_max_a
        limit_a = (
            self.nominal_a if wanted_a is None else min(numbers.up(wanted_a, self.step_a), self.nominal_a)
        )
        with self._lock:
            setting = Setting(":CURR:UPP", limit_a, self.step_a, "A")
            self._set([setting])
        volts = protections.voltage_max_v or self.nominal_v
        power_w = protections.power_max_w
        if power_w is None or limit_a * volts > power_w:
            power_w = self.nominal_w
        return Protections(
            voltage_max_v=protections.voltage_max_v,
            charge_current_max_a=protections.charge_current_max_a,
            discharge_current_max_a=limit_a,
            power_max_w=power_w,
        )
