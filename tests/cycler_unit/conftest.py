"""Fixtures of the agent's tests: one simulator program, one fresh bench per test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cycler_unit.bench import Bench
from tests.stack.simulated import Simulators, supply


@pytest.fixture(scope="session")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    """Start two supplies; each test repairs the one it uses."""
    running = Simulators(tmp_path_factory.mktemp("simulators"), [supply("psb1"), supply("psb2")]).start()
    yield running
    running.stop()


@pytest.fixture
def bench(tmp_path: Path, simulators: Simulators) -> Iterator[Bench]:
    """Return an idle station on a repaired supply."""
    simulators.ask(device="psb1", clear=True)
    bench = Bench(tmp_path / "unit", simulators)
    try:
        yield bench.idle()
    finally:
        bench.clear()
        bench.stop()


@pytest.fixture
def neighbour(tmp_path: Path, simulators: Simulators) -> Iterator[Bench]:
    """Return a second station on the other supply."""
    simulators.ask(device="psb2", clear=True)
    bench = Bench(tmp_path / "neighbour", simulators, "psb2")
    try:
        yield bench.idle()
    finally:
        bench.clear()
        bench.stop()
