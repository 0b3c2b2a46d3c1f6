"""Elapsed time never jumps; expiry follows the server; jumps of the wall clock are noticed."""

from __future__ import annotations

import time

import pytest

from cycler_unit import clock
from cycler_unit.clock import JumpWatch, ServerClock, iso, parse_iso


def test_iso_times_survive_the_way_there_and_back() -> None:
    assert parse_iso(iso(1_700_000_000.123456)) == pytest.approx(1_700_000_000.123456, abs=1e-6)
    assert iso(0.0) == "1970-01-01T00:00:00.000000Z"


def test_the_offset_is_taken_at_the_middle_of_the_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ServerClock()
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    monkeypatch.setattr(time, "time", lambda: 5000.0)
    server.sent("beat")
    monkeypatch.setattr(time, "monotonic", lambda: 101.0)
    monkeypatch.setattr(time, "time", lambda: 5001.0)
    server.answered("beat", iso(6000.5))
    assert server.offset_s == pytest.approx(1000.0)
    assert server.heard_within(1.0)


def test_an_answer_to_nothing_is_contact_but_tells_no_time() -> None:
    server = ServerClock()
    assert not server.heard_within(1e9)
    server.answered("never sent", iso(0.0))
    server.answered(None, "no time at all")
    assert server.offset_s == 0.0
    assert server.heard_within(5.0)


def test_a_jump_of_the_wall_clock_is_seen_once(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = JumpWatch()
    assert watch.jump_s() == 0.0
    real = time.time
    monkeypatch.setattr(clock.time, "time", lambda: real() + 3600.0)
    assert watch.jump_s() == pytest.approx(3600.0, abs=0.05)
    assert watch.jump_s() == 0.0


def test_slow_discipline_is_no_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = JumpWatch()
    real, shift = time.time, 0.0
    monkeypatch.setattr(clock.time, "time", lambda: real() + shift)
    for _ in range(10):
        shift += 0.02
        assert watch.jump_s() == 0.0
