"""The SCPI that instruments speak: headers in short and long form, joined commands, an error queue.

devices.md 3.3 and 3.4. A device registers handlers by header pattern; this module knows no device.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from functools import partial

ERRORS = {
    -100: "Command error",
    -102: "Syntax error",
    -104: "Data type error",
    -108: "Parameter not allowed",
    -109: "Missing parameter",
    -113: "Undefined header",
    -131: "Invalid suffix",
    -200: "Execution error",
    -201: "Invalid while in local",
    -203: "Command protected",
    -220: "Parameter error",
    -221: "Settings conflict",
    -222: "Data out of range",
    -350: "Queue overflow",
}
# As many as small instruments keep; the last place is taken by -350 when full.
QUEUE_LENGTH = 16

# Bits of the standard event register (*ESR?).
OPERATION_COMPLETE = 1 << 0
DEVICE_ERROR, EXECUTION_ERROR, COMMAND_ERROR, POWER_ON = 1 << 3, 1 << 4, 1 << 5, 1 << 7

NUMBER = re.compile(r"^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([a-zA-Z]*)\s*$")
PREFIXES = {"": 1.0, "M": 1e-3, "K": 1e3, "U": 1e-6}

Setter = Callable[[str], None]
Getter = Callable[[], str]


class ScpiError(Exception):
    """A command that the instrument queues as an error and otherwise ignores."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(text or ERRORS[code])
        self.code = code
        self.text = text or ERRORS[code]


def compile_header(pattern: str) -> re.Pattern[str]:
    """Turn ``[SOURce:]VOLTage:PROTection`` into an expression taking short and long forms.

    Brackets are optional nodes; capitals are the short form; nothing between short and long matches.
    """
    parts = re.split(r"([\[\]:])", pattern.removeprefix("*"))
    out = []
    for part in parts:
        if part == "[":
            out.append("(?:")
        elif part == "]":
            out.append(")?")
        elif part == ":":
            out.append(":")
        elif part:
            short = "".join(letter for letter in part if not letter.islower())
            out.append(short if short == part else f"(?:{short}|{part.upper()})")
    return re.compile((r"\*" if pattern.startswith("*") else ":?") + "".join(out), re.IGNORECASE)


def number(text: str, unit: str, low: float, high: float) -> float:
    """Return a parameter in its base unit; raise ``ScpiError`` for what is none or out of range."""
    word = text.strip().upper()
    if word in ("MIN", "MINIMUM", "MAX", "MAXIMUM"):
        return low if word.startswith("MIN") else high
    found = NUMBER.match(text)
    if not found:
        raise ScpiError(-104 if text.strip() else -109)
    value = float(found[1]) * _factor(found[2].upper(), unit)
    if not low <= value <= high:
        raise ScpiError(-222)
    return value


def _factor(suffix: str, unit: str) -> float:
    if not suffix:
        return 1.0
    if suffix.endswith(unit) and suffix.removesuffix(unit) in PREFIXES:
        return PREFIXES[suffix.removesuffix(unit)]
    raise ScpiError(-131)


def boolean(text: str) -> bool:
    """Return ON, OFF, 1 or 0 as a truth value."""
    word = text.strip().upper()
    if word in ("ON", "1"):
        return True
    if word in ("OFF", "0"):
        return False
    raise ScpiError(-104 if word else -109)


class Instrument:
    """Parse program messages and answer them; devices add their headers with ``on``."""

    def __init__(self) -> None:
        self.errors: deque[tuple[int, str]] = deque()
        self.event_register = POWER_ON
        self._masks = {"ESE": 0, "SRE": 0}
        self._commands: list[tuple[re.Pattern[str], Setter | None, Getter | None]] = []
        self._found: dict[str, tuple[Setter | None, Getter | None]] = {}
        self._common()

    def on(self, pattern: str, write: Setter | None = None, ask: Getter | None = None) -> None:
        """Register one header with its setter, its query, or both."""
        self._commands.append((compile_header(pattern), write, ask))

    def _common(self) -> None:
        self.on("*CLS", lambda text: self.clear())
        self.on("*RST", lambda text: self.reset())
        self.on("*ESR", None, self._read_events)
        self.on("*STB", None, lambda: str(self.status_byte()))
        for name in self._masks:
            self.on(f"*{name}", self._mask_setter(name), partial(self._mask, name))
        self.on("*OPC", self._complete, lambda: "1")
        self.on("*WAI", lambda text: None)
        self.on("*TRG", lambda text: None)
        self.on("*TST", None, lambda: "0")
        self.on("SYSTem:ERRor[:NEXT]", None, self._pop_error)
        self.on("SYSTem:ERRor:ALL", None, self._pop_all)

    def _mask_setter(self, name: str) -> Setter:
        def write(text: str) -> None:
            self._masks[name] = int(number(text, "", 0, 255))

        return write

    def _mask(self, name: str) -> str:
        return str(self._masks[name])

    def _complete(self, text: str) -> None:
        # Nothing here takes time: whatever was ordered is complete.
        self.event_register |= OPERATION_COMPLETE

    def reset(self) -> None:
        """Return to defaults (``*RST``); devices override."""

    def clear(self) -> None:
        """Clear status and error queue (``*CLS``)."""
        self.errors.clear()
        self.event_register = 0

    def status_byte(self) -> int:
        """Return bits 2 (error queue), 5 (event summary), 6 (service request) and those of the device."""
        summary = bool(self.event_register & self._masks["ESE"])
        byte = (bool(self.errors) << 2) | (summary << 5) | self.status_bits()
        return byte | (bool(byte & self._masks["SRE"] & ~(1 << 6)) << 6)

    def status_bits(self) -> int:
        """Return bits 3 (questionable) and 7 (operation); devices that have these registers override."""
        return 0

    def _read_events(self) -> str:
        value, self.event_register = self.event_register, 0
        return str(value)

    def _pop_error(self) -> str:
        code, text = self.errors.popleft() if self.errors else (0, "No error")
        return f'{code},"{text}"'

    def _pop_all(self) -> str:
        return ",".join(self._pop_error() for _ in range(max(1, len(self.errors))))

    def fail(self, error: ScpiError) -> None:
        """Queue an error and set its event bit."""
        if len(self.errors) >= QUEUE_LENGTH:
            self.errors[-1] = (-350, ERRORS[-350])
        else:
            self.errors.append((error.code, error.text))
        command = -199 <= error.code <= -100
        execution = -299 <= error.code <= -200
        self.event_register |= COMMAND_ERROR if command else EXECUTION_ERROR if execution else DEVICE_ERROR

    def handle(self, message: str) -> str | None:
        """Execute one program message left to right; return the joined answers, or None."""
        answers: list[str] = []
        path = ""
        for unit in message.split(";"):
            if not unit.strip():
                continue
            try:
                answer, path = self._execute(unit.strip(), path)
            except ScpiError as error:
                self.fail(error)
            else:
                if answer is not None:
                    answers.append(answer)
        return ";".join(answers) if answers else None

    def _execute(self, unit: str, path: str) -> tuple[str | None, str]:
        """Run one command; a header unknown at the root is tried below the previous one's path."""
        header, _, parameter = unit.partition(" ")
        asks = header.endswith("?")
        bare = header.removesuffix("?")
        write, ask = self._find(bare, path)
        if asks:
            if ask is None:
                raise ScpiError(-113)
            return ask(), bare.rpartition(":")[0]
        if write is None:
            raise ScpiError(-113)
        write(parameter.strip())
        return None, bare.rpartition(":")[0]

    def _find(self, header: str, path: str) -> tuple[Setter | None, Getter | None]:
        for candidate in (header, f"{path}:{header}" if path else ""):
            found = self._lookup(candidate.upper()) if candidate else None
            if found:
                return found
        raise ScpiError(-113)

    def _lookup(self, header: str) -> tuple[Setter | None, Getter | None] | None:
        if header not in self._found:
            for pattern, write, ask in self._commands:
                if pattern.fullmatch(header):
                    self._found[header] = (write, ask)
                    break
            else:
                return None
        return self._found[header]
