"""Measure Cellyard on this machine: ``python -m tests.bench [PART ...]``, which `make bench` calls.

Parts: ``start``, ``idle``, ``command`` (with the live delay), ``reaction`` (violation to off, and the
control loop's jitter); all when none is named. Prints a table and ends with 0: whether a goal is met is
for people to judge, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.stack.cellyard import Cellyard

from . import command, idle, jitter, reaction, slow, start
from .bench_unit import BENCH_PRIORITY, LINKS, UNIT_PRIORITY, at_priority, priority
from .figures import Figure, table
from .live import Watcher

PARTS = ("start", "idle", "command", "reaction")


def main() -> int:
    """Measure, print, return 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}")
    parser.add_argument(
        "--events", type=int, default=reaction.EVENTS,
        help="violations of each kind for each link and number of stations (%(default)s; p99.9 from 1000)",
    )  # fmt: skip
    parser.add_argument("--links", default="scpi,can", help=f"for reaction, any of {','.join(LINKS)}")
    parser.add_argument(
        "--stations", type=int, choices=reaction.COUNTS, help="only so many; else all of these"
    )
    given = parser.parse_args()
    parts, links = given.parts or list(PARTS), tuple(given.links.split(","))
    counts = (given.stations,) if given.stations else reaction.COUNTS
    if given.events < 1 or set(links) - set(LINKS):
        parser.error(f"--events is at least 1, --links any of {','.join(LINKS)}")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cellyard-bench-") as folder:
        if "start" in parts:
            say("start: two starts of everything")
            figures += start.measure(Path(folder))
        if {"idle", "command"} & set(parts):
            with Cellyard(Path(folder) / "lab") as lab:
                figures += measure(lab, parts, Path(folder))
        if "reaction" in parts:
            with at_priority(BENCH_PRIORITY):
                figures += reaction.measure(Path(folder), given.events, links, counts)
                figures += slow.measure(Path(folder)) if "can" in links else []
                figures += jitter.measure(Path(folder), links, counts)
    took_min = (time.monotonic() - began_s) / 60.0
    print(f"\n{machine()}; took {took_min:.0f} min\n\n{table(figures)}")
    return 0


def measure(lab: Cellyard, parts: list[str], folder: Path) -> list[Figure]:
    """Measure what needs a running lab."""
    figures: list[Figure] = []
    station = lab.station()
    if "idle" in parts:
        say("idle: half a minute to settle, half a minute of watching")
        figures += idle.measure(lab)
    if "command" in parts:
        run = command.experiment(lab, station["id"])
        watcher = Watcher(lab, run)
        watcher.start()
        say("command: one after the other")
        figures += command.active(lab, run)
        figures += command.bare(lab, folder)
        say("command: pauses, each with the wiring check of its resume")
        figures += command.pauses(lab, run)
        say("command: first after idling, half a minute each")
        figures += command.after_idling(lab, run)
        figures += watcher.figures()
        lab.api.post(f"experiments/{run}/stop/?wait=10", how="now")
    return figures


def say(text: str) -> None:
    """Tell what is being measured; the table alone goes to the standard output."""
    print(text, file=sys.stderr, flush=True)


def machine() -> str:
    """Return date and machine in one line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        )
        if Path("/proc/cpuinfo").exists()
        else iter(()),
        platform.processor() or platform.machine(),
    )
    cores, load = os.cpu_count(), os.getloadavg()[0]
    today = datetime.now(UTC).date().isoformat()
    place = "in real time" if priority(UNIT_PRIORITY) else "without priority: that takes root and chrt"
    return (
        f"{today}, {cores} cores {model}, {platform.system()}, Python {platform.python_version()}, load {load:.1f};"
        f" reaction: the unit {place}"
    )


if __name__ == "__main__":
    sys.exit(main())
