"""What crosses the connection between the agent and an owner: msgpack, never pickle."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from cycler_unit.buses.protocol import Frame, Seen
from cycler_unit.drivers import DriverMissing
from cycler_unit.drivers.base import Exchange, Identity, Measured, Protections, Target
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused, DriverError
from cycling import structs
from wire.catalogue import Kind


class Call(msgspec.Struct, array_like=True):
    """One call. ``permit_s`` renews the permit of an output for so long (rule 8)."""

    do: str
    args: msgspec.Raw = msgspec.Raw(b"\x90")
    permit_s: float | None = None


class Answer(msgspec.Struct, array_like=True):
    """What came of it; ``said`` is progress, more answers follow."""

    kind: Literal["done", "said", "lost", "refused", "fault", "missing", "driver", "bug"]
    value: msgspec.Raw = msgspec.Raw(b"\xc0")


class Place(msgspec.Struct, array_like=True):
    """Which device a connection is for."""

    kind: Kind
    link: dict[str, Any]
    name: str


# A device's methods: the types of the arguments and of the result.
DEVICE: dict[str, tuple[Any, Any]] = {
    "open": (tuple[()], Identity),
    "close": (tuple[()], None),
    "make_safe": (tuple[()], None),
    "read": (tuple[()], Measured),
    "apply": (tuple[Target], None),
    "output_is_on": (tuple[()], bool),
    "protect": (tuple[Protections], Protections),
    "fault": (tuple[()], str | None),
    "unasked": (tuple[()], str | None),
    "set": (tuple[str, float], float),
    "held": (tuple[()], dict[str, float]),
    "exchanges": (tuple[()], list[Exchange]),
    # Nothing but the permit that comes with it: a person's lease lives, and no device is asked.
    "permit": (tuple[()], None),
    # Leave it as it is when its user goes: what guards a zone moves no current.
    "keep": (tuple[()], None),
}
# A bus's methods; the connection's first argument is always the link.
BUS: dict[str, tuple[Any, Any]] = {
    "scan": (tuple[dict[str, Any], list[dict[str, Any]]], list[Seen]),
    "query": (tuple[dict[str, Any], str, float], list[str]),
    "write": (tuple[dict[str, Any], str], None),
    "send": (tuple[dict[str, Any], int, bytes, float], list[Frame]),
    "listen": (tuple[dict[str, Any], float, int, int, int], list[Frame]),
}


def ready() -> None:
    """Make all that is decoded ready, before the threads begin that do it."""
    structs.build(*(kind for row in (*DEVICE.values(), *BUS.values()) for kind in row if kind is not None))


_ERRORS: dict[str, type[Exception]] = {
    "lost": DeviceLost,
    "refused": DeviceRefused,
    "fault": DeviceFault,
    "missing": DriverMissing,
    "driver": DriverError,
}


def kind_of_error(error: DriverError) -> str:
    """Return the name under which an error of drivers crosses the connection."""
    return next((name for name, known in _ERRORS.items() if isinstance(error, known)), "driver")


def raised(answer: Answer) -> Exception:
    """Return the error that an answer stands for."""
    text = msgspec.msgpack.decode(answer.value, type=str)
    if answer.kind == "bug":
        return RuntimeError(f"the bus owner's program failed: {text}")
    return _ERRORS[answer.kind](text)


def pack(value: Any) -> msgspec.Raw:
    """Return a value as a part of a call or an answer."""
    return msgspec.Raw(msgspec.msgpack.encode(value))
