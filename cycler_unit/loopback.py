"""A few lines of HTTP on the loopback: health, metrics, and stop all with everything else dead.

``http.server`` would load 5 MB of mail and HTML modules for three fixed answers.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import socket
import threading
from collections.abc import Callable

logger = logging.getLogger("cycler_unit.loopback")

Answer = tuple[int, str, str]
"""Status, content type, body."""
Route = Callable[[], Answer]
_REASONS = {
    200: "OK",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}
# A request here is one short line and a few headers.
REQUEST_MAX, TIMEOUT_S = 8192, 2.0


class Loopback(threading.Thread):
    """Serve fixed routes on 127.0.0.1; ``secret`` guards those that begin with POST."""

    def __init__(self, port: int, routes: dict[tuple[str, str], Route], secret: str = "") -> None:
        super().__init__(name="loopback", daemon=True)
        self._routes, self._secret = routes, secret
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = int(self._server.getsockname()[1])
        self._stopping = False

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        # shutdown() wakes accept(), which close() alone does not.
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        if self.is_alive():
            self.join(3.0)

    def run(self) -> None:
        """Answer one request after the other."""
        while not self._stopping:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(TIMEOUT_S)
                    self._serve(connection)
                except OSError:
                    continue  # whoever asked has gone
                except Exception:
                    logger.exception("event=loopback_failed")

    def _serve(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request and len(request) < REQUEST_MAX:
            more = connection.recv(4096)
            if not more:
                return
            request += more
        head = request.decode("latin-1").split("\r\n")
        status, kind, body = self._answer(head)
        content = body.encode()
        connection.sendall(
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
            + content
        )

    def _answer(self, head: list[str]) -> Answer:
        method, _, rest = head[0].partition(" ")
        path = rest.split(" ")[0].split("?")[0]
        route = self._routes.get((method, path))
        if route is None:
            known = any(path == each for _, each in self._routes)
            return (
                (405, "text/plain", "method not allowed\n") if known else (404, "text/plain", "not found\n")
            )
        if method == "POST":
            given = next(
                (line[14:].strip() for line in head if line.lower().startswith("authorization:")), ""
            )
            if not self._secret or not hmac.compare_digest(given.encode(), f"Bearer {self._secret}".encode()):
                return 403, "text/plain", "wrong secret\n"
        return route()


def ask(port: int, method: str, path: str, secret: str = "", timeout_s: float = 30.0) -> tuple[int, str]:
    """Ask a unit on this computer; raises ``OSError`` when there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\r\n".encode()
        )
        answer = b""
        while more := connection.recv(4096):
            answer += more
    head, _, body = answer.decode().partition("\r\n\r\n")
    parts = head.split(" ", 2)
    if len(parts) < 2 or not parts[1].isdigit():
        raise OSError("no answer")
    return int(parts[1]), body
