"""Check what an experiment brings before anything may move (safety.md rules 2 and 3)."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from cycler_unit.drivers.base import Protections
from cycling import check, envelope, rules_station, sensors, words
from cycling.derived_limits import BUDGET, RISE
from cycling.envelope import BatteryLimits, DeviceLimits, Envelope, EnvelopeError, Limit, StationLimits
from cycling.limits import find, operating
from cycling.reading import EndReason
from cycling.steps import Profile
from wire.messages import ExperimentStart


class Refusal(Exception):
    """An experiment cannot start; ``rule`` is the safety rule that forbids it, None for others.

    ``reason``: the limit that was left while it was checked, where current flowed for that.
    """

    def __init__(self, text: str, rule: int | None = None, reason: EndReason | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.rule = rule
        self.reason = reason


# Fields of a step that ask for something that a station may not have.
_OFFERED = ("outputs", "temperature_c", "isolate")


@dataclass(frozen=True)
class Contract:
    """What was agreed: the profile and the limits that it may never leave."""

    profile: Profile
    envelope: Envelope


def verify(start: ExperimentStart, devices: Sequence[DeviceLimits], station: StationLimits) -> Contract:
    """Return profile and envelope of a start that this unit may run; raises :class:`Refusal`.

    1. the hash of the envelope's very bytes; 2. its text; 3. not wider than the unit's own devices and
    station, nothing that must be watched left out; 4. the profile against it; 5. what happens when the
    device is left alone.
    """
    text = start.envelope
    if not hmac.compare_digest(envelope.sha256(text), start.envelope_sha256):
        raise Refusal("the envelope is not the one that was agreed: its SHA-256 differs", 2)
    try:
        limits = envelope.parse(text)
    except EnvelopeError as error:
        raise Refusal(str(error), 2) from None
    if wider := envelope.wider_than(limits, devices) + _wider_than(limits, station):
        raise Refusal(f"the envelope is wider than this unit's devices: {'; '.join(wider)}", 2)
    return Contract(_profile(start, limits, devices, station), limits)


def _wider_than(limits: Envelope, station: StationLimits) -> list[str]:
    """Name what the station does not allow, and what it could watch but the envelope does not limit."""
    problems = []
    if find(limits, BUDGET, "max") is None or limits.reversal_ah is None:
        problems.append(f"the limit on the {words.name(BUDGET)} is missing: nothing bounds the charge")
    for way, side in (("charge", "min"), ("discharge", "max")):
        limit = find(limits, "current_a", "min" if side == "min" else "max")
        if station.quadrants == way and (limit is None or limit.operating != 0.0):
            problems.append(f"the station only {way}s, the envelope's current the other way is not 0")
    for name in sensors.cell_voltages(station.measures):
        if find(limits, name, "max") is None or find(limits, name, "min") is None:
            problems.append(f"the {words.name(name)} has no limits")
    if sensors.cell_temperatures(station.measures) and find(limits, RISE, "max") is None:
        problems.append(f"the limit on the {words.name(RISE)} is missing")
    return problems


def battery_limits(start: ExperimentStart, limits: Envelope) -> BatteryLimits:
    """Return the battery as the rules of its station see it."""
    battery = start.battery
    return BatteryLimits(
        cells_in_series=battery.cells_in_series,
        capacity_ah=battery.capacity_ah,
        energy_wh=battery.energy_wh,
        voltage_max_v=operating(limits, "voltage_v", "max"),
    )


def _profile(
    start: ExperimentStart, limits: Envelope, devices: Sequence[DeviceLimits], station: StationLimits
) -> Profile:
    profile, problems = check.load(start.profile, strict=False)
    if profile is None or problems:
        raise Refusal(f"the profile cannot be read: {_first(problems)}")
    battery = battery_limits(start, limits)
    if bare := rules_station.unguarded(profile, station, devices, battery):
        raise Refusal(_first(bare), 3)
    checked = check.check(
        profile,
        limits,
        start.capacity_ah,
        initial_soc_percent=start.initial_soc_percent,
        # Whether its person may ask for trips later than 2 s was judged when it was filed.
        long_delays=True,
        station=station,
        devices=devices,
        battery=battery,
    )
    if checked.errors and all((each.field or "").split(".")[0] in _OFFERED for each in checked.errors):
        # It would do no harm: the station is composed otherwise than the site believes.
        raise Refusal(f"the station cannot run the profile: {_first(checked.errors)}")
    if checked.errors:
        raise Refusal(f"the profile can leave its limits: {_first(checked.errors)}", 2)
    return profile


def _first(problems: Sequence[check.Problem]) -> str:
    if not problems:
        return "it is empty"
    first = problems[0]
    place = f"step {first.step}: " if first.step else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place}{first.message}{more}"


def protections(limits: Envelope) -> Protections:
    """Return the device's own protections: between trip and absolute, rounded outwards one step.

    They catch what the unit cannot, so they must not act before its own trips do.
    """
    volt, ampere = limits.resolution.voltage_v, limits.resolution.current_a
    charge, discharge = find(limits, "current_a", "max"), find(limits, "current_a", "min")
    # Power is guarded by voltage and current together; a watt limit of its own would need the
    # resolution of power, which the envelope does not carry.
    return Protections(
        voltage_max_v=_outwards(find(limits, "voltage_v", "max"), volt),
        voltage_min_v=_outwards(find(limits, "voltage_v", "min"), -volt),
        charge_current_max_a=_magnitude(_outwards(charge, ampere)),
        discharge_current_max_a=_magnitude(_outwards(discharge, -ampere)),
    )


def _outwards(limit: Limit | None, step: float) -> float | None:
    if limit is None:
        return None
    value = limit.trip + step
    if limit.absolute is not None:
        value = min(value, limit.absolute) if limit.side == "max" else max(value, limit.absolute)
    return round(value, 9)


def _magnitude(value: float | None) -> float | None:
    return None if value is None else abs(value)


def decode_start(body: bytes) -> ExperimentStart:
    """Return a start as it was kept on the disk; raises ``msgspec.MsgspecError``."""
    return msgspec.json.decode(body, type=ExperimentStart)
