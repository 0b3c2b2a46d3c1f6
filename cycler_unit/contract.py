"""Check what an experiment brings before anything may move (safety.md rules 2 and 3)."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from cycler_unit.drivers.base import Protections
from cycling import check, envelope
from cycling.envelope import DeviceLimits, Envelope, EnvelopeError, Limit
from cycling.limits import find
from cycling.steps import AnyStep, Group, Profile, WaitFor
from wire.messages import ExperimentStart


class Refusal(Exception):
    """An experiment cannot start; ``rule`` is the safety rule that forbids it, None for others."""

    def __init__(self, text: str, rule: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.rule = rule


@dataclass(frozen=True)
class Contract:
    """What was agreed: the profile and the limits that it may never leave."""

    profile: Profile
    envelope: Envelope


def verify(start: ExperimentStart, devices: Sequence[DeviceLimits], outputs: frozenset[str]) -> Contract:
    """Return profile and envelope of a start that this unit may run; raises :class:`Refusal`.

    1. the hash of the envelope's very bytes; 2. its text; 3. not wider than the unit's own devices;
    4. the profile against it.
    """
    text = start.envelope
    if not hmac.compare_digest(envelope.sha256(text), start.envelope_sha256):
        raise Refusal("the envelope is not the one that was agreed: its SHA-256 differs", 2)
    try:
        limits = envelope.parse(text)
    except EnvelopeError as error:
        raise Refusal(str(error), 2) from None
    if wider := envelope.wider_than(limits, devices):
        raise Refusal(f"the envelope is wider than this unit's devices: {'; '.join(wider)}", 2)
    return Contract(_profile(start, limits, outputs), limits)


def _profile(start: ExperimentStart, limits: Envelope, outputs: frozenset[str]) -> Profile:
    profile, problems = check.load(start.profile, strict=False)
    if profile is None or problems:
        raise Refusal(f"the profile cannot be read: {_first(problems)}")
    checked = check.check(
        profile,
        limits,
        start.capacity_ah,
        initial_soc_percent=start.initial_soc_percent,
        # Whether its person may ask for trips later than 2 s was judged when it was filed.
        long_delays=True,
    )
    if checked.errors:
        raise Refusal(f"the profile can leave its limits: {_first(checked.errors)}", 2)
    missing = sorted(_outputs(profile.steps + profile.finish) - outputs)
    if missing:
        raise Refusal(f"the profile sets the outputs {', '.join(missing)}, which this station does not have")
    if start.contact_policy != "continue":
        raise Refusal(f"this unit knows no contact policy {start.contact_policy!r} yet, only 'continue'")
    return profile


def _first(problems: Sequence[check.Problem]) -> str:
    if not problems:
        return "it is empty"
    first = problems[0]
    place = f"step {first.step}: " if first.step else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place}{first.message}{more}"


def _outputs(steps: Sequence[AnyStep]) -> set[str]:
    found: set[str] = set()
    for step in steps:
        found |= set(step.outputs)
        if step.temperature_c is not None and not isinstance(step, WaitFor):
            found.add("temperature_c")  # a chamber's set point
        if isinstance(step, Group):
            found |= _outputs(step.steps)
    return found


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
