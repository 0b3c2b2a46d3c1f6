"""Turn what devices answered into one reading, with everything that is missing as None (rule 5)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from cycler_unit.drivers.base import Measured
from cycling.reading import Reading
from wire.catalogue import Kind, KindMeasure
from wire.messages import StationConfigure

# safety.md rule 5: older than three of its own periods, at least this, is missing.
AGE_PERIODS, AGE_MIN_S = 3.0, 0.5


class MissingJudge:
    """Judge the values of one device by its catalogue row: number, sentinel, age, frozen."""

    def __init__(self, kind: Kind, period_s: float) -> None:
        self._rules = {measure.name: measure for measure in kind.measures}
        self._period_s = period_s
        self._seen: dict[str, tuple[float, float]] = {}

    def clean(self, name: str, value: float | None, began_s: float, now_s: float) -> float | None:
        """Return ``value`` or None; ``began_s`` is when its exchange began (monotonic)."""
        if value is None or not math.isfinite(value):
            return None
        rule = self._rules.get(name)
        if rule is not None and value in rule.sentinels:
            return None
        if now_s - began_s > self._max_age_s(rule):
            return None
        if rule is not None and rule.frozen_s is not None and self._frozen(name, value, now_s, rule.frozen_s):
            return None
        return value

    def _max_age_s(self, rule: KindMeasure | None) -> float:
        if rule is not None and rule.max_age_s is not None:
            return rule.max_age_s
        period_s = rule.period_s if rule is not None and rule.period_s is not None else self._period_s
        return max(AGE_MIN_S, AGE_PERIODS * period_s)

    def _frozen(self, name: str, value: float, now_s: float, frozen_s: float) -> bool:
        before = self._seen.get(name)
        if before is None or before[0] != value:
            self._seen[name] = (value, now_s)
            return False
        return now_s - before[1] >= frozen_s


@dataclass(frozen=True)
class Taken:
    """A reading's values before it belongs to an experiment. ``taken_s`` is monotonic."""

    time_us: int
    taken_s: float
    voltage_v: float | None
    current_a: float | None
    power_w: float | None
    temperature_c: float | None
    extended: dict[str, float | None]
    others: dict[str, Measured]
    """What the station's other devices measured, by device UUID (rule 4: do they agree?)."""
    isolated: bool = False
    """An open isolator cuts the power device off from the cell."""

    def reading(self, elapsed_s: float, output_on: bool) -> Reading:
        """Return it as the interpreter wants it."""
        return Reading(
            time_us=self.time_us,
            elapsed_s=elapsed_s,
            voltage_v=self.voltage_v,
            current_a=self.current_a,
            power_w=self.power_w,
            temperature_c=self.temperature_c,
            extended=self.extended,
            output_on=output_on,
            isolated=self.isolated,
        )


class Composer:
    """Compose a station's reading from its devices' measures under the station's names."""

    def __init__(
        self, station: StationConfigure, power: str, kinds: dict[str, Kind], period_s: float
    ) -> None:
        self._power = power
        self._bound = [(each.device, each.measure, each.name) for each in station.measures]
        self._judges = {device: MissingJudge(kind, period_s) for device, kind in kinds.items()}
        self.extended_names = sorted(
            {name for _, _, name in self._bound} - {"voltage_v", "current_a", "power_w", "temperature_c"}
        )

    def compose(self, measured: dict[str, Measured | None], main: Measured | None = None) -> Taken:
        """Return one reading; ``measured`` by device UUID, None for one that did not answer.

        ``main`` is what source and load measured together; without one it is the power device's own.
        """
        now_s = time.monotonic()
        own = self._power if main is None else None
        main = main or measured[self._power]
        assert main is not None  # without the power device there is no reading at all
        named = {
            name: self._value(measured.get(device), device, measure, now_s)
            for device, measure, name in self._bound
        }
        judge = self._judges[self._power]
        return Taken(
            time_us=main.time_us,
            taken_s=_taken_s(main, now_s),
            voltage_v=judge.clean("voltage_v", main.voltage_v, main.began_s, now_s),
            current_a=judge.clean("current_a", main.current_a, main.began_s, now_s),
            power_w=judge.clean("power_w", main.power_w, main.began_s, now_s),
            temperature_c=named.get("temperature_c"),
            extended={name: named[name] for name in self.extended_names},
            others={key: each for key, each in measured.items() if each is not None and key != own},
        )

    def _value(self, measured: Measured | None, device: str, measure: str, now_s: float) -> float | None:
        if measured is None:
            return None
        if measure in ("voltage_v", "current_a", "power_w"):
            value = getattr(measured, measure)
        else:
            value = measured.extended.get(measure)
        return self._judges[device].clean(measure, value, measured.began_s, now_s)


def _taken_s(measured: Measured, now_s: float) -> float:
    """Return the monotonic time of the middle of the exchange that read the voltage."""
    middle_s = measured.time_us / 1e6 - (time.time() - now_s)
    # A wall clock that jumped in between must not move it out of the exchange.
    return min(max(middle_s, measured.began_s), now_s)
