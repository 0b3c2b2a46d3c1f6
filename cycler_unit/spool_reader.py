"""Read the spool beside its writer: what waits for the manager, what ran, what was answered."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from cycler_unit.spool import StoredRun, connect
from wire.messages import SampleBatch

# A batch must stay well below wire.messages.MAX_BYTES whatever a station measures.
BYTES_MAX = 600_000


class SpoolReader:
    """One connection for one thread."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path)
        self._columns: dict[str, list[str]] = {}

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def experiments_with_samples(self) -> list[str]:
        """Return the experiments of which rows wait, in no particular order."""
        # One index seek per experiment instead of a walk over all rows.
        found: list[str] = []
        last = ""
        while True:
            row = self._db.execute(
                "SELECT experiment FROM samples WHERE experiment > ? ORDER BY experiment LIMIT 1", (last,)
            ).fetchone()
            if row is None:
                return found
            last = row[0]
            found.append(last)

    def samples(self, experiment: str, after_seq: int, limit: int) -> SampleBatch | None:
        """Return the next waiting rows without a hole between them, None when there are none."""
        found = self._db.execute(
            "SELECT seq, row FROM samples WHERE experiment = ? AND seq > ? ORDER BY seq LIMIT ?",
            (experiment, after_seq, limit),
        ).fetchall()
        if not found:
            return None
        first, size = int(found[0][0]), 0
        rows: list[list[Any]] = []
        for seq, row in found:
            size += len(row)
            if seq != first + len(rows) or (rows and size > BYTES_MAX):
                break
            rows.append(msgspec.json.decode(row))
        names = self._names(experiment)
        columns: dict[str, list[Any]] = {
            name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
        }
        return SampleBatch(experiment=experiment, first_seq=first, count=len(rows), columns=columns)

    def _names(self, experiment: str) -> list[str]:
        if experiment not in self._columns:
            row = self._db.execute("SELECT columns FROM runs WHERE experiment = ?", (experiment,)).fetchone()
            self._columns[experiment] = msgspec.json.decode(row[0], type=list[str]) if row else []
        return self._columns[experiment]

    def events(self, after_seq: int, limit: int) -> tuple[int, list[bytes]]:
        """Return (first seq, bodies) of the next waiting events without a hole."""
        found = self._db.execute(
            "SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, limit)
        ).fetchall()
        if not found:
            return 0, []
        first, size = int(found[0][0]), 0
        bodies: list[bytes] = []
        for seq, body in found:
            size += len(body)
            if seq != first + len(bodies) or (bodies and size > BYTES_MAX):
                break
            bodies.append(body)
        return first, bodies

    def runs(self, *, ended: bool = False) -> list[StoredRun]:
        """Return the experiments that have not ended (or those that have)."""
        sign = "=" if ended else "<>"
        return [
            StoredRun(*row)
            for row in self._db.execute(
                f"SELECT experiment, station, status, start, checkpoint, last_seq FROM runs WHERE status {sign} 'ended'"
            )
        ]

    def has_ended(self, experiment: str) -> bool:
        """Say whether this experiment was here before and has ended."""
        row = self._db.execute("SELECT 1 FROM runs WHERE experiment = ? AND status = 'ended'", (experiment,))
        return row.fetchone() is not None

    def commands(self) -> dict[str, bytes | None]:
        """Return the newest commands seen before with their answers, oldest first."""
        newest = "SELECT id, reply FROM commands ORDER BY at DESC LIMIT 2000"
        return dict(reversed(self._db.execute(newest).fetchall()))


def waiting(path: Path) -> tuple[int, int]:
    """Return how many rows and events wait; for tests and tools."""
    db: sqlite3.Connection = connect(path)
    try:
        rows = db.execute("SELECT count(*) FROM samples").fetchone()[0]
        events = db.execute("SELECT count(*) FROM events").fetchone()[0]
        return int(rows), int(events)
    finally:
        db.close()
