"""What other threads ask of a station: served between two readings, stops first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["done", "refused", "failed"]
Reply = Callable[[Outcome, dict[str, Any] | None, str | None], None]


@dataclass(frozen=True)
class Ask:
    """One request: the name of what to do, its arguments, and whom to tell."""

    do: str
    args: Any
    reply: Reply
    urgent: bool = False


class Once:
    """A reply that is given once: what ends a request on the way has answered it already."""

    def __init__(self, reply: Reply) -> None:
        self._reply: Reply | None = reply

    def __call__(self, outcome: Outcome, result: dict[str, Any] | None, reason: str | None) -> None:
        """Answer, unless it was done."""
        reply, self._reply = self._reply, None
        if reply is not None:
            reply(outcome, result, reason)


class Mailbox:
    """A queue that wakes its reader. Urgent requests (stops) pass all others."""

    def __init__(self) -> None:
        self._waiting: deque[Ask] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed: str | None = None

    def put(self, ask: Ask) -> None:
        """Add a request and wake the reader; a closed mailbox refuses it at once."""
        with self._lock:
            closed = self._closed
            if closed is None and ask.urgent:
                self._waiting.appendleft(ask)
            elif closed is None:
                self._waiting.append(ask)
        if closed is not None:
            ask.reply("refused", None, closed)
        self._wake.set()

    def close(self, why: str) -> None:
        """Refuse what still waits and all that comes: nobody reads any more, but somebody waits for an answer."""
        with self._lock:
            self._closed = why
            waiting, self._waiting = list(self._waiting), deque()
        for ask in waiting:
            ask.reply("refused", None, why)

    def take(self) -> Ask | None:
        """Return the next request, None when there is none."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    @property
    def waits(self) -> bool:
        """Say whether a request waits."""
        return bool(self._waiting)

    @property
    def urgent(self) -> bool:
        """Say whether a request waits that nothing may hold up: a stop, an open interlock."""
        with self._lock:
            return bool(self._waiting) and self._waiting[0].urgent

    def wait(self, timeout_s: float) -> bool:
        """Wait for a request, at most ``timeout_s``; True when one came or waits already."""
        if self.waits:
            timeout_s = 0.0
        came = self._wake.wait(max(0.0, timeout_s))
        self._wake.clear()
        return came

    def wake(self) -> None:
        """Wake the reader without a request."""
        self._wake.set()
