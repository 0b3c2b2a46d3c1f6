"""What an EPC's measurement frames mean: voltages and current by one frame, temperatures by another.

Values are the frames'; what is missing, absent, old or frozen is None here.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from cycler_unit import dbc
from cycler_unit.drivers.base import Measured
from cycler_unit.drivers.epc_frames import ELEC, TEMP, Info
from cycler_unit.drivers.epc_port import EpcPort

# The device measures temperatures once a second; they are missing when they are older than this.
TEMPERATURE_S, TEMPERATURE_MAX_S = 1.0, 3.0
NAMES = ("hs_voltage_v", "body_c", "anode_c", "ambient_c")
# Its converters flicker (device sheet 1.3, the real log): so many frames without one bit changed are frozen.
FROZEN_READINGS = 50


class Cell(NamedTuple):
    """The cell as it was seen last; ``at_s`` is monotonic."""

    at_s: float
    mv: int
    ma: int


class EpcReadings:
    """The readings of one device; ``info`` tells which sensors it has."""

    def __init__(self, port: EpcPort) -> None:
        self._port = port
        self.info: Info | None = None
        self.cell: Cell | None = None
        self._same: tuple[int, bytes] = (0, b"")

    @property
    def wants_temperatures(self) -> bool:
        """Tell whether it is time to ask for temperatures again."""
        return self._age_s(TEMP) >= TEMPERATURE_S

    def _age_s(self, message: int) -> float:
        came = self._port.latest(message)
        return float("inf") if came is None else time.monotonic() - came[0]

    def take(self, answers: dict[int, bytes], began_s: float, began_ns: int) -> Measured:
        """Return what an exchange that began then has answered."""
        middle_us = (began_ns + time.time_ns()) // 2000
        found = dbc.read("EPC_ELEC_MEAS", answers[ELEC])
        self.cell = Cell(began_s, found["LsVolt"], found["LsCurr"])
        volts, amperes = found["LsVolt"] / 1000.0, found["LsCurr"] / 1000.0
        if self._frozen(answers[ELEC]):
            return Measured(None, None, None, began_s, middle_us, dict.fromkeys(NAMES))
        more = {"hs_voltage_v": found["HsVolt"] / 1000.0, **self._temperatures()}
        return Measured(volts, amperes, volts * amperes, began_s, middle_us, more)

    def _frozen(self, payload: bytes) -> bool:
        count, before = self._same
        self._same = (count + 1 if payload == before else 0, payload)
        return self._same[0] >= FROZEN_READINGS

    def _temperatures(self) -> dict[str, float | None]:
        """Return body, anode and ambient temperature in °C; None for an absent sensor or an old value."""
        names = NAMES[1:]
        came = self._port.latest(TEMP)
        if came is None or self.info is None or time.monotonic() - came[0] > TEMPERATURE_MAX_S:
            return dict.fromkeys(names)
        found = dbc.read("EPC_TEMP_MEAS", came[1])
        there = (self.info.body, self.info.anode, self.info.ambient)
        values = (found["TempBody"], found["TempAnode"], found["TempAmb"])
        return {
            name: value / 10.0 if has else None for name, has, value in zip(names, there, values, strict=True)
        }
