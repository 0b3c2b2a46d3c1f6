"""The supervisor alone, with small programs: what dies is started again and never lost from sight."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.process import Process
from tests.stack.waiting import until

NAMES = ("one", "two", "three")
# Each program leaves a child that holds its output open for a while, as a unit leaves its buses' owners.
SCRIPT = """
import asyncio, sys
from pathlib import Path
from devops.up.processes import Program
from devops.up.supervisor import Supervisor

program = "import subprocess, time; subprocess.Popen(['sleep', '30']); print('up', flush=True); time.sleep(600)"
folder = Path(sys.argv[1])
supervisor = Supervisor(folder, {}, lambda: None)
programs = [Program(name, (sys.executable, "-c", program), 1, 1.0, {}) for name in sys.argv[2:]]
supervisor.run(lambda: supervisor.launch(programs))
"""


def pid(folder: Path, name: str) -> int:
    """Return the process that the supervisor knows, 0 while it knows none."""
    file = folder / f"{name}.pid"
    return int(file.read_text() or 0) if file.exists() else 0


def another(folder: Path, name: str, than: int = 0) -> int:
    """Wait until the supervisor knows another process of this name; return it."""

    def there() -> int:
        now = pid(folder, name)
        return now if now != than else 0

    return until(there, 10, f"{name} runs")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = Process("supervisor", [sys.executable, "-c", SCRIPT, str(tmp_path), *NAMES], tmp_path / "log")
    made.start()
    yield tmp_path
    made.stop()


def test_programs_that_die_and_leave_children_are_started_again_and_known(folder: Path) -> None:
    running = {name: another(folder, name) for name in NAMES}
    for name in NAMES * 3:
        os.kill(running[name], signal.SIGKILL)
        running[name] = another(folder, name, than=running[name])
