"""The last 60 s at the full reading rate and the last exchanges, kept in memory for what goes wrong.

Stored with every trip, error and stop (safety.md, black box) as events of at most 200 kB each, after
the output is off. One station at 100 Hz needs 0.5 MB.
"""

from __future__ import annotations

import logging
import math
import time
from array import array
from collections.abc import Iterator
from typing import Any

import msgspec

from cycler_unit.clock import iso
from cycler_unit.drivers.base import Exchange
from cycler_unit.readings import Taken

logger = logging.getLogger("cycler_unit.black_box")

KEEP_S = 60.0
# A set point is followed by a reading of its own, so there are more readings than periods.
MORE_READINGS = 1.2
EXCHANGES = 200
# wire/messages.py: a part is at most 200 kB; this leaves room for the event around it.
PART_BYTES = 190_000
# A device's answer longer than this (a waveform, a log) is cut.
TEXT_MAX = 2000
MAIN = ("time_us", "voltage_v", "current_a", "power_w", "temperature_c", "output_on")


class BlackBox:
    """One station's ring of readings; used by its thread only."""

    def __init__(self, station: str, extended: list[str], period_s: float) -> None:
        self._station = station
        self.names = [*MAIN, *extended]
        self._size = max(16, int(KEEP_S / period_s * MORE_READINGS))
        self._columns = [array("d", bytes(8 * self._size)) for _ in self.names]
        self._extended = extended
        self._count = 0
        self._asked: tuple[str, str | None, str | None] | None = None

    def add(self, taken: Taken, output_on: bool) -> None:
        """Keep a reading."""
        slot = self._count % self._size
        self._count += 1
        row = [
            taken.time_us, taken.voltage_v, taken.current_a, taken.power_w, taken.temperature_c,
            float(output_on), *(taken.extended.get(name) for name in self._extended),
        ]  # fmt: skip
        for column, value in zip(self._columns, row, strict=True):
            column[slot] = math.nan if value is None else value

    def ask(self, why: str, *, alarm: str | None = None, experiment: str | None = None) -> None:
        """Let the box be stored when this round is over; several reasons in one round are one box."""
        if self._asked is None:
            self._asked = (why, alarm, experiment)
            return
        first, before, whose = self._asked
        self._asked = (first, before or alarm, whose or experiment)

    def take(self, exchanges: dict[str, list[Exchange]]) -> list[dict[str, Any]]:
        """Return the events of a box that was asked for, none otherwise. ``exchanges`` by device UUID."""
        if self._asked is None:
            return []
        why, alarm, experiment = self._asked
        self._asked = None
        said = [
            {"device": device, "at": iso(each.at_s), "to": each.to, "text": each.text[:TEXT_MAX]}
            for device, found in exchanges.items()
            for each in found[-EXCHANGES:]
        ]
        said.sort(key=lambda each: each["at"])
        parts: list[dict[str, Any]] = [{"exchanges": part} for part in _parts(said)]
        parts += [{"readings": {"columns": part}} for part in self._readings()]
        at = iso(time.time())
        return [
            {
                "at": at, "kind": "black_box", "text": f"the last {KEEP_S:.0f} s: {why}"[:500], "station": self._station,
                "experiment": experiment,
                "detail": {**({"alarm": alarm} if alarm else {}), "part": i + 1, "parts": len(parts), **part},
            }
            for i, part in enumerate(parts)
        ]  # fmt: skip

    @property
    def asked(self) -> bool:
        """Say whether a box waits to be stored."""
        return self._asked is not None

    def _readings(self) -> Iterator[dict[str, list[Any]]]:
        """Return the last minute in order, in parts that fit into one event each."""
        slots = self._slots()
        most = max(
            1, PART_BYTES // (22 * len(self.names))
        )  # a double has at most 22 characters with its comma
        for start in range(0, len(slots), most):
            part = slots[start : start + most]
            yield {
                name: [_plain(name, column[slot]) for slot in part]
                for name, column in zip(self.names, self._columns, strict=True)
            }

    def _slots(self) -> list[int]:
        kept = min(self._count, self._size)
        slots = [each % self._size for each in range(self._count - kept, self._count)]
        if not slots:
            return []
        oldest_us = self._columns[0][slots[-1]] - KEEP_S * 1e6
        return [slot for slot in slots if self._columns[0][slot] >= oldest_us]


def _plain(name: str, value: float) -> Any:
    if math.isnan(value):
        return None
    return int(value) if name in ("time_us", "output_on") else value


def _parts(rows: list[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    """Return rows in groups whose text fits into one event each."""
    part: list[dict[str, str]] = []
    size = 0
    for row in rows:
        length = len(msgspec.json.encode(row)) + 1
        if part and size + length > PART_BYTES:
            yield part
            part, size = [], 0
        part.append(row)
        size += length
    if part:
        yield part
