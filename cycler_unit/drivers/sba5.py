"""The CO2 gas analyser SBA-5 (source: the project's device sheet, section 9.4).

It streams lines until ``!`` stops it; then ``M`` is answered by one line of at least 8 fields between blanks, the
first of them M and the fourth the CO2 in whole ppm; while it warms up or zeroes, other lines come, which are
no measurement. A setting command is answered by its echo and ``OK``. It says of itself neither
model nor serial number, so a scan cannot find it: its link names ``model: pp-sba-5``.
"""

from __future__ import annotations

import re
import time
from typing import Any

from cycler_unit.buses.transport import Transport
from cycler_unit.drivers.base import Identity, Measured
from cycler_unit.drivers.errors import DeviceLost, DeviceRefused
from cycler_unit.drivers.text import TextDevice

LEAST_FIELDS = 8
CO2_FIELD = 3
# A line cut short is asked for again so often.
TRIES = 3
WHOLE_PPM = re.compile(r"-?[0-9]{1,6}")
STREAM_OFF = "!"
MEASURE = "M"
PUMP = {1.0: "P1", 0.0: "P0"}


class Sba5(TextDevice):
    """Read CO2 in ppm and switch the pump. -255 is its error value (the catalogue's sentinel)."""

    kind = "pp-sba-5"

    def __init__(self, link: dict[str, Any], *, name: str = "", transport: Transport | None = None) -> None:
        super().__init__(link, name=name, transport=transport)
        self._pump: float | None = None

    def open(self) -> Identity:
        """Connect, stop the stream, and see that it answers a measurement."""
        with self._lock:
            self._pump = None
            self.transport.open()
            self._order(STREAM_OFF)
            if self._fields() is None:
                raise DeviceRefused(
                    f"{self.label} answers no measurement: not an SBA-5, or it still warms up"
                )
            return Identity("PP Systems", "SBA-5", "", "")

    def _order(self, command: str) -> None:
        """Send a setting and see its echo, then ``OK``; a line of the stream may come between."""
        heard = self.transport.query(command)
        echoed = False
        for _ in range(TRIES):
            if echoed and heard.upper() == "OK":
                return
            echoed = echoed or heard == command
            heard = self.transport.read()
        raise DeviceRefused(f"{self.label} answers {command!r} with {heard!r} instead of OK")

    def _fields(self) -> list[str] | None:
        for _ in range(TRIES):
            fields = self.transport.query(MEASURE).split()
            if len(fields) >= LEAST_FIELDS and fields[0] == MEASURE:
                return fields
        return None

    def read(self) -> Measured:
        """Read the CO2; a line that stays short is missing."""
        with self._lock:
            before_ns = time.time_ns()
            began_s = time.monotonic()
            fields = self._fields()
            middle_us = (before_ns + time.time_ns()) // 2000
        # A blank that was lost moves another field, which has decimals, into this place.
        ppm = float(fields[CO2_FIELD]) if fields and WHOLE_PPM.fullmatch(fields[CO2_FIELD]) else None
        return Measured(None, None, None, began_s, middle_us, {"co2_ppm": ppm})

    def set(self, name: str, value: float) -> float:
        """Switch the pump (``pump``: 0 or 1); its OK is the only confirmation there is."""
        if name != "pump":
            raise DeviceRefused(f"{self.label} has no setting {name!r}; there are pump")
        if value not in PUMP:
            raise DeviceRefused(f"{self.label}: pump is a switch: 0 or 1, not {value:g}")
        with self._lock:
            try:
                self._order(PUMP[value])
            except DeviceLost:
                self._pump = None
                raise
            self._pump = value
        return value

    def held(self) -> dict[str, float]:
        """Return the pump as it was confirmed since opening; it cannot be asked."""
        return {} if self._pump is None else {"pump": self._pump}
