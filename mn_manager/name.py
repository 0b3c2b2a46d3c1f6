"""A manager's own name, the same after a restart and held by one process only.

The broker knows a client by its name and the database its leases: two processes under one name would
throw each other off the broker without end; a new name after every crash would wait 15 s for its own
old leases. So a name is a slot of this computer, held by a lock that dies with the process.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from mn_manager.settings import Settings, host_name

# More copies than any computer runs.
SLOTS = 64


class NameTaken(Exception):
    """Another live process holds the name; the text says which one."""


class Name:
    """``text`` is the name while this object lives."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.state_dir / "managers"
        folder.mkdir(parents=True, exist_ok=True)
        base = settings.name or host_name()
        wanted = [settings.name] if settings.name else [f"{base}-{slot}" for slot in range(SLOTS)]
        for text in wanted:
            descriptor = _lock(folder / f"{text.replace('/', '_')}.lock")
            if descriptor is not None:
                self.text, self._descriptor = text, descriptor
                return
        raise NameTaken(f"a manager named {base} runs already on this computer (lock files in {folder})")

    def release(self) -> None:
        """Let the name go; safe twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
