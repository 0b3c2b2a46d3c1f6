"""The channel status mask of CAEN V65xx boards, and when a channel is healthy (devices.md 8.3)."""

from __future__ import annotations

ON, RAMPING_UP, RAMPING_DOWN = 0, 1, 2
INTERLOCK = 12

WORDS = {
    0: "on",
    1: "ramping up",
    2: "ramping down",
    3: "over current",
    4: "over voltage",
    5: "under voltage",
    6: "at the hardware's maximum voltage",
    7: "at the hardware's maximum current",
    8: "tripped",
    9: "over power",
    10: "over temperature",
    11: "disabled",
    12: "interlock open",
    13: "not calibrated",
}
# A missing calibration is no reason to stop; on and ramping are what a channel does.
BAD = range(3, 13)
# Follows from a ramp or a load, and goes away by itself.
TOLERATED = (4, 5)
# A channel that still ramps down after this long while its voltage is off is not under control.
RAMP_DOWN_ALLOWED_S = 10.0


def words(mask: int) -> list[str]:
    """Return what a mask says, bit by bit; ``off`` when it says nothing."""
    return [text for bit, text in WORDS.items() if mask >> bit & 1] or ["off"]


def is_ok(mask: int) -> bool:
    """Tell whether no bit of 3 to 12 is set."""
    return not any(mask >> bit & 1 for bit in BAD)


def is_over_or_under_only(mask: int) -> bool:
    """Tell whether over or under voltage is all that is wrong."""
    wrong = [bit for bit in BAD if mask >> bit & 1]
    return bool(wrong) and all(bit in TOLERATED for bit in wrong)


def is_ramping(mask: int) -> bool:
    """Tell whether the voltage is on its way, up or down."""
    return bool(mask >> RAMPING_UP & 1 or mask >> RAMPING_DOWN & 1)


def is_ramping_down(mask: int) -> bool:
    """Tell whether the voltage is on its way down."""
    return bool(mask >> RAMPING_DOWN & 1)


def trouble(mask: int, ramping_down_s: float) -> str | None:
    """Return why a channel is unhealthy, or None.

    ``ramping_down_s`` is for how long the longest ramp down on the board has been going on.
    """
    if is_ok(mask):
        return None
    said = ", ".join(WORDS[bit] for bit in BAD if mask >> bit & 1)
    if not is_over_or_under_only(mask):
        return said
    if ramping_down_s > RAMP_DOWN_ALLOWED_S:
        return f"{said}, and ramping down for more than {RAMP_DOWN_ALLOWED_S:g} s"
    return None
