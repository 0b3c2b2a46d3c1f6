"""Let a day pass in seconds for every simulated device, and see how far the cells went meanwhile.

For what nobody is there to see: everything that talks to the devices is dead. Their own regulation,
protections, heartbeats and watchdogs run on in simulated time, finely at first, when these act; what they
would send is not sent. Times set with ``for_s`` stay real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cycler_unit.simulators.circuit import STEP_S, Circuit
from cycler_unit.simulators.device import SimulatedDevice, UtcClock
from cycling.cell import Cell

# (until, stride): heartbeats and watchdogs act within seconds, a small cell is full within the hour.
FINE = ((60.0, 0.02), (3600.0, 0.25))
MOST_S = 10 * 86400.0
# How much a cell's voltage may move in one step of integration, and what makes the next step longer.
COARSE_V, FINE_V = 0.0005, 0.0001


class Seen:
    """How far one circuit went, in steps that the cell's own voltage allows."""

    def __init__(self, circuit: Circuit, most_s: float) -> None:
        self._circuit, self._most_s = circuit, most_s
        self.step_s = STEP_S
        self._last_v: float | None = None
        self._ranges: dict[str, tuple[float, float]] = {}

    def look(self) -> None:
        """Note voltage, current and temperature of the cell, and choose the next step."""
        cell = self._circuit.cell
        if cell is None:
            return
        volts = cell.voltage_v
        moved_v = 0.0 if self._last_v is None else abs(volts - self._last_v)
        self._last_v = volts
        if moved_v > COARSE_V:
            self.step_s = max(STEP_S, self.step_s / 4.0)
        elif moved_v < FINE_V:
            self.step_s = min(self._most_s, self.step_s * 1.5)
        for name, value in (
            ("voltage_v", volts), ("current_a", cell.current_a), ("temperature_c", cell.temperature_c),
        ):  # fmt: skip
            low, high = self._ranges.get(name, (value, value))
            self._ranges[name] = (min(low, value), max(high, value))

    def tell(self) -> dict[str, Any]:
        """Return the least and the largest of each, and what is so at the end."""
        found = {
            f"{name}_{side}": value
            for name, both in self._ranges.items()
            for side, value in zip(("min", "max"), both, strict=True)
        }
        cell = self._circuit.cell
        soc = cell.soc if isinstance(cell, Cell) else None
        return {
            **found,
            "current_a": self._circuit.current_a,
            "soc": soc,
            "connected": self._circuit.connected,
        }


def forward(
    clock: UtcClock,
    devices: Mapping[str, SimulatedDevice],
    circuits: Mapping[str, Circuit],
    seconds: float,
    step_s: float,
) -> dict[str, Any]:
    """Let ``seconds`` pass at most ``step_s`` at a time; return what each circuit went through by its name."""
    if not 0.0 < seconds <= MOST_S or not step_s > 0.0:
        raise ValueError(f"forward_s is above 0 and at most {MOST_S:g}, step_s is above 0")
    found = {**circuits, **{name: circuit for device in devices.values() for name, circuit in _of(device)}}
    for circuit in found.values():
        circuit.advance()
        circuit.hurry = Seen(circuit, step_s)
        circuit.hurry.look()
    try:
        _pass(clock, devices, seconds, step_s)
        return {name: circuit.hurry.tell() for name, circuit in found.items() if circuit.hurry}
    finally:
        for circuit in found.values():
            circuit.hurry = None


def _of(device: SimulatedDevice) -> list[tuple[str, Circuit]]:
    """Return a device's own circuits by the device's name, shared ones by theirs."""
    outputs = getattr(device, "outputs", None)
    if isinstance(outputs, tuple):
        both = [output.regulator.circuit for output in outputs]
    else:
        both = [getattr(device, "circuit", None)]
    found = [each for each in both if each is not None]
    return [(each.name if number == 0 else f"{each.name}/2", each) for number, each in enumerate(found)]


def _pass(clock: UtcClock, devices: Mapping[str, SimulatedDevice], seconds: float, step_s: float) -> None:
    passed_s = 0.0
    while passed_s < seconds:
        stride_s = next((stride for until_s, stride in FINE if passed_s < until_s), step_s)
        stride_s = min(stride_s, step_s, seconds - passed_s)
        passed_s += stride_s
        clock.forward(stride_s)
        for device in devices.values():
            live = getattr(device, "live", None)
            if live is not None:
                live()
            device.tick()
