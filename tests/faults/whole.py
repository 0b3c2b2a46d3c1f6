"""What must be true of an experiment whatever was done to the parts while it ran."""

from __future__ import annotations

import itertools
from typing import Any

from tests.stack.api import Api
from tests.stack.cellyard import FINAL
from tests.stack.waiting import until

# Which status may follow which (architecture.md, State changes).
NEXT = {
    "queued": {"starting", "cancelled"},
    "starting": {"running", "queued", "stopped", "error"},
    "running": {"paused", "finished", "stopped", "error"},
    "paused": {"running", "finished", "stopped", "error"},
}
COUNTERS = ("charge_in_ah", "charge_out_ah", "energy_in_wh", "energy_out_wh")


def ended(api: Api, experiment: str, status: str, timeout_s: float = 90) -> dict[str, Any]:
    """Wait until an experiment ended as ``status`` and every row is stored; check it and return it."""
    path = f"experiments/{experiment}/"
    until(lambda: api.get(path)["status"] in FINAL, timeout_s, f"it has ended; {api.get(path)['status']}")
    until(lambda: api.get(f"{path}samples/", after=0, limit=1)["complete"], 60, "all rows are stored")
    seen: dict[str, Any] = api.get(path)
    assert seen["status"] == status, seen["end_reason"]
    assert seen["end_reason"]["text"]
    check(api, seen)
    return seen


def check(api: Api, experiment: dict[str, Any]) -> None:
    """Assert that nothing of an ended experiment is lost, doubled or out of order."""
    columns = samples(api, experiment["id"])
    assert columns["seq"] == list(range(1, experiment["last_seq"] + 1))
    assert experiment["sample_count"] == experiment["last_seq"]
    for name in (*COUNTERS, "elapsed_s", "step_count", "time_us"):
        assert columns[name] == sorted(columns[name]), f"{name} falls"
    told = statuses(api, experiment["id"])
    assert told[0] == "queued"
    assert told[-1] == experiment["status"]
    for before, after in itertools.pairwise(told):
        # A unit that was restarted and takes its test up again by itself says once more that it runs.
        assert after in NEXT[before] or before == after == "running", told
    counts = [row["step_count"] for row in api.all(f"experiments/{experiment['id']}/steps/")]
    assert counts == sorted(set(counts))


def samples(api: Api, experiment: str) -> dict[str, list[Any]]:
    """Return all stored samples as columns."""
    columns: dict[str, list[Any]] = {"seq": []}
    after = 0
    while True:
        answer = api.get(f"experiments/{experiment}/samples/", after=after, limit=5000)
        if not answer["columns"].get("seq"):
            return columns
        for name, column in answer["columns"].items():
            columns.setdefault(name, []).extend(column)
        after = answer["next_after"]


def statuses(api: Api, experiment: str) -> list[str]:
    """Return every status that the events tell of, in order."""
    events = api.all(f"experiments/{experiment}/events/", kind="status")
    return [event["detail"]["status"] for event in events]


def grows(api: Api, experiment: str, by: int = 3, timeout_s: float = 40) -> None:
    """Wait until some more samples of a running experiment are stored."""
    path = f"experiments/{experiment}/"
    start = api.get(path)["sample_count"]
    until(lambda: api.get(path)["sample_count"] >= start + by, timeout_s, "samples arrive")
