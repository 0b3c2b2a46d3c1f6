"""The lines of the parent: to the agent, where the owner of each bus is and when to stop; to an owner, its life."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing import AuthenticationError, connection
from typing import Any, Literal

import msgspec

from cycler_unit.buses.protocol import bus_key
from cycler_unit.drivers.errors import DeviceLost

logger = logging.getLogger("cycler_unit.owner")

# An owner starts in some tens of milliseconds; on a machine that is busy starting everything, in seconds.
OWNER_S = 8.0
# How often the agent tells the parent that it lives.
LIFE_S = 1.0
# Looks of that length without a word of the parent: it is gone, though its process may be there (stopped).
SILENT_LOOKS = 6


class ToParent(msgspec.Struct, array_like=True):
    """``life``, or a ``bus`` that is wanted; ``address``: the one that did not answer."""

    what: Literal["life", "bus"]
    bus: str = ""
    address: str = ""


class ToAgent(msgspec.Struct, array_like=True):
    """Where a bus's owner is, ``tick`` (the parent lives), or ``stop``."""

    what: Literal["at", "tick", "stop"]
    bus: str = ""
    address: str = ""


class Life(msgspec.Struct, array_like=True):
    """What an owner tells the parent.

    ``places``: the devices that a new owner must switch off first; the parent hands them on undecoded.
    """

    address: str
    off_pending_s: float = 0.0
    places: list[msgspec.Raw] = []


class ParentLine(threading.Thread):
    """The agent's end of the line."""

    def __init__(self, line: connection.Connection, secret: bytes, ended: Callable[[str], None]) -> None:
        super().__init__(name="parent", daemon=True)
        self._line, self._secret, self._ended = line, secret, ended
        self._addresses: dict[str, str] = {}
        self._changed = threading.Condition()
        self._sending = threading.Lock()

    def run(self) -> None:
        """Hear the parent until it is gone or silent; tell it that the agent lives."""
        told_s, parent, silent = 0.0, os.getppid(), 0
        try:
            while os.getppid() == parent and silent < SILENT_LOOKS:
                if time.monotonic() - told_s >= LIFE_S:
                    told_s = time.monotonic()
                    self._send(ToParent("life"))
                silent += 1
                if self._line.poll(LIFE_S):
                    silent = 0
                    self._hear(msgspec.msgpack.decode(self._line.recv_bytes(), type=ToAgent))
        except (EOFError, OSError):
            pass
        self._ended("the parent process is gone")

    def _hear(self, message: ToAgent) -> None:
        if message.what == "stop":
            self._ended("asked to stop")
            return
        if message.what == "tick":
            return
        with self._changed:
            self._addresses[message.bus] = message.address
            self._changed.notify_all()

    def _send(self, message: ToParent) -> None:
        with self._sending:
            self._line.send_bytes(msgspec.msgpack.encode(message))

    def connect(self, link: Mapping[str, Any]) -> connection.Connection:
        """Return a fresh connection to the owner of a link's bus; raises ``DeviceLost``."""
        bus = bus_key(link)
        address = self._address(bus, "")
        try:
            return self._greet(address)
        except (OSError, EOFError):
            pass  # it was replaced, or is being replaced now
        try:
            return self._greet(self._address(bus, address))
        except (OSError, EOFError, AuthenticationError) as error:
            raise DeviceLost(
                f"the owner of {bus} cannot be reached: {error or type(error).__name__}"
            ) from None

    def _greet(self, address: str) -> connection.Connection:
        return connection.Client(address, authkey=self._secret)

    def _address(self, bus: str, dead: str) -> str:
        """Return where a bus's owner is, asking the parent for one; ``dead`` is where it is no more."""
        with self._changed:
            if self._addresses.get(bus) == dead:
                self._addresses.pop(bus, None)
        if bus not in self._addresses:
            try:
                self._send(ToParent("bus", bus, dead))
            except OSError as error:
                raise DeviceLost(f"the parent process is gone: {error}") from None
        with self._changed:
            if not self._changed.wait_for(lambda: bus in self._addresses, OWNER_S):
                raise DeviceLost(f"the owner of {bus} did not start within {OWNER_S:g} s")
            return self._addresses[bus]
