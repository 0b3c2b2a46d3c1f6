"""How long one call of the control loop may take on a link before the guard stops waiting for it (rule 8).

While an owner serves a call, the loop waits in it and cannot renew its permit. On TCP, USB and CAN an
exchange takes milliseconds, so a call gets nothing beyond the permit; a serial line gets the time of its
bytes, and a set point the time in which rule 13 lets its echo come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cycler_unit.buses.protocol import bus_key
from cycler_unit.buses.visa import DEFAULTS

# Messages of one call at most, counted on every power device of the catalogue, and one more each.
MESSAGES = {"read": 3, "fault": 5, "unasked": 6, "apply": 8, "set": 8}
# Question and answer together: the longest of an EA supply with five commands in a message.
EXCHANGE_BYTES = 128
# Start bit, eight data bits, stop bit.
BITS = 10
# Rule 13: an echo may come 0.5 s late, and once more after the one repeat; then the driver still says so.
ECHOES_S = 1.2
# Opening sends off first; connecting to a device that restarts takes longest.
OPEN_S = 3.0
# However slow a line is, nobody waits longer for one call.
MOST_S = 3.0


def call_s(do: str, link: Mapping[str, Any], devices: int = 1) -> float:
    """Return the seconds that a call takes at most, 0 where the permit alone is enough.

    Args:
        do: the device's method, a key of ``MESSAGES``; others get nothing.
        link: the settings of the device's link, those of its kind included.
        devices: how many share the line; each may have a message before ours.
    """
    if do not in MESSAGES:
        return 0.0
    line_s = MESSAGES[do] * _message_s(link) * max(1, devices)
    return min(MOST_S, line_s + (ECHOES_S if do in ("apply", "set") else 0.0))


def _message_s(link: Mapping[str, Any]) -> float:
    """Return what a question with its answer takes on a line at most, in s; the device's own time left out."""
    if link.get("kind") not in ("visa", "serial") or "TCPIP" in str(link.get("resource", "")).upper():
        return 0.0
    spacing_s = float(link.get("spacing_s", DEFAULTS["spacing_s"]))
    if not bus_key(link).startswith("serial:"):
        return spacing_s  # USB: the bytes themselves take microseconds
    return spacing_s + EXCHANGE_BYTES * BITS / float(link.get("baud_rate", DEFAULTS["baud_rate"]))
