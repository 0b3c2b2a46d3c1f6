"""What came from the broker and waits for the loop, within a bound of memory."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

# A unit sends these again until they are acknowledged, so they may be dropped.
REPEATED = ("samples", "events")
# Somebody waits for these; what a command caused is published around its reply and takes longer to store.
AWAITED = "/replies"
# While the database is away the inbox fills; the spools of the units are the place to wait in.
BYTES_REPEATED, BYTES_ALL = 32 * 1024 * 1024, 48 * 1024 * 1024
# Small messages cost memory too.
MESSAGES_MAX = 20_000


@dataclass(frozen=True)
class Received:
    """One message and when it came."""

    topic: str
    payload: bytes
    at: datetime


class Inbox:
    """A queue between the broker's thread and the loop."""

    def __init__(self) -> None:
        self.overflowed = 0
        self._queue: deque[Received] = deque()
        self._awaited: deque[Received] = deque()
        self._bytes = 0
        self._filled = threading.Condition()

    def put(self, topic: str, payload: bytes) -> None:
        """Add a message, or count it as overflowed."""
        limit = BYTES_REPEATED if topic.endswith(REPEATED) else BYTES_ALL
        with self._filled:
            if self._bytes + len(payload) > limit or len(self) >= MESSAGES_MAX:
                self.overflowed += 1
                return
            queue = self._awaited if topic.endswith(AWAITED) else self._queue
            queue.append(Received(topic, payload, datetime.now(UTC)))
            self._bytes += len(payload)
            self._filled.notify()

    def get(self, timeout_s: float) -> Received | None:
        """Return the next message, replies first, waiting at most ``timeout_s``; None when none came."""
        with self._filled:
            if not len(self) and timeout_s > 0:
                self._filled.wait(timeout_s)
            if not len(self):
                return None
            message = (self._awaited or self._queue).popleft()
            self._bytes -= len(message.payload)
            return message

    def wake(self) -> None:
        """Let a waiting ``get`` return at once."""
        with self._filled:
            self._filled.notify()

    def __len__(self) -> int:
        return len(self._queue) + len(self._awaited)
