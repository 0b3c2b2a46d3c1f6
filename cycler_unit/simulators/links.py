"""How clients reach a simulated device: a TCP port and a pseudo-terminal, both line by line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Answer = Callable[[str], str | None]
Drop = Literal["", "close", "silent"]

# Longer than any message of the protocol; what is longer is dropped like noise on the line.
LONGEST = 4096


class Lines:
    """Cut a byte stream into lines ended by LF; a CR before it is taken off, unless ``strict``."""

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self._rest = b""

    def feed(self, received: bytes) -> list[str]:
        """Return the lines completed by ``received``."""
        *lines, self._rest = (self._rest + received).split(b"\n")
        if len(self._rest) > LONGEST:
            self._rest = b""
        taken = [line if self.strict else line.rstrip(b"\r") for line in lines if len(line) <= LONGEST]
        return [line.decode("ascii", "replace") for line in taken]


def silence(line: str) -> str | None:
    """Answer nothing: until a device takes the port."""
    return None


class Port:
    """One way in. ``dropped`` is how its cable is broken at the moment; ``latency_s`` delays answers."""

    resource = ""
    where = ""

    def __init__(self, answer: Answer = silence, latency_s: float = 0.0) -> None:
        self.answer = answer
        self.latency_s = latency_s
        self.dropped: Drop = ""
        self.ending = b"\n"
        # A device that takes no CR before the LF.
        self.strict = False

    async def open(self) -> None:
        """Begin to listen; raise ``OSError`` when that is not possible."""

    def drop(self, how: Drop) -> None:
        """Break the link: ``close`` ends all connections, ``silent`` hears and says nothing."""
        self.dropped = how

    def mend(self) -> None:
        """Repair the link."""
        self.dropped = ""

    def close(self) -> None:
        """Stop listening; safe twice."""

    def opened(self) -> None:
        """Hear that a client connected; a device that restarts then takes it."""

    def reply(self, line: str, send: Callable[[bytes], None]) -> None:
        """Let the device execute a line and send what it answers."""
        if self.dropped:
            return
        answer = self.answer(line)
        if answer is None:
            return
        payload = answer.encode("ascii", "replace") + self.ending
        if self.latency_s > 0.0:
            asyncio.get_running_loop().call_later(self.latency_s, send, payload)
        else:
            send(payload)


class TcpConnection(asyncio.Protocol):
    """One client of a ``TcpPort``."""

    def __init__(self, port: TcpPort) -> None:
        self._port = port
        self._lines = Lines(port.strict)
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._port.clients.add(self)
        self._port.opened()
        if self._port.dropped == "close":
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._port.clients.discard(self)

    def data_received(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            self._port.reply(line, self._send)

    def _send(self, payload: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(payload)


class TcpPort(Port):
    """A raw TCP socket, as the supply's LAN port 5025."""

    def __init__(self, answer: Answer, host: str, port: int, latency_s: float = 0.0) -> None:
        super().__init__(answer, latency_s)
        self.host, self.port = host, port
        self.where = f"port {port}"
        self.clients: set[TcpConnection] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; port 0 takes any free one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: TcpConnection(self), self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self.resource = f"TCPIP::{self.host}::{self.port}::SOCKET"

    def drop(self, how: Drop) -> None:
        """Break the link; new connections are cut at once while it is closed."""
        super().drop(how)
        if how == "close":
            self._abort()

    def close(self) -> None:
        """Stop listening and cut all clients."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._abort()

    def _abort(self) -> None:
        for client in list(self.clients):
            if client.transport is not None:
                client.transport.abort()


class Pty(Port):
    """A pseudo-terminal under a stable name, as the supply's USB or RS-232 port."""

    def __init__(self, answer: Answer, path: str, latency_s: float = 0.0) -> None:
        super().__init__(answer, latency_s)
        self.path = Path(path)
        self.where = path
        self.resource = f"ASRL{path}::INSTR"
        self._lines = Lines()
        self._master = self._slave = -1

    async def open(self) -> None:
        """Make the terminal and the link to it; an old link of the same name is replaced."""
        if self.path.exists() and not self.path.is_symlink():
            raise FileExistsError(f"{self.path} is a file")
        self._lines = Lines(self.strict)
        self._master, self._slave = os.openpty()
        # Raw and kept open here: no echo, no translation, no hang-up when a client leaves.
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    def _readable(self) -> None:
        try:
            received = os.read(self._master, LONGEST)
        except (BlockingIOError, OSError):
            return
        for line in self._lines.feed(received):
            self.reply(line, self._send)

    def _send(self, payload: bytes) -> None:
        # A full terminal buffer means that nobody reads: lost like on a real line.
        with contextlib.suppress(OSError):
            os.write(self._master, payload)

    def drop(self, how: Drop) -> None:
        """Break the link; ``close`` hangs up as a pulled USB plug does."""
        super().drop(how)
        if how == "close":
            self._hang_up()

    def mend(self) -> None:
        """Repair the link; a pulled plug comes back under the same name."""
        super().mend()
        if self._master < 0:
            asyncio.get_running_loop().create_task(self.open())

    def _hang_up(self) -> None:
        if self._master < 0:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        for descriptor in (self._slave, self._master):
            os.close(descriptor)
        self._master = self._slave = -1
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove terminal and link."""
        self._hang_up()


def ports(host: str, port: int | None, pty: str | None, latency_s: float = 0.0) -> list[Port]:
    """Return the ways in that a bench entry names: a TCP port, a pseudo-terminal or both."""
    found: list[Port] = []
    if port is not None:
        found.append(TcpPort(silence, host, port, latency_s))
    if pty is not None:
        found.append(Pty(silence, pty, latency_s))
    return found
