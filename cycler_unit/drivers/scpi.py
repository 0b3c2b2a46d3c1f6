"""Base of drivers that speak SCPI: lost, refused or repeated is decided here, once.

A family says which commands exist and in which order they are safe; this base sends them, compares
echoes and reads the error queue.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from cycler_unit.buses.visa import parse_identity
from cycler_unit.drivers import numbers
from cycler_unit.drivers.base import Identity, Measured, PowerDevice
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused
from cycler_unit.drivers.text import TextDevice

# safety.md rule 13: an echo must be right within this time; then one repeat of the command.
ECHO_S = 0.5
# Between two looks at an echo that is not right yet; a PSB takes a set point within some ms.
LOOK_AGAIN_S = 0.01
# More entries than any device's error queue holds.
MOST_ERRORS = 40
# Error codes of SCPI (device sheet 3.4), for devices that give the number only.
ERRORS = {
    -100: "command error",
    -102: "syntax error",
    -104: "data type error",
    -108: "parameter not allowed",
    -109: "missing parameter",
    -113: "undefined header",
    -131: "invalid suffix",
    -200: "execution error",
    -201: "invalid while in local",
    -203: "command protected",
    -220: "parameter error",
    -221: "settings conflict",
    -222: "data out of range",
    -350: "queue overflow",
}
# The code with which a device refuses what only its remote control may do.
IN_LOCAL = "(-201)"


class Setting:
    """One register: the command that writes it, the step of its values, what it shall hold.

    ``suffix`` follows the number, for devices that want the unit there.
    """

    __slots__ = ("header", "step", "suffix", "wanted")

    def __init__(self, header: str, wanted: float, step: float, suffix: str = "") -> None:
        self.header, self.wanted, self.step, self.suffix = header, wanted, step, suffix

    @property
    def command(self) -> str:
        """Return the writing command with as many decimals as the device resolves."""
        return f"{self.header} {self.wanted:.{numbers.decimals(self.step)}f}{self.suffix}"

    def fits(self, echo: str) -> bool:
        """Tell whether an echo agrees: within a step, or half its last printed digit."""
        printed = numbers.parse(echo)
        if printed is None or (printed.unit and self.suffix and printed.unit.upper() != self.suffix):
            return False
        allowed = max(self.step, printed.digit / 2.0)
        return abs(printed.value - self.wanted) <= allowed * (1.0 + 1e-9)


class ScpiPower(TextDevice, PowerDevice):
    """A power device on a line-based transport, by default a VISA link from the link settings."""

    # How many commands one message may hold; EA's guide allows five.
    most_commands: ClassVar[int] = 5
    # Ends every command and query, for a device with several outputs.
    suffix = ""

    # --- exchanges ------------------------------------------------------------------------------

    def _send(self, commands: Sequence[str]) -> None:
        """Send commands in their order, joined as far as the device allows."""
        for part in self._parts(commands):
            self.transport.write(self._joined(part))

    def _parts(self, commands: Sequence[str]) -> list[Sequence[str]]:
        size = self.most_commands
        return [commands[start : start + size] for start in range(0, len(commands), size)]

    def _joined(self, commands: Sequence[str]) -> str:
        """Join commands into one message; the colon makes each begin at the root, whatever came before."""
        return ";:".join(f"{command}{self.suffix}" for command in commands)

    def _ask(self, queries: Sequence[str]) -> list[str]:
        """Ask several queries; return one answer each, or raise ``DeviceLost`` when the count differs."""
        answers: list[str] = []
        for part in self._parts(queries):
            text = self.transport.query(self._joined(part))
            answers.extend(self._split(text, len(part)))
        return answers

    def _split(self, text: str, count: int) -> list[str]:
        answers = [answer.strip() for answer in text.split(";")]
        if len(answers) != count:
            raise DeviceLost(f"{self.label} answers {len(answers)} of {count} questions: {text!r}")
        return answers

    def _identity(self) -> Identity:
        return parse_identity(self.transport.query("*IDN?"))

    # --- confirming -----------------------------------------------------------------------------

    def _set(self, settings: Sequence[Setting]) -> None:
        """Write settings in order and confirm each by its echo; one repeat, then ``DeviceRefused``."""
        if not settings:
            return
        wrong = self._differing(settings, self._write_and_look(settings))
        if wrong is not None:
            wrong = self._differing(settings, self._write_and_look(settings))
        if wrong is None:
            return
        asked, echo = wrong
        because = self.error_texts()
        reason = f" ({'; '.join(because)})" if because else ""
        if IN_LOCAL in reason:
            raise DeviceFault(
                f"remote control of {self.label} was taken away, by hand or by a restart{reason}"
            )
        raise DeviceRefused(
            f"{self.label} holds {asked.header} at {echo} instead of {asked.wanted:g}{reason}"
        )

    def _write_and_look(self, settings: Sequence[Setting]) -> list[str]:
        """Write settings and ask them back, in one message where it holds both."""
        commands, queries = [each.command for each in settings], [f"{each.header}?" for each in settings]
        if len(commands) + len(queries) <= self.most_commands:
            text = self.transport.query(self._joined([*commands, *queries]))
            return self._split(text, len(queries))
        self._send(commands)
        return self._ask(queries)

    def _differing(self, settings: Sequence[Setting], echoes: list[str]) -> tuple[Setting, str] | None:
        """Look at the echoes until all fit or ``ECHO_S`` is over; return the first that does not fit."""
        until_s = time.monotonic() + ECHO_S
        while True:
            wrong = [(s, echo) for s, echo in zip(settings, echoes, strict=True) if not s.fits(echo)]
            if not wrong:
                return None
            if time.monotonic() >= until_s:
                return wrong[0]
            time.sleep(LOOK_AGAIN_S)
            echoes = self._ask([f"{setting.header}?" for setting in settings])

    def _becomes(self, query: str, word: str) -> bool:
        """Tell whether a query answers ``word`` within ``ECHO_S``."""
        until_s = time.monotonic() + ECHO_S
        while self._ask([query])[0].upper() != word:
            if time.monotonic() >= until_s:
                return False
            time.sleep(LOOK_AGAIN_S)
        return True

    def error_texts(self) -> list[str]:
        """Read the error queue empty; return its entries in words, ``0,"No error"`` left out."""
        found: list[str] = []
        for _ in range(MOST_ERRORS):
            entry = self.transport.query(f"SYST:ERR?{self.suffix}")
            if numbers.value(entry.split(",")[0]) == 0:
                break
            found.append(words(entry))
        return found

    def _measure(self, query: str) -> Measured:
        """Read voltage, current and power by one command; what is no number is missing."""
        with self._lock:
            before_ns = time.time_ns()
            began_s = time.monotonic()
            text = self.transport.query(f"{query}{self.suffix}")
            middle_us = (before_ns + time.time_ns()) // 2000
        voltage_v, current_a, power_w = numbers.values(text, ("V", "A", "W"))
        return Measured(voltage_v, current_a, power_w, began_s, middle_us)


def words(entry: str) -> str:
    """Return an entry of an error queue, ``-222,"Data out of range"``, as ``Data out of range (-222)``."""
    number, _, text = entry.partition(",")
    code = numbers.value(number)
    if code is None:
        return entry
    said = text.strip().strip('"') or ERRORS.get(int(code), "error of the device")
    return f"{said} ({int(code)})"
