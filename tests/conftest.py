"""Fixtures that every part of the tests may use; the parts themselves are in tests/stack/."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import backend
from tests.stack.brokers import Broker, EmbeddedBroker, Mosquitto

# A line for every question of a test that waits hides what it was waiting for.
logging.getLogger("httpx").setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def test_backend() -> str:
    """Name the backend of this run: `embedded` or `lab`."""
    return backend.chosen()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Start the chosen backend's broker, alone for this test."""
    running = backend.broker(tmp_path / "broker").start()
    yield running
    running.stop()


@pytest.fixture(params=[EmbeddedBroker, Mosquitto], ids=["embedded", "mosquitto"])
def each_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Start each kind of broker in turn, whatever the backend."""
    running = request.param(tmp_path / "broker").start()
    yield running
    running.stop()
