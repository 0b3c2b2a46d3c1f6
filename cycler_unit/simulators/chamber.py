"""A simulated climate chamber: its air follows the set point, and the cells of its circuit follow the air.

Faults beside those of every network device: ``sensor_off``, ``freeze``, ``alarm`` (``bit``: conditioning
stops), ``door`` (``open``), ``refuse``, ``stuck_on`` (goes on conditioning whatever is written),
``panel_change`` (``set_point_c``, ``run``), ``clamp`` (``set_point_c``: a set point is held below without a
word), ``drift`` and ``noise`` (K, of what it shows).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

import msgspec

from cycler_unit.simulators import bench
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Asked, Clock
from cycler_unit.simulators.disturbance import Disturbance
from cycler_unit.simulators.modbus import ModbusDevice
from wire import kinds

# How fast it follows the room when it does not condition, and with the door open, relative to its own speed.
LEAK_SHARE, DOOR_SHARE = 0.05, 2.0


class ChamberSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One chamber. ``tau_s`` is how fast its air follows the set point (63 % of the way)."""

    name: str
    model: str
    host: str
    port: int = 0
    unit: int = 1
    circuit: str | None = None
    circuits: tuple[str, ...] = ()
    tau_s: float = 60.0
    room_c: float = 23.0
    noise_c: float = 0.02


class Chamber(ModbusDevice):
    """One chamber."""

    def __init__(self, spec: ChamberSpec, circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> None:
        super().__init__(
            spec.name, spec.model, spec.host, spec.port, spec.unit,
            clock=clock, circuit=circuits[spec.circuit] if spec.circuit else None,
        )  # fmt: skip
        self.spec = spec
        self.map: dict[str, dict[str, Any]] = kinds.get(spec.model).settings["map"]
        self.inside = [circuits[name] for name in spec.circuits] + ([self.circuit] if self.circuit else [])
        self.air_c = spec.room_c
        self.door_open = self.sensor_off = self.stuck = False
        self.alarm = 0
        self._frozen_c: float | None = None
        self._clamp_c: float | None = None
        self._disturbed = Disturbance(clock, seed + 1, usual=5.0)
        self._at_s = clock()
        self._random = random.Random(seed)
        self.reboot()
        self.store(self.map["set_point"], spec.room_c)

    # --- physics ------------------------------------------------------------------------------------

    @property
    def conditions(self) -> bool:
        """Tell whether it heats or cools now."""
        return self.stuck or (bool(self._running()) and not self.alarm)

    def _running(self) -> bool:
        run = self.map["run"]
        held = self.held(run)
        return held == run["on_word"] if "on_word" in run else bool(held)

    def tick(self) -> None:
        """Move the air on to the present, and with it what lies in it."""
        now_s = self.clock()
        passed_s, self._at_s = now_s - self._at_s, now_s
        if self.conditions:
            self._follow(self.held(self.map["set_point"]), passed_s / self.spec.tau_s)
        share = DOOR_SHARE if self.door_open else 0.0 if self.conditions else LEAK_SHARE
        self._follow(self.spec.room_c, share * passed_s / self.spec.tau_s)
        for circuit in self.inside:
            circuit.ambient_c = self.air_c

    def _follow(self, target_c: float, share: float) -> None:
        self.air_c += (target_c - self.air_c) * (1.0 - math.exp(-share))

    def refresh(self) -> None:
        """Bring the registers up to the present."""
        self.tick()
        shown_c = self._disturbed.shown(self.air_c + self._random.gauss(0.0, self.spec.noise_c))
        self._clamp()
        if self._frozen_c is not None:
            shown_c = self._frozen_c
        self.store(self.map["actual"], math.nan if self.sensor_off else shown_c)
        self.store(self.map["alarm"], self.alarm)
        self.store(self.map["door"], 0.0 if self.door_open else 1.0)

    def _clamp(self) -> None:
        held_c = self.held(self.map["set_point"])
        if self._clamp_c is not None and held_c > self._clamp_c:
            self.store(self.map["set_point"], self._clamp_c)

    # --- truth and faults ---------------------------------------------------------------------------

    def truth(self) -> dict[str, Any]:
        """Return the air's real temperature and what the chamber does, and the circuit's truth."""
        self.tick()
        cell = self.circuit.truth() if self.circuit is not None else {}
        return {
            **cell,
            "air_c": self.air_c,
            "set_point_c": self.held(self.map["set_point"]),
            "run": self._running(),
            "conditions": self.conditions,
            "door_open": self.door_open,
            "alarm": self.alarm,
        }

    def break_it(self, name: str, asked: Asked) -> bool:
        """Break the chamber itself."""
        if name == "sensor_off":
            self.sensor_off = True
        elif name == "freeze":
            self._frozen_c = self.air_c
        elif name == "alarm":
            self.alarm |= 1 << int(asked.get("bit", 0))
        elif name == "door":
            self.door_open = bool(asked.get("open", True))
        elif name == "refuse":
            self.refusing = True
        elif name == "stuck_on":
            self.stuck = True
        elif name == "panel_change":
            self._by_hand(asked)
        elif name == "clamp":
            self._clamp_c = float(asked.get("set_point_c", 30.0))
        else:
            return self._disturbed.fault(name, asked)
        return True

    def _by_hand(self, asked: Asked) -> None:
        if "set_point_c" in asked:
            self.store(self.map["set_point"], float(asked["set_point_c"]))
        if "run" in asked:
            self._put_run(bool(asked["run"]))

    def _put_run(self, is_on: bool) -> None:
        run = self.map["run"]
        self.store(run, run.get("on_word", 1) if is_on else run.get("off_word", 0))

    def reboot(self) -> None:
        """Come up switched off; the set point is kept."""
        self._put_run(False)

    def repair(self) -> None:
        """Clear the chamber's faults."""
        self.door_open = self.sensor_off = self.stuck = self.refusing = False
        self.alarm, self._frozen_c, self._clamp_c = 0, None, None
        self._disturbed.clear()


def make(spec: dict[str, Any], circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> Chamber:
    """Build a chamber from an entry of ``devices``."""
    chamber = bench.convert(spec, ChamberSpec)
    for name in chamber.circuits:
        if name not in circuits:
            raise bench.BenchError(f"devices: {chamber.name}: no circuit {name!r}")
    return Chamber(chamber, circuits, seed, clock)
