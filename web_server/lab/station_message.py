"""A station and its zone as their unit needs them, and as the envelope sees them."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from cycling.envelope import DeviceLimits, StationLimits
from web_server.lab.catalogue import kind_of
from web_server.lab.models import Device, DeviceModel, Station, StationDevice, Zone
from wire import messages
from wire.limits import device_limits, station_limits


def configuration(station: Station) -> messages.StationConfigure:
    """Return the station as its unit needs it: the arguments of ``station.configure``."""
    uses = list(station.devices.select_related("device__model"))
    return messages.StationConfigure(
        station=str(station.uuid),
        name=station.name,
        version=station.version,
        devices=[_device(use.device, use.role) for use in uses],
        measures=[
            messages.StationMeasure(device=str(row.device.uuid), measure=row.measure, name=row.name)
            for row in station.measures.select_related("device")
        ],
        outputs=_outputs(station, uses),
        limits=station.limits,
        loop_period_s=station.loop_period_s,
        sensing=station.sensing,
        quadrants=station.quadrants,  # type: ignore[arg-type]
        zone=_zone(station.zone) if station.zone else None,
        leak_a=station.leak_a,
        dead_man=station.dead_man or None,
        unguarded_max_wh=station.unguarded_max_wh,
        retired=station.retired_at is not None,
    )


# What a step's temperature_c sets.
CHAMBER = "temperature_c"


def _outputs(station: Station, uses: list[StationDevice]) -> list[messages.StationOutput]:
    """Return the outputs with their device's range where they have no own, and the chamber of the station.

    A chamber is set by ``temperature_c`` of a step though nobody made an output of it: unit and site
    must know of it alike, or the site refuses what the unit can do.
    """
    models = {str(use.device.uuid): use.device.model for use in uses}
    outputs = msgspec.convert(station.outputs, list[messages.StationOutput])
    named = {(each.device, each.control): each for each in outputs}
    if not any(each.name == CHAMBER for each in outputs):
        outputs += [
            # With a name of its own it is the same output: its range and its values hold for both names.
            msgspec.structs.replace(named[device, control["name"]], name=CHAMBER)
            if (device, control["name"]) in named
            else messages.StationOutput(name=CHAMBER, device=device, control=control["name"])
            for device, model in models.items()
            for control in model.controls
            if model.type == "Chamber" and control.get("unit") == "°C"
        ][:1]
    return [_within(each, models.get(each.device)) for each in outputs]


def _within(output: messages.StationOutput, model: DeviceModel | None) -> messages.StationOutput:
    control = (
        next((each for each in model.controls if each["name"] == output.control), None) if model else None
    )
    if control is None:
        return output
    low, high = (0.0, 1.0) if control.get("switch") else (control.get("minimum"), control.get("maximum"))
    return msgspec.structs.replace(
        output,
        minimum=low if output.minimum is None else output.minimum,
        maximum=high if output.maximum is None else output.maximum,
    )


def _device(device: Device, role: str) -> messages.StationDevice:
    return messages.StationDevice(
        device=str(device.uuid),
        role=role,
        model=device.model.key,
        serial_number=device.serial_number,
        link=device.link_settings,
        name=str(device),
        kind=as_kind(device.model) if device.model.source == OWN else None,
    )


# The source of a model that people added on the site: no unit knows its row by itself.
OWN = "operator"


def as_kind(model: DeviceModel) -> dict[str, Any]:
    """Return the whole catalogue row, as it travels to a unit that does not know it."""
    return dict(msgspec.to_builtins(kind_of(model)))


def own_kinds() -> list[dict[str, Any]]:
    """Return the rows of all models that people added on the site."""
    return [as_kind(model) for model in DeviceModel.objects.filter(source=OWN)]


def _zone(zone: Zone) -> messages.Zone:
    devices = zone.used_devices.select_related("model").order_by("pk")
    return messages.Zone(
        zone=str(zone.uuid),
        name=zone.name,
        devices=[_device(device, StationDevice.Role.AUXILIARY) for device in devices],
        interlocks=msgspec.convert(zone.interlocks, list[messages.Interlock]),
        outputs=msgspec.convert(zone.outputs, list[messages.ZoneOutput]),
        max_age_s=zone.max_age_s,
    )


def definition(station: Station) -> str:
    """Return the composition as one JSON text, the same for the same composition."""
    plain = msgspec.to_builtins(configuration(station))
    plain.pop("version")
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def limits_of_devices(station: Station) -> list[DeviceLimits]:
    """Return the station's devices as the envelope sees them."""
    uses = list(station.devices.select_related("device__model"))
    path = [kind_of(use.device.model) for use in uses if use.role == StationDevice.Role.POWER]
    return [device_limits(kind_of(use.device.model), str(use.device), use.role, path) for use in uses]


def limits_of_station(station: Station) -> StationLimits:
    """Return what the station itself adds to the envelope, as the unit computes it too."""
    return station_limits(configuration(station))
