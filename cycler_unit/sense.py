"""Rule 4, running: two voltages of a station, or source and meter currents, that disagree for 1 s.

A slow meter's value is compared with everything that the power device read while the meter measured, so
that a step of the current is no disagreement. On a station with two wires the device's own voltage
carries the drop of its leads: there voltages are compared without current only.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from cycler_unit.drivers.base import Measured
from cycler_unit.readings import Taken
from wire.catalogue import Kind
from wire.limits import device_limits

# safety.md rule 4.
DISAGREE_S = 1.0
AGREE_MIN_V = 0.020
# Devices that measure a current agree at least within this share of the power device's range (rule 1).
AGREE_SHARE_A = 0.005
# The power device's readings that a slow meter is compared with.
KEEP_S = 10.0
# Below this a current says nothing about the drop of the leads.
REST_A = 0.01


@dataclass
class Compared:
    """One quantity of one other device."""

    device: str
    name: str
    quantity: str
    allowed: float
    since_s: float | None = None
    last_began_s: float = 0.0


class Sense:
    """Compare the station's devices at every reading; used by its thread only."""

    def __init__(
        self, main: Kind, others: dict[str, tuple[str, Kind]], *, sensing: int = 4, slowest_s: float = 0.1
    ) -> None:
        """``others``: name and kind by device UUID, all that measure the cell's voltage or current."""
        self._sensing, self._slack_s = sensing, max(2.0 * slowest_s, 0.2)
        own = device_limits(main, "")
        span_a = max(abs(main.current_min_a or 0.0), abs(main.current_max_a or 0.0))
        self._compared: list[Compared] = []
        for device, (name, kind) in others.items():
            other = device_limits(kind, name, path=[main])
            measures = {each.name for each in kind.measures}
            if "voltage_v" in measures:
                allowed_v = own.voltage_accuracy_v + other.voltage_accuracy_v
                self._compared.append(Compared(device, name, "voltage_v", max(AGREE_MIN_V, allowed_v)))
            if "current_a" in measures and kind.role == "meter":
                allowed_a = own.current_accuracy_a + other.current_accuracy_a
                self._compared.append(
                    Compared(device, name, "current_a", max(AGREE_SHARE_A * span_a, allowed_a))
                )
        self._kept: deque[tuple[float, float | None, float | None]] = deque()

    def add(self, taken: Taken) -> str | None:
        """Take a reading; return which devices disagree and by how much, None while they agree."""
        if not self._compared:
            return None
        now_s = taken.taken_s
        self._kept.append((now_s, taken.voltage_v, taken.current_a))
        while now_s - self._kept[0][0] > KEEP_S:
            self._kept.popleft()
        for each in self._compared:
            if said := self._look(each, taken, taken.others.get(each.device)):
                return said
        return None

    def _look(self, each: Compared, taken: Taken, other: Measured | None) -> str | None:
        if other is None:
            return None  # missing: its limits judge that
        if other.began_s == each.last_began_s:
            return None  # the same value again says nothing new
        each.last_began_s = other.began_s
        value = getattr(other, each.quantity)
        apart = self._apart(each.quantity, value, other.began_s)
        if value is None or apart is None or apart <= each.allowed:
            each.since_s = None
            return None
        if each.since_s is None:
            each.since_s = other.began_s
        if other.began_s - each.since_s < DISAGREE_S:
            return None
        own = taken.voltage_v if each.quantity == "voltage_v" else taken.current_a
        what, unit = ("voltages", "V") if each.quantity == "voltage_v" else ("currents", "A")
        return (
            f"two {what} of the station disagree for {other.began_s - each.since_s:.1f} s:"
            f" {_number(own)} {unit} and {value:.3f} {unit} ({each.name}), allowed are {each.allowed:.3f} {unit}"
        )

    def _apart(self, quantity: str, value: float | None, began_s: float) -> float | None:
        """Return how far a value lies outside all that the power device read at that time."""
        if value is None:
            return None
        index = 1 if quantity == "voltage_v" else 2
        near = [row for row in self._kept if abs(row[0] - began_s) <= self._slack_s]
        if quantity == "voltage_v" and self._sensing < 4:
            near = [row for row in near if row[2] is not None and abs(row[2]) < REST_A]
        known = [row[index] for row in near if row[index] is not None]
        if not known:
            return None
        low, high = (
            min(each for each in known if each is not None),
            max(each for each in known if each is not None),
        )
        return max(low - value, value - high, 0.0)

    def forget(self) -> None:
        """Begin anew: nobody watched for a while."""
        self._kept.clear()
        for each in self._compared:
            each.since_s = None


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.3f}"
