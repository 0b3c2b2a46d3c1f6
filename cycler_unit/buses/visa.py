"""Text instruments through PyVISA: raw TCP sockets, serial ports, and what a vendor's VISA adds.

The default backend is pyvisa-py (``@py``), which needs no vendor library. Link settings:

| key | default | meaning |
|---|---|---|
| ``resource`` | required | ``TCPIP::host::5025::SOCKET`` or ``ASRL/dev/ttyACM0::INSTR`` |
| ``backend`` | ``@py`` | another PyVISA backend, for example ``@ivi`` |
| ``terminator`` | LF | ends each message both ways; ``\\n`` may be written as two characters |
| ``timeout_s`` | 1.0 | longest wait for an answer, and for a connection |
| ``spacing_s`` | 0 | least time between two messages, on serial and USB only |
| ``open_wait_s`` | 0 | wait after opening, on serial and USB only: an Arduino restarts then |
| ``baud_rate``, ``data_bits``, ``parity``, ``stop_bits`` | 115200, 8, none, 1 | serial only; no flow control |

One ``MEAS:ARR?`` against the simulated supply, same machine of 2 cores, median / p99: TCP 0.03 / 0.05 ms,
pseudo-terminal 0.07 / 0.12 ms without spacing. What a real supply adds is its own answer time.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from cycler_unit.buses.ring import Ring
from cycler_unit.drivers.base import Identity
from cycler_unit.drivers.errors import DeviceLost

# PyVISA keeps a list of open sessions that two threads must not change at once.
OPENING: Final = threading.RLock()
# What an earlier user's late answer may still bring after the port was opened.
DRAIN_S = 0.02
# A device that talks for longer than this while being drained does not stop by itself.
DRAIN_MAX_S = 0.5
# Lines of one answer follow each other closer than this.
FOLLOWS_S = 0.05
# An instrument that streams never ends its answer by itself.
LINES_MAX = 200
# After a question that was not answered in time its answer may still come; so long it is waited for, and thrown
# away, before the next question. Orders, such as off, do not wait.
LATE_S = 0.3
# How often a serial line is looked at while a person's answer is awaited.
LOOK_S = 0.01

# How PyVISA's errors begin when no answer came in time.
TIMED_OUT = "VI_ERROR_TMO"

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
def _without_numpy() -> Iterator[None]:
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
            with _without_numpy():
                import pyvisa
            return pyvisa.ResourceManager(backend)
        except (ImportError, OSError, ValueError) as error:
            raise DeviceLost(f"the VISA backend {backend} is not available: {error}") from error


def resources(backend: str = "@py") -> list[str]:
    """Return the names of the instruments that the backend lists; raise ``DeviceLost`` without one."""
    manager = _manager(backend)
    with OPENING:
        return sorted(manager.list_resources("?*"))


class VisaLink:
    """One instrument on a VISA resource. Thread-safe; one exchange at a time."""

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
        self.ring = Ring()
        self._resource: Any = None
        self._socket: socket.socket | None = None
        self._session: Any = None
        self._spoke_s = 0.0
        self._owed_until_s = 0.0

    # --- opening and closing --------------------------------------------------------------------

    def open(self) -> None:
        """Connect within ``timeout_s`` and drain; raise ``DeviceLost``."""
        if not self.resource_name:
            raise DeviceLost("the link has no resource, for example TCPIP::192.168.1.20::5025::SOCKET")
        with self.lock:
            self.close()
            if self.is_socket:
                self._owed_until_s = 0.0  # what comes late comes on the connection that was closed
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

    # --- exchanges ------------------------------------------------------------------------------

    def write(self, message: str) -> None:
        """Send one message."""
        with self.lock:
            self._space()
            self._send(message)

    def query(self, message: str) -> str:
        """Send one message and return its answer without the terminator.

        What was left unread from before is thrown away first: an answer belongs to its question.
        """
        with self.lock:
            self._space()
            self._forget_stale()
            self._send(message)
            return self._receive(message)

    def read(self) -> str:
        """Return the next line of an answer that has several."""
        with self.lock:
            return self._receive("the next line")

    def _send(self, message: str) -> None:
        self.ring.sent(message)
        self._guarded(lambda resource: resource.write(message), message)

    def _receive(self, message: str) -> str:
        try:
            self._await_answer(message)
            answer = str(self._guarded(lambda resource: resource.read(), message)).strip()
        except DeviceLost:
            self._owed_until_s = time.monotonic() + LATE_S
            raise
        self._spoke_s = time.monotonic()
        self.ring.heard(answer)
        return answer

    def converse(self, message: str, timeout_s: float) -> list[str]:
        """Send what a person typed and return all lines answered: the first within ``timeout_s``.

        More lines count as long as each follows the one before within ``FOLLOWS_S``. No answer is no
        error here: the list is empty then. A link that is gone raises ``DeviceLost``.
        """
        with self.lock:
            self._space()
            self._forget_stale()
            self._send(message)
            if self._session is None:  # a vendor's backend cannot tell what waits: its own timeout decides
                return [self._receive(message)]
            lines: list[str] = []
            wait_s = timeout_s
            while len(lines) < LINES_MAX and self._comes_within(wait_s):
                lines.append(self._receive(message))
                # An instrument that echoes says the same first; its answer takes as long as any.
                wait_s = timeout_s if lines == [message] else FOLLOWS_S
            self._spoke_s = time.monotonic()
            return lines

    def _comes_within(self, wait_s: float) -> bool:
        """Wait for a first byte."""
        until_s = time.monotonic() + wait_s
        try:
            while not self._pending(min(LOOK_S, wait_s)):
                if time.monotonic() >= until_s:
                    return False
        except (OSError, ValueError) as error:
            raise DeviceLost(f"{self.resource_name} is gone: {error}") from error
        return True

    def drain(self) -> None:
        """Read until the device is silent: the rest of somebody's earlier exchange."""
        until_s = time.monotonic() + DRAIN_MAX_S
        while time.monotonic() < until_s:
            if not self._pending(DRAIN_S):
                return
            self._throw_away()
        raise DeviceLost(f"{self.resource_name} talks without being asked")

    def _space(self) -> None:
        left_s = self._spoke_s + self.spacing_s - time.monotonic()
        if self.spacing_s > 0.0 and left_s > 0.0:
            time.sleep(left_s)
        self._spoke_s = time.monotonic()

    def _guarded(self, act: Callable[[Any], Any], message: str) -> Any:
        """Run one backend call; every failure means that the device is lost."""
        if self._resource is None:
            raise DeviceLost(f"{self.resource_name} is not open")
        try:
            return act(self._resource)
        # VisaIOError, OSError, SerialException and decoding errors of a noisy line alike.
        except Exception as error:
            why = f" within {self.timeout_s:g} s" if TIMED_OUT in str(error) else f": {error}"
            self.ring.heard(f"nothing{why}")
            raise DeviceLost(f"{self.resource_name} does not answer {message!r}{why}") from error

    # --- bytes waiting --------------------------------------------------------------------------

    def _await_answer(self, message: str) -> None:
        """Wait for the first byte here: pyvisa-py spins on a closed socket until its timeout."""
        # The backend may hold the next line of an answer already.
        if self._socket is None or getattr(self._session, "_pending_buffer", None):
            return
        try:
            ready, _, _ = select.select([self._socket], [], [], self.timeout_s)
            gone = ready and not self._socket.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError) as error:
            raise DeviceLost(f"{self.resource_name} is gone: {error}") from error
        if gone:
            self.ring.heard("the connection was closed")
            raise DeviceLost(f"{self.resource_name} closed the connection")
        if not ready:
            self.ring.heard(f"nothing within {self.timeout_s:g} s")
            raise DeviceLost(f"{self.resource_name} does not answer {message!r} within {self.timeout_s:g} s")

    def _forget_stale(self) -> None:
        try:
            if self._owed_until_s:
                self._await_late()
            if self._pending(0.0):
                self._throw_away()
        # A pulled plug shows here first: ioctl and select fail, before anything is sent.
        except (OSError, ValueError) as error:
            raise DeviceLost(f"{self.resource_name} is gone: {error}") from error

    def _await_late(self) -> None:
        """Let an answer that is still owed come, whole, and throw it away."""
        until_s, self._owed_until_s = self._owed_until_s, 0.0
        while (left_s := until_s - time.monotonic()) > 0.0:
            if self._pending(min(LOOK_S, left_s)):
                self.drain()
                return

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


def identify(settings: Mapping[str, Any]) -> Identity:
    """Ask what is on a link with ``*IDN?``, without taking control; raise ``DeviceLost``.

    The answer's commas part maker, model, serial number, firmware; what is missing is empty.
    """
    link = VisaLink(settings)
    link.open()
    try:
        return parse_identity(link.query("*IDN?"))
    finally:
        link.close()


def parse_identity(text: str) -> Identity:
    """Cut an ``*IDN?`` answer; a fifth part (EA's user text) is left out."""
    maker, model, serial_number, firmware, *_ = [part.strip() for part in text.split(",")] + [""] * 4
    return Identity(maker=maker, model=model, serial_number=serial_number, firmware=firmware)
