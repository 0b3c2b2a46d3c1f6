"""Rules for the limits of a battery, each naming the limits that do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from web_server.lib import fields

NUMBERS = (
    "cell_voltage_min_v",
    "cell_voltage_max_v",
    "voltage_min_v",
    "voltage_max_v",
    "voltage_abs_min_v",
    "voltage_abs_max_v",
    "current_min_a",
    "current_max_a",
    "temperature_min_c",
    "temperature_max_c",
    "charge_temperature_min_c",
    "charge_temperature_max_c",
    "temperature_rise_max_k",
    "temperature_slope_max_k_min",
    "cell_spread_max_v",
    "energy_wh",
)
_POSITIVE = ("temperature_rise_max_k", "temperature_slope_max_k_min", "cell_spread_max_v")
_ORDERED = (
    ("cell_voltage_min_v", "cell_voltage_max_v"),
    ("voltage_min_v", "voltage_max_v"),
    ("voltage_abs_min_v", "voltage_abs_max_v"),
    ("temperature_min_c", "temperature_max_c"),
    ("charge_temperature_min_c", "charge_temperature_max_c"),
)


def problems(body: Mapping[str, Any]) -> list[fields.Error]:
    """Return every error of the limits in ``body``; none when they make sense together.

    For cells in series the pack limit is the tighter of ``voltage_*`` and ``cells_in_series`` ×
    ``cell_voltage_*``; one missing is taken from the other, both missing is refused (safety.md 1).
    """
    errors = fields.numbers(body, NUMBERS) + _cells(body)
    if errors:
        return errors
    for low, high in _ORDERED:
        errors += fields.in_order(body, low, high)
    return errors + _currents(body) + _pack(body) + _energy(body)


def pack_voltage(body: Mapping[str, Any], side: str) -> float | None:
    """Return the tighter pack limit in V; ``side`` is ``min`` or ``max``; None when neither is given."""
    cell, pack = body.get(f"cell_voltage_{side}_v"), body.get(f"voltage_{side}_v")
    whole = None if cell is None else cell * (body.get("cells_in_series") or 1)
    given = [limit for limit in (pack, whole) if limit is not None]
    return None if not given else (max(given) if side == "min" else min(given))


def _cells(body: Mapping[str, Any]) -> list[fields.Error]:
    cells = body.get("cells_in_series", 1)
    if isinstance(cells, bool) or not isinstance(cells, int) or not 1 <= cells <= 1000:
        return [fields.error("cells_in_series", f"cells_in_series must be 1 to 1000; got {cells!r}.")]
    return []


def _currents(body: Mapping[str, Any]) -> list[fields.Error]:
    low, high = body.get("current_min_a"), body.get("current_max_a")
    if low is None or high is None:
        missing = "current_min_a" if low is None else "current_max_a"
        return [fields.error(missing, f"Give {missing}: without it nothing bounds the current.")]
    errors = []
    if low > 0:
        errors.append(
            fields.error("current_min_a", f"current_min_a ({low:g}) is the discharge: zero or negative.")
        )
    if high < 0:
        errors.append(
            fields.error("current_max_a", f"current_max_a ({high:g}) is the charge: zero or positive.")
        )
    if low == 0 == high:
        errors.append(
            fields.error("current_max_a", "current_min_a and current_max_a are both 0: nothing can run.")
        )
    return errors


def _pack(body: Mapping[str, Any]) -> list[fields.Error]:
    low, high = pack_voltage(body, "min"), pack_voltage(body, "max")
    errors = [
        fields.error(
            f"voltage_{side}_v", f"Give voltage_{side}_v or cell_voltage_{side}_v: one of them is needed."
        )
        for side, limit in (("min", low), ("max", high))
        if limit is None
    ]
    if low is None or high is None:
        return errors
    if low >= high:
        cells = body.get("cells_in_series", 1)
        return [
            fields.error(
                "voltage_min_v",
                f"The pack's lower limit {low:g} V is not below its upper limit {high:g} V "
                f"(the tighter of the pack's own and {cells} × the cell's).",
            )
        ]
    return _absolute(body, low, high)


def _absolute(body: Mapping[str, Any], low: float, high: float) -> list[fields.Error]:
    errors = []
    lowest, highest = body.get("voltage_abs_min_v"), body.get("voltage_abs_max_v")
    if lowest is not None and lowest > low:
        errors.append(
            fields.error(
                "voltage_abs_min_v", f"voltage_abs_min_v ({lowest:g}) is above the lower limit {low:g} V."
            )
        )
    if highest is not None and highest < high:
        errors.append(
            fields.error(
                "voltage_abs_max_v", f"voltage_abs_max_v ({highest:g}) is below the upper limit {high:g} V."
            )
        )
    return errors


def _energy(body: Mapping[str, Any]) -> list[fields.Error]:
    errors = [
        fields.error(name, f"{name} must be above 0.")
        for name in _POSITIVE
        if body.get(name) is not None and body[name] <= 0
    ]
    if body.get("energy_wh") is not None and body["energy_wh"] <= 0:
        errors.append(fields.error("energy_wh", "energy_wh must be above 0."))
    level = body.get("hazard_level")
    if level is not None and (isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= 7):
        errors.append(fields.error("hazard_level", "hazard_level is a EUCAR level, 0 to 7."))
    return errors
