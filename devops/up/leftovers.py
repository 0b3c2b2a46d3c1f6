"""End what a killed supervisor left running: it would hold the ports of the next start."""

from __future__ import annotations

from pathlib import Path

import psutil

from .processes import MARK


def end(run_dir: Path, state_dir: Path) -> list[str]:
    """End the processes of the pid files that carry this state folder's mark; return their names.

    A pid file may be old and its number somebody else's by now: the mark in the process's own
    environment decides, never the number.
    """
    ended = []
    for file in sorted(run_dir.glob("*.pid")):
        process = _ours(file, state_dir)
        if process is not None:
            family = [process, *process.children(recursive=True)]
            for member in family:
                member.terminate()
            for member in psutil.wait_procs(family, timeout=5)[1]:
                member.kill()
            ended.append(file.stem)
        file.unlink(missing_ok=True)
    return ended


def _ours(file: Path, state_dir: Path) -> psutil.Process | None:
    try:
        process = psutil.Process(int(file.read_text()))
        return process if process.environ().get(MARK) == str(state_dir) else None
    except (ValueError, psutil.Error):
        return None
