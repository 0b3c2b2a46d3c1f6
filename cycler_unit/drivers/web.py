"""Base of devices with a small web server (``buses/http.py``)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from cycler_unit.buses.http import HttpLink
from cycler_unit.drivers.base import Identity
from cycler_unit.drivers.knobs import KnobDevice


class WebDevice(KnobDevice):
    """A device reached by HTTP. None of them has a serial number: its address is taken.

    A link may say ``serial_number``, so that a board that gets another address stays the same device.
    """

    maker = ""
    model = ""

    def __init__(self, link: dict[str, Any], *, name: str = "") -> None:
        super().__init__(link, name=name)
        self.http = HttpLink(link, self.ring)

    def close(self) -> None:
        """Disconnect; the device keeps what it was set to."""
        self.http.close()

    def who(self) -> Identity:
        """Return the identity that the link gives the device."""
        return Identity(self.maker, self.model, serial_of(self.link), "")


def serial_of(link: dict[str, Any]) -> str:
    """Return a link's ``serial_number``, else the host (and port) of its address."""
    return str(link.get("serial_number") or urlsplit(str(link.get("url", ""))).netloc)
