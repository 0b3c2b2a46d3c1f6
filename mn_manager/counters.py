"""What the manager did and dropped: for /metrics, and in the database for operators to see."""

from __future__ import annotations

import logging
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

logger = logging.getLogger("mn_manager.dropped")

# A flood of rubbish must not become a flood of log lines: so many in a row, then one a second.
LINES_AT_ONCE, LINES_PER_S = 20.0, 1.0
# Topics and reasons come from strangers; enough of them to understand.
SHOWN = 200


class Counters:
    """Counts by name. Written by the loop only; readers may be a moment behind."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.last_drop: dict[str, str] | None = None
        self._lines = LINES_AT_ONCE
        self._refilled_s = time.monotonic()
        self._unlogged = 0

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counts[name] += by

    def drop(self, why: str, topic: str, reason: str) -> None:
        """Count a dropped message under ``why`` (one word) and log topic and reason."""
        self.dropped[why] += 1
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self.last_drop = {"at": at, "why": why, "topic": topic[:SHOWN], "reason": reason[:SHOWN]}
        if not self._may_log():
            self._unlogged += 1
            return
        more = f" unlogged_before={self._unlogged}" if self._unlogged else ""
        self._unlogged = 0
        logger.warning(
            "event=message_dropped why=%s topic=%r reason=%r%s", why, topic[:SHOWN], reason[:SHOWN], more
        )

    def _may_log(self) -> bool:
        now = time.monotonic()
        self._lines = min(LINES_AT_ONCE, self._lines + (now - self._refilled_s) * LINES_PER_S)
        self._refilled_s = now
        if self._lines < 1:
            return False
        self._lines -= 1
        return True

    def as_row(self) -> dict[str, Any]:
        """Return everything as it is kept in the database."""
        return {"counts": dict(self.counts), "dropped": dict(self.dropped), "last_drop": self.last_drop}
