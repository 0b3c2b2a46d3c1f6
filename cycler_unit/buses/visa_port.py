"""A VISA resource that is opened, drained and closed; what is said on it is ``visa.py``'s."""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cycler_unit.drivers.errors import DeviceLost

# PyVISA keeps a list of open sessions that two threads must not change at once.
OPENING: Final = threading.RLock()
# What an earlier user's late answer may still bring after the port was opened.
DRAIN_S = 0.02
# A device that talks for longer than this while being drained does not stop by itself.
DRAIN_MAX_S = 0.5
PARITIES = {"none": 0, "odd": 1, "even": 2, "mark": 3, "space": 4}
STOP_BITS = {1.0: 10, 1.5: 15, 2.0: 20}

DEFAULTS: dict[str, Any] = {
    "backend": "@py",
    "terminator": "\n",
    "timeout_s": 1.0,
    "spacing_s": 0.0,
    "open_wait_s": 0.0,
    "baud_rate": 115200,
    "data_bits": 8,
    "parity": "none",
    "stop_bits": 1,
}


@contextlib.contextmanager
def without_numpy() -> Iterator[None]:
    """Hide numpy while PyVISA is imported: it is used for block data only and costs 12 MB."""
    if "numpy" in sys.modules:
        yield
        return
    sys.modules["numpy"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop("numpy", None)


def _manager(backend: str) -> Any:
    """Return PyVISA's resource manager; imported on first use, so that other units never load it."""
    with OPENING:
        try:
            with without_numpy():
                import pyvisa
            return pyvisa.ResourceManager(backend)
        except (ImportError, OSError, ValueError) as error:
            raise DeviceLost(f"the VISA backend {backend} is not available: {error}") from error


def resources(backend: str = "@py") -> list[str]:
    """Return the names of the instruments that the backend lists; raise ``DeviceLost`` without one."""
    manager = _manager(backend)
    with OPENING:
        return sorted(manager.list_resources("?*"))


class VisaPort:
    """One resource with what PyVISA knows of it."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        given = {**DEFAULTS, **settings}
        self.resource_name = str(given.get("resource", ""))
        self.backend = str(given["backend"])
        self.terminator = str(given["terminator"]).replace("\\n", "\n").replace("\\r", "\r")
        self.timeout_s = float(given["timeout_s"])
        self.settings = given
        self.is_socket = self.resource_name.upper().startswith("TCPIP")
        self.spacing_s = 0.0 if self.is_socket else float(given["spacing_s"])
        self.lock = threading.RLock()
        self._resource: Any = None
        self._socket: socket.socket | None = None
        self._session: Any = None

    # --- opening and closing --------------------------------------------------------------------

    def open(self) -> None:
        """Connect within ``timeout_s`` and drain; raise ``DeviceLost``."""
        if not self.resource_name:
            raise DeviceLost("the link has no resource, for example TCPIP::192.168.1.20::5025::SOCKET")
        with self.lock:
            self.close()
            manager = _manager(self.backend)
            try:
                with OPENING:
                    self._resource = manager.open_resource(
                        self.resource_name, open_timeout=int(self.timeout_s * 1000)
                    )
                self._set_up()
                self.drain()
            except DeviceLost:
                self.close()
                raise
            # The backend raises bare exceptions, VISA errors, OSError and termios.error here.
            except Exception as error:
                self.close()
                raise DeviceLost(f"{self.resource_name} cannot be opened: {error}") from error

    def _set_up(self) -> None:
        resource = self._resource
        resource.timeout = self.timeout_s * 1000.0
        resource.read_termination = self.terminator
        resource.write_termination = self.terminator
        sessions = getattr(resource.visalib, "sessions", None)
        self._session = sessions.get(resource.session) if sessions is not None else None
        interface = getattr(self._session, "interface", None)
        if self.is_socket:
            if isinstance(interface, socket.socket):
                self._tune(interface)
        elif hasattr(resource, "baud_rate"):
            self._set_up_serial()
            if self.settings["open_wait_s"]:
                time.sleep(float(self.settings["open_wait_s"]))

    def _tune(self, connection: socket.socket) -> None:
        """Say that a connection was refused (pyvisa-py does not), and send each message at once."""
        failed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, "connection refused")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection

    def _set_up_serial(self) -> None:
        parity = PARITIES[str(self.settings["parity"]).lower()]
        try:
            self._set_line(parity)
        # termios.error, which exists on Unix only: virtual ports (USB, pseudo-terminals) have no
        # parity and some refuse it; on a real line a wrong one shows as an unreadable identity.
        except Exception:
            if parity == PARITIES["none"]:
                raise
            self._set_line(PARITIES["none"])

    def _set_line(self, parity: int) -> None:
        from pyvisa import constants

        resource, given = self._resource, self.settings
        resource.parity = constants.Parity(parity)
        resource.baud_rate = int(given["baud_rate"])
        resource.data_bits = int(given["data_bits"])
        resource.stop_bits = constants.StopBits(STOP_BITS[float(given["stop_bits"])])
        resource.flow_control = constants.ControlFlow.none

    def close(self) -> None:
        """Disconnect; safe twice; never raises."""
        with self.lock:
            resource, self._resource = self._resource, None
            self._socket = self._session = None
            if resource is not None:
                # A dead link may fail in any way while it is closed; there is nothing left to save.
                with contextlib.suppress(Exception), OPENING:
                    resource.close()

    @property
    def is_open(self) -> bool:
        """Tell whether the link was opened and not closed since."""
        return self._resource is not None

    # --- bytes waiting --------------------------------------------------------------------------

    def drain(self) -> None:
        """Read until the device is silent: the rest of somebody's earlier exchange."""
        until_s = time.monotonic() + DRAIN_MAX_S
        while time.monotonic() < until_s:
            if not self._pending(DRAIN_S):
                return
            self._throw_away()
        raise DeviceLost(f"{self.resource_name} talks without being asked")

    def _pending(self, wait_s: float) -> bool:
        """Tell whether unread bytes are waiting, here or in the backend."""
        if self._session is None:
            return False
        if self._socket is not None:
            buffered = getattr(self._session, "_pending_buffer", b"")
            return bool(buffered) or bool(select.select([self._socket], [], [], wait_s)[0])
        interface = self._session.interface
        if not interface.in_waiting and wait_s > 0.0:
            time.sleep(wait_s)
        return bool(interface.in_waiting)

    def _throw_away(self) -> None:
        if self._socket is None:
            self._session.interface.reset_input_buffer()
            return
        buffered = getattr(self._session, "_pending_buffer", None)
        if buffered is not None:
            buffered.clear()
        if select.select([self._socket], [], [], 0.0)[0] and not self._socket.recv(4096):
            raise DeviceLost(f"{self.resource_name} closed the connection")

    def _discard(self) -> None:
        """Throw away what the backend has read, where it can: links without buffers refuse."""
        from pyvisa import constants

        buffers = constants.BufferOperation
        for each in (buffers.discard_read_buffer, buffers.discard_receive_buffer):
            with contextlib.suppress(Exception):  # each vendor raises its own
                self._resource.flush(each)
