"""How soon a slow measure switches off: a cell monitor that speaks once a second, and one that falls silent.

From the first frame of the first snapshot with the violation, or from the last frame of the last one,
to the cycler's off command. What is promised is its ``max_age_s`` (safety.md, reaction goal).
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

from tests.stack.waiting import until
from wire import kinds

from .bench_unit import PERIOD_S, BenchUnit, pause
from .figures import Figure

TIMES = 5
CELL_V = 4.8
MAX_AGE_S = next(each.max_age_s or 0.0 for each in kinds.get("bms-plak").measures if each.name == "vcell1_v")


def measure(folder: Path, times: int = TIMES) -> list[Figure]:
    """Let the monitor show a violation, and fall silent, some times each."""
    print("reaction: a cell monitor", file=sys.stderr, flush=True)
    unit = BenchUnit(folder / "slow", "can", 1, monitor=True)
    try:
        unit.up()
        waits = random.Random(1)
        high = [_event(unit, waits, fault="drift", cell="vcell1", offset_v=1.1) for _ in range(times)]
        silent = [_event(unit, waits, fault="drop_link", how="silent") for _ in range(times)]
    finally:
        unit.stop()
    # Three readings in a row, each a period and an exchange of an EPC, which lasts as long.
    goal_ms = 1000.0 * (MAX_AGE_S + 3 * 2 * PERIOD_S)
    return [
        Figure("cell monitor: cell too high, median", sorted(high)[times // 2] * 1000, "ms", None, f"{times} measured"),
        Figure("cell monitor: cell too high, maximum", max(high) * 1000, "ms", goal_ms),
        Figure("cell monitor: silent, median", sorted(silent)[times // 2] * 1000, "ms", None, f"{times} measured"),
        Figure("cell monitor: silent, maximum", max(silent) * 1000, "ms", goal_ms, "max_age_s and three readings"),
    ]  # fmt: skip


def _event(unit: BenchUnit, waits: random.Random, **fault: Any) -> float:
    """Return the seconds from the monitor's frame that counts to the cycler's off command."""
    station, name = unit.stations[0], unit.names[0]
    until(lambda: unit.exchanges("bms", time.time() - 0.9), 10, "the monitor speaks")
    message = unit.start(station)
    pause(waits, 0.2, 1.2)
    at_s = time.time()
    assert unit.simulators.ask(device="bms", **fault)["ok"]
    alarm = until(lambda: unit.manager.alarms.get(message.experiment), 20, "the alarm", every_s=0.02)
    frames, log = unit.exchanges("bms", at_s - 5.0), unit.exchanges(name, at_s - 0.05)
    unit.simulators.ask(device="bms", clear=True)
    off_s = next(each["at_s"] for each in log if each["to"] == "device" and unit.is_off(name, each["text"]))
    heads = [(each["at_s"], _cell_v(each["text"])) for each in frames if each["at_s"] <= off_s]
    high = [at for at, cell_v in heads if at >= at_s and cell_v > CELL_V - 0.3]
    last = max(at for at, cell_v in heads if cell_v > 0.0)
    unit.acknowledge(station, alarm["id"])
    assert fault["fault"] != "drift" or high, alarm
    return float(off_s - (min(high) if fault["fault"] == "drift" else last))


def _cell_v(text: str) -> float:
    """Return the first cell's voltage in a snapshot's first frame, 0 for its other frames."""
    payload = bytes.fromhex(text.partition(" ")[2])
    return int.from_bytes(payload[1:3], "little") / 1000.0 if payload[0] & 0xF == 0 else 0.0
