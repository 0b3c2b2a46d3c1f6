"""What a station is made of: the rules, the text kept as its version, and the message to its unit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from cycling.envelope import DeviceLimits, StationLimits
from web_server.lab.catalogue import kind_of
from web_server.lab.models import Device, Station, StationDevice, Unit
from web_server.lib import fields
from wire import messages
from wire.limits import device_limits

# Columns of every sample: a measure must not take their names (temperature_c is the cell's own).
RESERVED = frozenset(
    [
        "seq",
        "time_us",
        "elapsed_s",
        "step",
        "step_count",
        "cycle",
        "mode",
        "voltage_v",
        "current_a",
        "power_w",
        "flags",
        "charge_in_ah",
        "charge_out_ah",
        "energy_in_wh",
        "energy_out_wh",
    ]
)
LIMITS = tuple(
    field for field in StationLimits.__struct_fields__ if field not in ("measures", "outputs", "isolator")
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")


def problems(unit: Unit, body: Mapping[str, Any], station: Station | None) -> list[fields.Error]:
    """Return everything wrong with a composition; ``body`` holds `Device` rows, not their ids."""
    devices = [entry["device"] for entry in body["devices"]]
    return [
        *_unit(unit),
        *_devices(unit, body["devices"], devices, station),
        *_measures(body["measures"], devices),
        *_outputs(body["outputs"]),
        *_limits(body["limits"]),
        *_numbers(body),
    ]


def _unit(unit: Unit) -> list[fields.Error]:
    if unit.retired_at or not unit.approved:
        return [fields.error("unit", f"The unit {unit.name} is {unit.status}; approve it first.")]
    return []


def _devices(
    unit: Unit, entries: list[dict[str, Any]], devices: list[Device], station: Station | None
) -> list[fields.Error]:
    errors = []
    for device in devices:
        if device.unit_id != unit.pk:
            errors.append(
                fields.error(
                    "devices", f"{device} is on {device.unit.name}; a station has devices of one unit only."
                )
            )
        elif device.station_id is not None and (station is None or device.station_id != station.pk):
            errors.append(fields.error("devices", f"{device} is used by {device.station.name} already."))
    if len({device.pk for device in devices}) != len(devices):
        errors.append(fields.error("devices", "A device is named twice."))
    for entry in entries:
        if entry["role"] not in StationDevice.Role.values:
            known = ", ".join(StationDevice.Role.values)
            errors.append(fields.error("devices", f"Unknown role {entry['role']!r}; use one of {known}."))
        elif entry["role"] == "power" and entry["device"].model.role != "power":
            errors.append(fields.error("devices", f"{entry['device']} cannot drive a battery."))
    driving = [entry for entry in entries if entry["role"] == "power"]
    if not driving:
        errors.append(fields.error("devices", "A station needs a device with the role power."))
    elif len(driving) > 1:
        errors.append(
            fields.error("devices", "Units cannot drive a battery with two devices yet; choose one.")
        )
    return errors


def _measures(entries: list[dict[str, Any]], devices: list[Device]) -> list[fields.Error]:
    errors, seen = [], set()
    for entry in entries:
        name, device, measure = entry["name"], entry["device"], entry["measure"]
        if device not in devices:
            errors.append(fields.error("measures", f"{name}: {device} is not in this station."))
        elif measure not in device.model.measure_names:
            offered = ", ".join(device.model.measure_names) or "nothing"
            errors.append(
                fields.error("measures", f"{device} does not measure {measure!r}; it offers {offered}.")
            )
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            errors.append(
                fields.error("measures", f"{name!r} is no name: small letters, digits and _, a letter first.")
            )
        elif name in RESERVED:
            errors.append(
                fields.error("measures", f"{name} is a column of every sample; choose another name.")
            )
        if name in seen:
            errors.append(fields.error("measures", f"The name {name} is given twice."))
        seen.add(name)
    return errors


def _outputs(entries: Any) -> list[fields.Error]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return [fields.error("outputs", "outputs is a list of objects with a name.")]
    names = [entry.get("name") for entry in entries]
    errors = [
        fields.error("outputs", f"{name!r} is no name: small letters, digits and _, a letter first.")
        for name in names
        if not isinstance(name, str) or not _NAME.fullmatch(name)
    ]
    if len(set(map(str, names))) != len(names):
        errors.append(fields.error("outputs", "An output's name is given twice."))
    return errors


def _limits(limits: Any) -> list[fields.Error]:
    if not isinstance(limits, dict):
        return [fields.error("limits", "limits is an object of numbers.")]
    own = [*fields.unknown(limits, LIMITS, "station's limits"), *fields.numbers(limits, LIMITS)]
    if not own:
        for low, high in (
            ("voltage_min_v", "voltage_max_v"),
            ("current_min_a", "current_max_a"),
            ("temperature_min_c", "temperature_max_c"),
        ):
            own += fields.in_order(limits, low, high)
    return [{**error, "field": f"limits.{error['field']}"} for error in own]


def _numbers(body: Mapping[str, Any]) -> list[fields.Error]:
    errors = []
    if body["sensing"] not in (2, 4):
        errors.append(fields.error("sensing", "sensing is 2 (two-wire) or 4 (four-wire)."))
    errors += fields.numbers(body, ["loop_period_s"])
    if not errors and not 0.01 <= body["loop_period_s"] <= 10:
        errors.append(fields.error("loop_period_s", "loop_period_s is 0.01 to 10 s."))
    return errors


def configuration(station: Station) -> messages.StationConfigure:
    """Return the station as its unit needs it: the arguments of ``station.configure``."""
    uses = station.devices.select_related("device__model")
    return messages.StationConfigure(
        station=str(station.uuid),
        name=station.name,
        version=station.version,
        devices=[_device(use) for use in uses],
        measures=[
            messages.StationMeasure(device=str(row.device.uuid), measure=row.measure, name=row.name)
            for row in station.measures.select_related("device")
        ],
        outputs=msgspec.convert(station.outputs, list[messages.StationOutput]),
        limits=station.limits,
        loop_period_s=station.loop_period_s,
        sensing=station.sensing,
        retired=station.retired_at is not None,
    )


def _device(use: StationDevice) -> messages.StationDevice:
    device = use.device
    return messages.StationDevice(
        device=str(device.uuid),
        role=use.role,
        model=device.model.key,
        serial_number=device.serial_number,
        link=device.link_settings,
        name=str(device),
    )


def definition(station: Station) -> str:
    """Return the composition as one JSON text, the same for the same composition."""
    plain = msgspec.to_builtins(configuration(station))
    plain.pop("version")
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def limits_of_devices(station: Station) -> list[DeviceLimits]:
    """Return the station's devices as the envelope sees them."""
    uses = station.devices.select_related("device__model")
    return [device_limits(kind_of(use.device.model), str(use.device), use.role) for use in uses]


def limits_of_station(station: Station) -> StationLimits:
    """Return what the station itself adds to the envelope."""
    return StationLimits(
        **station.limits,
        measures=tuple(row.name for row in station.measures.all()),
        outputs=tuple(output["name"] for output in station.outputs),
        isolator=any(use.role == StationDevice.Role.ISOLATOR for use in station.devices.all()),
    )
