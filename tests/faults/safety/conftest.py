"""One unit per rig for all its tests; with ``--dist loadgroup`` a rig stays on one worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.safety.rigs import RIGS
from tests.faults.safety.unit import SafetyLab
from tests.stack import backend
from tests.stack.brokers import Broker


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of a rig into one group, one after the other: a rig is built once."""
    places = [place for place, item in enumerate(items) if rig_of(item) is not None]
    ordered = sorted(
        (items[place] for place in places), key=lambda item: list(RIGS).index(rig_of(item) or "")
    )
    for place, item in zip(places, ordered, strict=True):
        items[place] = item
        item.add_marker(pytest.mark.xdist_group(rig_of(item)))


def rig_of(item: pytest.Item) -> str | None:
    """Return the rig that a test is about."""
    callspec = getattr(item, "callspec", None)
    rig = callspec.params.get("lab") if callspec is not None else None
    return rig if isinstance(rig, str) and rig in RIGS else None


@pytest.fixture(scope="session")
def one_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Start one broker for all rigs of this worker; each unit has its own manager."""
    running = backend.broker(tmp_path_factory.mktemp("broker")).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, one_broker: Broker
) -> Iterator[SafetyLab]:
    """Run the unit of the rig that the test names."""
    rig = RIGS[request.param]()
    made = SafetyLab(tmp_path_factory.mktemp(rig.name), rig, one_broker)
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def repaired(request: pytest.FixtureRequest) -> None:
    """Repair the rig before each test."""
    if "lab" in request.fixturenames:
        request.getfixturevalue("lab").ready()
