"""What a target asks for: its number and its direction, the same for every power device."""

from __future__ import annotations

from cycler_unit.drivers.base import Target
from cycler_unit.drivers.errors import DeviceRefused


def asked(target: Target) -> float:
    """Return the number that the target's mode is about; raise ``DeviceRefused`` when it is missing."""
    by_mode = {
        "cc": target.current_a,
        "cv": target.voltage_v,
        "cp": target.power_w,
        "cr": target.resistance_ohm,
    }
    wanted = by_mode.get(target.mode)
    if wanted is None:
        raise DeviceRefused(f"the set point of mode {target.mode!r} has no number")
    return wanted


def direction_of(target: Target) -> str:
    """Return charge, discharge or (CV only) both: by the sign of CC and CP, else as the target says."""
    wanted = asked(target)
    if target.mode == "cv":
        return target.direction
    if target.mode == "cr":
        return "charge" if target.direction == "charge" else "discharge"
    if wanted != 0.0:
        return "charge" if wanted > 0.0 else "discharge"
    if target.direction != "both":
        return target.direction
    # Nothing flows either way; the bound at hand keeps VOLT sensible.
    return "charge" if target.voltage_max_v is not None else "discharge"
