"""How the CAEN driver reaches a board: the maker's library, or the simulator behind the same interface.

There is no byte protocol to speak: the maker's C library hides it (devices.md 8.1). ``caen-libs`` is its
binding; it imports only where CAEN's own libraries are installed, so that this device alone is missing
where they are not. Parameter names, units and ranges are those of the V65xx table (devices.md 8.2).
"""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import dataclass
from typing import Any, Protocol

from cycler_unit.drivers import DriverMissing
from cycler_unit.drivers.errors import DeviceLost, DeviceRefused, DriverError

# The library's result codes that mean "no connection"; every other one is a refusal.
GONE = frozenset(
    {"SYSERR", "TIMEERR", "DOWN", "NOTPRES", "SLOTNOTPRES", "SOCKETERROR", "COMMUNICATIONERROR"}
    | {"NOTCONNECTED", "OS", "NODATA", "TOOMANYDEVICEOPEN", "LOGINFAILED"}
)
# Longest wait for the simulator; the maker's library keeps its own time.
SIMULATED_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Board:
    """What a board says of itself."""

    model: str
    serial_number: str
    firmware: str
    channels: int


class HvLibrary(Protocol):
    """One connection to a crate or board. All methods raise ``DeviceLost`` or ``DeviceRefused``.

    Values are in the board's own units: V, µA, V/s, s, °C, and masks as numbers.
    """

    def open(self, slot: int) -> Board:
        """Connect and ask what is in the slot."""

    def read(self, slot: int, channel: int, name: str) -> float:
        """Read one parameter of one channel."""

    def write(self, slot: int, channel: int, name: str, value: float) -> None:
        """Write one parameter of one channel; a failed write is never swallowed."""

    def close(self) -> None:
        """Disconnect; safe twice; never raises."""


class CaenLibs:
    """The maker's library through ``caen-libs``. Raises ``DriverMissing`` where it is not installed."""

    def __init__(self, address: str, system: str = "V65XX", link: str = "OPTLINK") -> None:
        self.address, self.system, self.link = address, system, link
        self._hv = _binding()
        self._device: Any = None

    def open(self, slot: int) -> Board:
        """Connect to the board at the address, for example ``0_0_40000000``."""
        hv = self._hv
        try:
            system, link = hv.SystemType[self.system], hv.LinkType[self.link]
        except KeyError as error:
            raise DeviceRefused(f"the CAEN library knows no system or link {error}") from None
        self._device = self._run(lambda: hv.Device.open(system, link, self.address), "open")
        found = self._run(lambda: self._device.test_bd_presence(slot), f"slot {slot}")
        return Board(found.model, str(found.serial_number), str(found.fw_version), int(found.n_channel))

    def read(self, slot: int, channel: int, name: str) -> float:
        """Read one parameter."""
        values = self._run(lambda: self._opened().get_ch_param(slot, [channel], name), name)
        return float(values[0])

    def write(self, slot: int, channel: int, name: str, value: float) -> None:
        """Write one parameter; masks and switches are whole numbers for the library."""
        number = int(value) if name in WHOLE else float(value)
        self._run(lambda: self._opened().set_ch_param(slot, [channel], name, number), f"{name} = {value:g}")

    def _opened(self) -> Any:
        if self._device is None:
            raise DeviceLost(f"CAEN {self.address} is not open")
        return self._device

    def _run(self, act: Any, what: str) -> Any:
        try:
            return act()
        except DriverError:
            raise
        except self._hv.Error as error:
            code = getattr(getattr(error, "code", None), "name", "UNKNOWN")
            raise failure(self.address, what, code, str(error)) from None
        # ctypes: a library whose C functions are another version's.
        except (OSError, AttributeError, ValueError) as error:
            raise DeviceLost(f"CAEN {self.address}: {what}: {error}") from None

    def close(self) -> None:
        """Disconnect."""
        device, self._device = self._device, None
        if device is not None:
            # A lost board fails here too; there is nothing left to save.
            with contextlib.suppress(Exception):
                device.close()


# Parameters that the library wants as integers.
WHOLE = frozenset({"Pw", "PDwn", "ImonRange"})


def failure(address: str, what: str, code: str, text: str) -> DriverError:
    """Return the error of a result code: lost, or refused."""
    kind = DeviceLost if code in GONE else DeviceRefused
    return kind(f"CAEN {address}: {what}: {text or code}")


def _binding() -> Any:
    """Import the binding; raise ``DriverMissing`` with one sentence."""
    try:
        from caen_libs import caenhvwrapper
    # Without CAEN's shared library the package imports with a RuntimeError.
    except (ImportError, OSError, RuntimeError) as error:
        why = str(error).split(". ")[0]
        raise DriverMissing(
            f"the CAEN high voltage needs caen-libs and CAEN's own HV wrapper library here: {why}"
        ) from None
    return caenhvwrapper


class SimulatedHv:
    """The simulator's parameter table over a local socket: one JSON object a line, each answered by one."""

    def __init__(self, address: str, timeout_s: float = SIMULATED_TIMEOUT_S) -> None:
        self.address, self.timeout_s = address, timeout_s
        self._socket: socket.socket | None = None
        self._lines: Any = None

    def open(self, slot: int) -> Board:
        """Connect to ``host:port``."""
        host, _, port = self.address.rpartition(":")
        self.close()
        try:
            self._socket = socket.create_connection((host, int(port)), self.timeout_s)
        except (OSError, ValueError):
            raise DeviceLost(f"CAEN {self.address} cannot be connected") from None
        self._lines = self._socket.makefile("r", encoding="ascii")
        answer = self._ask(op="board", slot=slot)
        return Board(answer["model"], answer["serial_number"], answer["firmware"], answer["channels"])

    def read(self, slot: int, channel: int, name: str) -> float:
        """Read one parameter."""
        return float(self._ask(op="read", slot=slot, channel=channel, name=name)["value"])

    def write(self, slot: int, channel: int, name: str, value: float) -> None:
        """Write one parameter."""
        self._ask(op="write", slot=slot, channel=channel, name=name, value=value)

    def _ask(self, **asked: Any) -> dict[str, Any]:
        if self._socket is None:
            raise DeviceLost(f"CAEN {self.address} is not open")
        try:
            self._socket.sendall(json.dumps(asked).encode() + b"\n")
            answer = json.loads(self._lines.readline())
        # An empty line of a closed connection is no JSON either.
        except (OSError, ValueError):
            # A late answer must not be taken for the next one's.
            self.close()
            raise DeviceLost(f"CAEN {self.address} does not answer {asked.get('name', 'open')}") from None
        if not answer.get("ok"):
            raise failure(self.address, str(asked.get("name", "open")), str(answer.get("code")), "")
        return dict(answer)

    def close(self) -> None:
        """Disconnect."""
        sock, self._socket = self._socket, None
        if sock is not None:
            with contextlib.suppress(OSError):
                self._lines.close()
                sock.close()


def library(link: dict[str, Any]) -> HvLibrary:
    """Return what the link's ``library`` names: ``caen-libs`` (default) or ``simulated``."""
    address = str(link.get("address", ""))
    if not address:
        raise DeviceRefused("the link has no address, for example 0_0_40000000")
    chosen = str(link.get("library", "caen-libs"))
    if chosen == "caen-libs":
        return CaenLibs(address, str(link.get("system", "V65XX")), str(link.get("link", "OPTLINK")))
    if chosen == "simulated":
        return SimulatedHv(address, float(link.get("timeout_s", SIMULATED_TIMEOUT_S)))
    raise DeviceRefused(f"the link's library {chosen!r} is neither caen-libs nor simulated")
