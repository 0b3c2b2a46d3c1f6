"""Control by hand: leases, set points, Down (safety.md rule 20).

The unit is the truth: it grants the lease, keeps the limits and falls back to off by itself. The site
says who asks, what is connected and within which limits, and refuses what can never be right.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import Any

from cycling import envelope
from cycling.envelope import EnvelopeError
from cycling.steps import Safety
from web_server.accounts.models import Person
from web_server.cells.models import Battery
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.experiments import hazards
from web_server.experiments.contract import battery_limits
from web_server.lab import composition, holds, outputs
from web_server.lab.models import Device, DeviceModel, Hold, Station, StationDevice
from web_server.lib import fields
from web_server.lib.errors import Refused
from wire import messages

# A renewal that is not sent by then would renew a lease that has lapsed.
LEASE_EXPIRES_S = 5.0
SET_EXPIRES_S = 10.0
# Nobody stands beside an improvised set-up for longer than a working day: that is an experiment.
LONGEST_S = 8 * 3600.0
TYPED = ("voltage_min_v", "voltage_max_v", "current_min_a", "current_max_a")
# Why a power device is not controlled by itself.
LOOSE = (
    "moves current and is in no station: compose a station with it, which names its limits and its "
    "battery, and control that by hand"
)
MODES = ("off", "cc", "cv", "cp")
# What a power device must be told in each mode.
_NEEDS = {"off": (), "cc": ("current_a",), "cv": ("voltage_v",), "cp": ("power_w",)}
_SET = ("current_a", "voltage_v", "power_w")
_ELECTRICAL = ("V", "A", "W", "kV", "mA")

Target = Device | Station


def needs_limits(target: Target) -> bool:
    """Whether something could be harmed by voltage or current: then both are typed."""
    if isinstance(target, Station):
        return True
    return drives(target.model)


def is_loose(device: Device) -> bool:
    """Whether a device drives a battery and is in no station, so that nobody knows what it may do."""
    return device.model.role == StationDevice.Role.POWER and device.station is None


def drives(model: DeviceModel) -> bool:
    """Whether a model puts voltage or current onto what is connected."""
    if model.role == StationDevice.Role.POWER:
        return True
    return any(control.get("unit") in _ELECTRICAL for control in model.controls)


def lease(by: Person, target: Target, **asked: Any) -> Command:
    """Take, renew or give back the exclusive lease of a device or station.

    ``asked``: ``lease`` (UUID, made here when missing), ``release``, ``connected`` (battery or other)
    and for other: the typed limits with ``duration_s``. A lease that its holder names again is renewed
    on the terms it was taken on.

    Raises:
        NotAllowed: the role is too low.
        Refused: it cannot be taken, or the limits make no sense; each error names its field.
    """
    key = str(asked.get("lease") or uuid.uuid4())
    held: Hold | None = holds.of(target).filter(lease=key).first()
    if asked.get("release"):
        args = messages.DeviceLease(lease=key, person=by.get_username(), release=True, **_named(target))
        return _request("device.lease", args, target, by)
    if held is not None and held.person_id == by.pk:
        return _renew(by, target, held)
    if asked.get("lease") and len(asked) == 1:
        raise Refused.one("This lease has ended, or is somebody else's; take control again.", "lease")
    _refuse_taken(target)
    terms = _terms(target, asked)
    args = messages.DeviceLease(lease=key, person=by.get_username(), **_named(target), **terms)
    return _request("device.lease", args, target, by)


def _renew(by: Person, target: Target, held: Hold) -> Command:
    """Renew a lease by the message that took it; its closed renewal before this one is dropped.

    A page renews every 3 s: kept, the rows would bury what people did.
    """
    before = Command.objects.filter(kind="device.lease", issued_by=by, status=Command.Status.DONE)
    before.filter(created_at__gt=held.taken_at, args_text__contains=str(held.lease)).delete()
    args = {name: given for name, given in held.terms.items() if name != "where"}
    return _request("device.lease", args, target, by, audited=False)


def _refuse_taken(target: Target) -> None:
    if isinstance(target, Device):
        if target.station is not None:
            raise Refused.one(
                f"{target} is part of {target.station.name}; take {target.station.name}.", "device"
            )
        if target.zone is not None:
            raise Refused.one(f"{target} guards the zone {target.zone.name}; it is not for hands.", "device")
        if target.model.role == StationDevice.Role.POWER:
            raise Refused.one(f"{target} {LOOSE}", "device")
        return
    if target.retired_at:
        raise Refused.one(f"{target.name} is retired.", "station")
    if target.experiment:
        raise Refused.one(f"{target.name} is running {target.experiment.name}.", "station")


def _terms(target: Target, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is connected and within which limits, as the unit is told."""
    connected = asked.get("connected") or "other"
    battery = target.loaded_battery if isinstance(target, Station) else None
    if connected == "battery":
        return _of_battery(target, battery, asked)
    if battery is not None:
        raise Refused.one(
            f"{battery.name} is loaded in {target}: take control of it, or eject it first.", "connected"
        )
    wanted = [*(TYPED if needs_limits(target) else ()), "duration_s"]
    errors = fields.numbers(asked, wanted)
    errors += [fields.error(name, f"Give {name}.") for name in wanted if asked.get(name) is None]
    errors += _duration(asked.get("duration_s"))
    typed = {name: asked[name] for name in wanted if asked.get(name) is not None}
    if not errors and needs_limits(target):
        errors = _limits(target, typed)
    if errors:
        raise Refused(errors)
    return {"connected": "other", **typed}


def _duration(given: Any) -> list[fields.Error]:
    if isinstance(given, int | float) and math.isfinite(given) and not 1 <= given <= LONGEST_S:
        return [fields.error("duration_s", "duration_s is 1 s to 8 h; longer is an experiment.")]
    return []


def _limits(target: Target, typed: Mapping[str, float]) -> list[fields.Error]:
    errors = fields.in_order(typed, "voltage_min_v", "voltage_max_v")
    errors += fields.in_order(typed, "current_min_a", "current_max_a")
    if typed["current_min_a"] > 0 or typed["current_max_a"] < 0:
        text = "current_min_a is zero or negative (out of it), current_max_a zero or positive (into it)."
        errors.append(fields.error("current_min_a", text))
    return errors + _wider(target, typed)


def _wider(target: Target, typed: Mapping[str, float]) -> list[fields.Error]:
    """Refuse limits that the devices or the station's wires do not have."""
    errors = []
    for name, (low, high) in span(target).items():
        given = typed[name]
        if (low is not None and given < low) or (high is not None and given > high):
            bound = f"{'' if low is None else f'{low:g}'} to {'' if high is None else f'{high:g}'}"
            errors.append(fields.error(name, f"{name} {given:g} is outside what {target} can do: {bound}."))
    return errors


def span(target: Target) -> dict[str, tuple[float | None, float | None]]:
    """Return the least and largest that each typed limit may be: the devices', and the station's own."""
    if isinstance(target, Station):
        uses = target.devices.select_related("device__model")
        models = [use.device.model for use in uses if use.role == StationDevice.Role.POWER]
        own: Mapping[str, Any] = target.limits
    else:
        models, own = [target.model], {}
    voltage = _within("voltage", models, own, "v")
    current = _within("current", models, own, "a")
    return {
        "voltage_min_v": (None, voltage[1]),
        "voltage_max_v": (None, voltage[1]),
        "current_min_a": (current[0], None),
        "current_max_a": (None, current[1]),
    }


def _within(
    quantity: str, models: list[DeviceModel], own: Mapping[str, Any], unit: str
) -> tuple[float | None, float | None]:
    lows = [getattr(model, f"{quantity}_min_{unit}") for model in models]
    highs = [getattr(model, f"{quantity}_max_{unit}") for model in models]
    # Source and load take turns: the widest of them, then the tighter of that and the wires.
    low = min((entry for entry in lows if entry is not None), default=None)
    high = max((entry for entry in highs if entry is not None), default=None)
    mine_low, mine_high = own.get(f"{quantity}_min_{unit}"), own.get(f"{quantity}_max_{unit}")
    return (
        max((entry for entry in (low, mine_low) if entry is not None), default=None),
        min((entry for entry in (high, mine_high) if entry is not None), default=None),
    )


def _of_battery(target: Target, battery: Battery | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(target, Station) or battery is None:
        raise Refused.one(f"No battery is recorded as loaded in {target}.", "connected")
    typed = [name for name in (*TYPED, "duration_s") if asked.get(name) is not None]
    if typed:
        raise Refused.one(f"{battery.name} has limits of its own: leave {', '.join(typed)} out.", typed[0])
    if battery.quarantined:
        raise Refused.one(f"{battery.name} is quarantined: record an inspection first.", "connected")
    if problems := hazards.by_hand(battery, battery_limits(battery), target):
        raise Refused(problems)
    text = envelope_of(battery, target)
    return {
        "connected": "battery",
        "battery": str(battery.uuid),
        "envelope": text,
        "envelope_sha256": envelope.sha256(text),
    }


def envelope_of(battery: Battery, station: Station) -> str:
    """Return the text of the limits of ``battery`` in ``station``, without a profile.

    Raises:
        Refused: they leave nothing, with every limit that is in the way.
    """
    devices = composition.limits_of_devices(station)
    own = composition.limits_of_station(station)
    try:
        return envelope.canonical(envelope.compute(battery_limits(battery), devices, own, Safety()))
    except EnvelopeError as error:
        raise Refused([fields.error("envelope", problem) for problem in error.problems]) from None


def set_values(
    by: Person, target: Target, lease_id: str, values: Mapping[str, Any], device: Device | None = None
) -> Command:
    """Set controls under a lease; ``device`` names which one of a station.

    Raises:
        NotAllowed: the role is too low.
        Refused: a control or a value that the device does not have, each by its name.
    """
    chosen = device or driving(target)
    role = _role(target, chosen)
    problems = (
        power_problems(values)
        if role == StationDevice.Role.POWER
        else control_problems(chosen, values, target if isinstance(target, Station) else None)
    )
    if problems:
        raise Refused([{**problem, "field": f"values.{problem['field']}"} for problem in problems])
    plain = {name: given if isinstance(given, str) else float(given) for name, given in values.items()}
    args = messages.DeviceSet(
        lease=str(lease_id), device=str(chosen.uuid), values=plain, person=by.get_username()
    )
    return _request("device.set", args, target, by, expires_s=SET_EXPIRES_S)


def driving(target: Target) -> Device:
    """Return the device itself, or what drives the battery of a station."""
    if isinstance(target, Device):
        if target.model.role == StationDevice.Role.POWER:
            raise Refused.one(f"{target} {LOOSE}", "device")
        return target
    use = target.devices.filter(role=StationDevice.Role.POWER).select_related("device__model").first()
    if use is None:
        raise Refused.one(f"{target} has no device that drives a battery.", "device")
    return use.device


def _role(target: Target, device: Device) -> str:
    """Return what the device does there; one in no station is set by its controls."""
    if isinstance(target, Device):
        return ""
    use = target.devices.filter(device=device).first()
    if use is None:
        raise Refused.one(f"{device} is not part of {target.name}.", "device")
    return str(use.role)


def power_problems(values: Mapping[str, Any]) -> list[fields.Error]:
    """Return what is wrong with the set points of a power device."""
    errors = fields.unknown(values, ("mode", *_SET), "power device")
    errors += fields.numbers(values, _SET)
    mode = values.get("mode")
    if mode not in MODES:
        return [*errors, fields.error("mode", f"mode is one of {', '.join(MODES)}.")]
    errors += [
        fields.error(name, f"{mode} needs {name}.") for name in _NEEDS[mode] if values.get(name) is None
    ]
    return errors


def control_problems(
    device: Device, values: Mapping[str, Any], station: Station | None = None
) -> list[fields.Error]:
    """Return what is wrong with the values for a device's controls, by the catalogue and the station."""
    if not values:
        return [fields.error("", "Name at least one control.")]
    errors, composed = [], outputs.composed(station, device)
    for name, given in values.items():
        control = outputs.control_of(device, name)
        if control is None:
            offered = ", ".join(each["name"] for each in device.model.controls) or "none"
            errors.append(fields.error(name, f"{device} has no control {name!r}; it has {offered}."))
        elif isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
            errors.append(fields.error(name, f"{name} must be a finite number; got {given!r}."))
        else:
            errors += _out_of_range(control, composed.get(name, {}), float(given))
    return errors


def _out_of_range(control: Mapping[str, Any], output: Mapping[str, Any], given: float) -> list[fields.Error]:
    name, (low, high) = str(control["name"]), outputs.within(control, output)
    unit = f" {control['unit']}" if control.get("unit") else ""
    if control.get("switch") and given not in (0, 1):
        return [fields.error(name, f"{control['label']} is 0 (off) or 1 (on), not {given:g}.")]
    if low is not None and given < low:
        return [fields.error(name, f"{control['label']} is at least {low:g}{unit}; got {given:g}.")]
    if high is not None and given > high:
        return [fields.error(name, f"{control['label']} is at most {high:g}{unit}; got {given:g}.")]
    return []


def down(by: Person, target: Target) -> Command:
    """Switch everything of a device or station off, whoever holds it; never expires, needs no lease.

    On a station that runs an experiment it is that experiment's stop.
    """
    return _request("device.off", messages.DeviceOff(person=by.get_username(), **_named(target)), target, by)


def read(by: Person, device: Device) -> Command:
    """Read a device now."""
    return commands.request(
        "device.read",
        messages.DeviceRead(device=str(device.uuid)),
        device.unit,
        station=device.station,
        by=by,
        expires_s=SET_EXPIRES_S,
    )


def _named(target: Target) -> dict[str, str]:
    part = "station" if isinstance(target, Station) else "device"
    return {part: str(target.uuid)}


def _request(kind: str, args: Any, target: Target, by: Person, **more: Any) -> Command:
    station = target if isinstance(target, Station) else target.station
    if kind == "device.lease":
        more.setdefault("expires_s", LEASE_EXPIRES_S)
    experiment = station.experiment if station is not None and kind == "device.off" else None
    return commands.request(kind, args, target.unit, station=station, experiment=experiment, by=by, **more)
