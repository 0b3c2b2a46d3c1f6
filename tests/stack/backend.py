"""Which database and broker a test run uses: ``CELLYARD_TEST_BACKEND`` is `embedded` or `lab`."""

from __future__ import annotations

import os
from pathlib import Path

from .brokers import Broker, EmbeddedBroker, Mosquitto

CHOICES = ("embedded", "lab")


def chosen() -> str:
    """Return the backend of this run: `embedded` (SQLite, embedded broker) unless said otherwise."""
    backend = os.environ.get("CELLYARD_TEST_BACKEND", "embedded")
    if backend not in CHOICES:
        raise SystemExit(f"CELLYARD_TEST_BACKEND is {backend!r}; it must be one of {', '.join(CHOICES)}")
    return backend


def broker(folder: Path, port: int | None = None) -> Broker:
    """Return the chosen backend's broker, not yet started."""
    return (Mosquitto if chosen() == "lab" else EmbeddedBroker)(folder, port)
