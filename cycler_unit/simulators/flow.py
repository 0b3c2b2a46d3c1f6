"""The Arduino flow meter as its bytes show it (devices.md 7): exact text, integer arithmetic, no zero."""

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

# 10 L/min are 235 Hz.
HZ_PER_10_L = 235
# Pulses of a running pump scatter by about this share.
SCATTER = 0.01


class FlowSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One flow meter of the bench file's ``devices``; ``boot_s``: deaf for so long after a connection."""

    name: str
    model: str
    device_id: str = "001"
    version: str = "2"
    main_ml_min: float = 4250.0
    aux_ml_min: float = 0.0
    boot_s: float = 0.0
    port: int | None = None
    pty: str | None = None


class FlowDevice(TextDevice):
    """Two turbine sensors. What was counted last stays, also when the flow stops."""

    def __init__(self, spec: FlowSpec, host: str, seed: int, clock: Clock) -> None:
        super().__init__(spec.name, spec.model, ports(host, spec.port, spec.pty), clock=clock)
        self.spec, self.serial_number = spec, spec.device_id
        self._random = random.Random(seed)
        self.flow = {"main": spec.main_ml_min, "aux": spec.aux_ml_min}
        self._hz = {"main": 0, "aux": 0}
        self._frozen = False
        self._disturbed = Disturbance(clock, seed + 1, usual=500.0)
        self._deaf_until_s = 0.0
        for port in self.ports:
            port.strict = True
            port.opened = self._restart  # type: ignore[method-assign]

    def _restart(self) -> None:
        self._deaf_until_s = self.clock() + self.spec.boot_s

    def handle(self, line: str) -> str | None:
        """Answer its two questions; anything else, an empty line too, is an error with the line in it."""
        if self.clock() < self._deaf_until_s:
            return None
        if line == ":IDN*?":
            return f":IDN:FLOWmeter:DEVice:{self.spec.device_id}:VERsion:{self.spec.version}"
        if line == ":MEASure:FLOW?":
            return f":MEASure:FLOW:DATA:{self._counted('main')}:{self._counted('aux')}"
        return f":SCPI:ERROR:{line}"

    def _counted(self, sensor: str) -> int:
        """Return mL/min from whole Hz; without pulses the last value."""
        flow = self.flow[sensor]
        if flow > 0.0 and not self._frozen:
            scattered = flow * self._random.gauss(1.0, SCATTER)
            scattered = max(0.0, self._disturbed.shown(scattered))
            self._hz[sensor] = max(1, round(scattered * HZ_PER_10_L / 10000.0))
        return self._hz[sensor] * 1000 // HZ_PER_10_L * 10

    def truth(self) -> dict[str, Any]:
        """Return what really flows, in mL/min."""
        return {"flow_main_ml_min": self.flow["main"], "flow_aux_ml_min": self.flow["aux"]}

    def break_it(self, name: str, asked: Asked) -> bool:
        """``pump_off`` and ``sensor_off`` (no pulses come: the reading stays), ``flow`` (``main``, ``aux`` in
        mL/min), ``freeze``, ``drift`` and ``noise`` (mL/min)."""
        if name == "pump_off":
            self.flow = dict.fromkeys(self.flow, 0.0)
        elif name == "sensor_off":
            self._frozen = True
        elif name == "flow":
            for sensor in self.flow:
                self.flow[sensor] = float(asked.get(sensor, self.flow[sensor]))
        elif name == "freeze":
            self._frozen = True
        else:
            return self._disturbed.fault(name, asked)
        return True

    def reboot(self) -> None:
        """Count anew."""
        self._hz = dict.fromkeys(self._hz, 0)
        self._restart()

    def repair(self) -> None:
        """Let the pump run as the bench file says."""
        self.flow = {"main": self.spec.main_ml_min, "aux": self.spec.aux_ml_min}
        self._frozen = False
        self._disturbed.clear()


def make(spec: dict[str, Any], circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> FlowDevice:
    """Build a flow meter from an entry of ``devices``."""
    given = dict(spec)
    host = given.pop("host")
    return FlowDevice(bench.convert(given, FlowSpec), host, seed, clock)
