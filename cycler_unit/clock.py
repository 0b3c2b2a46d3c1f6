"""Three clocks: the wall's, the machine's own that never jumps, and the server's.

Elapsed times come from the machine's clock; only the expiry of commands is judged on the server's
(safety.md rule 11), estimated from the manager's answers to our heartbeats.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

# What wire.md calls a jump of the wall clock.
JUMP_S = 0.05
# Answers later than this say nothing about the offset.
ROUND_TRIP_MAX_S = 10.0
# adjtimex() answers this while nothing disciplines the clock.
TIME_ERROR = 5


def iso(seconds: float) -> str:
    """Return UTC seconds as ISO 8601 with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_iso(text: str) -> float:
    """Return UTC seconds of an ISO 8601 time; raises ``ValueError``. No zone means UTC."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@functools.cache
def boot_id() -> str:
    """Return what changes with every boot of this computer; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def disciplined() -> bool:
    """Say whether something (NTP, PTP) keeps the wall clock right, as the kernel sees it."""
    try:
        # struct timex is 208 bytes on 64-bit Linux; modes = 0 only reads.
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return False
    return 0 <= int(state) != TIME_ERROR


class ServerClock:
    """Estimate the server's clock and remember when it was last heard."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[str, float] = {}
        self.offset_s = 0.0
        self.heard_at: float | None = None
        """Monotonic time of the last answer: the contact of safety.md rule 9."""

    def sent(self, text: str) -> None:
        """Remember that a heartbeat with ``sent_at`` = ``text`` goes out now."""
        with self._lock:
            self._sent[text] = time.monotonic()
            for old in list(self._sent)[:-20]:
                del self._sent[old]

    def answered(self, heard_sent_at: str | None, sent_at: str) -> None:
        """Take the manager's answer: contact, and the offset at the middle of the round trip."""
        now, wall = time.monotonic(), time.time()
        with self._lock:
            began = self._sent.get(heard_sent_at or "")
            self.heard_at = now
        if began is None or now - began > ROUND_TRIP_MAX_S:
            return
        try:
            server = parse_iso(sent_at)
        except ValueError:
            return
        self.offset_s = server - (wall - (now - began) / 2)

    def now(self) -> float:
        """Return the server's time in UTC seconds, as well as we know it."""
        return time.time() + self.offset_s

    def heard_within(self, seconds: float) -> bool:
        """Say whether the server was heard in the last ``seconds``."""
        return self.heard_at is not None and time.monotonic() - self.heard_at <= seconds


class JumpWatch:
    """Notice jumps of the wall clock against the machine's own."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def jump_s(self) -> float:
        """Return by how much the wall clock jumped since the last call, 0.0 for less than 50 ms."""
        offset = time.time() - time.monotonic()
        jumped = offset - self._offset
        # Slow discipline by NTP is followed in every case, so that it never adds up to a jump.
        self._offset = offset
        return jumped if abs(jumped) > JUMP_S else 0.0
