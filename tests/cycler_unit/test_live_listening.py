"""A bus is listened to again and again, as the console's live view does."""

from __future__ import annotations

from uuid import uuid4

import can
import pytest

from cycler_unit.buses.local import LocalBuses
from tests.stack.waiting import until


def test_who_listens_again_at_once_misses_nothing_and_no_look_fails() -> None:
    channel = str(uuid4())
    link = {"kind": "can", "interface": "virtual", "channel": channel}
    buses = LocalBuses()
    heard: list[str] = []

    def more() -> list[str]:
        return [frame.payload for frame in buses.listen(link, 0.01, 0, 0, 100)]

    with can.Bus(interface="virtual", channel=channel) as other:
        try:
            more()
            for number in range(5):
                other.send(can.Message(arbitration_id=0x13C, data=[number], is_extended_id=False))
                # The second look falls into the time in which the first one's listener is kept.
                heard += more()
            until(lambda: heard.extend(more()) or len(heard) == 5, 5)
        finally:
            buses.stop()
    assert heard == ["00", "01", "02", "03", "04"]


def test_listeners_that_nobody_asks_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cycler_unit.buses.local.KEEP_EAR_S", 0.05)
    link = {"kind": "can", "interface": "virtual", "channel": str(uuid4())}
    buses = LocalBuses()
    try:
        for mask in (0x7FF, 0x7F0):
            buses.listen(link, 0.01, 0x130, mask, 100)
        until(lambda: not buses._ears, 5)
    finally:
        buses.stop()
