"""The SBA-5 CO2 analyser as its bytes show it (devices.md 9.4)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import msgspec

from cycler_unit.simulators import bench
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Asked, Clock
from cycler_unit.simulators.disturbance import Disturbance
from cycler_unit.simulators.links import ports
from cycler_unit.simulators.text import TextDevice

ERROR_PPM = -255


class GasSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One analyser of the bench file's ``devices``."""

    name: str
    model: str
    co2_ppm: float = 415.0
    noise_ppm: float = 1.0
    port: int | None = None
    pty: str | None = None


class GasDevice(TextDevice):
    """One line a measurement; settings are echoed and answered by OK."""

    def __init__(self, spec: GasSpec, host: str, seed: int, clock: Clock) -> None:
        super().__init__(spec.name, spec.model, ports(host, spec.port, spec.pty), clock=clock)
        self.spec = spec
        self.co2_ppm = spec.co2_ppm
        self.pump = True
        self._random = random.Random(seed)
        self._frozen: int | None = None
        self._sensor_off = self._refusing = self._stuck = False
        self._disturbed = Disturbance(clock, seed + 1, usual=100.0)
        self._short = 0
        for port in self.ports:
            port.ending = b"\r\n"

    def handle(self, line: str) -> str | None:
        """Answer a measurement or take a setting."""
        command = line.strip()
        if command == "M":
            return self._measurement()
        if command == "?":
            return "SBA-5 Z A20 P1 F0"
        if self._refusing and command[:1] not in ("!", "@"):
            return command  # its echo without OK
        if command in ("P0", "P1"):
            self.pump = command == "P1" or self._stuck
        elif command[:1] not in ("!", "@", "Z", "A", "X"):
            return None
        return f"{command}\r\nOK"

    def _measurement(self) -> str:
        if self._short:
            self._short -= 1
            return "M 5512"
        ppm = round(self._disturbed.shown(self.co2_ppm + self._random.gauss(0.0, self.spec.noise_ppm)))
        ppm = ERROR_PPM if self._sensor_off else ppm if self._frozen is None else self._frozen
        return f"M 55121 52034 {ppm} 55.0 12.3 25.1 1013 {int(self.pump)}"

    def truth(self) -> dict[str, Any]:
        """Return the gas and the pump."""
        return {"co2_ppm": self.co2_ppm, "pump": self.pump}

    def break_it(self, name: str, asked: Asked) -> bool:
        """``gas`` (``co2_ppm``), ``sensor_off`` (-255), ``short_line`` (``times``), ``freeze``, ``drift`` and
        ``noise`` (ppm), ``refuse`` (a setting has no OK), ``stuck_on`` (the pump), ``panel_change`` (``pump``).
        """
        if name == "gas":
            self.co2_ppm = float(asked.get("co2_ppm", 5000.0))
        elif name == "sensor_off":
            self._sensor_off = True
        elif name == "short_line":
            self._short = int(asked.get("times", 1))
        elif name == "freeze":
            self._frozen = round(self.co2_ppm)
        elif name == "refuse":
            self._refusing = True
        elif name == "stuck_on":
            self._stuck = True
        elif name == "panel_change":
            self.pump = bool(asked.get("pump", not self.pump))
        else:
            return self._disturbed.fault(name, asked)
        return True

    def reboot(self) -> None:
        """Start with the pump on."""
        self.pump = True

    def repair(self) -> None:
        """Clear the analyser's faults."""
        self.co2_ppm, self._short, self._frozen = self.spec.co2_ppm, 0, None
        self._sensor_off = self._refusing = self._stuck = False
        self._disturbed.clear()


def make(spec: dict[str, Any], circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> GasDevice:
    """Build an analyser from an entry of ``devices``."""
    given = dict(spec)
    host = given.pop("host")
    return GasDevice(bench.convert(given, GasSpec), host, seed, clock)
