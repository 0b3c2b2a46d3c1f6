"""Load and check profiles: the door that the site, the unit and the editor use."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from cycling import rules_ends, rules_limits, rules_profile, rules_station, rules_steps, summary
from cycling.contract import BatteryLimits, DeviceLimits, Envelope, StationLimits
from cycling.findings import Known
from cycling.loading import load
from cycling.numbering import number
from cycling.problem import Problem
from cycling.steps import Profile
from cycling.summary import Summary

__all__ = ["Checked", "Problem", "Summary", "check", "load"]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found; a profile with errors is not run."""

    errors: list[Problem]
    warnings: list[Problem]
    summary: Summary

    @property
    def valid(self) -> bool:
        """Say whether there are no errors."""
        return not self.errors


def check(
    profile: Profile,
    envelope: Envelope | None = None,
    capacity_ah: float | None = None,
    *,
    initial_soc_percent: float | None = None,
    measures: Collection[str] | None = None,
    outputs: Collection[str] | None = None,
    isolator: bool | None = None,
    long_delays: bool = False,
    station: StationLimits | None = None,
    devices: Sequence[DeviceLimits] | None = None,
    battery: BatteryLimits | None = None,
) -> Checked:
    """Check a profile by every rule of the step model, as far as what is given allows.

    Without ``envelope`` the profile's own safety limits take its place and no capacity is asked for.
    ``measures``, ``outputs`` and ``isolator`` are what the station offers (None: not known yet, or as
    ``station`` says). With ``station``, its ``devices`` and the ``battery`` the rules of a battery in its
    station are checked too: quadrants, devices left alone, rests that drain, ranges of outputs.
    ``long_delays``: the person may ask for trips later than 2 s. Nothing is raised.
    """
    if station is not None:
        measures = station.measures if measures is None else measures
        outputs = station.outputs if outputs is None else outputs
        isolator = station.isolator if isolator is None else isolator
    known = Known(
        profile=profile,
        numbered=number(profile),
        envelope=envelope,
        capacity_ah=capacity_ah,
        initial_soc_percent=initial_soc_percent,
        measures=measures,
        outputs=outputs,
        isolator=isolator,
        long_delays=long_delays,
        station=station,
        devices=devices,
        battery=battery,
    )
    rules_profile.check(known)
    for here in known.numbered:
        rules_steps.check(known, here)
        rules_ends.check(known, here)
        rules_limits.check(known, here)
        rules_station.check(known, here)
    return Checked(errors=known.errors, warnings=known.warnings, summary=summary.make(known))
