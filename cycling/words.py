"""Say quantities and values as people in a laboratory do: ``voltage``, ``4.2 V``."""

from __future__ import annotations

import re

_KNOWN = {
    "time_s": ("time", "s"),
    "run_s": ("run time", "s"),
    "voltage_v": ("voltage", "V"),
    "current_a": ("current", "A"),
    "current_abs_a": ("current", "A"),
    "rate_abs": ("rate", "C"),
    "power_w": ("power", "W"),
    "power_abs_w": ("power", "W"),
    "charge_ah": ("charge", "Ah"),
    "charge_net_abs_ah": ("net charge", "Ah"),
    "charge_one_way_ah": ("charge one way", "Ah"),
    "energy_wh": ("energy", "Wh"),
    "charge_rel": ("charge", "of the capacity"),
    "temperature_c": ("temperature", "°C"),
    "ambient_c": ("ambient temperature", "°C"),
    "temperature_rise_k": ("temperature over ambient", "K"),
    "temperature_slope_k_min": ("temperature slope", "K/min"),
    "temperature_spread_k": ("difference of two temperature sensors", "K"),
    "cell_spread_v": ("difference of two cells", "V"),
    "hs_voltage_v": ("voltage of the regenerative store", "V"),
    "soc": ("state of charge", ""),
    "dv_dt_v_s": ("voltage slope", "V/s"),
    "di_dt_a_s": ("current slope", "A/s"),
}
# Units by the last part of a station's own name for a measure.
_UNITS = {"v": "V", "a": "A", "w": "W", "c": "°C", "k": "K", "ah": "Ah", "wh": "Wh", "s": "s", "kpa": "kPa"}


# What a BMS calls its cells and sensors, as the catalogue's kinds and most stations name them.
_NUMBERED = (
    (re.compile(r"v?cell_?(\d+)(?:_voltage)?_v", re.IGNORECASE), "voltage of cell"),
    (re.compile(r"temp(?:erature)?_?(\d+)_c", re.IGNORECASE), "temperature of sensor"),
)


def name(quantity: str) -> str:
    """Return a quantity's name without its unit; an extended measure keeps the station's name."""
    known = _KNOWN.get(quantity)
    if known:
        return known[0]
    for pattern, what in _NUMBERED:
        if found := pattern.fullmatch(quantity):
            return f"{what} {int(found[1])}"
    rest, _, unit = quantity.rpartition("_")
    return (rest if rest and unit in _UNITS else quantity).replace("_", " ")


def amount(quantity: str, value: float, digits: int = 6) -> str:
    """Return a value with its unit, at most ``digits`` significant digits: ``4.2 V``."""
    unit = _KNOWN.get(quantity, ("", _UNITS.get(quantity.rsplit("_", 1)[-1], "")))[1]
    return f"{value:.{digits}g} {unit}".rstrip()


def reached(quantity: str, above: bool, limit: float, measured: float | None, of: str | None = None) -> str:
    """Return that an end was met: ``voltage rose to 4.2 V (measured 4.2003 V)``, ``after 18 s``."""
    if quantity == "time_s":
        return f"after {amount(quantity, limit)}"
    verb = "rose to" if above else "fell to"
    shown = "" if measured is None else f" (measured {amount(quantity, measured)})"
    wanted = f"{limit:g} of {of}" if of and quantity == "charge_rel" else amount(quantity, limit)
    return f"{name(quantity)} {verb} {wanted}{shown}"
