"""C-rates as text: ``C/5``, ``-2C``, ``0.5C``, ``D/2`` (D discharges)."""

from __future__ import annotations

import re

_RATE = re.compile(
    r"([+-]?)\s*(\d+(?:\.\d*)?|\.\d+)?\s*([CD])\s*(?:/\s*(\d+(?:\.\d*)?|\.\d+))?", re.IGNORECASE
)


def parse(text: str) -> float:
    """Return the rate as a multiple of the capacity per hour, positive charges.

    Raises ``ValueError`` with one sentence for anything that is no rate, and for zero.
    """
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no rate; write it like C/5, 2C, -1C or D/2")
    sign, times, letter, divisor = match.groups()
    rate = float(times or 1.0)
    if divisor is not None:
        if float(divisor) == 0.0:
            raise ValueError(f"{text!r} divides by zero")
        rate /= float(divisor)
    if rate == 0.0:
        raise ValueError(f"{text!r} is zero; use a rest")
    if letter in "Dd":
        if sign:
            raise ValueError(f"{text!r} has a sign and a D; write either -C or D")
        return -rate
    return -rate if sign == "-" else rate
