"""How far an experiment is: step n of N, percent, expected end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from web_server.experiments.models import Experiment
from web_server.profiles.models import ProfileVersion

# Groups within groups may promise more rounds than any test runs; a number is all that is needed.
ENTRIES_MAX = 10**9
# A longer wait is no expectation but a bound.
EXPECTED_MAX_S = 10 * 365 * 86400.0


def columns(experiment: Experiment, step: int, step_count: int, cycle: int) -> dict[str, Any]:
    """Return what changes when the sample with these numbers is the newest.

    ``percent`` counts entered steps against those that the profile would enter without jumps and
    early ends; it is a measure of the way, not of time, and stays below 100 until the end.
    """
    steps, entries = _extent(experiment.profile_version_id)
    percent = min(99.0, round(100.0 * max(0, step_count - 1) / entries, 1)) if entries else None
    told = {"step": step, "steps": steps, "cycle": cycle, "percent": percent}
    return {name: value for name, value in told.items() if getattr(experiment, name) != value}


def expected_end(remaining_s: float | None, at: datetime) -> datetime | None:
    """Return when the unit expects the end, judging from a heartbeat received ``at``."""
    if remaining_s is None or not 0 <= remaining_s <= EXPECTED_MAX_S:
        return None
    # Whole seconds: an expectation that moves by milliseconds would wake every open page.
    return (at + timedelta(seconds=remaining_s)).replace(microsecond=0)


@lru_cache(maxsize=512)
def _extent(profile_version_id: int) -> tuple[int, int]:
    """Return the highest step number (with `finish`), and how many entries the steps promise.

    A version is never changed, so what was counted once stays true.
    """
    body = ProfileVersion.objects.get(pk=profile_version_id).definition
    steps = _numbers(body.get("steps", [])) + _numbers(body.get("finish", []))
    return steps, min(ENTRIES_MAX, _entries(body.get("steps", [])))


def _numbers(steps: Iterable[dict[str, Any]]) -> int:
    return sum(1 + _numbers(step.get("steps", [])) for step in steps)


def _entries(steps: Iterable[dict[str, Any]]) -> int:
    return sum(
        int(step.get("count", 1)) * _entries(step.get("steps", [])) if step.get("kind") == "group" else 1
        for step in steps
    )
