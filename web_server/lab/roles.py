"""Which device may do what in a station: the rules of roles, each refusal naming the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from web_server.lab.models import Device, DeviceModel, Station, StationDevice, Unit
from web_server.lib import fields

Role = StationDevice.Role


def why_not(model: DeviceModel, role: str) -> str:
    """Return why a device of this model cannot have ``role``, empty when it can."""
    names = set(model.measure_names)
    if role == Role.POWER and model.role != Role.POWER:
        return "it cannot drive a battery"
    if role == Role.METER and not names & {"voltage_v", "current_a"}:
        return "it measures neither voltage_v nor current_a"
    if role == Role.BMS and model.role != Role.BMS:
        return "it is no battery management system"
    if role == Role.FLOW and model.role != Role.FLOW:
        return "it is no flow meter"
    if role == Role.ISOLATOR and not any(control.get("switch") for control in model.controls):
        return "it has no switch"
    if role == Role.AUXILIARY and model.role == Role.POWER:
        return "it drives the battery: its role is power"
    return ""


def fitting(model: DeviceModel) -> list[tuple[str, str, str]]:
    """Return ``(role, its name, why not)`` of every role, those that fit first."""
    every = [(str(role), words(role), why_not(model, role)) for role in Role]
    return sorted(every, key=lambda entry: bool(entry[2]))


def said(role: str) -> str:
    """Return a role within a sentence."""
    return "BMS" if role == Role.BMS else role


def words(role: str) -> str:
    """Return a role as a person reads it."""
    return "BMS" if role == Role.BMS else str(Role(role).label)


def problems(unit: Unit, entries: Sequence[Mapping[str, Any]], station: Station | None) -> list[fields.Error]:
    """Return everything wrong with the devices of a station and their roles."""
    devices = [entry["device"] for entry in entries]
    errors = [error for device in devices for error in _free(unit, device, station)]
    if len({device.pk for device in devices}) != len(devices):
        errors.append(fields.error("devices", "A device is named twice."))
    for entry in entries:
        if entry["role"] not in Role.values:
            known = ", ".join(Role.values)
            errors.append(fields.error("devices", f"Unknown role {entry['role']!r}; use one of {known}."))
        elif reason := why_not(entry["device"].model, entry["role"]):
            errors.append(fields.error("devices", f"{entry['device']} cannot be {entry['role']}: {reason}."))
    return errors + _path([entry["device"] for entry in entries if entry["role"] == Role.POWER])


def _free(unit: Unit, device: Device, station: Station | None) -> list[fields.Error]:
    if device.unit_id != unit.pk:
        text = f"{device} is on {device.unit.name}; a station has devices of one unit only."
    elif device.station_id is not None and (station is None or device.station_id != station.pk):
        text = f"{device} is used by {device.station.name} already."
    elif device.zone_id is not None:
        text = f"{device} guards the zone {device.zone.name} already."
    else:
        return []
    return [fields.error("devices", text)]


def _path(driving: Sequence[Device]) -> list[fields.Error]:
    """One current path (rule 14): one power device, or one source with one load."""
    if not driving:
        return [fields.error("devices", "A station needs a device with the role power.")]
    if len(driving) == 1:
        return []
    if len(driving) > 2:
        return [fields.error("devices", "A battery is driven by one power device, or a source and a load.")]
    only_source = [device for device in driving if not discharges(device.model)]
    only_load = [device for device in driving if not charges(device.model)]
    if len(only_source) == 1 and len(only_load) == 1 and only_source != only_load:
        return []
    both = " and ".join(str(device) for device in driving)
    return [
        fields.error(
            "devices",
            f"{both}: two power devices drive one battery only as a source and a load, one of each.",
        )
    ]


def charges(model: DeviceModel) -> bool:
    """Whether a device of this model can push current into the cell."""
    return model.current_max_a is None or model.current_max_a > 0


def discharges(model: DeviceModel) -> bool:
    """Whether a device of this model can draw current from the cell."""
    return model.current_min_a is None or model.current_min_a < 0
