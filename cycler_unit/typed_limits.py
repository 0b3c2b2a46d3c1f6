"""Limits that a person types when taking a device in hand (safety.md rule 20): its own never suffice.

They hold for everything the device sets or measures in volts or amperes: an HV channel. What has no
such setting, a relay or a chamber, is bounded by its catalogue row and the duration.
"""

from __future__ import annotations

from collections.abc import Mapping

from cycler_unit.contract import Refusal
from wire.catalogue import Kind, KindControl
from wire.messages import DeviceLease

# Unit → (quantity, its size in the SI unit).
ELECTRICAL = {
    "kV": ("voltage", 1e3),
    "V": ("voltage", 1.0),
    "mV": ("voltage", 1e-3),
    "A": ("current", 1.0),
    "mA": ("current", 1e-3),
    "µA": ("current", 1e-6),
    "uA": ("current", 1e-6),
}
SI = {"voltage": "V", "current": "A"}
# safety.md rule 1: a trip needs this many readings in a row.
IN_A_ROW = 3


class TypedLimits:
    """The limits of one lease, and how often in a row its readings were outside them."""

    def __init__(self, args: DeviceLease) -> None:
        self._bounds: dict[str, tuple[float | None, float | None]] = {
            "voltage": (args.voltage_min_v, args.voltage_max_v),
            "current": (args.current_min_a, args.current_max_a),
        }
        self._outside = 0

    def refuse(self, control: KindControl, value: float) -> None:
        """Raise :class:`Refusal` when a setting leaves what was typed, or nothing was typed for it."""
        quantity, size = ELECTRICAL.get(control.unit, ("", 1.0))
        if not quantity:
            return
        low, high = self._bounds[quantity]
        if high is None:
            raise Refusal(
                f"{control.label} sets a {quantity}: name what is connected and its {quantity} limits when "
                "taking the device in hand"
            )
        wanted, least = value * size, low if low is not None else 0.0
        if not least <= wanted <= high:
            unit = SI[quantity]
            raise Refusal(
                f"{control.label} is {wanted:g} {unit}; typed for what is connected are {least:g} to {high:g} {unit}"
            )

    def judge(self, kind: Kind, values: Mapping[str, float | None]) -> str | None:
        """Return why the device has to go safe, None while its readings stay inside (3 in a row)."""
        why = self._why(kind, values)
        self._outside = self._outside + 1 if why is not None else 0
        return why if self._outside >= IN_A_ROW else None

    def _why(self, kind: Kind, values: Mapping[str, float | None]) -> str | None:
        for measure in kind.measures:
            quantity, size = ELECTRICAL.get(measure.unit, ("", 1.0))
            if not quantity or measure.name not in values:
                continue
            low, high = self._bounds[quantity]
            if high is None:
                continue
            value = values[measure.name]
            if value is None:
                return f"{measure.name} is missing"
            margin = (measure.accuracy + measure.resolution + measure.accuracy_rel * abs(value)) * size
            least = low if low is not None else 0.0
            if not least - margin <= value * size <= high + margin:
                unit = SI[quantity]
                return f"{measure.name} is {value * size:g} {unit}; typed are {least:g} to {high:g} {unit}"
        return None

    def any(self) -> bool:
        """Tell whether anything was typed."""
        return any(bound is not None for pair in self._bounds.values() for bound in pair)
