"""What limits look at and no sensor shows by itself: heating over ambient, differences, charge one way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cycling import sensors
from cycling.derived_limits import CELL_SPREAD, RISE, SLOPE, SLOPE_FOR_S, SPREAD
from cycling.reading import Reading
from cycling.state import BudgetMemory, ThermalMemory

# The slope compares means of this long: single readings are noisy, and few means are small to save.
MEAN_S = 3.0

Values = dict[str, float | None]


class Names:
    """Which of the extended measures are sensors on the cell; looked at once, not at every reading."""

    def __init__(self) -> None:
        self._seen: tuple[str, ...] | None = None
        self.cells: list[str] = []
        self.temperatures: list[str] = []

    def of(self, extended: Mapping[str, object]) -> Names:
        """Look at the names of a reading."""
        seen = tuple(extended)
        if seen != self._seen:
            self._seen = seen
            self.cells = sensors.cell_voltages(seen)
            self.temperatures = [n for n in sensors.cell_temperatures(seen) if n != sensors.TEMPERATURE]
        return self


def values(reading: Reading, names: Names, memory: ThermalMemory, chamber_c: float | None) -> Values:
    """Return the derived quantities of a reading; None is missing, an absent one is not judged now.

    ``chamber_c`` is what the profile sets the surroundings to, None if nothing does.
    """
    names = names.of(reading.extended)
    warm = _numbers([reading.temperature_c, *(reading.extended[name] for name in names.temperatures)])
    found = heating(reading, warm, memory, chamber_c)
    if len(warm) > 1:
        found[SPREAD] = max(warm) - min(warm)
    cells = _numbers(reading.extended[name] for name in names.cells)
    if len(cells) > 1:
        found[CELL_SPREAD] = max(cells) - min(cells)
    return found


def _numbers(given: Iterable[float | None]) -> list[float]:
    return [x for x in given if x is not None and -1e300 < x < 1e300]


def heating(reading: Reading, warm: list[float], memory: ThermalMemory, chamber_c: float | None) -> Values:
    """Return rise and slope of the hottest sensor on the cell.

    The slope counts only above ambient: a colder cell is warmed by what is around it.
    """
    if not warm:
        return {RISE: None}
    hottest_c = max(warm)
    _follow(memory, reading.elapsed_s, hottest_c)
    ambient_c = _ambient(reading, memory, hottest_c, chamber_c)
    if ambient_c is None:
        return {RISE: None}
    found: Values = {RISE: hottest_c - ambient_c}
    slope = _slope(memory)
    if slope is not None and hottest_c > ambient_c:
        found[SLOPE] = slope
    return found


def _ambient(
    reading: Reading, memory: ThermalMemory, hottest_c: float, chamber_c: float | None
) -> float | None:
    """Return what the rise is counted from: measured, or else the temperature at the start.

    A chamber's set point raises it at once; lowered, it follows the cell down, which lags behind.
    """
    if sensors.AMBIENT in reading.extended:
        found = _numbers([reading.extended[sensors.AMBIENT]])
        if not found:
            return None
        base_c = found[0]
    else:
        if memory.start_c is None:
            memory.start_c = hottest_c
        base_c = memory.start_c
    if chamber_c is None:
        return base_c
    soak_c = base_c if memory.soak_c is None else memory.soak_c
    memory.soak_c = max(chamber_c, min(soak_c, hottest_c))
    return max(base_c, memory.soak_c) if sensors.AMBIENT in reading.extended else memory.soak_c


def _follow(memory: ThermalMemory, now_s: float, x: float) -> None:
    """Add a temperature to the means; keep one mean that is older than the slope's window."""
    means = memory.means
    if means and now_s - means[-1][0] < MEAN_S - 1e-9:
        last = means[-1]
        last[1] += now_s
        last[2] += x
        last[3] += 1.0
        return
    means.append([now_s, now_s, x, 1.0])
    while len(means) > 2 and means[1][0] <= now_s - SLOPE_FOR_S:
        means.pop(0)


def _slope(memory: ThermalMemory) -> float | None:
    """Return the slope over the last 30 s in K/min, None before they are over."""
    (_, t0, x0, n0), (_, t1, x1, n1) = memory.means[0], memory.means[-1]
    over_s = t1 / n1 - t0 / n0
    if over_s < SLOPE_FOR_S - MEAN_S:
        return None
    return (x1 / n1 - x0 / n0) / over_s * 60.0


def one_way_ah(memory: BudgetMemory, net_ah: float, reversal_ah: float) -> float:
    """Return what has flowed one way since the last reversal that moved ``reversal_ah`` (rule 15).

    ``net_ah`` is charge in less charge out from the start. A smaller reversal neither begins anew nor
    counts against what has flowed.
    """
    way = memory.extreme_ah - memory.turn_ah
    if way == 0.0 or (net_ah - memory.extreme_ah) * way > 0.0:
        memory.extreme_ah = net_ah
    elif abs(net_ah - memory.extreme_ah) >= reversal_ah - 1e-12:
        memory.turn_ah, memory.extreme_ah = memory.extreme_ah, net_ah
    return abs(memory.extreme_ah - memory.turn_ah)
