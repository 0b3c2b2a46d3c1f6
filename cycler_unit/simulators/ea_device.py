"""The simulated EA supplies and loads as devices of the simulator program: ports, faults, truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cycler_unit.simulators import bench
from cycler_unit.simulators.bench import BenchError, SupplySpec
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Asked, Clock, Refused
from cycler_unit.simulators.ea import EaSupply
from cycler_unit.simulators.ea_outputs import TwoOutputs
from cycler_unit.simulators.links import ports
from cycler_unit.simulators.power import PowerTextDevice


class EaDevice(PowerTextDevice):
    """One simulated EA supply or load."""

    instrument: EaSupply

    def __init__(self, spec: SupplySpec, host: str, seed: int, clock: Clock, circuit: Circuit | None) -> None:
        if circuit is None:
            cell = spec.cell.build() if spec.cell else None
            circuit = Circuit(cell, clock=clock, name=spec.name, spec=spec.cell, speed=spec.speed)
        super().__init__(
            spec.name,
            spec.model,
            ports(host, spec.port, spec.pty, spec.latency_s),
            EaSupply(spec, seed=seed, clock=clock, circuit=circuit),
            clock=clock,
            circuit=circuit,
            serial_number=spec.serial_number,
        )


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

    def reboot(self) -> None:
        """Lose mains: both outputs do."""
        for output in self.outputs:
            output.reboot()

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
