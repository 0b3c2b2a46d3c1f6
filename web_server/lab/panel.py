"""What a control page shows: what can be set, what is read, who holds it (ui.md "Control")."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import OuterRef, Subquery

from web_server.commands.models import Command
from web_server.lab import control, holds, outputs, roles, stops
from web_server.lab.models import Device, Hold, Station, StationDevice
from web_server.lib import numbers
from web_server.measurements.models import DeviceReading

# The set points of what drives a battery: name, words, unit.
POWER = (
    ("current_a", "Current", "A", "positive charges"),
    ("voltage_v", "Voltage", "V", ""),
    ("power_w", "Power", "W", "positive charges"),
)
MODES = (("cc", "constant current"), ("cv", "constant voltage"), ("cp", "constant power"))
# A switch is a state, no quantity.
_NO_UNIT = ("bool", "mask", "code", "1", "")
# How the pages call the limits that a person types.
TYPED = (
    ("voltage_min_v", "Voltage at least", "V"),
    ("voltage_max_v", "Voltage at most", "V"),
    ("current_min_a", "Largest discharge", "A"),
    ("current_max_a", "Largest charge", "A"),
)


@dataclass
class Knob:
    """One setting as the page draws it."""

    name: str
    label: str
    unit: str
    low: float | None
    high: float | None
    step: float
    switch: bool
    safe: float | None
    measure: str
    output: str = ""


@dataclass
class Read:
    """One reading; ``value`` None = missing."""

    name: str
    label: str
    unit: str
    value: float | None
    switch: bool
    # What 1 and 0 of a switch are called: what is set is on or off, what is only seen is true or not.
    yes: str = "on"
    no: str = "off"


@dataclass
class Part:
    """One device: what it is set by, and what it reads."""

    device: Device
    role: str
    power: bool
    knobs: list[Knob] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    read_at: datetime | None = None
    span: list[tuple[str, str, str, str, float | None, float | None]] = field(default_factory=list)


@dataclass
class Panel:
    """A device or a station by hand."""

    target: Device | Station
    station: Station | None
    parts: list[Part]
    hold: Hold | None
    stop: Command | None
    battery: Any
    needs_limits: bool
    refused: str
    typed: list[tuple[str, str, str, float | None, float | None]]

    @property
    def loose(self) -> bool:
        """Whether it drives a battery and is in no station: nobody can take it by hand."""
        return isinstance(self.target, Device) and control.is_loose(self.target)


def of_station(station: Station) -> Panel:
    """Return the control page of a station; its devices must be prefetched."""
    # What drives the battery stands first.
    uses = sorted(station.devices.all(), key=lambda use: use.role != StationDevice.Role.POWER)
    readings = latest([use.device for use in uses])
    driving = next((use for use in uses if use.role == StationDevice.Role.POWER), None)
    parts = [
        _part(use.device, use.role, readings.get(use.device_id), use is driving, station) for use in uses
    ]
    if driving is not None:
        _live(parts[uses.index(driving)], station)
    return _panel(station, station, parts)


def of_device(device: Device) -> Panel:
    """Return the control page of a device."""
    part = _part(device, str(device.model.role), latest([device]).get(device.pk), False)
    return _panel(device, device.station, [part])


def _panel(target: Device | Station, station: Station | None, parts: list[Part]) -> Panel:
    held_through = station if isinstance(target, Device) and station is not None else target
    spans = control.span(target) if control.needs_limits(target) else {}
    return Panel(
        target=target,
        station=station,
        parts=parts,
        # A trip has ended the lease on the unit before the site hears so.
        hold=None if _is_latched(station) else holds.now(held_through),
        stop=_stop(target),
        battery=target.loaded_battery if isinstance(target, Station) else None,
        needs_limits=bool(spans),
        refused=why_not(target),
        typed=[(name, label, unit, *spans[name]) for name, label, unit in TYPED if name in spans],
    )


def _is_latched(station: Station | None) -> bool:
    return station is not None and station.state in (Station.State.TRIPPED, Station.State.UNSAFE)


def why_not(target: Device | Station) -> str:
    """Return why nobody can take control of it now, empty when somebody may try."""
    unit = target.unit
    if unit.retired_at or not unit.approved:
        return f"Its unit {unit.name} is {unit.status}."
    if not unit.online:
        return f"Its unit {unit.name} is offline: it could not be told anything."
    if isinstance(target, Device):
        if target.zone is not None:
            return f"It guards the zone {target.zone.name}; it is not for hands."
        if control.is_loose(target):
            return f"It {control.LOOSE}."
        if target.connected:
            return ""
        return f"It is not reached: {target.detail}" if target.detail else "Its unit did not find it last."
    if target.retired_at:
        return "It is retired."
    if target.experiment:
        return f"It is running {target.experiment.name}. Down stops that."
    if _is_latched(target):
        return f"It is {target.state}: {target.state_detail or 'acknowledge its alarm first'}."
    return ""


def _part(
    device: Device, role: str, reading: DeviceReading | None, power: bool, station: Station | None = None
) -> Part:
    values = reading.values if reading else {}
    part = Part(device, roles.said(role), power, read_at=reading.at if reading else None)
    set_by = {str(each.get("measure") or "") for each in device.model.controls}
    part.reads = [_read(measure, values, set_by) for measure in device.model.measures]
    if role != StationDevice.Role.POWER:
        composed = outputs.composed(station, device)
        part.knobs = [
            _knob(each, composed.get(str(each["name"]), {}))
            for each in sorted(device.model.controls, key=_order)
        ]
    if power:
        part.span = [
            (name, label, unit, hint, *_within(device, station, name)) for name, label, unit, hint in POWER
        ]
    return part


def _live(part: Part, station: Station) -> None:
    """Put the station's newest reading over the device's own last recorded one."""
    newest = station.reading or {}
    if station.reading_at and (part.read_at is None or station.reading_at > part.read_at):
        part.read_at = station.reading_at
        for read in part.reads:
            if read.name in newest:
                read.value = newest[read.name]


def _within(device: Device, station: Station | None, name: str) -> tuple[float | None, float | None]:
    """Return what may be set of a quantity: the device's range within the station's own limits."""
    quantity, unit = name.rsplit("_", 1)
    own = station.limits if station is not None else {}
    low, high = f"{quantity}_min_{unit}", f"{quantity}_max_{unit}"
    return (
        outputs.tighter(max, getattr(device.model, low), own.get(low)),
        outputs.tighter(min, getattr(device.model, high), own.get(high)),
    )


def _order(entry: Mapping[str, Any]) -> tuple[int, str]:
    return (0 if entry.get("switch") else 1, str(entry["label"]))


def _knob(entry: Mapping[str, Any], composed: Mapping[str, Any]) -> Knob:
    """Return a control with the range and the safe value that the station gave its output."""
    low, high = outputs.within(entry, composed)
    safe = entry.get("safe") if composed.get("safe") is None else composed["safe"]
    unit = str(entry.get("unit") or "")
    return Knob(
        name=str(entry["name"]),
        label=str(entry["label"]),
        unit="" if unit in _NO_UNIT else unit,
        low=low,
        high=high,
        step=float(entry.get("step") or 0),
        switch=bool(entry.get("switch")),
        safe=safe,
        measure=str(entry.get("measure") or ""),
        output=str(composed.get("name") or ""),
    )


def _read(measure: Mapping[str, Any], values: Mapping[str, Any], set_by: Collection[str]) -> Read:
    unit = str(measure.get("unit") or "")
    name = str(measure["name"])
    yes, no = ("on", "off") if name in set_by else ("yes", "no")
    return Read(
        name, words(name), "" if unit in _NO_UNIT else unit, values.get(name), unit == "bool", yes, no
    )


def words(name: str) -> str:
    """Return a measure's name as a person reads it: without its unit, which stands at the number."""
    known = {
        "voltage_v": "Voltage",
        "current_a": "Current",
        "power_w": "Power",
        "hs_voltage_v": "High side",
        "estop_released": "E-stop released",
    }
    stem = name.removesuffix("_ml_min")
    stem = stem.rpartition("_")[0] if stem.rpartition("_")[2] in _SUFFIXES else stem
    return known.get(name) or stem.replace("_", " ").capitalize()


_SUFFIXES = frozenset(
    (
        "v",
        "a",
        "w",
        "c",
        "ah",
        "wh",
        "s",
        "ohm",
        "pa",
        "bar",
        "mbar",
        "hz",
        "pct",
        "percent",
        "ppm",
        "kg",
        "m3",
        "kv",
    )
)


def _stop(target: Device | Station) -> Command | None:
    open_stops = stops.unconfirmed([target.unit_id])
    if isinstance(target, Station):
        return stops.of_station(target, open_stops)
    return stops.of_device(target, open_stops)


def latest(devices: Iterable[Device]) -> dict[int, DeviceReading]:
    """Return the newest recorded reading of each device by its primary key, in two queries."""
    newest = DeviceReading.objects.filter(device=OuterRef("pk")).order_by("-at").values("pk")[:1]
    keys = (
        Device.objects.filter(pk__in=[device.pk for device in devices])
        .annotate(newest=Subquery(newest))
        .values_list("newest", flat=True)
    )
    rows = DeviceReading.objects.filter(pk__in=[key for key in keys if key is not None])
    return {row.device_id: row for row in rows}


def outputs_in_words(station: Station) -> list[dict[str, str | None]]:
    """Return each output of a station with what it takes on events and holds now: a switch is on or off."""
    models = {str(use.device.uuid): use.device.model for use in station.devices.all()}
    shown: list[dict[str, str | None]] = []
    for entry in station.outputs:
        model = models.get(str(entry.get("device")))
        known = {str(each["name"]): each for each in model.controls} if model is not None else {}
        control_ = known.get(str(entry.get("control")), {})
        values = {**entry, "now": station.output_values.get(entry["name"])}
        parts = ("minimum", "maximum", "safe", "on_trip", "on_finish", "now")
        said = {part: _amount(values.get(part), control_) for part in parts}
        shown.append({"name": str(entry["name"]), **said})
    return shown


def _amount(value: float | None, entry: Mapping[str, Any]) -> str | None:
    if value is None:
        return None
    if entry.get("switch"):
        return "on" if value else "off"
    unit = str(entry.get("unit") or "")
    return numbers.setting(value, "" if unit in _NO_UNIT else unit)


def drill_s(station: Station) -> str:
    """Return how long a drill of the running test lasts unless somebody types another time."""
    run = station.experiment
    return f"{run.off_after_s:g}" if run is not None and run.off_after_s else "30"


def composed(station: Station) -> list[str]:
    """Say what of a station's composition the devices cannot do, for its page."""
    uses = [use.device.model for use in station.devices.all() if use.role == StationDevice.Role.POWER]
    said = []
    if uses and not any(roles.discharges(model) for model in uses):
        said.append("It cannot discharge: none of its devices draws current.")
    if uses and not any(roles.charges(model) for model in uses):
        said.append("It cannot charge: none of its devices gives current.")
    return said
