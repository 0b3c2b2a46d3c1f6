"""A CAN bus with simulated devices on it, in this process: their loop runs in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from cycler_unit.buses import can
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import factory, utc_clock
from tests.stack.waiting import free_port
from wire import kinds

Answer = TypeVar("Answer")
CELL = {"chemistry": "NMC", "capacity_ah": 2.5, "r0_ohm": 0.03, "soc": 0.5}
INTERFACES = ("virtual", "udp_multicast")


def place(interface: str) -> dict[str, Any]:
    """Return a bus of its own: an unused channel, or a free port of the multicast group."""
    if interface == "virtual":
        return {"interface": "virtual", "channel": f"test-{uuid.uuid4()}"}
    if interface == "udp_multicast":
        return {"interface": "udp_multicast", "channel": "239.74.163.2", "port": free_port()}
    return {"interface": interface, "channel": "vcan0"}


class CanLab:
    """Simulated devices on one bus; ``do`` runs something in their loop."""

    def __init__(self, interface: str = "virtual") -> None:
        can.LOOK_S = 0.02  # closing a bus takes that long, and here there are hundreds
        self.place = place(interface)
        self.link = {"kind": "can", **self.place}
        self.clock = utc_clock()
        self.circuits: dict[str, Circuit] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="can-lab")
        self._thread.start()
        self._devices: list[Any] = []

    def do(self, act: Callable[[], Answer]) -> Answer:
        """Run ``act`` in the simulators' loop and return its answer."""
        answer: Future[Answer] = Future()

        def run() -> None:
            try:
                answer.set_result(act())
            except BaseException as error:
                answer.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return answer.result(10)

    def add(self, model: str, name: str = "dut", **options: Any) -> Any:
        """Put a simulated device on the bus and return it."""
        spec = {"name": name, "model": model, "host": "127.0.0.1", **self.place, **options}
        device = factory(kinds.get(model).family)(spec, self.circuits, 1, self.clock)
        asyncio.run_coroutine_threadsafe(device.open(lambda line: None), self._loop).result(10)
        self._devices.append(device)
        return device

    def stop(self) -> None:
        """Take everything off the bus and end the loop."""
        for device in self._devices:
            self.do(device.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextmanager
def lab(interface: str = "virtual") -> Iterator[CanLab]:
    """Lend a lab."""
    found = CanLab(interface)
    try:
        yield found
    finally:
        found.stop()
