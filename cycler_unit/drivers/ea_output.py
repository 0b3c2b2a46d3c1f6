"""What all devices of EA Elektro-Automatik share: remote control, the output, readings, faults (set points: ``ea.py``).

**Two outputs.** ``channel_no`` in the link settings is the output that a driver drives; every command of it ends
in `` (@n)``, but ``*IDN?``. Both outputs share one link; remote control is given back by the last one.

**Remote control.** Taken at ``open()`` only. Lost (front panel, restart), every set point is answered by a
``DeviceFault`` until the device is opened again; ``make_safe()`` takes it to be able to switch off.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any, ClassVar

from cycler_unit.buses.shared import SharedLink
from cycler_unit.buses.transport import Transport
from cycler_unit.drivers import numbers
from cycler_unit.drivers.base import Identity, Measured
from cycler_unit.drivers.errors import DeviceRefused, DriverError
from cycler_unit.drivers.scpi import ScpiPower, Setting

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


class EaOutput(ScpiPower):
    """One output of the family; model files state only what ``ClassVar`` declares here.

    Resolutions are those of the printed answers in V, A, W.
    """

    model: ClassVar[str] = ""
    nominal_v: ClassVar[float] = 0.0
    nominal_a: ClassVar[float] = 0.0
    nominal_w: ClassVar[float] = 0.0
    step_v: ClassVar[float] = 0.01
    step_a: ClassVar[float] = 0.01
    step_w: ClassVar[float] = 1.0

    # Register -> (header, which step): the order is that of the table in ``ea.py``.
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
            output, owner = self._ask([f"{self.output}?", "SYST:LOCK:OWN?"])
            if output.upper() == "OFF":
                self._on = False
                return
            self._send(["SYST:LOCK ON"])
            self._send([f"{self.output} OFF"])
            if owner.upper() != "REMOTE":
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

    def _settings(self, registers: dict[str, float]) -> list[Setting]:
        steps = {register: getattr(self, step) for register, (_, step) in self.headers.items()}
        return [Setting(self.headers[name][0], value, steps[name]) for name, value in registers.items()]

    def _reasons(self) -> str:
        return "; ".join(self.error_texts()) or "no error reported"
