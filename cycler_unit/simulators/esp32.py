"""Simulated ESP32 boards: relays with climate sensors, and the dimmed lamp (devices.md 9.2, 9.3).

Refusals are texts with status 200. Faults beside those of every network device: ``sensor_off``
(``sensor``: -255), ``freeze``, ``stuck_on`` (``channel``), ``refuse`` (``RESULT: ERROR``), ``panel_change``
(``channel``, ``state``: somebody works it by hand), ``clamp`` (``most``: the lamp's duty stays below without
a word), ``drift`` and ``noise`` of all sensors.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import msgspec

from cycler_unit.simulators import bench
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Asked, Clock
from cycler_unit.simulators.disturbance import Disturbance
from cycler_unit.simulators.network import named
from cycler_unit.simulators.web import Request, Response, WebBoard, as_json

CHANNELS = range(4)
ABSENT = -255.0
SENSORS = {
    "pcb_temp": 31.5, "roots_temp": 21.0, "ext_temp": 22.4, "ext_hum": 41.0, "int_temp": 24.8, "int_hum": 55.0,
}  # fmt: skip
# There is no page of its own for the board's temperature.
PAGES = ("ext_temp", "ext_hum", "int_temp", "int_hum", "roots_temp")


class BoardSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One board; ``isolators`` are relays (``ch0``...) that open the circuit while off."""

    name: str
    model: str
    host: str
    port: int = 0
    circuit: str | None = None
    sensors: dict[str, float] = {}
    isolators: tuple[str, ...] = ()
    noise: float = 0.02


class Board(WebBoard):
    """What both boards share: four channels, orders as JSON, reset."""

    path = ""
    key = ""
    most = 1

    def __init__(self, spec: BoardSpec, circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> None:
        circuit = circuits[spec.circuit] if spec.circuit else None
        super().__init__(spec.name, spec.model, spec.host, spec.port, clock=clock, circuit=circuit)
        self.spec = spec
        self.channels = [0, 0, 0, 0]
        self.sensors = {**SENSORS, **spec.sensors}
        self.absent: set[str] = set()
        self.stuck: set[int] = set()
        self.refusing = False
        self.frozen: dict[str, float] | None = None
        self.clamp: int | None = None
        self.booted_s = clock()
        self._disturbed = Disturbance(clock, seed + 1, usual=5.0)
        self._random = random.Random(seed)
        self._wire()

    def page(self, request: Request) -> Response:
        """Answer one request."""
        path = request.path.strip("/")
        if request.method == "GET" and path == "info":
            return as_json(self.info())
        if request.method == "GET" and path in PAGES and self.key == "state":
            return Response(f"{self.sensed(path):.6f}")
        if request.method == "POST" and path == self.path:
            return Response(self._order(request.body))
        if request.method == "POST" and path == "reset":
            return Response(self._reset(request.body))
        return Response("Not found", 404)

    def info(self) -> dict[str, Any]:
        """Return the page with everything; subclasses."""
        raise NotImplementedError

    def sensed(self, name: str) -> float:
        """Return one sensor as the board says it."""
        if name in self.absent:
            return ABSENT
        if self.frozen is not None:
            return self.frozen[name]
        return round(self._disturbed.shown(self.sensors[name] + self._random.gauss(0.0, self.spec.noise)), 4)

    def uptime_s(self) -> int:
        """Return the whole seconds since the board started."""
        return int(self.clock() - self.booted_s)

    def _order(self, body: str) -> str:
        try:
            order = json.loads(body)
        except ValueError:
            return "RESULT: ERROR Failed to parse JSON"
        channel, value = (
            (order.get("channel"), order.get(self.key)) if isinstance(order, dict) else (None, None)
        )
        if isinstance(channel, bool) or not isinstance(channel, int):
            return "RESULT: ERROR Invalid channel type"
        if isinstance(value, bool) or not isinstance(value, int):
            return f"RESULT: ERROR Invalid {self.key} type"
        if self.refusing or channel not in CHANNELS or not 0 <= value <= self.most:
            return "RESULT: ERROR invalid params!"
        self.put(channel, value)
        return self.done(channel, value)

    def done(self, channel: int, value: int) -> str:
        """Return how the board says that it did it; subclasses."""
        raise NotImplementedError

    def _reset(self, body: str) -> str:
        if body.strip() != "force_reset":
            return "User have sent incorrect reset command, so no rebooting"
        self.reboot()
        return "User have sent force reset command, so rebooting"

    def put(self, channel: int, value: int) -> None:
        """Set one channel."""
        if not value and channel in self.stuck:
            return
        self.channels[channel] = value if self.clamp is None else min(value, self.clamp)
        self._wire()

    def _wire(self) -> None:
        self.isolate(self.spec.isolators, {f"ch{n}": bool(value) for n, value in enumerate(self.channels)})

    def truth(self) -> dict[str, Any]:
        """Return channels and sensors, and the circuit's truth."""
        cell = self.circuit.truth() if self.circuit is not None else {}
        return {**cell, "channels": list(self.channels), "sensors": dict(self.sensors)}

    def break_it(self, name: str, asked: Asked) -> bool:
        """Break the board itself."""
        if name == "sensor_off":
            self.absent.add(named(asked, "sensor", tuple(self.sensors)))
        elif name == "freeze":
            self.frozen = {each: self.sensed(each) for each in self.sensors}
            self.frozen["uptime"] = float(self.uptime_s())
        elif name == "stuck_on":
            self.stuck.add(int(asked.get("channel", 0)))
        elif name == "refuse":
            self.refusing = True
        elif name == "panel_change":
            self.put(int(asked.get("channel", 0)), int(asked.get("state", self.most)))
        elif name == "clamp" and self.most > 1:
            self.clamp = int(asked.get("most", self.most // 2))
        else:
            return self._disturbed.fault(name, asked)
        return True

    def reboot(self) -> None:
        """Come up with every channel off and a new count of seconds."""
        self.stuck = set()
        for channel in CHANNELS:
            self.put(channel, 0)
        self.booted_s = self.clock()

    def repair(self) -> None:
        """Clear the board's faults."""
        self.absent, self.stuck, self.frozen, self.refusing = set(), set(), None, False
        self.clamp = None
        self._disturbed.clear()


class RelayBoard(Board):
    """Four relays."""

    path, key, most = "relay", "state", 1

    def info(self) -> dict[str, Any]:
        """Return relays, sensors and the seconds since the start."""
        relays = {f"ch{n}": value for n, value in enumerate(self.channels)}
        uptime = self.uptime_s() if self.frozen is None else int(self.frozen["uptime"])
        return {**relays, **{name: self.sensed(name) for name in SENSORS}, "uptime": uptime}

    def done(self, channel: int, value: int) -> str:
        """Return the board's words, with their line ends."""
        return f"RESULT: SUCCESS\n Relay: {channel}, set to state: {value}\n"


class Lamp(Board):
    """Four dimmed channels."""

    path, key, most = "pwm", "duty", 100

    def info(self) -> dict[str, Any]:
        """Return the board's temperature and the duties."""
        duties = {f"ch{n}_pwm": value for n, value in enumerate(self.channels)}
        return {"pcb_temp": self.sensed("pcb_temp"), **duties}

    def done(self, channel: int, value: int) -> str:
        """Return the board's words."""
        return f"RESULT: SUCCESS\n Channel: {channel}, set to duty: {value}\n"


def make(spec: dict[str, Any], circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> Board:
    """Build a board from an entry of ``devices``; the model says which."""
    board = bench.convert(spec, BoardSpec)
    return (Lamp if "lamp" in board.model else RelayBoard)(board, circuits, seed, clock)
