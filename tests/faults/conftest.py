"""A whole stack with one station and a battery in it, whose parts the tests break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.bench import Bench
from tests.stack.cellyard import Cellyard
from tests.stack.simulated import supply


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test here as one that starts real processes."""
    for item in items:
        if "faults" in Path(str(item.path)).parts:
            item.add_marker(pytest.mark.stack)


@pytest.fixture
def make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Bench]]:
    """Make a bench on a backend: `embedded`, `lab`, or that of the run."""
    made: list[Bench] = []

    def make(backend: str | None = None, **more: Any) -> Bench:
        if backend is not None:
            monkeypatch.setenv("CELLYARD_TEST_BACKEND", backend)
        made.append(Bench(Cellyard(tmp_path / "lab", [supply("psb1")], **more)))
        return made[-1]

    yield make
    for bench in made:
        bench.lab.stop()


@pytest.fixture
def bench(make: Callable[..., Bench]) -> Bench:
    """Return a running bench on the backend of this run."""
    return make().start()
