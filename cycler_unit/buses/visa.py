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

import select
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from cycler_unit.buses.ring import Ring
from cycler_unit.buses.visa_port import DEFAULTS, VisaPort, resources
from cycler_unit.drivers.base import Identity
from cycler_unit.drivers.errors import DeviceLost

__all__ = ["DEFAULTS", "VisaLink", "identify", "parse_identity", "resources"]

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


class VisaLink(VisaPort):
    """One instrument on a VISA resource. Thread-safe; one exchange at a time."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.ring = Ring()
        self._spoke_s = 0.0
        self._owed_until_s = 0.0

    def open(self) -> None:
        """Connect within ``timeout_s`` and drain; raise ``DeviceLost``."""
        with self.lock:
            if self.is_socket:
                self._owed_until_s = 0.0  # what comes late comes on the connection that was closed
            super().open()

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
            if not lines:
                self._owed_until_s = time.monotonic() + LATE_S
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
        if self._session is None:  # a vendor's backend cannot tell what waits
            time.sleep(max(0.0, until_s - time.monotonic()))
            self._discard()
            return
        while (left_s := until_s - time.monotonic()) > 0.0:
            if self._pending(min(LOOK_S, left_s)):
                self.drain()
                return


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
