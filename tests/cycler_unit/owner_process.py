"""One real owner process, with the test as its parent and as the agent."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Sequence
from multiprocessing import connection
from typing import Any

import msgspec

from cycler_unit.drivers.base import Target
from cycler_unit.owner import server
from cycler_unit.owner.calls import Place
from cycler_unit.owner.client import OwnedDevice
from cycler_unit.owner.line import Life
from tests.stack.simulated import MODEL
from tests.stack.waiting import until
from wire import kinds

SECRET = b"only for tests"
CHARGE = Target(
    mode="cc",
    direction="charge",
    current_a=0.2,
    voltage_max_v=4.2,
    charge_current_max_a=0.2,
)


class OwnerProcess:
    """An owner with a parent that ticks until told not to."""

    def __init__(self, rescue: Sequence[Place | msgspec.Raw] = ()) -> None:
        # Not forked as by the parent: this process has threads.
        made: Any = multiprocessing.get_context("forkserver")
        self.line, theirs = made.Pipe()
        packed = [msgspec.msgpack.encode(each) for each in rescue]
        self.process = made.Process(target=server.main, args=(theirs, [], SECRET, packed))
        self.process.start()
        theirs.close()
        self.life = Life("")
        self.heard_s = 0.0
        self.ticking = True
        self._ended = False
        self._thread = threading.Thread(target=self._parent, daemon=True)
        self._thread.start()
        until(lambda: self.life.address, 20, "the owner says where it is")

    def _parent(self) -> None:
        try:
            while not self._ended:
                if self.ticking:
                    self.line.send_bytes(b"tick")
                if self.line.poll(0.05):
                    self.life = msgspec.msgpack.decode(self.line.recv_bytes(), type=Life)
                    self.heard_s = time.monotonic()
        except (EOFError, OSError):
            return

    def device(self, link: dict[str, Any], name: str = "psb1") -> OwnedDevice:
        """Return a device of the simulated bench behind this owner, not opened."""
        return OwnedDevice(kinds.get(MODEL), link, name, self.connect)

    def connect(self, link: Any) -> connection.Connection:
        """Connect as the agent does."""
        return connection.Client(self.life.address, authkey=SECRET)

    def stop(self) -> None:
        """End it as the parent does."""
        self._ended = True
        with contextlib.suppress(OSError):
            self.line.send_bytes(b"stop")
        self.process.join(10)
        self.process.kill()
        self.process.join(5)
        self._thread.join(2)
        self.line.close()
