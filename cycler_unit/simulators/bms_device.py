"""A simulated cell monitor: it measures a circuit's cells, or says what the bench file tells it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import msgspec

from cycler_unit.simulators.bench import BenchError, convert
from cycler_unit.simulators.can_device import CanDevice
from cycler_unit.simulators.can_host import link_of
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Asked, Clock, Refused
from cycler_unit.simulators.disturbance import Disturbance
from cycling.cell import Cell

PER_FRAGMENT, MOST_FRAGMENTS = 7, 15
FIRST_ID, UNITS = 0x100, range(0x21)
SEPARATOR = 0x3A
USUAL = (
    *(f"vcell{n}" for n in range(1, 13)), "vstack", *(f"temp{n}" for n in range(1, 5)), "pres1", "pres2",
)  # fmt: skip


class BmsSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cell monitor of the bench file. ``values`` fixes words by name (mV, 0.1 °C, mbar).

    With a circuit the cells' share of its voltage is sent, each with its own fixed deviation of at most
    ``spread_mv``, and its temperature; cells that the circuit has not are 0. ``words`` is the list sent.
    """

    name: str
    model: str
    unit: int = 0
    period_s: float = 1.0
    spread_mv: int = 2
    words: tuple[str, ...] = USUAL
    values: dict[str, int] = {}
    interface: str = "udp_multicast"
    channel: str | None = None
    port: int | None = None


class BmsDevice(CanDevice):
    """One cell monitor on the bus."""

    def __init__(self, spec: BmsSpec, seed: int, clock: Clock, circuit: Circuit | None) -> None:
        keys = ("interface", "channel", "port")
        link = link_of({key: value for key in keys if (value := getattr(spec, key)) is not None})
        super().__init__(spec.name, spec.model, link, {"unit": spec.unit}, clock=clock, circuit=circuit)
        self.spec, self.serial_number = spec, str(FIRST_ID + spec.unit)
        chance = random.Random(seed)
        self._deviation_mv = [chance.randint(-spec.spread_mv, spec.spread_mv) for _ in spec.words]
        self._due_s = clock()
        self._disturbed = Disturbance(clock, seed + 1, usual=20.0)
        self._dead_until_s: float | None = None
        self.repair()

    def repair(self) -> None:
        """Clear its faults."""
        self._frozen: bytes | None = None
        self._sensor_off = False
        self._zeros = False
        self._code: int | None = None
        self._lose: int | None = None
        self._shift: dict[str, int] = {}
        """By word, in its own unit: mV or 0.1 °C."""
        self._open: set[str] = set()
        self._disturbed.clear()
        if self._dead_until_s is not None:
            self._dead_until_s = self.clock()

    # --- the bus's side ---------------------------------------------------------------------------

    def hears(self, frame_id: int) -> bool:
        """Tell that it hears nothing: it only transmits."""
        return False

    def take(self, frame_id: int, payload: bytes) -> None:
        """Ignore everything."""

    @property
    def due_s(self) -> float | None:
        """Return when the next snapshot goes out."""
        return self._due_s

    def step(self) -> list[tuple[int, bytes]]:
        """Return the frames of the snapshot that is due, and of the error in force."""
        if self.clock() < self._due_s:
            return []
        self._due_s = max(self._due_s + self.spec.period_s, self.clock())
        if self._dead_until_s is not None:
            if self.clock() < self._dead_until_s:
                return []
            self._dead_until_s = None
        sent = [each for place, each in enumerate(fragments(self.snapshot())) if place != self._lose]
        if self._code is not None:
            sent.append(bytes([0x10, *b"ERROR", SEPARATOR, self._code]))
        return [] if self.silent else [(FIRST_ID + self.spec.unit, payload) for payload in sent]

    # --- what it measures -------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """Return all words, little-endian."""
        if self._frozen is not None:
            return self._frozen
        if self.circuit is not None:
            self.circuit.advance()
        numbers = [self._word(place, name) for place, name in enumerate(self.spec.words)]
        return b"".join((0 if self._zeros else number & 0xFFFF).to_bytes(2, "little") for number in numbers)

    def _word(self, place: int, name: str) -> int:
        if name in self._open:
            return 0
        if name in self.spec.values:
            return self.spec.values[name] + self._shift.get(name, 0)
        if name.startswith("temp"):
            return 0 if self._sensor_off else self._temperature() + self._shift.get(name, 0)
        if name.startswith("pres"):
            return 0 if self._sensor_off else 1013
        cells, each_mv = self._cells()
        if name == "vstack":
            return round(cells * each_mv)
        number = int(name.removeprefix("vcell")) if name.startswith("vcell") else 0
        if not 1 <= number <= cells:
            return 0
        shown_mv = round(self._disturbed.shown(each_mv))
        return max(0, shown_mv + self._deviation_mv[place] + self._shift.get(name, 0))

    def _cells(self) -> tuple[int, float]:
        """Return how many cells there are and the voltage of each in mV."""
        cell = self.circuit.cell if self.circuit is not None else None
        if cell is None or self.circuit is None:
            return 0, 0.0
        count = cell.cells_in_series if isinstance(cell, Cell) else 1
        # Its leads sit at the cells: neither an isolator nor the power leads are between.
        return count, 1000.0 * cell.voltage_v / count

    def _temperature(self) -> int:
        cell = self.circuit.cell if self.circuit is not None else None
        return round(10.0 * (cell.temperature_c if cell is not None else 25.0))

    # --- faults -----------------------------------------------------------------------------------

    def break_it(self, name: str, asked: Asked) -> bool:
        """Break it: ``freeze``, ``sensor_off``, ``zeros``, ``error`` {code}, ``lost_fragment`` {index},
        ``drift`` {cell, offset_v} or {cell: a temperature's word, offset_c}, ``noise`` {scatter in mV}, ``sense_open`` {cell}: its lead is off,
        ``reboot`` (it begins a new period), ``mains_lost`` {for_s}."""
        if name == "freeze":
            self._frozen = self.snapshot()
        elif name == "sensor_off":
            self._sensor_off = True
        elif name == "zeros":
            self._zeros = True
        elif name in ("error", "alarm"):
            self._code = int(asked.get("code", 0x10)) & 0xFF
        elif name == "lost_fragment":
            self._lose = int(asked.get("index", 2))
        elif name == "drift":
            self._drift(self._named(asked), asked)
        elif name == "sense_open":
            self._open.add(self._named(asked))
        elif name in ("reboot", "mains_lost"):
            self._restart(asked if name == "mains_lost" else {"for_s": 0.0})
        else:
            return self._disturbed.fault(name, asked)
        return True

    def _drift(self, name: str, asked: Asked) -> None:
        if name.startswith("temp"):
            self._shift[name] = round(10.0 * float(asked.get("offset_c", 20.0)))
        else:
            self._shift[name] = round(1000.0 * float(asked.get("offset_v", 0.05)))

    def _restart(self, asked: Asked) -> None:
        """Say nothing while it has no supply, then begin with a whole period."""
        for_s = asked.get("for_s")
        self._dead_until_s = float("inf") if for_s is None else self.clock() + float(for_s)
        self._due_s = self.clock() + self.spec.period_s
        self._code = None

    def _named(self, asked: Asked) -> str:
        name = str(asked.get("cell", "vcell1"))
        if name not in self.spec.words:
            raise Refused(f"no word {name!r}; there are {', '.join(self.spec.words)}")
        return name

    def truth(self) -> dict[str, Any]:
        """Return what its cells really are."""
        cells, each_mv = self._cells()
        return super().truth() | {"cells": cells, "cell_mv": each_mv}


def fragments(payload: bytes) -> list[bytes]:
    """Cut a snapshot into frames: byte 0 is the index and how many there are."""
    parts = [payload[place : place + PER_FRAGMENT] for place in range(0, len(payload), PER_FRAGMENT)]
    return [bytes([index | len(parts) << 4]) + part for index, part in enumerate(parts)]


def make(spec: dict[str, Any], circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> BmsDevice:
    """Build a cell monitor from an entry of ``devices``."""
    given = dict(spec)
    given.pop("host", None)
    circuit = given.pop("circuit", None)
    bms = convert(given, BmsSpec)
    if bms.unit not in UNITS:
        raise BenchError(f"devices: {bms.name}: unit is 0 to 0x20, not {bms.unit}")
    if bms.period_s <= 0.0:
        raise BenchError(f"devices: {bms.name}: period_s must be positive")
    if not 0 < 2 * len(bms.words) <= PER_FRAGMENT * MOST_FRAGMENTS:
        raise BenchError(f"devices: {bms.name}: words: 1 to {PER_FRAGMENT * MOST_FRAGMENTS // 2} of them")
    return BmsDevice(bms, seed, clock, circuits[circuit] if circuit is not None else None)
