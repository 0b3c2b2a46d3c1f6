"""What waits between the broker and the loop: in order, replies first, within a bound."""

from __future__ import annotations

from mn_manager import inbox
from mn_manager.inbox import Inbox

UNIT = "cellyard/v1/units/u1"


def taken(box: Inbox) -> list[tuple[str, bytes]]:
    """Return everything that waits, as it would be taken."""
    found = []
    while (message := box.get(0)) is not None:
        found.append((message.topic.rpartition("/")[2], message.payload))
    return found


def test_replies_pass_what_a_command_caused_and_all_else_keeps_its_order():
    box = Inbox()
    for leaf, payload in [("events", b"1"), ("samples", b"2"), ("replies", b"3"), ("replies", b"4")]:
        box.put(f"{UNIT}/{leaf}", payload)
    assert len(box) == 4
    assert taken(box) == [("replies", b"3"), ("replies", b"4"), ("events", b"1"), ("samples", b"2")]
    assert len(box) == 0


def test_what_is_sent_again_is_given_up_before_the_memory_is_full(monkeypatch):
    monkeypatch.setattr(inbox, "BYTES_REPEATED", 10)
    monkeypatch.setattr(inbox, "BYTES_ALL", 20)
    box = Inbox()
    for leaf in ("samples", "samples", "heartbeat", "heartbeat"):
        box.put(f"{UNIT}/{leaf}", b"x" * 8)
    assert [leaf for leaf, _ in taken(box)] == ["samples", "heartbeat"]
    assert box.overflowed == 2


def test_waiting_for_a_message_ends_with_the_time():
    assert Inbox().get(0.01) is None
