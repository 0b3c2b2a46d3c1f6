"""Whether a port can be had, said in one sentence when it cannot."""

from __future__ import annotations

import errno
import socket


class Busy(Exception):
    """A port cannot be had; the text is one sentence with the setting that changes it."""


def is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen on this port now."""
    with socket.socket() as probe:
        # As the servers themselves do: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def require(host: str, port: int, setting: str) -> None:
    """Raise :class:`Busy` where ``host:port`` cannot be listened on."""
    try:
        free = is_free(host, port)
    except (OSError, socket.gaierror) as error:
        raise Busy(
            f"Cannot listen on {host}: {error.strerror}; set CELLYARD_BIND to an address of this machine."
        ) from None
    if not free:
        raise Busy(f"Port {port} of {host} is in use by another program: set {setting} to a free one.")


def first_free(host: str, start: int) -> int:
    """Return the first free port from ``start`` on."""
    return next(port for port in range(start, 65536) if is_free(host, port))
