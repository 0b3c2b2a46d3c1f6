"""One unit per state folder: two would drive the same devices."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class Held(Exception):
    """Another unit runs with this state folder."""


class Lock:
    """A file lock that the system gives back when the process dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def take(self) -> None:
        """Take it or raise :class:`Held`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(handle)
        except OSError:
            os.close(handle)
            raise Held(f"another unit runs already with {self.path.parent}") from None
        self._handle = handle

    def release(self) -> None:
        """Give it back; safe twice."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
