"""A real mail server and a real webhook on loopback, which keep what they get."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


class Mailbox:
    """Keeps every mail; ``refuse`` makes the server turn them down."""

    def __init__(self) -> None:
        self.mails: list[dict[str, Any]] = []
        self.refuse = False

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Take one mail, as aiosmtpd asks."""
        if self.refuse:
            return "554 5.7.1 this box takes nothing today"
        mail = message_from_bytes(envelope.content)
        text = "".join(
            part.get_payload(decode=True).decode()
            for part in mail.walk()
            if part.get_content_type() == "text/plain"
        )
        self.mails.append({"to": list(envelope.rcpt_tos), "subject": str(mail["Subject"]), "text": text})
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[tuple[Mailbox, str]]:
    """Run a mail server on a free port; yields its box and an address of it."""
    box = Mailbox()
    controller = _OnAnyPort(box, hostname="127.0.0.1", port=0)
    controller.start()
    try:
        port = controller.server.sockets[0].getsockname()[1]
        yield box, f"mailto://127.0.0.1:{port}?from=lab@example.org&to=night@example.org&mode=insecure"
    finally:
        controller.stop()


class _OnAnyPort(Controller):
    """Knocks at the port that the system gave, to let the server begin."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def webhook() -> Iterator[tuple[list[dict[str, Any]], str]]:
    """Run a web server that keeps every body it gets; yields them and its address."""
    got: list[dict[str, Any]] = []

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            got.append({"path": self.path, **json.loads(self.rfile.read(length))})
            self.send_response(500 if self.path.startswith("/broken") else 200)
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keep)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield got, f"http://127.0.0.1:{server.server_address[1]}/hooks/secret-part?token=hush-hush"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
