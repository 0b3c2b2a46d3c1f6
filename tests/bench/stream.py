"""A client of the event stream, as a page is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx


def messages(address: str, authorization: str, **query: str) -> Iterator[tuple[str, Any]]:
    """Yield (kind, body) of everything that the stream tells, until the caller has enough."""
    with (
        httpx.Client(timeout=30, headers={"Authorization": authorization}) as client,
        client.stream("GET", f"{address}/api/v1/stream/", params=query) as answer,
    ):
        kind = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: ") and kind != "ping":
                yield kind, json.loads(line.removeprefix("data: "))
