"""How the pages write quantities: just the digits that mean something, with the unit.

ui.md "Numbers". ``static/cellyard/numbers.js`` writes the same on the live parts of a page; the two
are held to one table in ``tests/web_server/test_pages_numbers.py`` and the browser test.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

MISSING = "–"
MINUS = "−"
# Below this a unit is written with the prefix m, below a thousandth of it with µ (ui.md).
SMALL = 0.1
# Units that never take a prefix: a temperature of 0.05 °C is not 50 m°C.
PLAIN_UNITS = frozenset({"°C", "%", "s", "Hz", "L/min", "mL/min", "K", "C", ""})


def quantity(value: float | None, unit: str, digits: int | None = None) -> str:
    """Return ``value`` (SI) with ``unit``, prefixed by itself; ``–`` when missing."""
    if value is None or not math.isfinite(value):
        return MISSING
    number, prefix = _scaled(float(value), unit)
    places = _places(number, unit, prefix) if digits is None else digits
    if unit == "" and number.is_integer() and digits is None:
        # A count or a mask.
        places = 0
    text = f"{number:.{places}f}"
    if float(text) == 0:
        text = f"{0:.{min(places, 3)}f}" if unit in ("V", "A", "W") else "0"
        prefix = ""
    text = text.replace("-", MINUS)
    return f"{text} {prefix}{unit}".rstrip()


def setting(value: float | None, unit: str) -> str:
    """Return a number that somebody set (a limit, a set point) with the digits it was given, no more."""
    if value is None or not math.isfinite(value):
        return MISSING
    number, prefix = _scaled(float(value), unit)
    text = f"{number:.10g}"
    if "e" in text:
        number, prefix, text = value, "", f"{value:.6g}"
    return f"{text.replace('-', MINUS)} {prefix}{unit}".rstrip()


def plain(value: float | None) -> str:
    """Return ``value`` as a program would read it: shortest text, point, no unit."""
    return "" if value is None else repr(float(value)).removesuffix(".0")


def _scaled(value: float, unit: str) -> tuple[float, str]:
    """Return the number to print and its prefix."""
    size = abs(value)
    if unit in PLAIN_UNITS or size == 0:
        return value, ""
    if size < SMALL / 1000:
        return value * 1e6, "µ"
    if size < SMALL:
        return value * 1e3, "m"
    return (value / 1e3, "k") if size >= 10_000 else (value, "")


def _places(number: float, unit: str, prefix: str) -> int:
    """Return the decimals: a volt has four at most, other quantities about four digits."""
    size = abs(number)
    if unit in ("°C", "%", "K"):
        return 1
    if prefix in ("m", "µ"):
        return 1 if size >= 10 else 2
    if unit == "V":
        return 4 if size < 10 else 3 if size < 100 else 2
    return 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0


def duration(seconds: float | None) -> str:
    """Return a length of time in words with its two largest parts: "2 h 10 min"."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if abs(seconds) < 10 and seconds != round(seconds):
        # A clock 0.02 s behind is "0.0 s" off, not "-0.0 s".
        return f"{round(seconds, 1) + 0.0:.1f} s".replace("-", MINUS)
    left = round(abs(seconds))
    parts = []
    for size, word in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        parts.append((count, word))
    first = next((i for i, (count, _) in enumerate(parts) if count), 3)
    shown = [f"{count} {word}" for count, word in parts[first : first + 2] if count] or ["0 s"]
    return (MINUS if seconds < 0 else "") + " ".join(shown)


def relative(then: datetime | None, now: datetime) -> str:
    """Return ``then`` as seen from ``now``: "in 2 h 10 min", "5 min ago", "now"."""
    if then is None:
        return MISSING
    away = (then - now).total_seconds()
    if abs(away) < 5:
        return "now"
    words = duration(away if abs(away) < 60 else round(away / 60) * 60)
    if abs(away) > timedelta(days=2).total_seconds():
        words = f"{round(abs(away) / 86400)} d"
    words = words.lstrip(MINUS)
    return f"in {words}" if away > 0 else f"{words} ago"
