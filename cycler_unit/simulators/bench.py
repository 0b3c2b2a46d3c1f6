"""The bench file: which devices are simulated, which cells they share, and where they listen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from cycler_unit.simulators.device import factory
from cycling.cell import Cell
from wire import kinds
from wire.catalogue import Kind

# Of a good bench converter in V and in A: more than the finest model's step of 0.1 mV and 0.1 mA.
LEAST_NOISE = 0.0002

Spec = TypeVar("Spec", bound=msgspec.Struct)


class BenchError(Exception):
    """The bench file is wrong; the text is one sentence naming the key."""


class CellSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cell that a supply holds (see ``cycling.cell.Cell``); resistances are the whole battery's."""

    chemistry: str = "NMC"
    capacity_ah: float = 2.5
    r0_ohm: float | None = None
    soc: float = 0.5
    cells_in_series: int = 1
    temperature_c: float = 25.0
    lead_ohm: float = 0.0
    fade_per_cycle: float = 0.0

    def build(self) -> Cell:
        """Return the cell, or raise ``BenchError``."""
        try:
            return Cell(
                self.chemistry,
                self.capacity_ah,
                self.r0_ohm,
                self.soc,
                self.cells_in_series,
                self.temperature_c,
                lead_ohm=self.lead_ohm,
                fade_per_cycle=self.fade_per_cycle,
            )
        except ValueError as error:
            raise BenchError(f"cell: {error}") from error


class SupplySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One supply. ``model`` is a catalogue key; give ``port`` (0 = any free one), ``pty`` or both.

    ``pty`` is the path of the link made to the pseudo-terminal. Noise is one standard deviation of a
    reading in V and A; 0 is possible, but a model whose catalogue row says that equal readings mean a
    frozen converter is then soon taken for frozen. ``speed`` is how many seconds of the cell pass in
    one second.
    """

    name: str
    model: str
    serial_number: str = "1000000001"
    firmware: str = "V3.02 05.09.2023"
    port: int | None = None
    pty: str | None = None
    cell: CellSpec | None = CellSpec()
    noise_v: float | None = None
    noise_a: float | None = None
    speed: float = 1.0
    latency_s: float = 0.0

    @property
    def kind(self) -> Kind:
        """Return the catalogue row."""
        return kinds.get(self.model)

    def noise(self) -> tuple[float, float]:
        """Return the noise of voltage (V) and current (A): as given, else two fifths of a step."""
        steps = {measure.name: measure.resolution for measure in self.kind.measures}
        given = (self.noise_v, self.noise_a)
        usual = (max(0.4 * steps[name], LEAST_NOISE) for name in ("voltage_v", "current_a"))
        noise_v, noise_a = (own if value is None else value for value, own in zip(given, usual, strict=True))
        return noise_v, noise_a


class CircuitSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One holder with its wiring, for the devices that name it; ``cell: null`` is an empty one."""

    name: str
    cell: CellSpec | None = CellSpec()
    ambient_c: float | None = None
    speed: float = 1.0


class Bench(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All devices of one simulator process. ``seed`` makes the noise repeatable.

    ``supplies`` have a cell each; ``devices`` name their ``circuit`` where they have one. What else an
    entry of ``devices`` may hold is its family's business (``cycler_unit/simulators/device.py``).
    """

    supplies: tuple[SupplySpec, ...] = ()
    circuits: tuple[CircuitSpec, ...] = ()
    devices: tuple[dict[str, Any], ...] = ()
    host: str = "127.0.0.1"
    control_port: int = 0
    seed: int = 1


def load(path: Path) -> Bench:
    """Read and check a bench file; raise ``BenchError`` with one sentence."""
    try:
        text = path.read_text(encoding="utf-8")
        return parse(yaml.safe_load(text))
    except OSError as error:
        raise BenchError(f"the bench file {path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise BenchError(f"the bench file {path} is no YAML: {error}") from error


def parse(tree: Any) -> Bench:
    """Check a bench given as plain dicts and lists; raise ``BenchError`` with one sentence."""
    try:
        bench = msgspec.convert(tree, Bench)
    except msgspec.ValidationError as error:
        raise BenchError(f"the bench file is wrong: {error}") from error
    if not bench.supplies and not bench.devices:
        raise BenchError("the bench file is wrong: it names neither `supplies` nor `devices`")
    names = [supply.name for supply in bench.supplies]
    names += [str(device.get("name", "")) for device in bench.devices]
    circuits = [circuit.name for circuit in bench.circuits]
    _unique("supplies", names)
    _unique("circuits", circuits)
    for supply in bench.supplies:
        _check(supply)
    for circuit in bench.circuits:
        _check_circuit(circuit)
    for device in bench.devices:
        _check_device(device, circuits)
    return bench


def convert(spec: dict[str, Any], wanted: type[Spec]) -> Spec:
    """Return one entry of ``devices`` as its family's struct; raise ``BenchError`` naming the key."""
    try:
        return msgspec.convert(spec, wanted)
    except msgspec.ValidationError as error:
        raise BenchError(f"devices: {spec.get('name')}: {error}") from error


def _unique(where: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise BenchError(f"{where}: the name {name!r} is used twice")


def _check(supply: SupplySpec) -> None:
    try:
        kind = supply.kind
    except KeyError as error:
        raise BenchError(f"supplies: {supply.name}: {error.args[0]}") from error
    if kind.family != "ea":
        raise BenchError(f"supplies: {supply.name}: no simulator for {kind.label}")
    if supply.port is None and supply.pty is None:
        raise BenchError(f"supplies: {supply.name}: give a port, a pty or both")
    if supply.speed <= 0:
        raise BenchError(f"supplies: {supply.name}: speed must be positive")
    if supply.cell is not None:
        supply.cell.build()


def _check_circuit(circuit: CircuitSpec) -> None:
    if circuit.speed <= 0:
        raise BenchError(f"circuits: {circuit.name}: speed must be positive")
    if circuit.cell is not None:
        circuit.cell.build()


def _check_device(device: dict[str, Any], circuits: list[str]) -> None:
    name, model = device.get("name"), device.get("model")
    if not isinstance(name, str) or not isinstance(model, str):
        raise BenchError("devices: each has a name and a model, both texts")
    try:
        factory(kinds.get(model).family)
    except KeyError as error:
        raise BenchError(f"devices: {name}: {error.args[0]}") from error
    circuit = device.get("circuit")
    if circuit is not None and circuit not in circuits:
        raise BenchError(
            f"devices: {name}: no circuit {circuit!r}; there are {', '.join(circuits) or 'none'}"
        )
