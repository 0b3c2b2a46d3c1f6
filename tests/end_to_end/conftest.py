"""One whole stack for the tests of a file, two stations with a battery in each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.stack.cellyard import FINAL, Cellyard
from tests.stack.waiting import until

# The files that take two minutes and more go first, so that no worker is left with one of them at the end
# (in make test with --no-loadscope-reorder: xdist would begin with the file that has most tests).
LONGEST = ("test_contact_and_kills", "test_voltage_at_the_limit", "test_network", "test_file_run_finish")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test here as one that starts real processes, and put the longest files first."""
    for item in items:
        if "end_to_end" in str(item.path):
            item.add_marker(pytest.mark.stack)
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cellyard]:
    """Return a running Cellyard."""
    with Cellyard(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="module")
def bench(lab: Cellyard) -> dict[str, Any]:
    """Return the ids of two stations and of the battery in each."""
    places: dict[str, Any] = {}
    for number in (1, 2):
        station = lab.station(f"S{number}", supply=number - 1)
        battery = lab.battery(f"B{number}", station["id"])
        places[f"station{number}"], places[f"battery{number}"] = station["id"], battery["id"]
    return places


@pytest.fixture
def tidy(lab: Cellyard) -> Iterator[None]:
    """End every experiment that a test left and release every latch, so that the next finds idle stations."""
    yield
    for experiment in lab.api.all("experiments/"):
        if experiment["status"] not in FINAL:
            lab.api.post(f"experiments/{experiment['id']}/stop/", how="now", reason="the test is over")
    open_ones = ("queued", "starting", "running", "paused")
    until(lambda: not lab.api.all("experiments/", status=",".join(open_ones)), 30, "all experiments ended")
    for alarm in lab.api.all("alarms/", state="raised"):
        lab.api.post(f"alarms/{alarm['id']}/acknowledge/")
    until(
        lambda: all(station["state"] == "idle" for station in lab.api.all("stations/")),
        30,
        "all stations are idle",
    )
