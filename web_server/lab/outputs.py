"""Auxiliary outputs: a control of a device under a name, with the values it takes on events."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from web_server.lab.models import Device, Station
from web_server.lib import fields

NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
# The values of an output that its control must be able to take.
_VALUES = ("minimum", "maximum", "safe", "on_trip", "on_finish", "normal")
_KNOWN = ("name", "device", "control", "minimum", "maximum", "safe", "on_trip", "on_finish")


def name_error(field: str, name: Any) -> list[fields.Error]:
    """Return the error of a text that is no name for steps."""
    if isinstance(name, str) and NAME.fullmatch(name):
        return []
    return [fields.error(field, f"{name!r} is no name: small letters, digits and _, a letter first.")]


def control_of(device: Device, name: Any) -> dict[str, Any] | None:
    """Return the catalogue's control of this name, or None when the device has no such control."""
    return next((control for control in device.model.controls if control["name"] == name), None)


def problems(
    field: str,
    entries: Any,
    devices: Iterable[Device],
    *,
    known: Collection[str] = _KNOWN,
    required: Collection[str] = ("name", "device", "control"),
) -> list[fields.Error]:
    """Return everything wrong with a list of outputs; ``device`` of each is a UUID as text."""
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        return [fields.error(field, f"{field} is a list of objects with {', '.join(required)}.")]
    by_uuid = {str(device.uuid): device for device in devices}
    errors = []
    for entry in entries:
        errors += _entry(field, entry, by_uuid, known, required)
    names = [str(entry.get("name")) for entry in entries]
    if len(set(names)) != len(names):
        errors.append(fields.error(field, "An output's name is given twice."))
    taken = [(str(entry.get("device")), entry.get("control")) for entry in entries]
    if len(set(taken)) != len(taken):
        errors.append(fields.error(field, "Two outputs are the same control of one device."))
    return errors


def _entry(
    field: str,
    entry: Mapping[str, Any],
    devices: Mapping[str, Device],
    known: Collection[str],
    required: Collection[str],
) -> list[fields.Error]:
    name = entry.get("name")
    errors = [*name_error(field, name)]
    errors += [
        fields.error(field, f"An output has no field {part!r}.") for part in entry if part not in known
    ]
    missing = [part for part in required if entry.get(part) is None]
    if missing:
        errors.append(fields.error(field, f"The output {name!r} lacks {', '.join(missing)}."))
    errors += [{**error, "field": field} for error in fields.numbers(entry, _VALUES)]
    if errors:
        return errors
    device = devices.get(str(entry["device"]))
    if device is None:
        return [fields.error(field, f"{name}: its device is not among those chosen here.")]
    control = control_of(device, entry["control"])
    if control is None:
        offered = ", ".join(each["name"] for each in device.model.controls) or "none"
        return [fields.error(field, f"{device} has no control {entry['control']!r}; it has {offered}.")]
    return _values(field, entry, control)


def _values(field: str, entry: Mapping[str, Any], control: Mapping[str, Any]) -> list[fields.Error]:
    """Return errors of values outside the control's range, or outside the output's own."""
    name, errors = entry["name"], []
    low, high = bounds(control)
    for part in _VALUES:
        given = entry.get(part)
        if given is None:
            continue
        if control.get("switch") and given not in (0, 1):
            errors.append(fields.error(field, f"{name}: {part} of a switch is 0 or 1, not {given:g}."))
        elif (low is not None and given < low) or (high is not None and given > high):
            span = f"{low if low is not None else 'any'} to {high if high is not None else 'any'}"
            unit = f" {control['unit']}" if control.get("unit") else ""
            errors.append(fields.error(field, f"{name}: {part} {given:g} is outside {span}{unit}."))
    least, most = entry.get("minimum"), entry.get("maximum")
    if least is not None and most is not None and least > most:
        errors.append(fields.error(field, f"{name}: minimum {least:g} is above maximum {most:g}."))
    for part in ("safe", "on_trip", "on_finish"):
        given = entry.get(part)
        if given is None or errors:
            continue
        if (least is not None and given < least) or (most is not None and given > most):
            errors.append(fields.error(field, f"{name}: {part} {given:g} is outside its own range."))
    return errors


def bounds(control: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the least and the largest value of a control; a switch takes 0 and 1."""
    if control.get("switch"):
        return 0.0, 1.0
    return control.get("minimum"), control.get("maximum")


def composed(station: Station | None, device: Device) -> dict[str, Mapping[str, Any]]:
    """Return the outputs that a station made of a device's controls, by control."""
    entries = station.outputs if station is not None else []
    return {str(each["control"]): each for each in entries if str(each["device"]) == str(device.uuid)}


def within(control: Mapping[str, Any], output: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return what may be set of a control by hand: its own range within that of a station's output."""
    low, high = bounds(control)
    return tighter(max, low, output.get("minimum")), tighter(min, high, output.get("maximum"))


def tighter(pick: Callable[[Iterable[float]], float], one: float | None, other: float | None) -> float | None:
    """Return the one of two bounds that ``pick`` (``max`` of lows, ``min`` of highs) chooses; None is none."""
    given = [each for each in (one, other) if each is not None]
    return pick(given) if given else None
