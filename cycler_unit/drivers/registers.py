"""Register maps of Modbus devices: where a quantity is, how it is coded, what it is in SI.

A map is part of a catalogue row's ``settings`` (or of a link), so that another model of a family needs no
code:

```yaml
map:
  actual:    {table: input, address: 0, format: int16, scale: 0.1, missing: [32767]}
  set_point: {table: holding, address: 10, format: float32, word_order: low_first}
  run:       {table: holding, address: 5, on_word: 1, off_word: 0}
  door:      {table: discrete, address: 0, invert: true}
```

Addresses are those of the telegram, counted from 0.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from cycler_unit.buses.modbus import ModbusLink
from cycler_unit.drivers.errors import DeviceRefused

# struct's letters of the formats, and how many words each takes.
FORMATS = {"int16": ("h", 1), "uint16": ("H", 1), "int32": ("i", 2), "uint32": ("I", 2), "float32": ("f", 2)}

Address = Annotated[int, Meta(ge=0, le=65535)]


class Register(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One quantity. Value = number in the register x ``scale``; ``missing``: numbers that mean none.

    Bits and on/off words are 1.0 and 0.0; ``on_word`` and ``off_word`` are the words of a switch, and any other
    word there is no value; ``invert`` turns a bit round.
    """

    table: Literal["holding", "input", "coil", "discrete"]
    address: Address
    format: Literal["int16", "uint16", "int32", "uint32", "float32"] = "int16"
    scale: float = 1.0
    word_order: Literal["high_first", "low_first"] = "high_first"
    missing: tuple[float, ...] = ()
    on_word: int | None = None
    off_word: int = 0
    invert: bool = False

    @property
    def is_bit(self) -> bool:
        """Tell whether it lives in a table of bits."""
        return self.table in ("coil", "discrete")

    @property
    def words(self) -> int:
        """Return how many words it takes."""
        return FORMATS[self.format][1]

    def read(self, link: ModbusLink) -> float | None:
        """Ask for it; ``None`` when the device says that it has no value."""
        if self.is_bit:
            return self.of_bit(link.bits(self.table, self.address, 1)[0])
        return self.decode(link.registers(self.table, self.address, self.words))

    def of_bit(self, is_set: bool) -> float:
        """Return a bit's value."""
        return 1.0 if is_set != self.invert else 0.0

    def decode(self, words: Iterable[int]) -> float | None:
        """Return the value of the register's words."""
        ordered = list(words) if self.word_order == "high_first" else list(words)[::-1]
        packed = struct.pack(f">{len(ordered)}H", *ordered)
        (found,) = struct.unpack(f">{FORMATS[self.format][0]}", packed)
        if not math.isfinite(found) or found in self.missing:
            return None
        if self.on_word is not None:
            # Neither word: nobody can say whether it is on.
            return {self.on_word: 1.0, self.off_word: 0.0}.get(int(found))
        return float(found) * self.scale

    def write(self, link: ModbusLink, value: float) -> None:
        """Write it; raise ``DeviceRefused`` for a value that the register cannot hold."""
        if self.table == "coil":
            link.write_coil(self.address, bool(value) != self.invert)
            return
        link.write_registers(self.address, self.encode(value))

    def encode(self, value: float) -> list[int]:
        """Return the words of a value."""
        letter, _ = FORMATS[self.format]
        value = (
            value / self.scale if self.on_word is None else float(self.on_word if value else self.off_word)
        )
        try:
            packed = struct.pack(f">{letter}", value if letter == "f" else round(value))
        except (struct.error, OverflowError):
            raise DeviceRefused(f"register {self.address} ({self.format}) cannot hold {value:g}") from None
        words = [word for (word,) in struct.iter_unpack(">H", packed)]
        return words if self.word_order == "high_first" else words[::-1]


def parse(tree: Any, of: str, needed: Iterable[str] = ()) -> dict[str, Register]:
    """Check a map given as plain dicts; raise ``DeviceRefused`` naming the entry."""
    try:
        found = msgspec.convert(tree, dict[str, Register])
    except msgspec.ValidationError as error:
        raise DeviceRefused(f"the {of} of the device model is wrong: {error}") from None
    for name in needed:
        if name not in found:
            raise DeviceRefused(f"the {of} of the device model has no {name}")
    return found


def read_bits(link: ModbusLink, registers: dict[str, Register]) -> dict[str, float]:
    """Read bits of the same table by one exchange each table, from its first to its last address."""
    found: dict[str, float] = {}
    for table in ("discrete", "coil"):
        wanted = {name: each for name, each in registers.items() if each.table == table}
        if not wanted:
            continue
        first = min(each.address for each in wanted.values())
        count = max(each.address for each in wanted.values()) - first + 1
        bits = link.bits(table, first, count)
        found |= {name: each.of_bit(bits[each.address - first]) for name, each in wanted.items()}
    return found
