"""What a check knows about a profile, and what it has found so far."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from cycling import rates
from cycling.contract import BatteryLimits, DeviceLimits, Envelope, StationLimits
from cycling.numbering import Numbered
from cycling.problem import Problem
from cycling.steps import CC, CCCV, CV, AnyStep, Profile

# safety.md rule 1: the longest delay of a trip that needs no manager.
MAX_DELAY_S = 2.0


@dataclass
class Known:
    """The profile and what is known about where it shall run; None means not known yet."""

    profile: Profile
    numbered: list[Numbered]
    envelope: Envelope | None = None
    capacity_ah: float | None = None
    initial_soc_percent: float | None = None
    measures: Collection[str] | None = None
    outputs: Collection[str] | None = None
    isolator: bool | None = None
    long_delays: bool = False
    station: StationLimits | None = None
    devices: Sequence[DeviceLimits] | None = None
    battery: BatteryLimits | None = None
    parents: dict[int, Numbered | None] = field(default_factory=dict)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find each step's group, by number."""
        open_groups: list[Numbered] = []
        for here in self.numbered:
            open_groups = [g for g in open_groups if g.path == here.path[: len(g.path)]]
            self.parents[here.number] = open_groups[-1] if open_groups else None
            open_groups.append(here)

    def error(self, here: Numbered | None, field_name: str | None, message: str) -> None:
        """Note something that must be changed."""
        self.errors.append(_problem(here, field_name, message))

    def warn(self, here: Numbered | None, field_name: str | None, message: str) -> None:
        """Note something that a person should look at."""
        self.warnings.append(_problem(here, field_name, message))

    def ancestors(self, here: Numbered) -> list[Numbered]:
        """Return the groups that a step is in, innermost first."""
        found: list[Numbered] = []
        parent = self.parents[here.number]
        while parent is not None:
            found.append(parent)
            parent = self.parents[parent.number]
        return found

    def capacity(self) -> float | None:
        """Return the capacity in Ah, as given to the check or by the profile itself."""
        if self.capacity_ah is not None:
            return self.capacity_ah
        return self.profile.capacity.ah if self.profile.capacity.basis == "given" else None

    def lacks_capacity(self) -> bool:
        """Say whether a capacity is needed now: at filing, when the limits are known, it must be there."""
        return self.envelope is not None and self.capacity() is None

    def stored_before(self, here: Numbered, name: str) -> Numbered | None:
        """Return the earlier step that stores ``name``, or None."""
        for other in self.numbered:
            if other.number >= here.number:
                return None
            if other.step.store is not None and other.step.store.name == name:
                return other
        return None

    def currents(self, here: Numbered) -> list[float]:
        """Return the currents (A, signed) that a step may ask for; empty when not known.

        A rate of a stored capacity is looked at over its whole allowed range.
        """
        step = here.step
        if isinstance(step, (CC, CCCV)) and step.current_a is not None:
            return [step.current_a]
        if isinstance(step, CV) and step.current_max_a is not None:
            return [step.current_max_a]
        text = rate_text(step)
        capacity_ah = self.capacity()
        if text is None or capacity_ah is None:
            return []
        try:
            rate = rates.parse(text)
        except ValueError:
            return []
        if step.rate_of is None:
            return [rate * capacity_ah]
        source = self.stored_before(here, step.rate_of)
        if source is None or source.step.store is None:
            return []
        return [rate * capacity_ah * x for x in (source.step.store.min_rel, source.step.store.max_rel)]


def rate_text(step: AnyStep) -> str | None:
    """Return the rate of a step as written, if it has one."""
    if isinstance(step, CV):
        return step.rate_max
    return step.rate if isinstance(step, (CC, CCCV)) else None


def _problem(here: Numbered | None, field_name: str | None, message: str) -> Problem:
    if here is None:
        return Problem(field=field_name, message=message)
    return Problem(step=here.number, label=here.step.label, field=field_name, message=message)
