"""The simulated EA supplies and loads as devices of the simulator program: ports, faults, truth."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from cycler_unit.simulators import bench
from cycler_unit.simulators.bench import BenchError, SupplySpec
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Asked, Clock, Refused
from cycler_unit.simulators.ea import EaSupply, TwoOutputs
from cycler_unit.simulators.links import ports
from cycler_unit.simulators.text import TextDevice

# A drift slow enough to pass several control periods on its way over a limit.
DRIFT_V_S = 0.05


class EaDevice(TextDevice):
    """One simulated supply with its ports; ``circuit`` is its own or shared with others."""

    def __init__(self, spec: SupplySpec, host: str, seed: int, clock: Clock, circuit: Circuit | None) -> None:
        if circuit is None:
            cell = spec.cell.build() if spec.cell else None
            circuit = Circuit(cell, clock=clock, name=spec.name, spec=spec.cell, speed=spec.speed)
        self.instrument = EaSupply(spec, seed=seed, clock=clock, circuit=circuit)
        super().__init__(
            spec.name,
            spec.model,
            ports(host, spec.port, spec.pty, spec.latency_s),
            clock=clock,
            circuit=circuit,
        )
        self.serial_number = spec.serial_number

    def handle(self, line: str) -> str | None:
        """Let the instrument execute one line."""
        return self.instrument.handle(line)

    def truth(self) -> dict[str, Any]:
        """Return the power stage's truth."""
        return self.instrument.regulator.truth()

    def history(self) -> list[dict[str, Any]]:
        """Return every set point and switching, with the charge moved until then."""
        self.instrument.regulator.advance()
        return list(self.instrument.regulator.history)

    def fault(self, name: str, asked: Asked) -> bool:
        """Break link, supply or circuit."""
        known = super().fault(name, asked)
        if known and name == "wrong_cell":
            self.instrument.regulator.note("cell")
        return known

    def break_it(self, name: str, asked: Asked) -> bool:
        """Break the supply itself; see the table in ``control.py``."""
        regulator, faults = self.instrument.regulator, self.instrument.regulator.faults
        regulator.advance()
        if name == "freeze":
            faults.frozen = regulator.measure()
        elif name == "drift":
            faults.drift_offset_v = float(asked.get("offset_v", 0.0))
            faults.drift_v_s = float(asked.get("rate_v_s", 0.0 if "offset_v" in asked else DRIFT_V_S))
            faults.drift_since_s = regulator.now_s()
        elif name == "noise":
            faults.noise_v = float(asked.get("voltage_v", 0.01))
            faults.noise_a = float(asked.get("current_a", 0.01))
        elif name == "stuck_on":
            faults.stuck_answer = _on_or_off(asked)
            faults.stuck_on = True
        elif name == "sense_open":
            faults.sense_share = float(asked.get("share", 0.0))
        else:
            return self._break_control(name, asked)
        return True

    def _break_control(self, name: str, asked: Asked) -> bool:
        """Faults of what the supply takes and who moves it."""
        instrument, faults = self.instrument, self.instrument.regulator.faults
        if name == "sensor_off":
            faults.sensor_off = True
        elif name == "refuse":
            faults.refuse = True
        elif name == "clamp":
            instrument.clamp(float(asked.get("current_a", 0.5)))
        elif name == "alarm":
            self._alarm(str(asked.get("name", "OT")))
        elif name == "local":
            instrument.take_local()
        elif name == "panel_change":
            instrument.by_hand(asked)
        elif name == "reboot":
            instrument.reboot()
        elif name == "mains_lost":
            self._lose_mains(asked)
        else:
            return False
        return True

    def _alarm(self, name: str) -> None:
        if name not in self.instrument.alarm_names():
            raise Refused(f"no alarm {name!r}; there are {', '.join(self.instrument.alarm_names())}")
        self.instrument.trip(name)

    def _lose_mains(self, asked: Asked) -> None:
        """Power stage and links die at once; the links come back after ``for_s``, or by ``clear``."""
        self.instrument.reboot()
        for port in self.ports:
            port.drop("close")
        if asked.get("for_s") is not None:
            asyncio.get_running_loop().call_later(float(asked["for_s"]), self.mend_links)

    def repair(self) -> None:
        """Clear the supply's faults."""
        self.instrument.regulator.release()


def _on_or_off(asked: Asked) -> str:
    answers = str(asked.get("answers", "OFF")).upper()
    if answers not in ("ON", "OFF"):
        raise Refused("answers is ON or OFF")
    return answers


class TwoOutputDevice(EaDevice):
    """A supply with two outputs, each with a circuit; faults name ``channel_no`` (1 by default)."""

    def __init__(
        self, spec: SupplySpec, host: str, seed: int, clock: Clock, circuits: Sequence[Circuit | None]
    ) -> None:
        super().__init__(spec, host, seed, clock, circuits[0])
        second = EaDevice(spec, host, seed + 1000, clock, circuits[1])
        self.outputs = (self.instrument, second.instrument)
        self._both = TwoOutputs(self.outputs)

    def handle(self, line: str) -> str | None:
        """Let the output that the command names execute it."""
        return self._both.handle(line)

    def links(self) -> list[dict[str, Any]]:
        """Return a link for each output."""
        ways_in = super().links()
        return [{**link, "channel_no": number} for number in (1, 2) for link in ways_in]

    def tick(self) -> None:
        """Let both circuits move on."""
        for output in self.outputs:
            output.regulator.advance()

    def truth(self) -> dict[str, Any]:
        """Return the truth of the first output, and the second's below ``second``."""
        first, second = (output.regulator.truth() for output in self.outputs)
        return {**first, "second": second}

    def fault(self, name: str, asked: Asked) -> bool:
        """Break links for both, everything else for one output."""
        self.instrument = self.outputs[_output_of(asked)]
        self.circuit = self.instrument.regulator.circuit
        try:
            return super().fault(name, asked)
        finally:
            self.instrument = self.outputs[0]
            self.circuit = self.instrument.regulator.circuit

    def mend(self) -> None:
        """Clear every fault of both outputs."""
        super().mend()
        self.outputs[1].regulator.release()
        self.outputs[1].regulator.circuit.mend()


def _output_of(asked: Asked) -> int:
    number = asked.get("channel_no", 1)
    if number not in (1, 2):
        raise Refused("channel_no is 1 or 2")
    return int(number) - 1


def make(spec: dict[str, Any], circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> EaDevice:
    """Build a supply or load from an entry of ``devices``.

    It shares ``circuit``, or has a ``cell`` of its own; the second output of a 2384: ``circuit2``.
    """
    given = dict(spec)
    host = given.pop("host")
    wired = [given.pop(key, None) for key in ("circuit", "circuit2")]
    supply = bench.convert(given, SupplySpec)
    if supply.port is None and supply.pty is None:
        raise BenchError(f"devices: {supply.name}: give a port, a pty or both")
    found = [circuits[name] if name is not None else None for name in wired]
    return build(supply, host, seed, clock, found)


def build(
    supply: SupplySpec, host: str, seed: int, clock: Clock, circuits: Sequence[Circuit | None] = (None, None)
) -> EaDevice:
    """Return the simulated device of a checked entry."""
    if supply.kind.settings.get("channels", 1) > 1:
        return TwoOutputDevice(supply, host, seed, clock, circuits)
    return EaDevice(supply, host, seed, clock, circuits[0])
