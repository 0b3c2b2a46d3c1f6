"""Which commands of an EPC make up one set point; without any I/O.

An EPC knows one end for each command and switches itself off when it is there. So a target is a list of
commands, each bounded in the device:

| target | commands, in order |
|---|---|
| CC, charge | CC set point until the ceiling; CV ceiling until 0 A |
| CC, discharge | CC set point until the floor; CV floor until 0 A |
| CV, charge | CC compliance until the voltage; CV voltage until 0 A |
| CV, discharge | CC -compliance until the voltage; CV voltage until 0 A |
| CV, both | CC towards the voltage; CV voltage for 24 days |
| CP, charge | CC current bound until the power is there; CP until the ceiling; CV ceiling until 0 A |
| CP, discharge | CP until the floor, or until it needs the current bound; CC -current bound until the floor; CV floor until 0 A |
| 0 A, 0 W | CC 0 mA until the ceiling; for a discharge CC 0 mA for 24 days |
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

from cycler_unit.drivers.base import Target
from cycler_unit.drivers.epc_frames import CC, CP, CURRENT, CV, TIME, VOLTAGE, SetPoint
from cycler_unit.drivers.errors import DeviceRefused

# A regulated voltage that neither ends by current: as long as the signed field goes, 24 days.
FOREVER_MS = 2_147_483_647
# Binary noise of numbers that were decimals once; a thousandth of the smallest step.
SLIVER = 1e-6


def down(value: float, per_unit: float) -> int:
    """Return a value in device units, rounded down."""
    return floor(value * per_unit + SLIVER)


def up(value: float, per_unit: float) -> int:
    """Return a value in device units, rounded up."""
    return ceil(value * per_unit - SLIVER)


def phases(target: Target, cell_v: float) -> list[SetPoint]:
    """Return the commands of a target in their order; the voltage ``cell_v`` tells which side it begins on.

    Raises ``DeviceRefused`` for a target that this device cannot hold or that is not bounded.
    """
    if target.mode == "cc":
        return _current(_number(target.current_a, "current"), target)
    if target.mode == "cv":
        return _voltage(_number(target.voltage_v, "voltage"), target, cell_v)
    if target.mode == "cp":
        return _power(_number(target.power_w, "power"), target)
    raise DeviceRefused(f"an EPC has no mode {target.mode!r}")


def _current(current_a: float, target: Target) -> list[SetPoint]:
    ref = round(current_a * 1000.0)
    if ref >= 0 and not (ref == 0 and target.direction == "discharge"):
        return _up_to(ref, down(_bound(target.voltage_max_v, "voltage ceiling"), 1000.0))
    if ref == 0:
        # 0 counts as charging, whose end is a ceiling: one that no cell reaches without current.
        return [SetPoint(1, CC, TIME, 0, FOREVER_MS)]
    return _down_to(ref, up(_bound(target.voltage_min_v, "voltage floor"), 1000.0))


def _voltage(voltage_v: float, target: Target, cell_v: float) -> list[SetPoint]:
    charging = target.direction == "charge" or (target.direction == "both" and cell_v < voltage_v)
    most_a = target.charge_current_max_a if charging else target.discharge_current_max_a
    ref = down(_bound(most_a, "compliance current"), 1000.0)
    steps = (
        _up_to(ref, down(voltage_v, 1000.0))
        if charging
        else _down_to(-ref, up(voltage_v, 1000.0))
    )  # fmt: skip
    if target.direction == "both":
        # No end by current: it must not stop when the current passes through zero.
        steps[-1] = steps[-1]._replace(limit=TIME, limit_ref=FOREVER_MS)
    return steps


def _power(power_w: float, target: Target) -> list[SetPoint]:
    ref = round(power_w * 10.0)
    if ref > 0:
        return _power_up(ref, target)
    if ref < 0:
        return _power_down(ref, target)
    return _current(0.0, target)


def _power_up(ref: int, target: Target) -> list[SetPoint]:
    """Charge: the current is largest at the lowest voltage, so it begins with the bound where needed."""
    ceiling = down(_bound(target.voltage_max_v, "voltage ceiling"), 1000.0)
    most = down(_bound(target.charge_current_max_a, "charge current"), 1000.0)
    at_bound = ceil(ref * 100_000 / most)
    if at_bound >= ceiling:
        return _up_to(most, ceiling)
    first = SetPoint(1, CC, VOLTAGE, most, at_bound)
    hold = SetPoint(1, CP, VOLTAGE, ref, ceiling)
    return [first, hold, _hold(ceiling)]


def _power_down(ref: int, target: Target) -> list[SetPoint]:
    """Discharge: the current rises as the voltage falls, so it ends with the bound where needed."""
    low = up(_bound(target.voltage_min_v, "voltage floor"), 1000.0)
    most = down(_bound(target.discharge_current_max_a, "discharge current"), 1000.0)
    at_bound = ceil(-ref * 100_000 / most)
    hold = SetPoint(1, CP, VOLTAGE, ref, max(low, at_bound))
    rest = _down_to(-most, low)
    return [hold, *(rest if at_bound > low else rest[1:])]


def _up_to(current: int, ceiling: int) -> list[SetPoint]:
    return [SetPoint(1, CC, VOLTAGE, current, ceiling), _hold(ceiling)]


def _down_to(current: int, low: int) -> list[SetPoint]:
    return [SetPoint(1, CC, VOLTAGE, current, low), _hold(low)]


def _hold(voltage: int) -> SetPoint:
    """Regulate a voltage until nothing flows any more in the direction that it began with."""
    return SetPoint(1, CV, CURRENT, voltage, 0)


def first(steps: Sequence[SetPoint], cell_mv: int, charging: bool) -> int:
    """Return the first phase whose own end is not there yet; the last one has no end by voltage."""
    for place, step in enumerate(steps[:-1]):
        if step.limit != VOLTAGE:
            return place
        if cell_mv < step.limit_ref if charging else cell_mv > step.limit_ref:
            return place
    return len(steps) - 1


def charges(steps: Sequence[SetPoint]) -> bool:
    """Tell whether a list of phases charges: by the sign of its first current or power."""
    return steps[0].ref >= 0


def _number(value: float | None, what: str) -> float:
    if value is None:
        raise DeviceRefused(f"the set point has no {what}")
    return value


def _bound(value: float | None, what: str) -> float:
    if value is None or value <= 0.0:
        raise DeviceRefused(f"an EPC needs a {what} above 0 for this set point")
    return value
