"""Simulated devices with a small web server: requests are cut and answered here (HTTP/1.1, kept alive)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from cycler_unit.simulators.network import NetworkDevice

REASONS = {200: "OK", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed", 500: "Server Error"}


@dataclass(frozen=True)
class Request:
    """One request: method, path, headers (names in lower case) and body."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass(frozen=True)
class Response:
    """One answer."""

    text: str = ""
    status: int = 200
    kind: str = "text/plain"


def as_json(tree: dict[str, Any]) -> Response:
    """Return an object as these boards write it: no blanks."""
    return Response(json.dumps(tree, separators=(",", ":"), ensure_ascii=False), kind="application/json")


class WebBoard(NetworkDevice):
    """Base of the boards: subclasses answer requests in ``page``."""

    broken = False

    def serve(self, buffer: bytearray) -> bytes | None:
        """Take one request off the buffer and answer it."""
        request = take(buffer)
        if request is None:
            return None
        self.note("device", f"{request.method} {request.path} {request.body}".rstrip())
        response = Response("broken", 500) if self.broken else self.page(request)
        self.note("host", f"{response.status} {response.text}")
        return written(response)

    def page(self, request: Request) -> Response:
        """Answer one request; subclasses."""
        raise NotImplementedError

    def links(self) -> list[dict[str, Any]]:
        """Return the link of unit.yaml."""
        url = f"http://{self.server.host}:{self.server.port}"
        return [{"name": self.name, "kind": "http", "model": self.model, "url": url}]


def take(buffer: bytearray) -> Request | None:
    """Take one whole request off the front of the buffer; None when it is not complete."""
    head, end, rest = bytes(buffer).partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    length = int(headers.get("content-length", "0") or 0)
    if len(rest) < length:
        return None
    del buffer[: len(head) + len(end) + length]
    method, _, target = first.partition(" ")
    return Request(method, target.partition(" ")[0], headers, rest[:length].decode("utf-8", "replace"))


def written(response: Response) -> bytes:
    """Return the bytes of an answer."""
    body = response.text.encode()
    reason = REASONS.get(response.status, "Error")
    head = (
        f"HTTP/1.1 {response.status} {reason}\r\nContent-Type: {response.kind}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: keep-alive\r\n\r\n"
    )
    return head.encode() + body
