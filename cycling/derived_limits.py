"""Limits on what no sensor shows by itself: charge budget, heating, cells of a BMS, a shared store.

safety.md rules 1, 14, 15 and 16. All of them are in the envelope, so that the contract's hash covers
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cycling import givers, sensors
from cycling.contract import BatteryLimits, DeviceLimits, Limit, StationLimits
from cycling.limits import Bound, Side, bound, tightest
from cycling.steps import Safety

# safety.md rule 15.
BUDGET_OF_CAPACITY = 1.25
REVERSAL_OF_CAPACITY = 0.05
# safety.md rule 16.
RISE_MAX_K = 20.0
SLOPE_MAX_K_MIN = 1.0
SLOPE_FOR_S = 30.0
SPREAD_WARN_K = 10.0
# A difference of cells in series that no test means to reach; the battery may have its own.
CELL_SPREAD_MAX_V = 0.5
CELL_MARGIN_V = 0.010

BUDGET = "charge_one_way_ah"
RISE, SLOPE, SPREAD = "temperature_rise_k", "temperature_slope_k_min", "temperature_spread_k"
CELL_SPREAD = "cell_spread_v"
DERIVED = frozenset({BUDGET, RISE, SLOPE, SPREAD, CELL_SPREAD})


class NoBudget(ValueError):
    """Neither a capacity nor ``q_abs_max_ah`` bounds the charge."""


def budget(battery: BatteryLimits, safety: Safety) -> tuple[Limit, float]:
    """Return the charge budget and the reversal that begins it anew, in Ah; raises ``NoBudget``."""
    capacity_ah = battery.capacity_ah
    known = bound(
        capacity_ah if capacity_ah is not None and capacity_ah > 0 else None, givers.of_battery("capacity_ah")
    )
    own = bound(safety.q_abs_max_ah, givers.of_profile("q_abs_max_ah"))
    whole = None
    if known is not None:
        source = f"{BUDGET_OF_CAPACITY:g} x {known.source}"
        whole = Bound(value=BUDGET_OF_CAPACITY * known.value, source=source)
    least = tightest("max", [whole, own])
    base = known or own
    if least is None or base is None:
        raise NoBudget(
            "charge: neither the battery's capacity nor the profile's largest net charge (safety q_abs_max_ah) is "
            "known, so nothing bounds the charge: give one of them"
        )
    # 9 decimals: binary noise must not reach the contract's text.
    value = round(least.value, 9)
    limit = Limit(quantity=BUDGET, side="max", operating=value, trip=value, source=least.source)
    return limit, round(REVERSAL_OF_CAPACITY * base.value, 9)


def heating(battery: BatteryLimits, devices: Sequence[DeviceLimits], station: StationLimits) -> list[Limit]:
    """Return the limits on rise and slope of the cell's temperature and the warning of two sensors."""
    found = sensors.cell_temperatures(station.measures)
    if not found:
        return []
    rise_k = battery.temperature_rise_max_k
    slope = battery.temperature_slope_max_k_min
    limits = [
        Limit(
            quantity=RISE,
            side="max",
            operating=RISE_MAX_K if rise_k is None else rise_k,
            trip=RISE_MAX_K if rise_k is None else rise_k,
            source="safety rule 16" if rise_k is None else givers.of_battery("temperature_rise_max_k"),
        ),
        _slope(slope, max((d.temperature_resolution_c for d in devices), default=0.0)),
    ]
    if len(found) > 1:
        limits.append(
            Limit(
                quantity=SPREAD,
                side="max",
                operating=SPREAD_WARN_K,
                trip=SPREAD_WARN_K,
                acts="warn",
                source="safety rule 16",
            )
        )
    return limits


def _slope(own_k_min: float | None, resolution_c: float) -> Limit:
    """Return the limit on the slope: one step of a coarse sensor within 30 s is no slope."""
    value = SLOPE_MAX_K_MIN if own_k_min is None else own_k_min
    return Limit(
        quantity=SLOPE,
        side="max",
        operating=value,
        trip=round(value + resolution_c * 60.0 / SLOPE_FOR_S, 9),
        source="safety rule 16" if own_k_min is None else givers.of_battery("temperature_slope_max_k_min"),
    )


def cells(battery: BatteryLimits, devices: Sequence[DeviceLimits], station: StationLimits) -> list[Limit]:
    """Return the limits of each cell voltage that the station measures, and of their difference."""
    names = sensors.cell_voltages(station.measures)
    margin_v = max([CELL_MARGIN_V, *(d.cell_voltage_accuracy_v for d in devices)])
    limits: list[Limit] = []
    for name in names:
        for side in _SIDES:
            given = _cell_bound(battery, side)
            if given is not None:
                limits.append(_cell(name, side, given, margin_v, battery))
    if len(names) > 1:
        own = battery.cell_spread_max_v
        spread_v = CELL_SPREAD_MAX_V if own is None else own
        limits.append(
            Limit(
                quantity=CELL_SPREAD,
                side="max",
                operating=spread_v,
                trip=round(spread_v + margin_v, 9),
                source="safety rule 1" if own is None else givers.of_battery("cell_spread_max_v"),
            )
        )
    return limits


_SIDES: tuple[Side, Side] = ("max", "min")


def _cell_bound(battery: BatteryLimits, side: Side) -> Bound | None:
    """Return the battery's cell limit, or its pack limit shared among the cells."""
    cell = getattr(battery, f"cell_voltage_{side}_v")
    pack = getattr(battery, f"voltage_{side}_v")
    if cell is not None or pack is None:
        return bound(cell, givers.of_battery(f"cell_voltage_{side}_v"))
    return bound(
        pack / battery.cells_in_series,
        f"{givers.of_battery(f'voltage_{side}_v')} / {battery.cells_in_series}",
    )


def _cell(name: str, side: Side, given: Bound, margin_v: float, battery: BatteryLimits) -> Limit:
    trip_v = given.value + (margin_v if side == "max" else -margin_v)
    absolute = getattr(battery, f"voltage_abs_{side}_v")
    if absolute is not None:
        own_v = absolute / battery.cells_in_series
        trip_v = min(trip_v, own_v) if side == "max" else max(trip_v, own_v)
    # 9 decimals: as everywhere in the contract.
    return Limit(
        quantity=name,
        side=side,
        operating=round(given.value, 9),
        trip=round(trip_v, 9),
        source=given.source,
    )


def store(devices: Sequence[DeviceLimits], station: StationLimits) -> list[Limit]:
    """Return the limits of the regenerative store that the station's devices share with others."""
    if sensors.STORE not in station.measures:
        return []
    limits: list[Limit] = []
    for side in _SIDES:
        field = f"store_voltage_{side}_v"
        own = bound(getattr(station, f"store_{side}_v"), givers.of_station(f"store_{side}_v"))
        given = tightest(
            side, [*(bound(getattr(d, field), givers.of_device(d.name, field)) for d in devices), own]
        )
        if given is not None:
            limits.append(
                Limit(
                    quantity=sensors.STORE,
                    side=side,
                    operating=given.value,
                    trip=given.value,
                    source=given.source,
                )
            )
    return limits


def sensors_too(limits: list[Limit], station: StationLimits) -> list[Limit]:
    """Return the limits of ``temperature_c`` again for each other sensor on the battery."""
    others = [name for name in sensors.cell_temperatures(station.measures) if name != sensors.TEMPERATURE]
    return [msgspec.structs.replace(limit, quantity=name) for name in others for limit in limits]
