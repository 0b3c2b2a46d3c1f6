"""Delivery: at least once, in a window, again when no answer comes, nothing removed but by the manager."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cycler_unit import link as module
from cycler_unit.link import Delivery
from cycler_unit.spool import Entry, Spool
from cycler_unit.spool_reader import waiting
from tests.stack.waiting import until
from wire import codec
from wire.messages import Ack, AckedEvents, AckedSamples, EventBatch, RejectedSamples, SampleBatch


class Wire:
    """Stand for the link: note what was published."""

    def __init__(self) -> None:
        self.connected = True
        self.samples: list[SampleBatch] = []
        self.events: list[EventBatch] = []

    def publish(self, topic: str, payload: bytes, **_: Any) -> bool:
        """Take a message."""
        if topic.endswith("samples"):
            self.samples.append(codec.decode(payload, SampleBatch))
        else:
            self.events.append(codec.decode(payload, EventBatch))
        return True


class Bench:
    """A spool with a delivery."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder / "spool.sqlite3")
        self.spool.start()
        self.spool.begin("e1", "s1", b"{}", ["time_us", "voltage_v"])
        self.wire = Wire()
        self.delivery = Delivery(self.spool, self.wire, "p", "u")  # type: ignore[arg-type]
        self.spool.on_commit = self.delivery.wake
        self.delivery.start()

    def put(self, count: int) -> None:
        """Put rows on the disk."""
        self.spool.put(Entry(experiment="e1", rows=[[i, 3.7] for i in range(count)]))
        self.spool.commit(5.0)

    def seqs(self) -> list[int]:
        """Return the numbers published so far, in order."""
        return [batch.first_seq + i for batch in self.wire.samples for i in range(batch.count)]

    def acknowledge(self, first: int, count: int) -> None:
        """Answer as the manager."""
        self.delivery.acknowledged(Ack(samples=[AckedSamples(experiment="e1", first_seq=first, count=count)]))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Return a running delivery."""
    bench = Bench(tmp_path)
    yield bench
    bench.delivery.stop()
    bench.spool.stop()


def test_what_is_committed_is_published_once_while_unanswered(bench: Bench) -> None:
    bench.put(3)
    until(lambda: bench.seqs() == [1, 2, 3], 3)
    bench.put(2)
    until(lambda: bench.seqs() == [1, 2, 3, 4, 5], 3)
    assert waiting(bench.spool.path)[0] == 5


def test_only_the_managers_answer_removes(bench: Bench) -> None:
    bench.put(5)
    until(lambda: len(bench.seqs()) == 5, 3)
    bench.acknowledge(1, 5)
    until(lambda: waiting(bench.spool.path)[0] == 0, 3)


def test_a_long_backlog_goes_in_full_batches_within_the_window(bench: Bench) -> None:
    bench.wire.connected = False
    bench.put(10_000)
    bench.wire.connected = True
    bench.delivery.wake()
    until(lambda: len(bench.wire.samples) == module.WINDOW, 5)
    assert [batch.count for batch in bench.wire.samples] == [500] * module.WINDOW
    bench.acknowledge(1, 500)
    until(lambda: len(bench.wire.samples) == module.WINDOW + 1, 5)
    for first in range(501, 10_000, 500):
        until(lambda first=first: bench.seqs()[-1] >= first + 499, 5)
        bench.acknowledge(first, 500)
    until(lambda: waiting(bench.spool.path)[0] == 0, 5)
    assert bench.seqs() == list(range(1, 10_001))


def test_unanswered_batches_come_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.2)
    bench.put(3)
    until(lambda: bench.seqs()[:6] == [1, 2, 3, 1, 2, 3], 3)
    bench.acknowledge(1, 3)
    until(lambda: waiting(bench.spool.path)[0] == 0, 3)


def test_after_a_reconnect_everything_pending_comes_again(bench: Bench) -> None:
    bench.put(3)
    until(lambda: bench.seqs() == [1, 2, 3], 3)
    bench.delivery.start_again()
    until(lambda: bench.seqs() == [1, 2, 3, 1, 2, 3], 3)


def test_a_rejected_batch_does_not_block_the_next(bench: Bench) -> None:
    bench.put(3)
    until(lambda: bench.seqs() == [1, 2, 3], 3)
    refused = RejectedSamples(experiment="e1", first_seq=1, count=3, reason="unknown experiment")
    bench.delivery.acknowledged(Ack(rejected=[refused]))
    bench.put(2)
    until(lambda: bench.seqs() == [1, 2, 3, 4, 5], 3)
    assert bench.spool.rejected_batches == 1


def test_events_carry_the_spools_name_and_go_through_their_number(bench: Bench) -> None:
    bench.spool.put(
        Entry(events=[{"at": "2026-01-01T00:00:00Z", "kind": "note", "text": str(i)} for i in range(3)])
    )
    until(lambda: bench.wire.events, 3)
    batch = bench.wire.events[0]
    assert (batch.spool, batch.first_seq, len(batch.events)) == (bench.spool.uuid, 1, 3)
    bench.delivery.acknowledged(Ack(events=AckedEvents(spool="another", through=3)))
    bench.delivery.acknowledged(Ack(events=AckedEvents(spool=bench.spool.uuid, through=2)))
    until(lambda: waiting(bench.spool.path)[1] == 1, 3)


def test_nothing_is_published_without_a_connection(bench: Bench) -> None:
    bench.wire.connected = False
    bench.put(3)
    bench.delivery.wake()
    assert bench.seqs() == []
    bench.wire.connected = True
    bench.delivery.start_again()
    until(lambda: bench.seqs() == [1, 2, 3], 3)
