"""A profile made ready to run: numbered, linked, its rates in amperes, its ends as thresholds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, floor

import msgspec

from cycling import rates
from cycling.envelope import Envelope
from cycling.limits import operating
from cycling.quantities import IN_CV_ONLY, MEASURED, SETTLING, SLOPES, resolved_op, skips
from cycling.steps import (
    CC,
    CCCV,
    CP,
    CR,
    CV,
    AnyStep,
    Clip,
    Drive,
    End,
    Goto,
    Group,
    Model,
    Profile,
    Record,
    Rest,
    Safety,
    WaitFor,
)

# Below any device's resolution; keeps 4.2 reached when binary arithmetic says 4.1999999999.
TINY = 1e-9


@dataclass(slots=True)
class PlannedEnd:
    """One end; ``threshold`` is its value moved by half a resolution step, so no rounding is needed."""

    quantity: str
    above: bool
    value: float
    threshold: float
    readings: int
    then: str
    goto: int | None = None
    hold_s: float | None = None
    after_s: float = 0.0
    over_s: float = 60.0
    of: str | None = None
    settling: bool = False
    in_cv_only: bool = False
    can_skip: bool = False


@dataclass(slots=True)
class Planned:
    """One step; indices are places in ``Plan.steps``, numbers are one more."""

    index: int
    step: AnyStep
    kind: str
    mode: str
    parent: int | None = None
    after: int | None = None
    first: int | None = None
    direction: int = 0
    rate: float | None = None
    current_a: float | None = None
    max_s: float = 172_800.0
    ends: list[PlannedEnd] = field(default_factory=list)
    record: Record = field(default_factory=Record)
    finishing: bool = False

    @property
    def number(self) -> int:
        """Return the step's number."""
        return self.index + 1

    @property
    def title(self) -> str:
        """Return number and label for a text."""
        label = self.step.label
        return f"step {self.number}" + (f" ({label})" if label else "")


@dataclass(slots=True)
class Plan:
    """All steps, where to begin, and where to finish."""

    profile: Profile
    envelope: Envelope
    capacity_ah: float | None
    steps: list[Planned]
    first: int | None
    finish: int | None
    sha256: str


class CannotRun(ValueError):
    """The profile cannot be run: it was not checked, or needs a capacity that is not known."""


def make(profile: Profile, envelope: Envelope, capacity_ah: float | None) -> Plan:
    """Return the plan of a checked profile.

    Raises ``CannotRun`` where a rate needs a capacity and for what the interpreter does not run.
    """
    steps: list[Planned] = []
    first = _link(profile.steps, None, False, steps)
    finish = _link(profile.finish, None, True, steps)
    for planned in steps:
        _complete(planned, steps, profile, envelope, capacity_ah)
    text = msgspec.json.encode(profile, order="sorted")
    sha256 = hashlib.sha256(text + repr(capacity_ah).encode()).hexdigest()
    return Plan(profile, envelope, capacity_ah, steps, first, finish, sha256)


_MODES = {Rest: "rest", CC: "cc", CV: "cv", CCCV: "cc", CP: "cp", CR: "cr", Drive: "drive", WaitFor: "wait"}


def _link(steps: Sequence[AnyStep], parent: int | None, finishing: bool, into: list[Planned]) -> int | None:
    first: int | None = None
    before: Planned | None = None
    for step in steps:
        kind = str(step.__struct_config__.tag)
        planned = Planned(len(into), step, kind, _MODES.get(type(step), kind), parent, finishing=finishing)
        into.append(planned)
        if before is None:
            first = planned.index
        else:
            before.after = planned.index
        before = planned
        if isinstance(step, Group):
            planned.first = _link(step.steps, planned.index, finishing, into)
    return first


def _complete(
    planned: Planned, steps: list[Planned], profile: Profile, envelope: Envelope, capacity_ah: float | None
) -> None:
    step = planned.step
    if planned.kind in ("scan", "eis") or (isinstance(step, Drive) and step.table is not None):
        raise CannotRun(f"{planned.title}: {planned.kind} cannot be run yet")
    planned.rate = _rate(planned)
    planned.direction = direction(step)
    if planned.rate is not None and step.rate_of is None:
        if capacity_ah is None:
            raise CannotRun(f"{planned.title}: a rate needs the capacity")
        planned.current_a = planned.rate * capacity_ah
    elif isinstance(step, (CC, CCCV)) and step.current_a is not None:
        planned.current_a = float(step.current_a)
    elif isinstance(step, (CV, CP, CR)) and step.current_max_a is not None:
        planned.current_a = float(step.current_max_a)
    planned.record = step.record or profile.record
    planned.max_s = longest_s(step, profile)
    planned.ends = [_end(end, planned, steps, envelope, capacity_ah) for end in step.end]


# max_step_s as it is when nobody sets it; a step's own safety counts only when somebody did.
_MAX_STEP_S = Safety().max_step_s
# Longer than any experiment: a step that ends by its own time has no other bound.
FOREVER_S = 1e12


def longest_s(step: AnyStep, profile: Profile) -> float:
    """Return the time at which a step is overdue, in s.

    A step with an end on time (or a drive, which has its own length) is bounded by that; any other by
    ``max_step_s``.
    """
    own = FOREVER_S
    if step.safety is not None and step.safety.max_step_s != _MAX_STEP_S:
        own = step.safety.max_step_s
    if isinstance(step, Drive) or any(end.quantity == "time_s" for end in step.end):
        return own
    return min(own, profile.safety.max_step_s)


def _rate(planned: Planned) -> float | None:
    step = planned.step
    text = step.rate_max if isinstance(step, CV) else step.rate if isinstance(step, (CC, CCCV)) else None
    if text is None:
        return None
    try:
        rate = rates.parse(text)
    except ValueError as error:
        raise CannotRun(f"{planned.title}: {error}") from None
    return abs(rate) if isinstance(step, CV) else rate


def direction(step: AnyStep) -> int:
    """Return 1 for a step that charges, -1 for one that discharges, 0 for neither or both."""
    signed: float | None = None
    if isinstance(step, (CC, CCCV)):
        signed = step.current_a
        if signed is None and step.rate is not None:
            try:
                signed = rates.parse(step.rate)
            except ValueError:
                signed = None
    elif isinstance(step, CP):
        signed = step.power_w
    if signed is not None:
        return (signed > 0) - (signed < 0)
    return {"charge": 1, "discharge": -1}.get(step.direction, 0)


def clip_of(step: AnyStep) -> Clip | None:
    """Return the step's clip, if its kind has one."""
    return step.clip if isinstance(step, (CC, CP, Drive)) else None


def threshold(value: float, resolution: float, above: bool) -> float:
    """Return what a raw reading must reach so that, rounded to ``resolution``, it meets ``value``."""
    slack = TINY * max(1.0, abs(value))
    if resolution <= 0.0:
        return value - slack if above else value + slack
    # The nearest grid points that satisfy the comparison; 1e-6 of a step against binary noise.
    if above:
        return (ceil(value / resolution - 1e-6) - 0.5) * resolution - slack
    return (floor(value / resolution + 1e-6) + 0.5) * resolution + slack


def _end(
    end: End, planned: Planned, steps: list[Planned], envelope: Envelope, capacity_ah: float | None
) -> PlannedEnd:
    op = resolved_op(end.op, end.quantity, planned.direction)
    if op is None:
        raise CannotRun(f"{planned.title}: the end on {end.quantity} must say above or below")
    above = op == "above"
    value = float(end.value)
    resolution = 0.0
    if end.quantity == "voltage_v":
        resolution = envelope.resolution.voltage_v
    elif end.quantity in ("current_abs_a", "rate_abs"):
        resolution = envelope.resolution.current_a
    if end.quantity == "rate_abs" and end.of is None:
        if capacity_ah is None:
            raise CannotRun(f"{planned.title}: an end on rate_abs needs the capacity")
        value *= capacity_ah
    if end.quantity in ("charge_rel", "soc") and capacity_ah is None and end.of is None:
        raise CannotRun(f"{planned.title}: an end on {end.quantity} needs the capacity")
    measured = end.quantity in MEASURED or end.quantity in SLOPES or skips(end.quantity)
    then, goto = _then(end, planned, steps)
    return PlannedEnd(
        quantity=end.quantity,
        above=above,
        value=value,
        threshold=threshold(value, resolution, above),
        # soc is counted, so one reading decides although it may skip a step.
        readings=2 if measured and end.quantity != "soc" else 1,
        then=then,
        goto=goto,
        hold_s=end.hold_s,
        after_s=end.after_s or 0.0,
        over_s=end.over_s or 60.0,
        of=end.of,
        settling=end.quantity in SETTLING,
        in_cv_only=planned.kind == "cccv" and end.quantity in IN_CV_ONLY,
        can_skip=skips(end.quantity) and end.hold_s is None and not end.after_s,
    )


def _then(end: End, planned: Planned, steps: list[Planned]) -> tuple[str, int | None]:
    if isinstance(end.then, Goto):
        target = find_label(steps, planned, end.then.goto)
        if target is None:
            raise CannotRun(f"{planned.title}: there is no one step labelled {end.then.goto!r} to go to")
        return "goto", target
    if end.then is None:
        return ("fail" if planned.kind == "wait_for" and end.quantity == "time_s" else "next"), None
    return end.then, None


def find_label(steps: list[Planned], origin: Planned, label: str) -> int | None:
    """Return the one step with ``label`` at the level of ``origin`` or an outer one, else None."""
    levels: set[int | None] = {origin.parent}
    parent = origin.parent
    while parent is not None:
        parent = steps[parent].parent
        levels.add(parent)
    found = [
        other.index
        for other in steps
        if other.step.label == label and other.parent in levels and other.finishing == origin.finishing
    ]
    return found[0] if len(found) == 1 else None


def own_limits(planned: Planned, envelope: Envelope) -> dict[tuple[str, str], float]:
    """Return the operating limits in force during a step: the envelope's, tightened by its own safety."""
    limits: dict[tuple[str, str], float] = {}
    safety: Model | None = planned.step.safety
    for quantity, name in (("voltage_v", "v_{}_v"), ("current_a", "i_{}_a"), ("temperature_c", "temp_{}_c")):
        for side in ("max", "min"):
            values = [operating(envelope, quantity, "max" if side == "max" else "min")]
            values.append(getattr(safety, name.format(side)) if safety is not None else None)
            known = [value for value in values if value is not None]
            if known:
                limits[quantity, side] = min(known) if side == "max" else max(known)
    return limits
