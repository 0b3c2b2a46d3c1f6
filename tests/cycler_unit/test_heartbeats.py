"""When a unit sends heartbeats."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cycler_unit import presence
from cycler_unit.clock import ServerClock, iso
from cycler_unit.presence import Here, Pulse
from cycler_unit.spool import Spool
from tests.stack.waiting import until
from wire.messages import Heartbeat


class Wire:
    """Stands for a connected link and keeps what is published."""

    connected = True
    dropped = 0

    def __init__(self) -> None:
        self.beats: list[Heartbeat] = []

    def publish(self, _topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> bool:
        self.beats.append(msgspec.json.decode(payload, type=Heartbeat))
        return True


@pytest.fixture
def clock() -> ServerClock:
    return ServerClock()


@pytest.fixture
def wire(tmp_path: Path, clock: ServerClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """A connection that was just made; unheard it beats every 0.15 s, else every 1.5 s."""
    monkeypatch.setattr(presence, "UNHEARD_S", 0.15)
    monkeypatch.setattr(presence, "PERIOD_S", 1.5)
    wire, here = Wire(), Here("cellyard/v1", "u1")
    here.will()
    here.arrived()
    spool = Spool(tmp_path / "spool.sqlite3")
    pulse = Pulse(wire, "cellyard/v1", "u1", here, clock, spool, list, tmp_path)  # type: ignore[arg-type]
    pulse.arrived()
    pulse.start()
    yield wire
    pulse.stop()


def test_a_new_connection_beats_faster_until_a_manager_has_answered(wire: Wire, clock: ServerClock) -> None:
    began_s = time.monotonic()
    until(lambda: len(wire.beats) >= 4, 5, "unanswered heartbeats")
    assert time.monotonic() - began_s < 1.5, "less than one ordinary period"
    clock.answered(wire.beats[-1].sent_at, iso(time.time()))
    answered_s, before = time.monotonic(), len(wire.beats)
    until(lambda: len(wire.beats) >= before + 2, 10, "two more")
    assert time.monotonic() - answered_s > 1.4


def test_a_heartbeat_counts_what_was_no_message(tmp_path: Path, clock: ServerClock) -> None:
    here, spool = Here("cellyard/v1", "u1"), Spool(tmp_path / "spool.sqlite3")
    wire = Wire()
    wire.dropped = 1
    pulse = Pulse(wire, "cellyard/v1", "u1", here, clock, spool, list, tmp_path, lambda: 2)  # type: ignore[arg-type]
    assert pulse.message().dropped_messages == 3


def test_a_heartbeat_that_fails_is_not_the_last_one(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(_path: Path) -> None:
        raise OSError("the state folder is gone")

    with monkeypatch.context() as broken:
        broken.setattr(presence.shutil, "disk_usage", gone)
        until(lambda: "heartbeat_failed" in caplog.text, 5, "a failed heartbeat")
    before = len(wire.beats)
    until(lambda: len(wire.beats) > before, 5, "another one")
