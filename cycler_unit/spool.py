"""What the unit must not lose, on its own disk: samples, events, checkpoints, answered commands.

SQLite (WAL, synchronous=FULL) written by one thread from a bounded queue; whoever puts something in
never waits for the disk. The sequence numbers of samples and events are given inside the
transaction that also holds the interpreter's checkpoint, so a kill at any moment leaves either all
three or none.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

logger = logging.getLogger("cycler_unit.spool")

# wire.md and architecture.md: a batch is at most this old or this long.
PERIOD_S, ROWS_MAX = 0.25, 500
# Rows that may wait for a disk that hangs: 25 s of eight stations at 100 Hz.
QUEUE_MAX = 20_000
# And so long: beyond it a kill would lose more than a test can do without, also of one row a second.
WAIT_MAX_S = 120.0
# Answered commands and ended experiments are remembered this long.
KEEP_S = 30 * 86400.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    experiment TEXT PRIMARY KEY, station TEXT NOT NULL, status TEXT NOT NULL, start BLOB NOT NULL,
    columns BLOB NOT NULL, checkpoint BLOB, last_seq INTEGER NOT NULL DEFAULT 0, changed REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS samples (
    experiment TEXT NOT NULL, seq INTEGER NOT NULL, row BLOB NOT NULL, PRIMARY KEY (experiment, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rejected (
    experiment TEXT NOT NULL, first_seq INTEGER NOT NULL, count INTEGER NOT NULL, reason TEXT NOT NULL,
    rows BLOB NOT NULL, PRIMARY KEY (experiment, first_seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS commands (id TEXT PRIMARY KEY, reply BLOB, at REAL NOT NULL) WITHOUT ROWID;
"""


class SpoolFull(Exception):
    """The disk has not taken anything for too long; nothing more fits into memory."""


@dataclass(frozen=True)
class StoredRun:
    """An experiment as the disk knows it."""

    experiment: str
    station: str
    status: str
    start: bytes
    checkpoint: bytes | None
    last_seq: int


@dataclass
class Entry:
    """Things that belong into one transaction. ``rows`` are lists in the order of the run's columns.

    ``events`` are plain dicts of ``wire.messages.Event``; of an event with a ``status`` or a step
    ``row`` in its detail the sequence number of the last sample is filled in here.
    """

    experiment: str | None = None
    rows: list[list[Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    checkpoint: bytes | None = None
    status: str | None = None


@dataclass
class _Change:
    """What one transaction took away, counted so that nobody has to count a table."""

    rows: int = 0
    events: int = 0
    rejected: int = 0


Work = Callable[[sqlite3.Connection], object]


class Spool:
    """The writer thread and its file; readers open their own connection (``spool_reader``)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.uuid = ""
        self.failing: str | None = None
        self.pending_rows = 0
        self.pending_events = 0
        self.rejected_batches = 0
        self.on_commit: Callable[[], None] = lambda: None
        self._queue: queue.SimpleQueue[Entry | Work | threading.Event | None] = queue.SimpleQueue()
        self._waiting_rows = 0
        self._waiting_since_s = 0.0
        self._change = _Change()
        self._committed_s = 0.0
        self._force = threading.Event()
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)

    # --- opening --------------------------------------------------------------------------------

    def start(self) -> None:
        """Open or make the file, then start writing; a broken file is put aside and said so."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, disk full, no permission: the file itself may be good
            aside = self.path.with_name(f"{self.path.name}.broken-{int(time.time())}")
            self.path.replace(aside)
            logger.error("event=spool_broken reason='%s' kept=%s", error, aside)
            self._open()
        self._thread.start()

    def _open(self) -> None:
        with connect(self.path) as db:
            db.executescript(SCHEMA)
            row = db.execute("SELECT value FROM meta WHERE key = 'uuid'").fetchone()
            self.uuid = row[0] if row else str(uuid.uuid4())
            with db:
                db.execute("INSERT OR IGNORE INTO meta VALUES ('uuid', ?), ('event_seq', '0')", (self.uuid,))
                db.execute("DELETE FROM commands WHERE at < ?", (time.time() - KEEP_S,))
                db.execute(
                    "DELETE FROM runs WHERE status = 'ended' AND changed < ? AND experiment NOT IN"
                    " (SELECT experiment FROM samples)",
                    (time.time() - KEEP_S,),
                )
            self._count(db)
        db.close()

    def _count(self, db: sqlite3.Connection) -> None:
        self.pending_rows = db.execute("SELECT count(*) FROM samples").fetchone()[0]
        self.pending_events = db.execute("SELECT count(*) FROM events").fetchone()[0]
        self.rejected_batches = db.execute("SELECT count(*) FROM rejected").fetchone()[0]

    def stop(self) -> None:
        """Write what is waiting and end the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._force.set()
            self._thread.join(10.0)

    # --- putting in -----------------------------------------------------------------------------

    @property
    def batches(self) -> int:
        """Return how many batches wait for the manager's acknowledgement."""
        return -(-self.pending_rows // ROWS_MAX) + -(-self.pending_events // ROWS_MAX)

    def put(self, entry: Entry, *, force: bool = False) -> None:
        """Queue ``entry``; with ``force`` the transaction begins at once. Never waits.

        Raises :class:`SpoolFull` when rows have been waiting for a hanging disk for too long; events
        and checkpoints are always taken.
        """
        if entry.rows and self._waiting_rows:
            waited_s = time.monotonic() - self._waiting_since_s
            if self._waiting_rows >= QUEUE_MAX or waited_s > WAIT_MAX_S:
                raise SpoolFull(self.failing or "the disk does not answer")
        elif entry.rows:
            self._waiting_since_s = time.monotonic()
        self._waiting_rows += len(entry.rows)
        self._queue.put(entry)
        if force or self._waiting_rows >= ROWS_MAX:
            self._force.set()

    def commit(self, timeout_s: float) -> bool:
        """Force a transaction and wait for it, at most ``timeout_s``; True when it is on the disk."""
        done = threading.Event()
        self._queue.put(done)
        self._force.set()
        return done.wait(timeout_s)

    def do(self, work: Work) -> None:
        """Queue other work on the file, for the next transaction."""
        self._queue.put(work)

    def begin(self, experiment: str, station: str, start: bytes, columns: list[str]) -> None:
        """Queue the record of an experiment that is about to run."""
        body = msgspec.json.encode(columns)

        def insert(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO runs (experiment, station, status, start, columns, changed)"
                " VALUES (?, ?, 'running', ?, ?, ?)",
                (experiment, station, start, body, time.time()),
            )

        self.do(insert)

    def refuse_forever(self, experiment: str, station: str) -> None:
        """Remember an experiment that was stopped before it began, so that a late start is refused."""
        self.do(
            lambda db: db.execute(
                "INSERT OR IGNORE INTO runs (experiment, station, status, start, columns, changed)"
                " VALUES (?, ?, 'ended', '', '[]', ?)",
                (experiment, station, time.time()),
            )
        )

    def remember_command(self, command: str, reply: bytes | None) -> None:
        """Queue a command's answer (None: about to act), for "seen before: answer again"."""
        self.do(
            lambda db: db.execute(
                "INSERT INTO commands VALUES (?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET reply = excluded.reply, at = excluded.at",
                (command, reply, time.time()),
            )
        )

    def acknowledge_samples(self, experiment: str, first_seq: int, count: int) -> None:
        """Queue the removal of rows that the manager has stored."""
        span = (experiment, first_seq, first_seq + count - 1)

        def remove(db: sqlite3.Connection) -> None:
            gone = db.execute("DELETE FROM samples WHERE experiment = ? AND seq BETWEEN ? AND ?", span)
            self._change.rows -= gone.rowcount

        self.do(remove)

    def acknowledge_events(self, through: int) -> None:
        """Queue the removal of events that the manager has stored."""

        def remove(db: sqlite3.Connection) -> None:
            self._change.events -= db.execute("DELETE FROM events WHERE seq <= ?", (through,)).rowcount

        self.do(remove)

    def reject_samples(self, experiment: str, first_seq: int, count: int, reason: str) -> None:
        """Queue the setting aside of rows that the manager can never store; they are kept."""

        def move(db: sqlite3.Connection) -> None:
            span = (experiment, first_seq, first_seq + count - 1)
            where = "WHERE experiment = ? AND seq BETWEEN ? AND ?"
            rows = [row[0] for row in db.execute(f"SELECT row FROM samples {where} ORDER BY seq", span)]
            if not rows:
                return
            body = b"[" + b",".join(rows) + b"]"
            db.execute(
                "INSERT OR REPLACE INTO rejected VALUES (?, ?, ?, ?, ?)",
                (experiment, first_seq, len(rows), reason, body),
            )
            self._change.rows -= db.execute(f"DELETE FROM samples {where}", span).rowcount
            self._change.rejected += 1

        self.do(move)

    # --- the writer's thread --------------------------------------------------------------------

    def _work(self) -> None:
        db = connect(self.path)
        going = True
        while going:
            batch, going = self._collect()
            while batch and not self._commit(db, batch):
                # Disk full or failing: nothing is dropped; put() refuses once memory is full too.
                if not going:
                    break
                time.sleep(1.0)
        db.close()

    def _collect(self) -> tuple[list[Any], bool]:
        """Wait for the first thing, then for the batch to be due; False as second: no more to come."""
        first = self._queue.get()
        if first is None:
            return [], False
        # The first after a quiet time goes at once; under load there is one transaction per period.
        self._force.wait(max(0.0, self._committed_s + PERIOD_S - time.monotonic()))
        self._force.clear()
        batch: list[Any] = [first]
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, True
            if item is None:
                return batch, False
            batch.append(item)

    def _commit(self, db: sqlite3.Connection, batch: list[Any]) -> bool:
        try:
            self._change = change = _Change()
            db.execute("BEGIN IMMEDIATE")
            sequences = _Sequences(db)
            for item in batch:
                if isinstance(item, Entry):
                    sequences.write(item)
                elif not isinstance(item, threading.Event):
                    item(db)
            sequences.finish()
            db.execute("COMMIT")
        except sqlite3.Error as error:
            if db.in_transaction:
                db.rollback()
            if self.failing != str(error):
                logger.error("event=spool_failing reason='%s'", error)
            self.failing = str(error)
            return False
        if self.failing:
            logger.warning("event=spool_recovered")
        self.failing = None
        self._committed_s = self._waiting_since_s = time.monotonic()
        entries = [item for item in batch if isinstance(item, Entry)]
        self._waiting_rows -= sum(len(entry.rows) for entry in entries)
        self.pending_rows += change.rows + sum(len(entry.rows) for entry in entries)
        self.pending_events += change.events + sum(len(entry.events) for entry in entries)
        self.rejected_batches += change.rejected
        for item in batch:
            if isinstance(item, threading.Event):
                item.set()
        self.on_commit()
        return True


class _Sequences:
    """Give sequence numbers within one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._samples: dict[str, int] = {}
        row = db.execute("SELECT value FROM meta WHERE key = 'event_seq'").fetchone()
        self._event = self._event_before = int(row[0])

    def write(self, entry: Entry) -> None:
        """Store rows, then the checkpoint, then events: these may name the last row."""
        last = 0
        if entry.experiment is not None:
            last = self._rows(entry.experiment, entry.rows)
            if entry.checkpoint is not None or entry.status is not None:
                self._db.execute(
                    "UPDATE runs SET checkpoint = coalesce(?, checkpoint), status = coalesce(?, status),"
                    " changed = ? WHERE experiment = ?",
                    (entry.checkpoint, entry.status, time.time(), entry.experiment),
                )
        for event in entry.events:
            self._event += 1
            body = msgspec.json.encode(_with_last_seq(event, last))
            self._db.execute("INSERT INTO events VALUES (?, ?)", (self._event, body))

    def _rows(self, experiment: str, rows: Iterable[list[Any]]) -> int:
        seq = self._samples.get(experiment)
        if seq is None:
            found = self._db.execute(
                "SELECT last_seq FROM runs WHERE experiment = ?", (experiment,)
            ).fetchone()
            seq = int(found[0]) if found else 0
        for row in rows:
            seq += 1
            self._db.execute(
                "INSERT INTO samples VALUES (?, ?, ?)", (experiment, seq, msgspec.json.encode(row))
            )
        self._samples[experiment] = seq
        return seq

    def finish(self) -> None:
        """Store where the counting stands."""
        for experiment, seq in self._samples.items():
            self._db.execute("UPDATE runs SET last_seq = ? WHERE experiment = ?", (seq, experiment))
        if self._event != self._event_before:
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'event_seq'", (str(self._event),))


def _with_last_seq(event: dict[str, Any], last: int) -> dict[str, Any]:
    detail = event.get("detail") or {}
    if "status" in detail:
        detail = {**detail, "last_seq": last}
        if detail.get("end_reason"):
            detail["end_reason"] = {**detail["end_reason"], "seq": last}
    elif isinstance(detail.get("row"), dict) and isinstance(detail["row"].get("end_reason"), dict):
        row = detail["row"]
        detail = {**detail, "row": {**row, "end_reason": {**row["end_reason"], "seq": last}}}
    return {**event, "detail": detail}


def connect(path: Path) -> sqlite3.Connection:
    """Open the file as every thread must: WAL, forced to the disk at each commit."""
    db = sqlite3.connect(path, timeout=20.0, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    return db
