"""One supervisor per state folder: a lock that the system frees when its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Held(Exception):
    """Somebody holds the lock; the text is what the holder wrote: its address."""


class Lock:
    """A locked file that tells others what its holder wants them to know."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self, message: str) -> None:
        """Take the lock and leave ``message`` in the file; raises :class:`Held`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise Held(self.path.read_text(encoding="utf-8").strip()) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, message.encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Free the lock; safe twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
