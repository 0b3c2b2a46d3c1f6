"""Base of devices that speak lines: the link, its lock and the log of its exchanges."""

from __future__ import annotations

import threading
from typing import Any

from cycler_unit.buses.transport import Transport
from cycler_unit.buses.visa import VisaLink
from cycler_unit.drivers.base import Device, Exchange


class TextDevice(Device):
    """A device on a line-based transport, by default a VISA link from the link settings."""

    def __init__(self, link: dict[str, Any], *, name: str = "", transport: Transport | None = None) -> None:
        super().__init__(link, name=name)
        self.transport: Transport = transport if transport is not None else VisaLink(link)
        self._lock = threading.RLock()

    @property
    def label(self) -> str:
        """Return how messages call this device."""
        return self.name or self.kind

    def close(self) -> None:
        """Disconnect; safe twice; never raises."""
        self.transport.close()

    def exchanges(self) -> list[Exchange]:
        """Return the last exchanges, oldest first."""
        ring = getattr(self.transport, "ring", None)
        return ring.last() if ring is not None else []
