"""The simulator process: devices, their ports, the control port, a slow tick."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable

from cycler_unit.simulators import ea_device
from cycler_unit.simulators.bench import Bench
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.control import Control, ControlConnection
from cycler_unit.simulators.device import CannotStart, Clock, SimulatedDevice, factory, utc_clock
from wire import kinds

__all__ = ["CannotStart", "build", "run"]

# Cells move on when asked; the tick keeps the work of a long silence from coming at once.
TICK_S = 0.5


def build(bench: Bench, clock: Clock | None = None) -> tuple[dict[str, SimulatedDevice], dict[str, Circuit]]:
    """Return all devices and all shared circuits of a bench by name; raise ``BenchError``."""
    clock = clock or utc_clock()
    circuits = {
        spec.name: Circuit(
            spec.cell.build() if spec.cell else None,
            clock=clock,
            name=spec.name,
            spec=spec.cell,
            speed=spec.speed,
            ambient_c=spec.ambient_c,
        )
        for spec in bench.circuits
    }
    devices: dict[str, SimulatedDevice] = {}
    for number, supply in enumerate(bench.supplies):
        devices[supply.name] = ea_device.build(supply, bench.host, bench.seed + number, clock)
    for number, given in enumerate(bench.devices, len(bench.supplies)):
        make = factory(kinds.get(given["model"]).family)
        devices[given["name"]] = make({"host": bench.host, **given}, circuits, bench.seed + number, clock)
    return devices, circuits


async def run(bench: Bench, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; ``say`` gets one ready line per device. Raises ``CannotStart``."""
    clock = utc_clock()
    devices, circuits = build(bench, clock)
    control: asyncio.Server | None = None
    try:
        for device in devices.values():
            await device.open(say)
        control = await _open_control(bench, Control(devices, circuits, clock), say)
        say("ready all")
        await _tick_until_ended(devices)
    finally:
        if control is not None:
            control.close()
        for device in devices.values():
            device.close()


async def _open_control(bench: Bench, control: Control, say: Callable[[str], None]) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: ControlConnection(control), "127.0.0.1", bench.control_port)
    except OSError as error:
        raise CannotStart(f"control port {bench.control_port} cannot be used: {error.strerror}") from error
    say(f"ready control 127.0.0.1:{server.sockets[0].getsockname()[1]}")
    return server


async def _tick_until_ended(devices: dict[str, SimulatedDevice]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    while not ended.is_set():
        for device in devices.values():
            device.tick()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), TICK_S)
