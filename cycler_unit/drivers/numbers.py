"""Numbers as instruments print them: ``12.50 V``, ``1.5e-3A``, ``-4``, `` 84.00V``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

# A unit is one word without digits and never begins with E: ``3.71E`` is a number whose exponent was lost, and
# ``12.50 V13.0 V`` are two lines run together.
NUMBER = re.compile(
    r"^\s*([+-]?(?:\d+(?:\.(\d*))?|\.(\d+))(?:[eE]([+-]?\d+))?)\s*((?![eE])[a-zA-Z]+(?:/[a-zA-Z]+)?|%|°C)?\s*$",
    re.ASCII,
)
# Instruments answer 9.9E37 and the like for "overload" or "not measured"; no reading is this large.
LARGEST = 1e30


@dataclass(frozen=True)
class Printed:
    """A number and how finely it was printed: ``digit`` is the worth of its last place."""

    value: float
    digit: float
    unit: str = ""


def parse(text: str) -> Printed | None:
    """Return the number in ``text``; None for no number, an overload, or several.

    Optional sign, fraction, exponent, blank and unit (devices.md 3.3).
    """
    found = NUMBER.match(text)
    if not found:
        return None
    value = float(found[1])
    if not math.isfinite(value) or abs(value) > LARGEST:
        return None
    places = len(found[2] or found[3] or "")
    return Printed(value, 10.0 ** (int(found[4] or 0) - places), found[5] or "")


def value(text: str, unit: str = "") -> float | None:
    """Return only the number in ``text``, or None; another unit than ``unit`` is the answer to another question."""
    printed = parse(text)
    if printed is None or (unit and printed.unit and printed.unit.upper() != unit.upper()):
        return None
    return printed.value


def values(text: str, units: Sequence[str]) -> list[float | None]:
    """Return the numbers of a list such as ``12.50 V, 1.50 A, 18.8 W``; all are None for another list."""
    parts = text.split(",")
    if len(parts) != len(units):
        return [None] * len(units)
    return [value(part, unit) for part, unit in zip(parts, units, strict=True)]


def decimals(step: float) -> int:
    """Return how many decimals print a resolution step exactly (at most 6)."""
    count = 0
    while count < 6 and abs(round(step, count) - step) > 1e-9:
        count += 1
    return count


def down(number: float, step: float) -> float:
    """Round towards zero to whole steps, forgiving the last bits of a float."""
    return math.floor(number / step + 1e-6) * step


def up(number: float, step: float) -> float:
    """Round away from zero to whole steps, forgiving the last bits of a float."""
    return math.ceil(number / step - 1e-6) * step


def near(number: float, step: float) -> float:
    """Round to the nearest whole step."""
    return round(number / step) * step
