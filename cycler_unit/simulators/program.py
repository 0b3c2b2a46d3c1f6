"""The simulator process: devices, their ports, the control port, a slow tick."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from cycler_unit.simulators.bench import Bench, SupplySpec
from cycler_unit.simulators.control import Control, ControlConnection
from cycler_unit.simulators.ea import EaSupply
from cycler_unit.simulators.links import Port, Pty, TcpPort

# Cells move on when asked; the tick keeps the work of a long silence from coming at once.
TICK_S = 0.5
# Enough to see what led to a fault, at a few messages per control period.
EXCHANGES = 400


class CannotStart(Exception):
    """A port or terminal is not to be had; the text is one sentence."""


def utc_clock() -> Callable[[], float]:
    """Return a clock in UTC seconds that never jumps."""
    ahead_s = time.time() - time.monotonic()
    return lambda: time.monotonic() + ahead_s


class Device:
    """One simulated supply with its ports."""

    def __init__(self, spec: SupplySpec, host: str, seed: int) -> None:
        self.spec = spec
        self.clock = utc_clock()
        self.instrument = EaSupply(spec, seed=seed, clock=self.clock)
        self.exchanges: deque[dict[str, Any]] = deque(maxlen=EXCHANGES)
        self.ports: list[Port] = []
        self._first_cell = self.instrument.regulator.cell
        if spec.port is not None:
            self.ports.append(TcpPort(self.answer, host, spec.port, spec.latency_s))
        if spec.pty is not None:
            self.ports.append(Pty(self.answer, spec.pty, spec.latency_s))

    def answer(self, line: str) -> str | None:
        """Let the instrument execute one line; both directions are kept for the log."""
        self.exchanges.append({"at_s": self.clock(), "to": "device", "text": line})
        answer = self.instrument.handle(line)
        if answer is not None:
            self.exchanges.append({"at_s": self.clock(), "to": "host", "text": answer})
        return answer

    def describe(self) -> dict[str, Any]:
        """Return name, model and the resources it is reached by."""
        return {
            "name": self.spec.name,
            "model": self.spec.model,
            "serial_number": self.spec.serial_number,
            "resources": [port.resource for port in self.ports],
        }

    def mend_links(self) -> None:
        """Repair the cables only."""
        for port in self.ports:
            port.mend()

    def mend(self) -> None:
        """Clear every fault and put the first cell back."""
        self.mend_links()
        regulator = self.instrument.regulator
        regulator.release()
        if regulator.cell is not self._first_cell:
            regulator.swap(self._first_cell)


async def run(bench: Bench, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; ``say`` gets one ready line per device. Raises ``CannotStart``."""
    devices = {spec.name: Device(spec, bench.host, bench.seed + n) for n, spec in enumerate(bench.supplies)}
    control: asyncio.Server | None = None
    try:
        for device in devices.values():
            await _open(device, say)
        control = await _open_control(bench, Control(devices), say)
        say("ready all")
        await _tick_until_ended(devices)
    finally:
        if control is not None:
            control.close()
        for device in devices.values():
            for port in device.ports:
                port.close()


async def _open(device: Device, say: Callable[[str], None]) -> None:
    for port in device.ports:
        where = port.path if isinstance(port, Pty) else f"port {device.spec.port}"
        try:
            await port.open()
        except OSError as error:
            reason = error.strerror or error
            raise CannotStart(f"{device.spec.name}: {where} cannot be used: {reason}") from error
        say(f"ready {device.spec.name} {device.spec.model} {port.resource}")


async def _open_control(bench: Bench, control: Control, say: Callable[[str], None]) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: ControlConnection(control), "127.0.0.1", bench.control_port)
    except OSError as error:
        raise CannotStart(f"control port {bench.control_port} cannot be used: {error.strerror}") from error
    say(f"ready control 127.0.0.1:{server.sockets[0].getsockname()[1]}")
    return server


async def _tick_until_ended(devices: dict[str, Device]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    while not ended.is_set():
        for device in devices.values():
            device.instrument.regulator.advance()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), TICK_S)
