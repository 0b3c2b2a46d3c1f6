"""Steps and profiles that several tests use."""

from __future__ import annotations

import itertools
from typing import Any

from tests.stack.cellyard import Cellyard

_numbers = itertools.count(1)


def rest(seconds: float, **more: Any) -> dict[str, Any]:
    """Return a rest."""
    return {"kind": "rest", "end": [{"quantity": "time_s", "value": seconds}], **more}


def current(amperes: float, seconds: float, *ends: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a constant current that ends by time at the latest."""
    return {
        "kind": "cc",
        "current_a": amperes,
        "end": [*ends, {"quantity": "time_s", "value": seconds}],
        **more,
    }


def voltage(volts: float, seconds: float, current_max_a: float = 0.5) -> dict[str, Any]:
    """Return a constant voltage that ends by time."""
    return {
        "kind": "cv",
        "voltage_v": volts,
        "current_max_a": current_max_a,
        "end": [{"quantity": "time_s", "value": seconds}],
    }


def run(
    lab: Cellyard, bench: dict[str, Any], steps: list[dict[str, Any]], *, place: int = 1, **more: Any
) -> str:
    """File an experiment of these steps on a place of the bench; return its id."""
    name = f"test {next(_numbers)}"
    about = {key: more.pop(key) for key in ("record", "finish", "stop", "safety") if key in more}
    profile = lab.profile(steps, name=name, **({"record": {"every_s": 0.2}} | about))
    filed = lab.file(bench[f"battery{place}"], profile["id"], bench[f"station{place}"], name=name, **more)
    assert filed["status"] == "queued"
    return str(filed["id"])


def statuses(lab: Cellyard, experiment: str) -> list[str]:
    """Return every status that the events of an experiment tell of, in order."""
    events = lab.api.all(f"experiments/{experiment}/events/", kind="status")
    return [event["detail"]["status"] for event in events]
