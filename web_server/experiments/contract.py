"""The contract of an experiment: battery ∩ every device ∩ station ∩ profile, and the profile's check.

Computed when a profile is offered, when an experiment is filed, and again in the transaction that
starts it (safety.md rule 1), always here.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from cycling import check, envelope, givers
from cycling.envelope import BatteryLimits, DeviceLimits, Envelope, EnvelopeError, StationLimits
from cycling.steps import Capacity, Profile
from web_server.cells.models import Battery
from web_server.experiments import hazards
from web_server.experiments.models import Experiment
from web_server.lab import composition
from web_server.lab.models import Station
from web_server.lib import fields


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What may be run and what must not be left; ``errors`` empty means it fits.

    ``text`` is the envelope's very text and ``sha256`` its hash (safety.md rule 2).
    """

    errors: list[dict[str, Any]]
    warnings: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    envelope: Envelope | None = None
    text: str = ""
    sha256: str = ""
    capacity_ah: float | None = None

    @property
    def fits(self) -> bool:
        """Whether nothing stands against it."""
        return not self.errors


def battery_limits(battery: Battery) -> BatteryLimits:
    """Return the battery as the envelope sees it."""
    return BatteryLimits(**{name: getattr(battery, name, None) for name in BatteryLimits.__struct_fields__})


def draw_up(
    battery: Battery | None,
    station: Station | None,
    profile: Profile,
    *,
    initial_soc_percent: float | None = None,
    long_delays: bool = False,
    temperature_waiver: str = "",
) -> Contract:
    """Return the contract of this profile on this battery in this station, or what stands against it.

    ``long_delays``: the person is a manager, who may ask for trips later than 2 s (safety.md rule 1).
    ``temperature_waiver``: a manager's reason to run without a sensor at the cell (rule 16).

    Without a battery or without a station only what is given limits the profile: that is the check
    of a profile while it is written. Raises nothing for a profile that does not fit.
    """
    problems: list[dict[str, Any]] = []
    capacity = capacity_ah(profile.capacity, battery, problems)
    devices = composition.limits_of_devices(station) if station else [_ANY_DEVICE]
    own = composition.limits_of_station(station) if station else None
    if battery is None and station is None:
        return _checked(profile, None, capacity, initial_soc_percent, problems, long_delays)
    limits = battery_limits(battery) if battery else _as_wide_as(devices)
    try:
        made = envelope.compute(limits, devices, own or _any_station(profile), profile.safety)
    except EnvelopeError as error:
        problems += [fields.error("envelope", problem) for problem in error.problems]
        return Contract(errors=problems, capacity_ah=capacity)
    if battery is None and capacity is None and _needs_capacity(profile):
        made = None
    known = _Known(own, devices, limits if battery else None)
    contract = _checked(profile, made, capacity, initial_soc_percent, problems, long_delays, known)
    if battery is None or own is None:
        return contract
    assert station is not None
    blind = [_unwatched(name) for name in envelope.unwatched(limits, own)]
    blind += hazards.warnings(limits, station, temperature_waiver)
    held = hazards.problems(battery, limits, station, temperature_waiver)
    return msgspec.structs.replace(
        contract, errors=contract.errors + held, warnings=contract.warnings + blind
    )


def _unwatched(name: str) -> dict[str, Any]:
    """Return the warning about a limit of the battery that nothing measures."""
    return fields.error(
        name,
        f"The battery's {givers.words(name)} is not watched: no sensor of the station measures its temperature.",
    )


def _needs_capacity(profile: Profile) -> bool:
    """Return whether currents or ends refer to a capacity, which without a battery nobody knows yet."""
    text = msgspec.json.encode(profile)
    return any(word in text for word in (b'"rate', b'"charge_rel"', b'"soc"'))


# Stands for the devices of a station that is not chosen yet: it bounds nothing.
_ANY_DEVICE = DeviceLimits(name="any")


def _any_station(profile: Profile) -> StationLimits:
    """Return a station that measures whatever the profile limits: no station is chosen yet."""
    return StationLimits(measures=("temperature_c", *(limit.name for limit in profile.safety.measures)))


def _as_wide_as(devices: Sequence[DeviceLimits]) -> BatteryLimits:
    """Return a battery that bounds nothing beyond the devices: no battery is chosen yet."""
    power = [device for device in devices if device.measures == "power"]
    return BatteryLimits(
        voltage_min_v=min((d.voltage_min_v for d in power if d.voltage_min_v is not None), default=0.0),
        voltage_max_v=max((d.voltage_max_v for d in power if d.voltage_max_v is not None), default=1000.0),
        current_min_a=min((d.current_min_a for d in power if d.current_min_a is not None), default=-1000.0),
        current_max_a=max((d.current_max_a for d in power if d.current_max_a is not None), default=1000.0),
        # Its charge budget and its heating are those of the battery that is not chosen yet (rules 15, 16).
        capacity_ah=1e6,
    )


class _Known(NamedTuple):
    """Where the profile shall run, as far as it is chosen."""

    station: StationLimits | None = None
    devices: Sequence[DeviceLimits] | None = None
    battery: BatteryLimits | None = None


def _checked(
    profile: Profile,
    made: Envelope | None,
    capacity: float | None,
    initial_soc_percent: float | None,
    problems: list[dict[str, Any]],
    long_delays: bool,
    known: _Known | None = None,
) -> Contract:
    known = known or _Known()
    found = check.check(
        profile,
        made,
        capacity,
        initial_soc_percent=initial_soc_percent,
        long_delays=long_delays,
        station=known.station,
        devices=known.devices,
        battery=known.battery,
    )
    text = envelope.canonical(made) if made else ""
    return Contract(
        errors=problems + [as_error(problem) for problem in found.errors],
        warnings=[as_error(problem) for problem in found.warnings],
        summary=msgspec.to_builtins(found.summary),
        envelope=made,
        text=text,
        sha256=envelope.sha256(text) if made else "",
        capacity_ah=capacity,
    )


def as_error(problem: check.Problem) -> dict[str, Any]:
    """Return a problem of the core as the services' errors carry it."""
    return {
        "field": problem.field,
        "step": problem.step,
        "label": problem.label,
        "line": problem.line,
        "message": problem.message,
    }


def capacity_ah(basis: Capacity, battery: Battery | None, problems: list[dict[str, Any]]) -> float | None:
    """Return what C-rates refer to in Ah; None when unknown, with a problem where one was promised."""
    if basis.basis == "given":
        return basis.ah
    if basis.basis == "nominal":
        return battery.capacity_ah if battery else None
    measured = _measured_ah(basis.experiment)
    if measured is None:
        problems.append(
            fields.error(
                "capacity.experiment", f"The experiment {basis.experiment!r} has measured no capacity."
            )
        )
    return measured


def _measured_ah(experiment_id: str | None) -> float | None:
    """Return the last whole discharge of an experiment's cycles in Ah."""
    try:
        key = uuid.UUID(str(experiment_id))
    except ValueError:
        return None
    experiment = Experiment.objects.filter(uuid=key).first()
    row = experiment.cycle_rows.filter(charge_out_ah__gt=0).order_by("-cycle").first() if experiment else None
    return row.charge_out_ah if row else None
