"""A simulated coupler of interlock inputs and outputs, with a watchdog that opens the dead-man output.

Faults beside those of every network device: ``input_open`` (``input``, ``open``: a contact or its wire),
``freeze`` (the image of the inputs and the counter of life stand still), ``stuck_on`` (``output``),
``refuse``, ``panel_change`` (``output``, ``state``: worked by hand).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cycler_unit.simulators import bench
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Asked, Clock
from cycler_unit.simulators.modbus import ILLEGAL_VALUE, ModbusDevice, ModbusRefusal
from cycler_unit.simulators.network import named
from wire import kinds

# The counter of life moves ten times a second.
LIFE_HZ = 10.0
STOPPED, RUNNING, EXPIRED = 0, 1, 2
# The time that the watchdog has when it comes out of its box, in its own tenths of a second.
FACTORY_TIME = 100


class CouplerSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One coupler. ``isolators``: outputs that open the circuit while they are off."""

    name: str
    model: str
    host: str
    port: int = 0
    unit: int = 1
    circuit: str | None = None
    isolators: tuple[str, ...] = ("dead_man", "isolator")


class Coupler(ModbusDevice):
    """One coupler; all its contacts are closed when it is new."""

    def __init__(self, spec: CouplerSpec, circuits: Mapping[str, Circuit], clock: Clock) -> None:
        super().__init__(
            spec.name, spec.model, spec.host, spec.port, spec.unit,
            clock=clock, circuit=circuits[spec.circuit] if spec.circuit else None,
        )  # fmt: skip
        self.spec = spec
        settings = kinds.get(spec.model).settings
        self.inputs: dict[str, dict[str, Any]] = settings["inputs"]
        self.outputs: dict[str, dict[str, Any]] = settings["outputs"]
        self.life: dict[str, Any] = settings["life"]
        self.dog: dict[str, Any] = settings["watchdog"]
        self.closed = dict.fromkeys(self.inputs, True)
        self.stuck: set[str] = set()
        self.frozen = False
        self.triggered_s = self.booted_s = clock()
        self.status = STOPPED
        for register in self.inputs.values():
            self.store(register, 1.0)
        self.reboot()

    # --- the watchdog -------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let the watchdog expire: it opens its output by itself."""
        super().tick()
        if self.status == RUNNING and self.clock() - self.triggered_s >= self.held(self.dog["time"]):
            self.status = EXPIRED
            self._put(self.dog["output"], False)

    def _sign_of_life(self, value: int) -> None:
        # Only a change counts, and an expired watchdog wants a restart first.
        if value and value != self._register(self.dog["trigger"]) and self.status != EXPIRED:
            self.status, self.triggered_s = RUNNING, self.clock()

    def _register(self, register: dict[str, Any]) -> int:
        return self.tables["holding"][register["address"]]

    # --- telegrams ----------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring inputs, counter and status up to the present."""
        self.tick()
        if not self.frozen:
            for name, register in self.inputs.items():
                self.store(register, float(self.closed[name]))
            self.store(self.life, int((self.clock() - self.booted_s) * LIFE_HZ) % 65536)
        self.store(self.dog["status"], self.status)

    def take(self, table: str, address: int, value: int) -> None:
        """Take one written word or bit."""
        if table == "coil":
            output = next(name for name, each in self.outputs.items() if each["address"] == address)
            self._put(output, bool(value))
            return
        if address == self.dog["status"]["address"]:
            raise ModbusRefusal(ILLEGAL_VALUE)
        if address == self.dog["time"]["address"] and self.status == RUNNING:
            raise ModbusRefusal(ILLEGAL_VALUE)
        if address == self.dog["trigger"]["address"]:
            self._sign_of_life(value)
        if address == self.dog["restart"]["address"] and value == 1 and self.status == EXPIRED:
            self.status, self.triggered_s = RUNNING, self.clock()
        if address == self.dog["stop"]["address"] and value == self.dog["stop"]["on_word"]:
            self.status = STOPPED
        super().take(table, address, value)

    def _put(self, output: str, is_on: bool) -> None:
        if not is_on and output in self.stuck:
            return
        self.store(self.outputs[output], float(is_on))
        self.isolate(self.spec.isolators, self.states())

    def states(self) -> dict[str, bool]:
        """Return which outputs are on."""
        return {name: bool(self.held(register)) for name, register in self.outputs.items()}

    # --- truth and faults ---------------------------------------------------------------------------

    def truth(self) -> dict[str, Any]:
        """Return contacts, outputs and watchdog, and the circuit's truth."""
        self.tick()
        cell = self.circuit.truth() if self.circuit is not None else {}
        return {**cell, "closed": dict(self.closed), "outputs": self.states(), "watchdog": self.status}

    def break_it(self, name: str, asked: Asked) -> bool:
        """Break the coupler itself, or open a contact."""
        if name == "input_open":
            self.closed[named(asked, "input", tuple(self.inputs))] = not asked.get("open", True)
        elif name == "freeze":
            self.frozen = True
        elif name == "stuck_on":
            self.stuck.add(named(asked, "output", tuple(self.outputs)))
        elif name == "refuse":
            self.refusing = True
        elif name == "panel_change":
            self._put(named(asked, "output", tuple(self.outputs)), bool(asked.get("state", True)))
        else:
            return False
        return True

    def reboot(self) -> None:
        """Come up with every output open and the watchdog at its factory time."""
        self.stuck = set()
        self.status, self.booted_s = STOPPED, self.clock()
        for name in self.outputs:
            self.store(self.outputs[name], 0.0)
        self.isolate(self.spec.isolators, self.states())
        for entry in ("time", "trigger", "status", "restart", "stop"):
            self.tables["holding"][self.dog[entry]["address"]] = 0
        self.tables["holding"][self.dog["time"]["address"]] = FACTORY_TIME
        self.store(self.life, 0)

    def repair(self) -> None:
        """Close every contact and clear the coupler's faults."""
        self.closed = dict.fromkeys(self.inputs, True)
        self.stuck, self.frozen, self.refusing = set(), False, False


def make(spec: dict[str, Any], circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> Coupler:
    """Build a coupler from an entry of ``devices``."""
    return Coupler(bench.convert(spec, CouplerSpec), circuits, clock)
