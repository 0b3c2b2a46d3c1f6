"""One unit per rig for all its tests; with ``--dist loadgroup`` a rig stays on one worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.safety.rigs import RIGS
from tests.faults.safety.unit import SafetyLab
from tests.stack import backend
from tests.stack.brokers import Broker


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of a rig into one group."""
    for item in items:
        rig = getattr(item, "callspec", None) and item.callspec.params.get("lab")  # type: ignore[attr-defined]
        if isinstance(rig, str) and rig in RIGS:
            item.add_marker(pytest.mark.xdist_group(rig))


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
