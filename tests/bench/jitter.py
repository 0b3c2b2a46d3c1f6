"""How evenly the control loop reads at 100 Hz while all else goes on.

Samples flow (every station records every 10 ms), the spool syncs, and one detection follows the other.
Counted on the devices' own log: the time between two questions for voltage and current, less the period.
"""

from __future__ import annotations

import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import msgspec
import psutil

from cycler_unit.owner.leftovers import Kept
from wire.messages import Detect

from .bench_unit import LINKS, PERIOD_S, BenchUnit
from .figures import Figure, load, tail
from .idle import MIB
from .reaction import COUNTS, in_words

FOR_S = 20.0
RECORD_S = 0.01
# A minute of messages at the full rate.
LOG = 40_000


def measure(
    folder: Path,
    links: tuple[str, ...] = ("scpi", "can"),
    counts: tuple[int, ...] = COUNTS,
    seconds: float = FOR_S,
) -> list[Figure]:
    """Measure all links with one and with eight stations."""
    figures: list[Figure] = []
    for link in links:
        for count in counts:
            print(f"jitter: {LINKS[link]}, {count} station(s)", file=sys.stderr, flush=True)
            unit = BenchUnit(folder / f"jitter-{link}-{count}", link, count, log=LOG, hurried=False)
            try:
                unit.up()
                figures += one(unit, seconds)
            finally:
                unit.stop()
    return figures


def one(unit: BenchUnit, seconds: float) -> list[Figure]:
    """Let all stations charge and record for some time."""
    tests = [unit.start(station, RECORD_S) for station in unit.stations]
    detections = Detections(unit)
    detections.start()
    time.sleep(1.0)
    began_s, before, cpu_before = time.time(), _totals(unit), _cpu_s(unit)
    time.sleep(seconds)
    ended_s, after, cpu_after = time.time(), _totals(unit), _cpu_s(unit)
    memory = _memory(unit)
    detections.end()
    for test in tests:
        unit.stop_test(test)
    late_s = [each for name in unit.names for each in _late(unit, name, began_s, ended_s)]
    rounds, overruns = after[0] - before[0], after[1] - before[1]
    stored = sum(len(rows) for rows in unit.manager.rows.values())
    stations = in_words(unit.count)
    used = ", ".join(
        f"{name} {100 * (cpu_after[name] - cpu_before[name]) / (ended_s - began_s):.0f} %"
        for name in cpu_after
    )
    note = (
        f"{overruns:.0f} overruns of {rounds:.0f} rounds, {detections.done} detections, {stored} samples,"
        f" {load()}; of a core: {used}"
    )
    name = f"{LINKS[unit.link]}, {stations}, jitter"
    rss, pss, processes = memory
    return [
        *tail(name, late_s, None, note),
        Figure(f"{name}: unit's PSS", pss, "MB", None, f"RSS {rss:.0f} MB, {processes} processes"),
        Figure(f"{name}: unit's CPU", _percent(cpu_before, cpu_after, ended_s - began_s), "% of a core"),
    ]


def _percent(before: dict[str, float], after: dict[str, float], seconds: float) -> float:
    """Return the processor time of the unit's own processes in percent of a core."""
    return 100 * sum(after[name] - before[name] for name in after if name != "simulators") / seconds


def _totals(unit: BenchUnit) -> tuple[float, float]:
    rounds = unit.metric("cellyard_unit_station_rounds_total")
    overruns = unit.metric("cellyard_unit_station_overruns_total")
    return sum(rounds.values()), sum(overruns.values())


def _cpu_s(unit: BenchUnit) -> dict[str, float]:
    """Return the processor time of the agent, of the owners of the buses, and of the simulators, in s."""
    body = (unit.unit.folder / "state" / "processes.json").read_bytes()
    kept = msgspec.json.decode(body, type=list[Kept])
    groups = {
        "agent": [each.pid for each in kept if each.name == "agent"],
        "owners": [each.pid for each in kept if each.name.startswith("owner ")],
        "simulators": [unit.simulators.process.pid],
    }
    return {name: sum(_used_s(pid) for pid in pids) for name, pids in groups.items()}


def _memory(unit: BenchUnit) -> tuple[float, float, int]:
    """Return RSS and PSS of all processes of the unit in MB, and how many they are."""
    parent = psutil.Process(unit.unit.process.pid)
    found = [each.memory_full_info() for each in (parent, *parent.children(recursive=True))]
    return sum(each.rss for each in found) / MIB, sum(each.pss for each in found) / MIB, len(found)


def _used_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _late(unit: BenchUnit, name: str, began_s: float, ended_s: float) -> list[float]:
    """Return by how much each interval between two readings differed from the period, in s."""
    asked_s = [
        each["at_s"]
        for each in unit.exchanges(name, began_s)
        if each["to"] == "device" and each["at_s"] <= ended_s and unit.is_read(name, each["text"])
    ]
    return [abs(after - before - PERIOD_S) for before, after in pairwise(asked_s)]


class Detections(threading.Thread):
    """Ask for one detection after the other."""

    def __init__(self, unit: BenchUnit) -> None:
        super().__init__(daemon=True)
        self.done = 0
        self._unit, self._ending = unit, threading.Event()

    def run(self) -> None:
        """Ask until told to end."""
        while not self._ending.is_set():
            if self._unit.manager.ask("detect", Detect(), 60).outcome == "done":
                self.done += 1

    def end(self) -> None:
        """Wait for the last one."""
        self._ending.set()
        self.join(60)
