"""What a profile asks for at most: voltages, currents, and its longest duration."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cycling.findings import Known
from cycling.plan import clip_of, longest_s
from cycling.setpoints import drive_pass_s
from cycling.steps import CCCV, CR, CV, AnyStep, Drive, Group, Note, Profile


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The extremes of a profile; None where it says nothing or the capacity is not known.

    Voltages of set points, ends and clips in V; currents in A, discharge negative; the longest
    possible duration in s, without pauses.
    """

    voltage_min_v: float | None
    voltage_max_v: float | None
    current_min_a: float | None
    current_max_a: float | None
    duration_max_s: float


def make(known: Known) -> Summary:
    """Return the summary of a profile."""
    voltages: list[float] = []
    currents: list[float] = []
    for here in known.numbered:
        step = here.step
        voltages += [end.value for end in step.end if end.quantity == "voltage_v"]
        if isinstance(step, (CV, CCCV)):
            voltages.append(step.voltage_v)
        clip = clip_of(step)
        if clip is not None:
            voltages += [v for v in (clip.v_min_v, clip.v_max_v) if v is not None]
        if isinstance(step, CR):
            currents.append(-step.current_max_a if step.direction == "discharge" else step.current_max_a)
        elif not isinstance(step, CV):
            currents += known.currents(here)
        if isinstance(step, Drive):
            _drive(step, known.capacity(), voltages, currents)
    duration_s = duration(known.profile.steps, known.profile) + duration(known.profile.finish, known.profile)
    run_max_s = known.profile.safety.run_max_s
    return Summary(
        voltage_min_v=min(voltages, default=None),
        voltage_max_v=max(voltages, default=None),
        current_min_a=min(currents, default=None),
        current_max_a=max(currents, default=None),
        duration_max_s=duration_s if run_max_s is None else min(duration_s, run_max_s),
    )


def _drive(step: Drive, capacity_ah: float | None, voltages: list[float], currents: list[float]) -> None:
    scaled = [x * step.scale for _, x in step.points]
    if step.of == "voltage":
        voltages += scaled
    elif step.of == "current":
        currents += scaled
    elif step.of == "rate" and capacity_ah is not None:
        currents += [x * capacity_ah for x in scaled]


def duration(steps: Sequence[AnyStep], profile: Profile) -> float:
    """Return the longest time (s) that a list of steps can take: each by its time_s or max_step_s."""
    return sum(_longest(step, profile) for step in steps)


def _longest(step: AnyStep, profile: Profile) -> float:
    if isinstance(step, Group):
        return max(step.count, 0) * duration(step.steps, profile)
    if isinstance(step, Note):
        return 0.0
    times = [end.value for end in step.end if end.quantity == "time_s"]
    if isinstance(step, Drive) and len(step.points) >= 2:
        times.append(drive_pass_s(step) * step.repeat)
    return min([*times, longest_s(step, profile)])
