"""Modbus TCP through pymodbus: climate chambers, couplers of inputs and outputs.

| key of the link | default | meaning |
|---|---|---|
| ``host`` | required | address of the device or gateway |
| ``port`` | 502 | |
| ``unit`` | 1 | address behind the gateway |
| ``timeout_s`` | 1.0 | longest connecting, and longest wait for an answer; asked once more after that |

Devices behind one gateway share one connection (``shared``), because many gateways take only one, with
one exchange at a time. Addresses are those of the telegram, counted from 0.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from cycler_unit.buses.ring import Ring
from cycler_unit.drivers.errors import DeviceLost, DeviceRefused

# Its own log repeats, without a device's name, what our errors say.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

# Modbus application protocol, section 7: what a device means by refusing.
EXCEPTIONS = {
    1: "it does not know this function",
    2: "it has no such address",
    3: "it does not take this value",
    4: "it failed while doing it",
    5: "it is still working on it",
    6: "it is busy",
    10: "the gateway has no path to it",
    11: "it does not answer its gateway",
}
# The gateway's words for a device that is away: lost, not refused.
AWAY = (10, 11)


class ModbusBus:
    """One TCP connection, used by every device behind it. Thread-safe; one exchange at a time."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self.place = f"{host}:{port}"
        self.lock = threading.RLock()
        # One repeat, as for every device; reconnecting is our caller's.
        self._client: Any = ModbusTcpClient(host, port=port, timeout=timeout_s, retries=1, reconnect_delay=0)

    def connect(self) -> None:
        """Connect if that is not so already; raise ``DeviceLost``."""
        with self.lock:
            if not self._client.connect():
                raise DeviceLost(f"{self.place} cannot be connected")

    def run(
        self, act: Callable[[ModbusTcpClient], ModbusPDU], asked: str, function: int, ring: Ring
    ) -> ModbusPDU:
        """Run one exchange; raise ``DeviceLost`` or ``DeviceRefused``. A failed connection is closed.

        The library compares number and unit of an answer, not its ``function``: that is done here.
        """
        with self.lock:
            ring.sent(asked)
            try:
                answer = act(self._client)
            # A dead socket raises bare OSError and ValueError out of select.
            except (ModbusException, OSError, ValueError) as error:
                self.disconnect()
                ring.heard(f"(no answer: {type(error).__name__})")
                raise DeviceLost(f"{self.place} does not answer {asked}") from None
        if answer.isError():
            self._refuse(asked, int(getattr(answer, "exception_code", 0)), ring)
        if answer.function_code != function:
            self.disconnect()
            ring.heard(f"function {answer.function_code}")
            raise DeviceLost(f"{self.place} answers {asked} with function {answer.function_code}")
        return answer

    def _refuse(self, asked: str, code: int, ring: Ring) -> None:
        reason = EXCEPTIONS.get(code, f"exception {code}")
        ring.heard(f"exception {code}")
        if code in AWAY:
            raise DeviceLost(f"{self.place} does not answer {asked}: {reason}")
        raise DeviceRefused(f"{self.place} refuses {asked}: {reason}")

    def disconnect(self) -> None:
        """Close the connection; the next exchange connects again. Never raises."""
        with self.lock, contextlib.suppress(Exception):
            self._client.close()


_buses: dict[tuple[str, int], tuple[ModbusBus, int]] = {}
_buses_lock = threading.Lock()


def _take(host: str, port: int, timeout_s: float) -> ModbusBus:
    with _buses_lock:
        bus, users = _buses.get((host, port)) or (ModbusBus(host, port, timeout_s), 0)
        _buses[(host, port)] = (bus, users + 1)
        return bus


def _give_back(host: str, port: int) -> None:
    with _buses_lock:
        bus, users = _buses[(host, port)]
        if users > 1:
            _buses[(host, port)] = (bus, users - 1)
            return
        del _buses[(host, port)]
    bus.disconnect()


class ModbusLink:
    """One unit on a Modbus bus."""

    def __init__(self, settings: Mapping[str, Any], ring: Ring | None = None) -> None:
        self.host = str(settings.get("host", ""))
        self.port = int(settings.get("port", 502))
        self.unit = int(settings.get("unit", 1))
        self.timeout_s = float(settings.get("timeout_s", 1.0))
        self.ring = ring if ring is not None else Ring()
        self._bus: ModbusBus | None = None

    @property
    def place(self) -> str:
        """Return where it is, for messages."""
        return f"{self.host}:{self.port} unit {self.unit}"

    def open(self) -> None:
        """Join the bus and connect; raise ``DeviceLost``."""
        if not self.host:
            raise DeviceRefused("the link has no host, for example host: 192.168.1.50")
        self.close()
        self._bus = _take(self.host, self.port, self.timeout_s)
        try:
            self._bus.connect()
        except DeviceLost:
            self.close()
            raise

    def close(self) -> None:
        """Leave the bus; the last user closes the connection. Safe twice; never raises."""
        bus, self._bus = self._bus, None
        if bus is not None:
            _give_back(self.host, self.port)

    def _run(self, asked: str, function: int, act: Callable[[ModbusTcpClient], ModbusPDU]) -> ModbusPDU:
        if self._bus is None:
            raise DeviceLost(f"{self.place} is not open")
        return self._bus.run(act, f"{asked} (unit {self.unit})", function, self.ring)

    # --- exchanges ------------------------------------------------------------------------------

    def registers(self, table: str, address: int, count: int) -> list[int]:
        """Read ``count`` words of the table ``holding`` or ``input``."""
        asked = f"read {table} {address}+{count}"
        unit = self.unit

        def ask(client: ModbusTcpClient) -> ModbusPDU:
            read = client.read_holding_registers if table == "holding" else client.read_input_registers
            return read(address, count=count, device_id=unit)

        words = list(self._run(asked, 3 if table == "holding" else 4, ask).registers)
        self.ring.heard(" ".join(f"{word:04x}" for word in words))
        if len(words) != count:
            raise DeviceLost(f"{self.place} answers {len(words)} of {count} words")
        return words

    def bits(self, table: str, address: int, count: int) -> list[bool]:
        """Read ``count`` bits of the table ``coil`` or ``discrete``."""
        asked = f"read {table} {address}+{count}"
        unit = self.unit

        def ask(client: ModbusTcpClient) -> ModbusPDU:
            read = client.read_coils if table == "coil" else client.read_discrete_inputs
            return read(address, count=count, device_id=unit)

        found = list(self._run(asked, 1 if table == "coil" else 2, ask).bits)[:count]
        self.ring.heard("".join("1" if bit else "0" for bit in found))
        if len(found) != count:
            raise DeviceLost(f"{self.place} answers {len(found)} of {count} bits")
        return found

    def write_registers(self, address: int, words: Sequence[int]) -> None:
        """Write holding registers, one word by function 6, more by function 16."""
        asked = f"write holding {address} {' '.join(f'{word:04x}' for word in words)}"
        unit = self.unit

        def tell(client: ModbusTcpClient) -> ModbusPDU:
            if len(words) == 1:
                return client.write_register(address, words[0], device_id=unit)
            return client.write_registers(address, list(words), device_id=unit)

        self._run(asked, 6 if len(words) == 1 else 16, tell)
        self.ring.heard("taken")

    def write_coil(self, address: int, is_on: bool) -> None:
        """Write one coil by function 5."""
        unit = self.unit
        self._run(
            f"write coil {address} {int(is_on)}",
            5,
            lambda client: client.write_coil(address, is_on, device_id=unit),
        )
        self.ring.heard("taken")
