"""Wait for a condition, never for a time."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], timeout_s: float = 20.0, what: str = "", every_s: float = 0.05) -> T:
    """Return the first true value of ``condition()``; raise ``AssertionError`` after ``timeout_s``.

    An exception of the condition counts as not yet true and is shown when the time is up.
    """
    deadline = time.monotonic() + timeout_s
    seen: object = None
    while True:
        try:
            seen = condition()
        except Exception as error:
            seen = error
        else:
            if seen:
                return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what or condition}; last seen: {seen!r}")
        time.sleep(every_s)


def free_port() -> int:
    """Return a TCP port of the loopback that nothing listens on now.

    Below the ports that the system gives to connections: one of these could take it until it is bound.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, low) if low > 11_000 else 0
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether something accepts connections on this port."""
    try:
        socket.create_connection((host, port), timeout=0.5).close()
    except OSError:
        return False
    return True
