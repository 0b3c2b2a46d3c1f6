"""Scripted devices on real sockets: exact bytes in, answers out, nothing left over."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager


class ScriptedServer:
    """A TCP server that expects each request of its script and gives the answer beside it.

    ``whole`` cuts one request off the received bytes and returns its length, 0 when it is not complete.
    ``seen`` normalises a request before it is compared.
    """

    def __init__(self, whole: Callable[[bytes], int], seen: Callable[[bytes], bytes] = bytes) -> None:
        self.script: list[tuple[bytes, bytes | None]] = []
        self.wrong: list[str] = []
        self.raw: list[bytes] = []
        self.connections = 0
        self._whole, self._seen = whole, seen
        self._open: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        received = b""
        try:
            while part := connection.recv(4096):
                received += part
                while length := self._whole(received):
                    request, received = received[:length], received[length:]
                    self.raw.append(request)
                    answer = self._answer(self._seen(request))
                    if answer is not None:
                        connection.sendall(answer)
        except OSError:
            return

    def _answer(self, request: bytes) -> bytes | None:
        if not self.script:
            self.wrong.append(f"{request!r} was sent, nothing was expected")
            return None
        expected, answer = self.script.pop(0)
        if request != expected:
            self.wrong.append(f"{request!r} was sent instead of {expected!r}")
        return answer

    def cut(self) -> None:
        """End all connections, as a device does that reboots."""
        for connection in self._open:
            # Closing alone leaves it open while another thread waits in it.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._open.clear()

    def close(self) -> None:
        """Stop."""
        self._server.close()
        self.cut()

    @contextmanager
    def expecting(self, script: Sequence[tuple[bytes, bytes | None]]) -> Iterator[None]:
        """Let the body exchange exactly this script."""
        self.script.extend(script)
        yield
        assert not self.wrong, self.wrong
        assert not self.script, f"never sent: {self.script}"


def http_whole(received: bytes) -> int:
    """Return the length of the first HTTP request, 0 while it is not complete."""
    head, end, rest = received.partition(b"\r\n\r\n")
    if not end:
        return 0
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return len(head) + len(end) + length if len(rest) >= length else 0


def http_seen(request: bytes) -> bytes:
    """Return method, path and body of a request: the headers are the library's."""
    head, _, body = request.partition(b"\r\n\r\n")
    method, path, _ = head.split(b"\r\n")[0].split(b" ")
    return b" ".join(part for part in (method, path, body) if part)


def http_answer(text: str, status: int = 200, kind: str = "text/plain") -> bytes:
    """Return the bytes of an answer on a connection that is kept."""
    body = text.encode()
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def modbus_whole(received: bytes) -> int:
    """Return the length of the first Modbus telegram, 0 while it is not complete."""
    if len(received) < 6:
        return 0
    length = 6 + int.from_bytes(received[4:6], "big")
    return length if len(received) >= length else 0


class Telegrams(ScriptedServer):
    """A scripted Modbus device: requests and answers in hex without their header, which is checked too."""

    def __init__(self, unit: int = 1) -> None:
        self.unit = unit
        self._number = b""
        super().__init__(modbus_whole, self._body)

    def _body(self, request: bytes) -> bytes:
        self._number = request[:2]
        if request[2:4] != b"\0\0" or request[6] != self.unit:
            self.wrong.append(f"header {request[:7].hex()}")
        return request[7:]

    def _answer(self, request: bytes) -> bytes | None:
        answer = super()._answer(request)
        if answer is None:
            return None
        return self._number + b"\0\0" + (len(answer) + 1).to_bytes(2, "big") + bytes([self.unit]) + answer

    def dialogue(self, *script: tuple[str, str]) -> AbstractContextManager[None]:
        """Expect these requests and give these answers."""
        return self.expecting([(bytes.fromhex(out), bytes.fromhex(back)) for out, back in script])
