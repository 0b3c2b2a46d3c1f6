"""Say who gave a limit, as people in a laboratory do: ``the battery's highest voltage``."""

from __future__ import annotations

_WORDS = {
    "voltage_max_v": "highest voltage",
    "voltage_min_v": "lowest voltage",
    "cell_voltage_max_v": "highest cell voltage",
    "cell_voltage_min_v": "lowest cell voltage",
    "voltage_abs_max_v": "absolute highest voltage",
    "voltage_abs_min_v": "absolute lowest voltage",
    "v_max_v": "highest voltage",
    "v_min_v": "lowest voltage",
    "discharge_cutoff_v": "own low cut-off",
    "current_max_a": "largest charge current",
    "current_min_a": "largest discharge current",
    "i_max_a": "largest charge current",
    "i_min_a": "largest discharge current",
    "power_max_w": "largest charge power",
    "power_min_w": "largest discharge power",
    "power_abs_max_w": "largest power",
    "p_abs_max_w": "largest power",
    "temperature_max_c": "highest temperature",
    "temperature_min_c": "lowest temperature",
    "charge_temperature_max_c": "highest temperature while charging",
    "charge_temperature_min_c": "lowest temperature while charging",
    "temp_max_c": "highest temperature",
    "temp_min_c": "lowest temperature",
    "temperature_rise_max_k": "largest rise over ambient",
    "temperature_slope_max_k_min": "steepest rise of the temperature",
    "cell_spread_max_v": "largest difference of two cells",
    "store_voltage_max_v": "highest voltage of the energy store",
    "store_voltage_min_v": "lowest voltage of the energy store",
    "store_max_v": "highest voltage of the energy store",
    "store_min_v": "lowest voltage of the energy store",
    "capacity_ah": "capacity",
    "q_abs_max_ah": "largest net charge",
    "run_max_s": "longest run",
}


def words(field: str) -> str:
    """Return a limit's field without its giver: ``highest voltage``; an unknown one keeps its name."""
    return _WORDS.get(field, field)


def of_battery(field: str) -> str:
    """Return the battery's limit in words."""
    return f"the battery's {words(field)}"


def of_station(field: str) -> str:
    """Return the station's own limit in words."""
    return f"the station's {words(field)}"


def of_profile(field: str) -> str:
    """Return a limit of the profile's safety part in words."""
    return f"the profile's {words(field)}"


def of_device(name: str, field: str) -> str:
    """Return a device's limit in words."""
    return f"{words(field)} of device {name}"
