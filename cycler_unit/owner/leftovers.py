"""Processes that a killed parent left behind: ended before anybody opens their ports again."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any

import msgspec

from cycler_unit import disk
from cycler_unit.clock import boot_id

logger = logging.getLogger("cycler_unit.parent")

# They end by themselves when the parent is gone: look, switch off, close.
LEAVE_S = 4.0


class Kept(msgspec.Struct, array_like=True):
    """A process by number and by when it began, so that nobody else's is ended.

    ``began_s`` counts from the machine's start ``boot``: a clock that is set later moves nothing.
    """

    pid: int
    began_s: float
    name: str = ""
    boot: str = ""


def _began_s(process: Any) -> float:
    """Return seconds from the machine's start to the process's."""
    import psutil

    boot_s = psutil.boot_time()  # first: some versions count from what this call found last
    return float(process.create_time() - boot_s)


def _path(folder: Path) -> Path:
    return folder / "processes.json"


def note(folder: Path, names: dict[int, str]) -> None:
    """Write down which processes belong to this unit: name by pid, the parent first."""
    import psutil

    kept = []
    for pid, name in names.items():
        with contextlib.suppress(psutil.Error):
            kept.append(Kept(pid, _began_s(psutil.Process(pid)), name, boot_id()))
    with contextlib.suppress(OSError):  # a full disk must not stop the parent
        disk.write(_path(folder), msgspec.json.encode(kept))


def forget(folder: Path) -> None:
    """Note that nothing is left."""
    with contextlib.suppress(OSError):
        _path(folder).unlink(missing_ok=True)


def alive(folder: Path) -> list[Any]:
    """Return the unit's processes (psutil) that still live, the parent first."""
    import psutil

    try:
        kept = disk.read(_path(folder), list[Kept]) or []
    except (OSError, msgspec.MsgspecError):
        return []
    found = []
    for each in kept:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(each.pid)
            if each.boot == boot_id() and abs(_began_s(process) - each.began_s) < 2.0:
                found.append(process)
    return found


def end(folder: Path) -> int:
    """Wait for the processes of before to end, then kill them; return how many had to be killed.

    Without their parent they end by themselves: the owners switch off first.
    """
    import psutil

    _, left = psutil.wait_procs(alive(folder), timeout=LEAVE_S)
    for process in left:
        logger.error("event=leftover_killed pid=%d", process.pid)
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=2.0)
    return len(left)


def kill(folder: Path) -> None:
    """End a unit that does not answer: its parent at once, the others as without a parent."""
    import psutil

    for parent in alive(folder)[:1]:
        with contextlib.suppress(psutil.Error):
            parent.kill()
    end(folder)
