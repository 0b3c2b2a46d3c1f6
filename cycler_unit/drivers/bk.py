"""The bench multimeters BK Precision 2831E and 5491B (source: the project's device sheet, section 6).

They echo every character: a command comes back as a line of its own, then the answer follows. The echo is
compared; when it is another line (a lost byte), the rest is thrown away and the command sent once more.

One function at a time: ``function`` in the link settings is ``voltage`` (default) or ``current``, direct; then
one of the two is read, in the meter's whole resolution. ``range`` fixes a range (V or A; 0 = automatic),
``nplc`` the integration time (0.1, 1 or 10 mains periods), ``invert`` turns the sign of a current that was wired
the other way round. Both can be set at run time too.

Whoever stands at the meter can make it answer something else than what is at its inputs: another function (asked
with every reading), a value relative to a reference (asked every 2 s), a manual trigger or HOLD, which keep the
last number (left when opened; the trigger is ordered again every 2 s, HOLD is not known to every firmware).
"""

from __future__ import annotations

import math
import re
import time
from typing import Any, ClassVar

from cycler_unit.buses.transport import Transport
from cycler_unit.drivers import numbers
from cycler_unit.drivers.base import Identity, Measured
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused
from cycler_unit.drivers.knobs import Knob, KnobDevice
from cycler_unit.drivers.scpi import words
from cycler_unit.drivers.text import TextDevice

# After a wrong echo the line is silent again within this time (some firmwares need 250 to 300 ms).
RESYNC_S = 0.3
FUNCTIONS = {"voltage": "VOLT:DC", "current": "CURR:DC"}
NPLC = (0.1, 1.0, 10.0)
# How often it is asked whether somebody made it show relative values at its front panel (rule 13).
LOOK_S = 2.0
# No range shows more than this share of its name before it overloads; what is beyond is a garbled line.
OVER = 1.2
# The most entries of an error queue that are read.
MOST_ERRORS = 20
IDENTITY = re.compile(r"^(?P<model>\S+)\s+Multimeter\s*,\s*(?P<firmware>[^,]*),\s*(?P<serial>[^,]*)$")


class BkMeter(TextDevice, KnobDevice):
    """A meter of the family; models state their ranges."""

    model: ClassVar[str] = ""
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {}

    def __init__(self, link: dict[str, Any], *, name: str = "", transport: Transport | None = None) -> None:
        super().__init__(link, name=name, transport=transport)
        self.function = str(link.get("function", "voltage"))
        self._header = FUNCTIONS.get(self.function, "")
        self._sign = -1.0 if link.get("invert") else 1.0
        self._repeated = 0
        self._looked_s = 0.0

    @staticmethod
    def identity_of(answer: str) -> Identity:
        """Cut ``5491B  Multimeter,Ver1.4.14.06.18,124E16150``."""
        found = IDENTITY.match(answer.strip())
        if found is None:
            raise ValueError(f"not a meter of this family: {answer!r}")
        return Identity("BK Precision", found["model"], found["serial"].strip(), found["firmware"].strip())

    # --- opening ------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Open the link; there is nothing to make safe on a meter."""
        if not self._header:
            raise DeviceRefused(f"{self.label}: function is voltage or current, not {self.function!r}")
        self.transport.open()
        self._knobs = {"nplc": self._nplc(), self._range_name: self._range()}

    def identify(self) -> Identity:
        """Ask who it is, then choose function, range and speed and see that they were taken."""
        answer = self._ask("*IDN?")
        try:
            identity = self.identity_of(answer)
        except ValueError:
            raise DeviceRefused(f"the device at this link is {answer!r}, not a {self.model}") from None
        if identity.model.upper() != self.model.upper():
            raise DeviceRefused(f"the device at this link is {identity.model!r}, not {self.model!r}")
        self.error_texts()
        self._say(f"FUNC {self._header}")
        if self._function() != self._header:
            raise DeviceRefused(f"{self.label} does not change to {self._header}{self._reasons()}")
        self._say("HOLD:STAT OFF")
        self._say(f"{self._header}:REF:STAT OFF")
        self._looked_s = -math.inf
        self._look_at_reference()
        self.set(self._range_name, float(self.link.get("range", 0.0)))
        self.set("nplc", float(self.link.get("nplc", 1.0)))
        return identity

    @property
    def _range_name(self) -> str:
        return "range_v" if self.function == "voltage" else "range_a"

    # --- exchanges ------------------------------------------------------------------------------------

    def _say(self, command: str) -> None:
        """Send a command and see its echo; once more after a line that is something else."""
        if self.transport.query(command) == command:
            return
        self._repeated += 1
        time.sleep(RESYNC_S)
        echo = self.transport.query(command)
        if echo != command:
            raise DeviceLost(f"{self.label} echoes {echo!r} instead of {command!r}")

    def _ask(self, query: str) -> str:
        """Return the line that follows the echo."""
        with self._lock:
            self._say(query)
            return self.transport.read()

    def error_texts(self) -> list[str]:
        """Read the error queue empty; return its entries in words."""
        found: list[str] = []
        for _ in range(MOST_ERRORS):
            entry = self._ask("SYST:ERR?")
            if numbers.value(entry.split(",")[0]) == 0:
                break
            found.append(words(entry))
        return found

    def _reasons(self) -> str:
        because = self.error_texts()
        return f" ({'; '.join(because)})" if because else ""

    # --- readings -------------------------------------------------------------------------------------

    def read(self) -> Measured:
        """Read the last reading; an overload (9.9E37) or a word instead of a number is missing.

        Raises ``DeviceFault`` when another function or relative values were chosen by hand: its numbers are
        of something else. Asked after the number, so that a change in between spoils no reading.
        """
        with self._lock:
            before_ns = time.time_ns()
            began_s = time.monotonic()
            found = self._in_range(numbers.value(self._ask("FETC?"), self._unit))
            middle_us = (before_ns + time.time_ns()) // 2000
            self._look_at_function()
            self._look_at_reference()
        if self.function == "voltage":
            return Measured(found, None, None, began_s, middle_us)
        return Measured(None, None if found is None else found * self._sign, None, began_s, middle_us)

    @property
    def _unit(self) -> str:
        return "V" if self.function == "voltage" else "A"

    def _in_range(self, found: float | None) -> float | None:
        """Return None for what no range of the meter can show."""
        return None if found is None or abs(found) > OVER * self.ranges[self.function][-1] else found

    def _function(self) -> str:
        return self._ask("FUNC?").strip('" ').upper()

    def _look_at_function(self) -> None:
        found = self._function()
        if found != self._header:
            raise DeviceFault(
                f"{self.label} measures {found or 'nothing'}, not {self._header}: chosen at its front panel?"
            )

    def _look_at_reference(self) -> None:
        """See that its values are not relative to anything, and that it triggers by itself."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return
        found = self._ask(f"{self._header}:REF:STAT?").strip().upper()
        if found not in ("0", "OFF"):
            raise DeviceFault(
                f"{self.label} shows values relative to a reference ({found or 'no answer'}): chosen at its front panel?"
            )
        self._say("TRIG:SOUR IMM")
        self._looked_s = now_s

    def values(self) -> dict[str, float | None]:
        """Return nothing: what a meter reads are a cell's voltage and current."""
        return {}

    # --- settings -------------------------------------------------------------------------------------

    def _nplc(self) -> Knob:
        return Knob(
            write=lambda wanted: self._say(f"{self._header}:NPLC {wanted:g}"),
            look=lambda: numbers.value(self._ask(f"{self._header}:NPLC?")),
            minimum=NPLC[0],
            maximum=NPLC[-1],
        )

    def _range(self) -> Knob:
        return Knob(write=self._write_range, look=self._look_range, maximum=self.ranges[self.function][-1])

    def _write_range(self, wanted: float) -> None:
        """Fix the smallest range that holds ``wanted``; 0 lets the meter choose."""
        self._say(f"{self._header}:RANG:AUTO ON" if wanted == 0.0 else f"{self._header}:RANG {wanted:g}")

    def _look_range(self) -> float | None:
        """Return the fixed range, or 0 while the meter chooses."""
        if self._ask(f"{self._header}:RANG:AUTO?").strip().upper() in ("1", "ON"):
            return 0.0
        return numbers.value(self._ask(f"{self._header}:RANG?"))

    def set(self, name: str, value: float) -> float:
        """Set ``nplc`` or the range to a value that the meter has; return what it holds."""
        there = {"nplc": NPLC, self._range_name: (0.0, *self.ranges[self.function])}.get(name)
        if there is not None and value not in there:
            choices = ", ".join(f"{each:g}" for each in there)
            raise DeviceRefused(f"{self.label}: {name} is one of {choices}, not {value:g}")
        return super().set(name, value)


class Bk2831E(BkMeter):
    """2831E: 4½ digits."""

    kind = "bk-2831e"
    model = "2831E"
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {
        "voltage": (0.2, 2.0, 20.0, 200.0, 1000.0),
        "current": (0.002, 0.02, 0.2, 2.0, 20.0),
    }


class Bk5491B(BkMeter):
    """5491B: 50 000 counts."""

    kind = "bk-5491b"
    model = "5491B"
    ranges: ClassVar[dict[str, tuple[float, ...]]] = {
        "voltage": (0.5, 5.0, 50.0, 500.0, 1000.0),
        "current": (0.005, 0.05, 0.5, 5.0, 20.0),
    }
