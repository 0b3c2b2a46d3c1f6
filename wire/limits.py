"""What a catalogue row means for the envelope; site and unit must compute it alike (safety.md rule 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from cycling.contract import STATION_BOUNDS
from cycling.envelope import DeviceLimits, StationLimits
from wire.catalogue import Kind, KindMeasure
from wire.messages import StationConfigure

_MEASURES: dict[str, Literal["power", "meter"]] = {"power": "power", "meter": "meter"}


def device_limits(kind: Kind, name: str, role: str | None = None, path: Sequence[Kind] = ()) -> DeviceLimits:
    """Return a device of this kind as the envelope sees it; ``role`` is its role in the station.

    An accuracy relative to the reading counts at the largest magnitude that the device can read, and that
    the ``path``, the power devices of its station, can bring: a meter of 1000 V on a cell reads no 1000 V.
    """
    voltage, current, temperature = (
        _measure(kind, each) for each in ("voltage_v", "current_a", "temperature_c")
    )
    degrees = [each for each in kind.measures if each.unit == "°C"]
    cells = [each for each in kind.measures if each.unit == "V" and "cell" in each.name]
    span_v = _span(kind, "voltage_min_v", "voltage_max_v", path)
    span_a = _span(kind, "current_min_a", "current_max_a", path)
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
        temperature_accuracy_c=max([temperature.accuracy, *(each.accuracy for each in degrees)]),
        temperature_resolution_c=max([temperature.resolution, *(each.resolution for each in degrees)]),
        cell_voltage_accuracy_v=max((each.accuracy + each.resolution for each in cells), default=0.0),
        discharge_cutoff_v=kind.settings.get("discharge_cutoff_v"),
        store_voltage_min_v=kind.settings.get("store_voltage_min_v"),
        store_voltage_max_v=kind.settings.get("store_voltage_max_v"),
        guards_charge=_guards(kind, "guards_charge"),
        guards_discharge=_guards(kind, "guards_discharge"),
    )


def _span(kind: Kind, low: str, high: str, path: Sequence[Kind]) -> float:
    """Return the largest magnitude that a device reads in its station; 0 when it is not known."""
    spans: list[float] = [
        max(abs(getattr(each, low) or 0.0), abs(getattr(each, high) or 0.0)) for each in (kind, *path)
    ]
    own, *most = spans
    return min(own, max(most)) if any(most) else own


def _guards(kind: Kind, name: str) -> bool:
    """Say whether the device, left alone, bounds a direction: by itself or by its communication timeout."""
    if kind.off is None:
        return kind.role != "power"
    return bool(getattr(kind.off, name)) or kind.off.communication_timeout_s is not None


def station_limits(configure: StationConfigure) -> StationLimits:
    """Return what a station adds to the envelope; a bound that is not known is refused elsewhere.

    Raises ``msgspec.ValidationError`` for a bound that is no number.
    """
    return StationLimits(
        **msgspec.convert(
            {name: configure.limits[name] for name in STATION_BOUNDS if name in configure.limits},
            dict[str, float | None],
            strict=False,
        ),
        measures=tuple(each.name for each in configure.measures),
        outputs=tuple(each.name for each in configure.outputs),
        output_ranges={each.name: (each.minimum, each.maximum) for each in configure.outputs},
        isolator=any(each.role == "isolator" for each in configure.devices),
        quadrants=configure.quadrants,
        leak_a=configure.leak_a,
        dead_man=configure.dead_man is not None and configure.dead_man != "",
        unguarded_max_wh=configure.unguarded_max_wh,
    )


def _measure(kind: Kind, name: str) -> KindMeasure:
    return next((each for each in kind.measures if each.name == name), KindMeasure(name=name, unit=""))
