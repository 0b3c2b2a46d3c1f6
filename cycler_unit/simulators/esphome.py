"""A simulated ESPHome node: switches and sensors by name, REST, basic authentication (devices.md 9.1).

Faults beside those of every network device: ``sensor_off`` (``sensor``: it has no value), ``freeze``,
``stuck_on`` (``relay``: answers an off and stays on), ``refuse`` (status 500), ``panel_change``
(``relay``, ``state``: somebody presses its button), ``drift`` and ``noise`` of all sensors.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from cycler_unit.simulators import bench
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Asked, Clock
from cycler_unit.simulators.disturbance import Disturbance
from cycler_unit.simulators.network import named
from cycler_unit.simulators.web import Request, Response, WebBoard, as_json
from wire import kinds


class EsphomeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node. ``relays`` and ``sensors`` are its own names; ``isolators``: relays that open the circuit."""

    name: str
    model: str
    host: str
    port: int = 0
    circuit: str | None = None
    relays: tuple[str, ...] | None = None
    sensors: dict[str, float] | None = None
    units: dict[str, str] = {}
    isolators: tuple[str, ...] = ()
    user: str = ""
    password: str = ""
    noise: float = 0.02


class EsphomeNode(WebBoard):
    """One node."""

    def __init__(self, spec: EsphomeSpec, circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> None:
        circuit = circuits[spec.circuit] if spec.circuit else None
        super().__init__(spec.name, spec.model, spec.host, spec.port, clock=clock, circuit=circuit)
        usual = kinds.get(spec.model).settings
        self.spec = spec
        self.relays = dict.fromkeys(spec.relays or usual["relays"].values(), False)
        self.sensors = spec.sensors or dict.fromkeys(usual["sensors"].values(), 26.3)
        self.absent: set[str] = set()
        self.stuck: set[str] = set()
        self._frozen: dict[str, float] = {}
        self._random = random.Random(seed)
        self._disturbed = Disturbance(clock, seed + 1, usual=5.0)
        self._wire()

    def page(self, request: Request) -> Response:
        """Answer one request."""
        if self.spec.user and request.headers.get("authorization") != self._expected():
            return Response("", 401)
        what, _, rest = request.path.strip("/").partition("/")
        name, _, order = rest.partition("/")
        name = unquote(name)
        if what == "sensor" and request.method == "GET" and name in self.sensors and not order:
            return self._sensor(name)
        if what == "switch" and name in self.relays:
            return self._switch(request.method, name, order)
        return Response("Not Found", 404)

    def _expected(self) -> str:
        both = f"{self.spec.user}:{self.spec.password}".encode()
        return f"Basic {base64.b64encode(both).decode()}"

    def _sensor(self, name: str) -> Response:
        if name in self.absent:
            return as_json({"id": f"sensor-{name}", "value": None, "state": "NA"})
        value = self._frozen.get(
            name,
            round(self._disturbed.shown(self.sensors[name] + self._random.gauss(0.0, self.spec.noise)), 4),
        )
        usual = "%" if "humidity" in name else "°C"
        state = f"{value:.1f} {self.spec.units.get(name, usual)}"
        return as_json({"id": f"sensor-{name}", "value": value, "state": state})

    def _switch(self, method: str, name: str, order: str) -> Response:
        if method == "GET" and not order:
            is_on = self.relays[name]
            return as_json({"id": f"switch-{name}", "value": is_on, "state": "ON" if is_on else "OFF"})
        if method != "POST" or order not in ("turn_on", "turn_off", "toggle"):
            return Response("Not Found", 404)
        self._put(name, not self.relays[name] if order == "toggle" else order == "turn_on")
        return Response("")

    def _put(self, name: str, is_on: bool) -> None:
        if not is_on and name in self.stuck:
            return
        self.relays[name] = is_on
        self._wire()

    def _wire(self) -> None:
        self.isolate(self.spec.isolators, self.relays)

    def truth(self) -> dict[str, Any]:
        """Return relays and sensors, and the circuit's truth."""
        cell = self.circuit.truth() if self.circuit is not None else {}
        return {**cell, "relays": dict(self.relays), "sensors": dict(self.sensors)}

    def break_it(self, name: str, asked: Asked) -> bool:
        """Break the node itself."""
        if name == "sensor_off":
            self.absent.add(named(asked, "sensor", tuple(self.sensors)))
        elif name == "freeze":
            self._frozen = dict(self.sensors)
        elif name == "stuck_on":
            self.stuck.add(named(asked, "relay", tuple(self.relays)))
        elif name == "refuse":
            self.broken = True
        elif name == "panel_change":
            self._put(named(asked, "relay", tuple(self.relays)), bool(asked.get("state", True)))
        else:
            return self._disturbed.fault(name, asked)
        return True

    def reboot(self) -> None:
        """Come up with all relays off."""
        for name in self.relays:
            self._put(name, False)

    def repair(self) -> None:
        """Clear the node's faults."""
        self.absent, self.stuck, self._frozen, self.broken = set(), set(), {}, False
        self._disturbed.clear()


def make(spec: dict[str, Any], circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> EsphomeNode:
    """Build a node from an entry of ``devices``."""
    return EsphomeNode(bench.convert(spec, EsphomeSpec), circuits, seed, clock)
