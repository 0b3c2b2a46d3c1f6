"""One text link used by several devices: the outputs of one supply on one socket or serial port.

All devices of a place get the same ``VisaLink``; who loses it opens it again for all of them.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import Any

from cycler_unit.buses.protocol import bus_key
from cycler_unit.buses.ring import Ring
from cycler_unit.buses.visa import VisaLink
from cycler_unit.drivers.errors import DeviceLost

_LOCK = threading.Lock()
_OPEN: weakref.WeakValueDictionary[str, _Wire] = weakref.WeakValueDictionary()


class _Wire:
    """One link with its users."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.link = VisaLink(settings)
        self.users: set[int] = set()
        self.lost = True


class SharedLink:
    """One device's share of a link; a ``Transport``. ``wire`` is the link itself."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        # The same line settings for all: the first one decides.
        with _LOCK:
            self._wire = _OPEN.setdefault(bus_key(settings), _Wire(settings))

    @property
    def wire(self) -> VisaLink:
        """Return the link that all share."""
        return self._wire.link

    @property
    def ring(self) -> Ring:
        """Return the last exchanges of all devices on the link."""
        return self.wire.ring

    @property
    def alone(self) -> bool:
        """Tell whether no other device uses the link."""
        return not self._wire.users - {id(self)}

    def open(self) -> None:
        """Connect, or join those who are connected; raise ``DeviceLost``."""
        with self.wire.lock:
            if self._wire.lost or not self.wire.is_open:
                self.wire.open()
                self._wire.lost = False
            self._wire.users.add(id(self))

    def close(self) -> None:
        """Leave; the last one disconnects."""
        with self.wire.lock:
            self._wire.users.discard(id(self))
            if not self._wire.users:
                self.wire.close()

    def write(self, message: str) -> None:
        """Send one message."""
        with self.wire.lock:
            try:
                self.wire.write(message)
            except DeviceLost:
                self._wire.lost = True
                raise

    def query(self, message: str) -> str:
        """Send one message and return its answer."""
        with self.wire.lock:
            try:
                return self.wire.query(message)
            except DeviceLost:
                self._wire.lost = True
                raise

    def read(self) -> str:
        """Return the next line of an answer."""
        return self.wire.read()
