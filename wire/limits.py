"""What a catalogue row means for the envelope; site and unit must compute it alike (safety.md rule 2)."""

from __future__ import annotations

from typing import Literal

from cycling.envelope import DeviceLimits
from wire.catalogue import Kind, KindMeasure

_MEASURES: dict[str, Literal["power", "meter"]] = {"power": "power", "meter": "meter"}


def device_limits(kind: Kind, name: str, role: str | None = None) -> DeviceLimits:
    """Return a device of this kind as the envelope sees it; ``role`` is its role in the station.

    An accuracy relative to the reading counts at the largest magnitude that the device can read.
    """
    voltage, current, temperature = (
        _measure(kind, each) for each in ("voltage_v", "current_a", "temperature_c")
    )
    span_v = max(abs(kind.voltage_min_v or 0.0), abs(kind.voltage_max_v or 0.0))
    span_a = max(abs(kind.current_min_a or 0.0), abs(kind.current_max_a or 0.0))
    return DeviceLimits(
        name=name,
        measures=_MEASURES.get(role or kind.role, "none"),
        voltage_min_v=kind.voltage_min_v,
        voltage_max_v=kind.voltage_max_v,
        current_min_a=kind.current_min_a,
        current_max_a=kind.current_max_a,
        power_min_w=kind.power_min_w,
        power_max_w=kind.power_max_w,
        voltage_accuracy_v=voltage.accuracy + voltage.accuracy_rel * span_v,
        voltage_resolution_v=voltage.resolution,
        current_accuracy_a=current.accuracy + current.accuracy_rel * span_a,
        current_resolution_a=current.resolution,
        temperature_accuracy_c=temperature.accuracy,
        discharge_cutoff_v=kind.settings.get("discharge_cutoff_v"),
    )


def _measure(kind: Kind, name: str) -> KindMeasure:
    return next((each for each in kind.measures if each.name == name), KindMeasure(name=name, unit=""))
