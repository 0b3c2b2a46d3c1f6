"""Memory and CPU of the processes of a lab that waits."""

from __future__ import annotations

import time

import psutil

from tests.stack.cellyard import Cellyard
from tests.stack.process import Process

from .figures import Figure

MIB = 1024 * 1024
# Processor time is counted in steps of 10 ms; over this long a step is 0.03 % of a core.
FOR_S = 30.0
UNIT_MIB, UNIT_PERCENT = 60.0, 3.0
# For half a minute after a command the manager looks at the outbox ten times as often.
SETTLES_S = 31.0


def measure(lab: Cellyard) -> list[Figure]:
    """Watch unit, manager and web server (with its workers) while nobody asks for anything."""
    time.sleep(SETTLES_S)
    parts = {"unit": lab.unit, "manager": lab.manager, "web server": lab.web}
    before = {name: _cpu_s(process) for name, process in parts.items()}
    began_s = time.monotonic()
    time.sleep(FOR_S)
    took_s = time.monotonic() - began_s
    found: list[Figure] = []
    for name, process in parts.items():
        # RSS counts the pages that forks share once for each of them; PSS shares them out.
        goal, goal_percent = (UNIT_MIB, UNIT_PERCENT) if name == "unit" else (None, None)
        memory = [each.memory_full_info() for each in _family(process)]
        percent = 100 * (_cpu_s(process) - before[name]) / took_s
        found += [
            Figure(
                f"idle {name}, RSS",
                sum(each.rss for each in memory) / MIB,
                "MB",
                None,
                f"{len(memory)} processes",
            ),
            Figure(f"idle {name}, PSS", sum(each.pss for each in memory) / MIB, "MB", goal),
            Figure(f"idle {name}, CPU", percent, "% of a core", goal_percent, f"over {took_s:.0f} s"),
        ]
    return found


def _family(process: Process) -> list[psutil.Process]:
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def _cpu_s(process: Process) -> float:
    times = [each.cpu_times() for each in _family(process)]
    return sum(each.user + each.system for each in times)
