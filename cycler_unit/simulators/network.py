"""Simulated devices on the network that do not speak in lines: a TCP server for whole messages.

Faults of every device here: ``drop_link`` (``how`` close or silent, ``for_s``), ``silent`` (``for_s``: it
hears and says nothing) and ``mains_lost`` (``for_s``: gone from the network, and restarted when it comes
back).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import EXCHANGES, Asked, CannotStart, Clock, Refused, Say
from cycler_unit.simulators.links import Drop

# Longer than any request of these protocols; what is longer is not one of them.
LONGEST = 16 * 1024

# Takes one whole request off the front of the buffer and returns its answer; None = not complete yet.
Serve = Callable[[bytearray], bytes | None]


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: MessageServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.clients.add(self)
        if self._server.dropped == "close":
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.clients.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._server.dropped or self.transport is None:
            return
        self._buffer += data
        if len(self._buffer) > LONGEST:
            self.transport.abort()
            return
        while self._buffer and (answer := self._server.serve(self._buffer)) is not None:
            self.transport.write(answer)


class MessageServer:
    """One port; ``dropped`` is how its cable is broken at the moment."""

    def __init__(self, serve: Serve, host: str, port: int) -> None:
        self.serve, self.host, self.port = serve, host, port
        self.clients: set[Connection] = set()
        self.dropped: Drop = ""
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; port 0 takes any free one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def drop(self, how: Drop) -> None:
        """Break the link: ``close`` ends all connections, ``silent`` hears and says nothing."""
        self.dropped = how
        if how == "close":
            self.abort()

    def abort(self) -> None:
        """Cut all clients."""
        for client in list(self.clients):
            if client.transport is not None:
                client.transport.abort()

    def close(self) -> None:
        """Stop listening; safe twice."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.abort()


class NetworkDevice:
    """Base of these devices. Subclasses ``serve`` requests and break themselves in ``break_it``."""

    def __init__(
        self, name: str, model: str, host: str, port: int, *, clock: Clock, circuit: Circuit | None
    ) -> None:
        self.name, self.model = name, model
        self.clock, self.circuit = clock, circuit
        self.exchanges: deque[dict[str, Any]] = deque(maxlen=EXCHANGES)
        self.server = MessageServer(self.serve, host, port)

    async def open(self, say: Say) -> None:
        """Listen; raise ``CannotStart``."""
        try:
            await self.server.open()
        except OSError as error:
            reason = error.strerror or error
            raise CannotStart(f"{self.name}: port {self.server.port} cannot be used: {reason}") from error
        say(f"ready {self.name} {self.model} {self.server.host}:{self.server.port}")

    def close(self) -> None:
        """Stop listening."""
        self.server.close()

    def serve(self, buffer: bytearray) -> bytes | None:
        """Take one request off the buffer and return its answer; subclasses."""
        raise NotImplementedError

    def note(self, to: str, text: str) -> None:
        """Keep one message for the log."""
        self.exchanges.append({"at_s": self.clock(), "to": to, "text": text})

    # --- what it does to the cell -------------------------------------------------------------------

    def isolate(self, outputs: Sequence[str], states: dict[str, bool]) -> None:
        """Let each of these outputs open (off) or close (on) the circuit."""
        for output in outputs:
            if self.circuit is not None:
                self.circuit.isolate(f"{self.name}.{output}", not states[output])

    def tick(self) -> None:
        """Let the circuit move on."""
        if self.circuit is not None:
            self.circuit.advance()

    # --- faults ------------------------------------------------------------------------------------

    def fault(self, name: str, asked: Asked) -> bool:
        """Break link, device or circuit; False for an unknown fault."""
        if name == "drop_link":
            how = asked.get("how", "close")
            if how not in ("close", "silent"):
                raise Refused("how is close or silent")
            self._drop(how, asked)
        elif name == "silent":
            self._drop("silent", asked)
        elif name == "mains_lost":
            self.reboot()
            self._drop("close", asked)
        elif name == "reboot":
            self.reboot()
            self.server.abort()
        else:
            return self.break_it(name, asked) or (
                self.circuit is not None and self.circuit.fault(name, asked)
            )
        return True

    def _drop(self, how: Drop, asked: Asked) -> None:
        self.server.drop(how)
        if asked.get("for_s") is not None:
            asyncio.get_running_loop().call_later(float(asked["for_s"]), self.server.drop, "")

    def break_it(self, name: str, asked: Asked) -> bool:
        """Break the device itself; subclasses."""
        return False

    def reboot(self) -> None:
        """Come up as after power on; subclasses."""

    def repair(self) -> None:
        """Repair the device itself; subclasses."""

    def mend(self) -> None:
        """Clear every fault, the circuit's included."""
        self.server.drop("")
        self.repair()
        if self.circuit is not None:
            self.circuit.mend()


def named(asked: Asked, what: str, names: Sequence[str]) -> str:
    """Return which of the device's parts a fault is for: as asked, else the first. Raises ``Refused``."""
    chosen = str(asked.get(what, names[0] if names else ""))
    if chosen not in names:
        raise Refused(f"no {what} {chosen!r}; there are {', '.join(names)}")
    return chosen
