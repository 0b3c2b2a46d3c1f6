"""What the simulated cells hold, remembered: a real cell does not jump to half full when software restarts."""

from __future__ import annotations

import copy
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

# Little is lost when the simulators are killed between two looks: 0.5 A moves 1.4 % of 0.05 Ah in 5 s.
LOOK_EVERY_S = 5.0


class Cells:
    """The bench's cells with their last known state of charge, kept in ``var/run/bench.yaml``."""

    def __init__(self, bench: dict[str, Any], path: Path) -> None:
        self.bench = copy.deepcopy(bench)
        self.path = path
        self._recall()
        self.write()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="cells")

    def _recall(self) -> None:
        """Take over the charge that an earlier run left, for cells that are still described the same."""
        if not self.path.exists():
            return
        before = yaml.safe_load(self.path.read_text(encoding="utf-8")) or {}
        known = {(what, each["name"]): each["cell"] for what, each in _holders(before)}
        for what, holder in _holders(self.bench):
            cell, kept = holder["cell"], known.get((what, holder["name"]), {})
            if {**cell, "soc": None} == {**kept, "soc": None}:
                cell["soc"] = kept["soc"]

    def write(self) -> None:
        """Write the file that the simulators start from."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(yaml.safe_dump(self.bench, sort_keys=False), encoding="utf-8")
        fresh.replace(self.path)

    def start(self) -> None:
        """Look at the cells every few seconds from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look a last time and end; the simulators must still run."""
        self._stop.set()
        self.look()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            self.look()

    def look(self) -> None:
        """Ask the simulators for each cell's true charge; one that does not answer keeps its last."""
        for what, holder in _holders(self.bench):
            try:
                holder["cell"]["soc"] = round(self._soc(what, holder["name"]), 6)
            except (OSError, ValueError, KeyError):
                continue
        self.write()

    def _soc(self, what: str, name: str) -> float:
        where = (self.bench["host"], self.bench["control_port"])
        with socket.create_connection(where, timeout=1.0) as line:
            line.sendall(json.dumps({what: name, "query": "truth"}).encode() + b"\n")
            answer = json.loads(line.makefile(encoding="utf-8").readline())
        return min(1.0, max(0.0, float(answer["soc"])))


def _holders(bench: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what holds a cell: supplies by the word ``device``, shared holders by ``circuit``."""
    for what, key in (("device", "supplies"), ("circuit", "circuits")):
        for holder in bench.get(key, []):
            if holder.get("cell"):
                yield what, holder
