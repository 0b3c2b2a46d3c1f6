"""Put a cell monitor's snapshots together from its frames (device sheet 2.2 to 2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cycler_unit import dbc

PER_FRAGMENT = 7
COMMUNICATION, HARDWARE = 0x02, 0x01
ERRORS = {
    0x01: "hardware",
    0x02: "communication",
    0x04: "stack voltages",
    0x08: "leakage",
    0x10: "temperature",
    0x20: "pressure",
}
# Words by what their name begins with: measure's unit suffix, units per word, signed.
QUANTITIES = {"vcell": ("v", 0.001, False), "vstack": ("v", 0.001, False), "temp": ("c", 0.1, True),
              "pres": ("mbar", 1.0, False)}  # fmt: skip
# A word of a list that is sent and not used.
UNUSED = "-"


class Word(NamedTuple):
    """One word of a snapshot: the measure it is, its scale and sign. An unused one has no name."""

    measure: str
    scale: float
    signed: bool


def usual_words() -> list[str]:
    """Return the 19 words of the hardware there is, as the DBC names them."""
    return [signal.name for signal in dbc.message("BMS_SNAPSHOT").signals]


def words(names: Sequence[str]) -> list[Word]:
    """Return what each word of a list means; raise ``ValueError`` naming one that nobody knows."""
    found = []
    for name in names:
        if name == UNUSED:
            found.append(Word("", 0.0, False))
            continue
        quantity = next((each for each in QUANTITIES if name.startswith(each)), None)
        if quantity is None:
            raise ValueError(f"{name!r} begins with none of {', '.join(QUANTITIES)}, {UNUSED}")
        suffix, scale, signed = QUANTITIES[quantity]
        found.append(Word(f"{name}_{suffix}", scale, signed))
    return found


def values(meaning: Sequence[Word], payload: bytes) -> dict[str, float]:
    """Return a whole snapshot's values by measure."""
    found = {}
    for place, word in enumerate(meaning):
        raw = int.from_bytes(payload[2 * place : 2 * place + 2], "little", signed=word.signed)
        if word.measure:
            found[word.measure] = round(raw * word.scale, 6)
    return found


def error_code(payload: bytes) -> int | None:
    """Return the code of an error frame, None when a frame is none."""
    if len(payload) != 8 or payload[1:6] != dbc.ERROR_TAG:
        return None
    return payload[7]


def error_words(code: int) -> str:
    """Return an error code, a mask, in words."""
    named = [words for bit, words in ERRORS.items() if code & bit]
    rest = code & ~sum(ERRORS)
    return ", ".join(named + ([f"code 0x{rest:02X}"] if rest else []))


class Assembly:
    """Collects fragments. ``size`` is a snapshot's number of bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._parts: list[bytes] = []
        self._total = 0
        self.began_s = 0.0

    def add(self, payload: bytes, now_s: float) -> bytes | str | None:
        """Take a fragment; return a whole snapshot, the reason why one was dropped, or None.

        Index 0 always begins anew; any other has to be the next one of the same total.
        """
        if len(payload) < 2:
            return self._drop("a frame without a payload")
        index, total = payload[0] & 0xF, payload[0] >> 4
        lost = bool(self._parts) and index == 0
        if index == 0:
            self._parts, self._total, self.began_s = [], total, now_s
        if index != len(self._parts) or total != self._total:
            return self._drop(f"fragment {index} of {total} where {len(self._parts)} was due")
        self._parts.append(payload[1:])
        if index < total - 1:
            return "a snapshot was left unfinished" if lost else None
        whole, self._parts = b"".join(self._parts), []
        if len(whole) != self.size:
            return f"a snapshot of {len(whole)} bytes instead of {self.size}"
        return whole

    def _drop(self, why: str) -> str:
        self._parts, self._total = [], 0
        return why
