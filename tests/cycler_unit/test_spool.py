"""The spool: nothing lost, nothing twice, whatever the disk or a kill does."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cycler_unit import spool as module
from cycler_unit.spool import Entry, Spool, SpoolFull, connect
from cycler_unit.spool_reader import SpoolReader, waiting
from tests.stack.process import ROOT
from tests.stack.waiting import until


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """Return a running spool with one experiment."""
    spool = Spool(tmp_path / "spool.sqlite3")
    spool.start()
    spool.begin("e1", "s1", b"{}", ["time_us", "voltage_v"])
    yield spool
    spool.stop()


def rows(count: int, first: int = 0) -> list[list[Any]]:
    """Return rows that tell which they are."""
    return [[first + i, 3.7] for i in range(count)]


def stored(spool: Spool, experiment: str = "e1") -> list[int]:
    """Return the first column of all waiting rows."""
    assert spool.commit(5.0)
    reader = SpoolReader(spool.path)
    found: list[int] = []
    after = 0
    while (batch := reader.samples(experiment, after, 500)) is not None:
        assert batch.first_seq == after + 1
        found += batch.columns["time_us"]
        after += batch.count
    reader.close()
    return found


def test_rows_get_rising_numbers_without_a_hole(spool: Spool) -> None:
    for i in range(100):
        spool.put(Entry(experiment="e1", rows=rows(13, 13 * i)))
    assert stored(spool) == list(range(1300))


def test_a_batch_is_written_without_being_asked(spool: Spool) -> None:
    spool.put(Entry(experiment="e1", rows=rows(3)))
    until(lambda: waiting(spool.path)[0] == 3, 2.0)


def test_numbers_go_on_after_a_restart(spool: Spool) -> None:
    spool.put(Entry(experiment="e1", rows=rows(5)))
    spool.stop()
    again = Spool(spool.path)
    again.start()
    again.put(Entry(experiment="e1", rows=rows(5, 5)))
    assert stored(again) == list(range(10))
    assert again.uuid == spool.uuid
    again.stop()


def test_the_checkpoint_and_its_rows_are_in_one_transaction(spool: Spool) -> None:
    spool.put(Entry(experiment="e1", rows=rows(2), checkpoint=b"two"))
    spool.put(Entry(experiment="e1", rows=rows(2, 2), checkpoint=b"four"))
    spool.commit(5.0)
    reader = SpoolReader(spool.path)
    assert [(run.checkpoint, run.last_seq) for run in reader.runs()] == [(b"four", 4)]
    reader.close()


def test_a_final_status_names_the_last_row(spool: Spool) -> None:
    event = {
        "kind": "status",
        "text": "done",
        "detail": {"status": "finished", "end_reason": {"code": "completed"}},
    }
    spool.put(Entry(experiment="e1", rows=rows(7), events=[event], status="ended"))
    spool.commit(5.0)
    db = connect(spool.path)
    body = db.execute("SELECT body FROM events").fetchone()[0].decode()
    db.close()
    assert '"last_seq":7' in body
    assert '"seq":7' in body
    reader = SpoolReader(spool.path)
    assert reader.runs() == []
    assert reader.has_ended("e1")
    reader.close()


def test_only_what_is_acknowledged_is_removed(spool: Spool) -> None:
    spool.put(
        Entry(
            experiment="e1",
            rows=rows(10),
            events=[{"kind": "note", "text": "a"}, {"kind": "note", "text": "b"}],
        )
    )
    spool.acknowledge_samples("e1", 1, 4)
    spool.acknowledge_samples("e1", 6, 2)
    spool.acknowledge_events(1)
    spool.commit(5.0)
    assert waiting(spool.path) == (4, 1)
    assert (spool.pending_rows, spool.pending_events) == (4, 1)
    reader = SpoolReader(spool.path)
    batch = reader.samples("e1", 0, 500)
    assert batch is not None
    assert (batch.first_seq, batch.count) == (5, 1), "a batch has no hole"
    reader.close()


def test_rejected_rows_are_kept_counted_and_out_of_the_way(spool: Spool) -> None:
    spool.put(Entry(experiment="e1", rows=rows(10)))
    spool.reject_samples("e1", 1, 5, "unknown experiment")
    spool.commit(5.0)
    assert spool.rejected_batches == 1
    assert waiting(spool.path)[0] == 5
    db = connect(spool.path)
    assert db.execute("SELECT count, reason FROM rejected").fetchall() == [(5, "unknown experiment")]
    db.close()


def test_putting_in_never_waits_for_a_hanging_disk_and_nothing_is_dropped(spool: Spool) -> None:
    spool.commit(5.0)
    blocker = sqlite3.connect(spool.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    for i in range(200):
        spool.put(Entry(experiment="e1", rows=rows(5, 5 * i)), force=True)
    assert time.monotonic() - began < 0.2
    assert not spool.commit(0.1), "the caller waits no longer than it said"
    blocker.execute("ROLLBACK")
    blocker.close()
    assert stored(spool) == list(range(1000))


def test_when_memory_is_full_too_rows_are_refused_but_events_are_not(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_MAX", 10)
    spool.commit(5.0)
    blocker = sqlite3.connect(spool.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    spool.put(Entry(experiment="e1", rows=rows(10)))
    with pytest.raises(SpoolFull):
        spool.put(Entry(experiment="e1", rows=rows(1)))
    spool.put(Entry(events=[{"kind": "alarm", "text": "still heard"}]))
    blocker.execute("ROLLBACK")
    blocker.close()
    assert stored(spool) == list(range(10))
    assert waiting(spool.path) == (10, 1)


def test_a_disk_that_takes_nothing_for_too_long_refuses_rows_however_few(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_MAX_S", 0.3)
    spool.commit(5.0)
    spool.do(lambda db: db.execute("PRAGMA max_page_count = 1"))  # SQLite's own full disk
    spool.commit(5.0)
    big = "x" * 100_000
    began_s = time.monotonic()

    def refused() -> bool:
        try:
            spool.put(Entry(experiment="e1", rows=[[1, big]]), force=True)
        except SpoolFull as full:
            return "full" in str(full)
        return False

    until(refused, 10, "rows are refused")
    assert time.monotonic() - began_s > 0.3


def test_a_failing_transaction_is_tried_again_whole(spool: Spool) -> None:
    spool.commit(5.0)
    fail = {"left": 2}

    def unlucky(_db: sqlite3.Connection) -> None:
        if fail["left"]:
            fail["left"] -= 1
            raise sqlite3.OperationalError("database or disk is full")

    spool.put(Entry(experiment="e1", rows=rows(5)))
    spool.do(unlucky)
    until(lambda: spool.failing == "database or disk is full", 3)
    until(lambda: spool.failing is None, 5)
    assert stored(spool) == list(range(5))


def test_a_broken_file_is_put_aside_and_a_new_one_made(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite3"
    path.write_bytes(b"this is no database, whatever it was before" * 100)
    spool = Spool(path)
    spool.start()
    assert spool.uuid
    assert list(tmp_path.glob("spool.sqlite3.broken-*"))
    spool.stop()


KILLED = """
import sys, time
from pathlib import Path
from cycler_unit.spool import Entry, Spool
spool = Spool(Path(sys.argv[1]))
spool.start()
spool.begin("e1", "s1", b"{}", ["time_us", "voltage_v"])
n = 0
while True:
    spool.put(Entry(experiment="e1", rows=[[n, 3.7]], checkpoint=str(n).encode()), force=n % 7 == 0)
    n += 1
    if n % 50 == 0:
        print(n, flush=True)
        time.sleep(0.001)
"""


def test_kill_9_while_writing_leaves_rows_and_checkpoint_that_agree(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite3"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    for _ in range(40):
        process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    spool = Spool(path)
    spool.start()
    found = stored(spool)
    assert found == list(range(len(found)))
    assert found, "something was committed"
    reader = SpoolReader(path)
    run = reader.runs()[0]
    reader.close()
    spool.stop()
    assert run.last_seq == len(found)
    assert run.checkpoint == str(found[-1]).encode()


def test_a_large_backlog_is_counted_without_counting_the_table(spool: Spool) -> None:
    for i in range(20):
        spool.put(Entry(experiment="e1", rows=rows(500, 500 * i)))
    spool.commit(10.0)
    assert spool.pending_rows == 10_000
    assert spool.batches == 20
    again = Spool(spool.path)
    again._open()
    assert again.pending_rows == 10_000
