"""What the unit asks of the buses that reach its devices; one process owns each bus (safety.md rule 8).

``LocalBuses`` (``local.py``) does it in this process. In the running unit the owner process of each bus
has one, and everybody else (stations, detection, console) asks it through ``cycler_unit.owner``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from cycler_unit.drivers.base import Device
from wire.catalogue import Kind

Link = Mapping[str, Any]
Say = Callable[[int, int, str], None]
"""Progress of a long scan: done, of how many, what is being asked."""


class Frame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One CAN frame. ``at_s`` is UTC, ``payload`` hex; ``ours`` = sent by this bus."""

    at_s: float
    id: int
    payload: str
    ours: bool = False


class Seen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One device that answered a scan. ``kind`` is a catalogue key, empty for a device nobody knows.

    ``link`` is how to reach exactly this device; ``answered`` what it said of itself, text or hex.
    """

    link: dict[str, Any]
    kind: str = ""
    maker: str = ""
    model: str = ""
    serial_number: str = ""
    firmware: str = ""
    answered: str = ""


class Buses(Protocol):
    """All buses of a unit. Methods raise the errors of drivers; ``link`` is a link or a device's link."""

    def device(self, kind: Kind, link: Link, name: str) -> Device:
        """Return the driver of a device, not opened."""

    def scan(self, link: Link, say: Say, busy: list[dict[str, Any]]) -> list[Seen]:
        """Ask who is on one bus, paced, without touching the devices at the links ``busy``."""

    def query(self, link: Link, text: str, timeout_s: float) -> list[str]:
        """Send one text message and return the lines answered within ``timeout_s``."""

    def write(self, link: Link, text: str) -> None:
        """Send one text message that has no answer."""

    def send(self, link: Link, frame_id: int, payload: bytes, listen_s: float) -> list[Frame]:
        """Send one CAN frame; return what was heard until ``listen_s`` later, its own frame left out."""

    def listen(self, link: Link, seconds: float, frame_id: int, mask: int, most: int) -> list[Frame]:
        """Return CAN frames with ``id & mask == frame_id & mask``, at most ``most``."""

    def stop(self) -> None:
        """Close everything; safe twice."""


# What makes two links the same bus, by kind; more keys in a link say where on the bus a device is.
_PLACE = {
    "can": ("interface", "channel", "port"),
    "caen": ("address",),
}
MODBUS_PORT, MODBUS_UNIT = 502, 1
_ASRL = re.compile(r"ASRL(?P<port>.+?)(::INSTR)?$", re.IGNORECASE)
_BOARD_0 = re.compile(r"(?P<interface>[A-Za-z]+)0(?=::)")


def bus_key(link: Link) -> str:
    """Return the name of the bus that a link runs on: the same text for all devices on it.

    However the link is written: two names of one port would be two owners of it.
    """
    kind = str(link.get("kind", ""))
    if kind in ("visa", "serial"):
        return _text_key(kind, str(link.get("resource", "")), str(link.get("port", "")))
    if kind == "http":
        found = urlsplit(str(link.get("url", "")))
        return f"http:{found.scheme}://{found.netloc.lower()}{found.path.rstrip('/')}"
    if kind == "modbus":
        return f"modbus:{str(link.get('host', '')).lower()}:{link.get('port', MODBUS_PORT)}"
    return ":".join([kind, *(str(link.get(name, "")) for name in _PLACE.get(kind, ()))])


def _text_key(kind: str, resource: str, port: str) -> str:
    """Return one name for ``/dev/serial/by-id/...``, ``/dev/ttyUSB0`` and ``ASRL/dev/ttyUSB0::INSTR``."""
    if kind == "serial" and port:
        return f"serial:{_port(port)}"
    if serial := _ASRL.match(resource):
        return f"serial:{_port(serial['port'])}"
    interface, *rest = _BOARD_0.sub(r"\g<interface>", resource, count=1).split("::")
    if interface.upper() != "TCPIP" or not rest:
        return f"{kind}:{resource}"
    host, *where = rest
    # The board 0 and the device inst0 are what VISA takes where nothing is said.
    named = [each.upper() for each in where if each.lower() != "inst0"]
    return f"{kind}:" + "::".join(["TCPIP", host.lower(), *(named or ["INSTR"])])


def _port(name: str) -> str:
    """Return a serial port's own device file: names under /dev/serial are links to it."""
    return os.path.realpath(name) if name.startswith("/") else name.upper()


def device_key(link: Link) -> str:
    """Return the name of one place on a bus: equal for two descriptions of the same device."""
    given = dict(link)
    if link.get("kind") == "modbus":
        given.setdefault("unit", MODBUS_UNIT)
    where = [f"{name}={given[name]}" for name in ("node", "unit", "slot", "channel_no") if name in given]
    return ":".join([bus_key(link), *where])
