"""A simulated Modbus TCP device: four tables, the telegrams of functions 1 to 6, 15 and 16, exceptions."""

from __future__ import annotations

import math
import struct
from typing import Any

from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Clock
from cycler_unit.simulators.network import NetworkDevice

READ_TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE = 1, 2, 3, 4


class ModbusRefusal(Exception):
    """A Modbus exception answer; the argument is its code."""


class ModbusDevice(NetworkDevice):
    """One unit behind its own port; subclasses keep ``tables`` up to date in ``refresh``.

    A unit address other than its own is not answered, like on a line.
    """

    def __init__(
        self, name: str, model: str, host: str, port: int, unit: int, *, clock: Clock, circuit: Circuit | None
    ) -> None:
        super().__init__(name, model, host, port, clock=clock, circuit=circuit)
        self.unit = unit
        self.refusing = False
        self.tables: dict[str, dict[int, int]] = {table: {} for table in READ_TABLES.values()}

    def links(self) -> list[dict[str, Any]]:
        """Return the link of unit.yaml."""
        return [
            {
                "name": self.name,
                "kind": "modbus",
                "model": self.model,
                "host": self.server.host,
                "port": self.server.port,
                "unit": self.unit,
            }
        ]

    # --- telegrams --------------------------------------------------------------------------------

    def serve(self, buffer: bytearray) -> bytes | None:
        """Take one telegram off the buffer and answer it; empty bytes for another unit's."""
        if len(buffer) < 8:
            return None
        number, protocol, length, unit = struct.unpack(">HHHB", buffer[:7])
        if len(buffer) < 6 + length:
            return None
        body = bytes(buffer[7 : 6 + length])
        del buffer[: 6 + length]
        if protocol != 0 or unit != self.unit or not body:
            return b""
        self.note("device", body.hex())
        answer = self._answer(body)
        self.note("host", answer.hex())
        return struct.pack(">HHHB", number, 0, len(answer) + 1, unit) + answer

    def _answer(self, body: bytes) -> bytes:
        function = body[0]
        self.refresh()
        try:
            if function in READ_TABLES:
                return self._read(function, *struct.unpack(">HH", body[1:5]))
            return self._write(function, body)
        except ModbusRefusal as error:
            return bytes((function | 0x80, error.args[0]))
        except struct.error:
            return bytes((function | 0x80, ILLEGAL_VALUE))

    def _read(self, function: int, address: int, count: int) -> bytes:
        table = self.tables[READ_TABLES[function]]
        if not 1 <= count <= (2000 if function <= 2 else 125):
            raise ModbusRefusal(ILLEGAL_VALUE)
        try:
            found = [table[address + offset] for offset in range(count)]
        except KeyError:
            raise ModbusRefusal(ILLEGAL_ADDRESS) from None
        if function > 2:
            return struct.pack(f">BB{count}H", function, 2 * count, *found)
        packed = bytearray((count + 7) // 8)
        for offset, bit in enumerate(found):
            packed[offset // 8] |= bool(bit) << offset % 8
        return bytes((function, len(packed))) + bytes(packed)

    def _write(self, function: int, body: bytes) -> bytes:
        if function not in (5, 6, 15, 16):
            raise ModbusRefusal(ILLEGAL_FUNCTION)
        table = "coil" if function in (5, 15) else "holding"
        address, value = struct.unpack(">HH", body[1:5])
        if function == 5:
            if value not in (0, 0xFF00):
                raise ModbusRefusal(ILLEGAL_VALUE)
            wanted = [int(value == 0xFF00)]
        elif function == 6:
            wanted = [value]
        elif function == 15:
            wanted = [body[6 + n // 8] >> n % 8 & 1 for n in range(value)]
        else:
            wanted = list(struct.unpack(f">{value}H", body[6 : 6 + 2 * value]))
        if any(address + n not in self.tables[table] for n in range(len(wanted))):
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        if self.refusing:
            raise ModbusRefusal(DEVICE_FAILURE)
        for n, each in enumerate(wanted):
            self.take(table, address + n, each)
        return body[:5]

    # --- what a device does -------------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring the tables up to the present; subclasses."""

    def take(self, table: str, address: int, value: int) -> None:
        """Take one written word or bit; subclasses act on it and may raise ``ModbusRefusal``."""
        self.tables[table][address] = value

    # --- registers of a map -------------------------------------------------------------------------

    def store(self, register: dict[str, Any], value: float) -> None:
        """Put a value where a map's register is, as the device codes it."""
        table = self.tables[register["table"]]
        address = register["address"]
        if register["table"] in ("coil", "discrete"):
            table[address] = int(bool(value) != register.get("invert", False))
            return
        for n, word in enumerate(coded(register, value)):
            table[address + n] = word

    def held(self, register: dict[str, Any]) -> float:
        """Return the value at a map's register, as a client wrote it."""
        table, address = self.tables[register["table"]], register["address"]
        if register["table"] in ("coil", "discrete"):
            return float(bool(table[address]) != register.get("invert", False))
        count = 2 if register.get("format", "int16").endswith("32") else 1
        words = [table[address + n] for n in range(count)]
        if register.get("word_order") == "low_first":
            words.reverse()
        packed = b"".join(word.to_bytes(2, "big") for word in words)
        kind = register.get("format", "int16")
        scale = float(register.get("scale", 1.0))
        if kind == "float32":
            return float(struct.unpack(">f", packed)[0]) * scale
        return float(int.from_bytes(packed, "big", signed=not kind.startswith("u"))) * scale


def coded(register: dict[str, Any], value: float) -> list[int]:
    """Return the words of a value; a value that is none is the map's ``missing``, or no number at all."""
    kind = register.get("format", "int16")
    if not math.isfinite(value) and kind != "float32":
        raw = float(register["missing"][0])
    else:
        raw = value / float(register.get("scale", 1.0))
    if kind == "float32":
        packed = struct.pack(">f", raw)
    else:
        packed = round(raw).to_bytes(4 if kind.endswith("32") else 2, "big", signed=not kind.startswith("u"))
    words = [int.from_bytes(packed[n : n + 2], "big") for n in range(0, len(packed), 2)]
    return words[::-1] if register.get("word_order") == "low_first" else words
