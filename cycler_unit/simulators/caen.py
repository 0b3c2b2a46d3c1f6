"""A simulated CAEN V65xx board: the parameter table of its channels behind a local socket (devices.md 8).

The maker's library has no byte protocol to imitate, so this serves the table itself, one JSON object a line:
``{"op": "read", "slot": 0, "channel": 0, "name": "VMon"}`` is answered by ``{"ok": true, "value": 1500.2}``
or by ``{"ok": false, "code": "PARAMNOTFOUND"}`` with the library's own result codes.

Faults beside those of every text device: ``interlock`` (``open``), ``alarm`` (``bit`` of the status mask,
``channel``), ``over_current`` (``current_a``, ``channel``: more than ``ISet`` trips the channel after
``Trip``), ``refuse`` (writes fail), ``stuck_on`` (``channel``: ``Pw`` 0 changes nothing), ``freeze``,
``drift`` and ``noise`` (V, of ``VMon``), ``clamp`` (``voltage_v``: ``VSet`` is held below without a word),
``panel_change`` (parameters of the table: another program writes them).
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import msgspec

from cycler_unit.simulators import bench
from cycler_unit.simulators.bench import BenchError
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Asked, Clock, Refused
from cycler_unit.simulators.disturbance import Disturbance
from cycler_unit.simulators.links import Port, TcpPort
from cycler_unit.simulators.text import TextDevice

# Name -> (value at power on, least, most, step); the V6533's table. Currents in µA.
WRITABLE: dict[str, tuple[float, float, float, float]] = {
    "VSet": (0.0, 0.0, 4000.0, 0.1),
    "ISet": (100.0, 0.0, 3100.0, 0.05),
    "ImonRange": (0.0, 0.0, 1.0, 1.0),
    "Pw": (0.0, 0.0, 1.0, 1.0),
    "Trip": (10.0, 0.0, 1000.0, 0.1),
    "SVMax": (4000.0, 0.0, 4000.0, 0.1),
    "RUp": (50.0, 0.0, 500.0, 1.0),
    "RDWn": (50.0, 0.0, 500.0, 1.0),
    "PDwn": (0.0, 0.0, 1.0, 1.0),
}
READABLE = ("VMon", "IMonH", "IMonL", "ChStatus", "Polarity", "Temp")
NEVER = 1000.0
ON, UP, DOWN, OVER_CURRENT, UNDER, TRIPPED, INTERLOCK = 0, 1, 2, 3, 5, 8, 12
# devices.md 8.4: readings scatter by 2 %, the leakage is exponential with a mean of 0.1 µA.
NOISE, LEAKAGE_UA = 0.02, 0.1


class CaenSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One board with six channels. ``ramp`` multiplies its ramps, so that tests need not wait."""

    name: str
    model: str
    host: str
    port: int = 0
    serial_number: str = "128"
    firmware: str = "1.3"
    channels: int = 6
    positive: bool = True
    ramp: float = 1.0


class Channel:
    """One channel: its parameters, and where its voltage really is."""

    def __init__(self, clock: Clock, ramp: float, noise: random.Random) -> None:
        self.disturbed = Disturbance(clock, noise.randrange(1 << 30), usual=50.0)
        self.clamp_v: float | None = None
        self._clock, self._ramp, self._random = clock, ramp, noise
        self.latched = 0
        self.interlock = self.stuck = False
        self.drawn_ua: float | None = None
        self.frozen: dict[str, float] | None = None
        self._over_since_s: float | None = None
        self.voltage_v = 0.0
        self._at_s = clock()
        self.power_on()

    def power_on(self) -> None:
        """Come up with the table's defaults and no voltage."""
        self.set = {name: usual for name, (usual, *_) in WRITABLE.items()}
        self.voltage_v, self.latched, self._over_since_s = 0.0, 0, None

    @property
    def is_on(self) -> bool:
        """Tell whether the channel drives its output."""
        return (self.set["Pw"] == 1.0 or self.stuck) and not self.interlock and not self.latched

    @property
    def _target_v(self) -> float:
        return min(self.set["VSet"], self.set["SVMax"]) if self.is_on else 0.0

    def advance(self) -> None:
        """Move the voltage toward its target at ``RUp`` or ``RDWn``; trip on over current."""
        now_s = self._clock()
        passed_s, self._at_s = now_s - self._at_s, now_s
        target_v = self._target_v
        if not self.is_on and (self.interlock or self.latched or self.set["PDwn"] == 0.0):
            self.voltage_v = 0.0
        elif self.voltage_v < target_v:
            self.voltage_v = min(target_v, self.voltage_v + self.set["RUp"] * self._ramp * passed_s)
        else:
            self.voltage_v = max(target_v, self.voltage_v - self.set["RDWn"] * self._ramp * passed_s)
        self._watch_current(now_s)

    def _watch_current(self, now_s: float) -> None:
        if not self.is_on or self.drawn_ua is None or self.drawn_ua <= self.set["ISet"]:
            self._over_since_s = None
            return
        self._over_since_s = self._over_since_s if self._over_since_s is not None else now_s
        if self.set["Trip"] < NEVER and now_s - self._over_since_s >= self.set["Trip"]:
            self.latched |= 1 << TRIPPED | 1 << OVER_CURRENT
            self.set["Pw"], self.voltage_v = 0.0, 0.0

    def status(self) -> int:
        """Return the status mask."""
        mask = self.latched | (1 << INTERLOCK if self.interlock else 0)
        if self.is_on or self.voltage_v > 0.0:
            mask |= 1 << ON
        if self.voltage_v < self._target_v:
            mask |= 1 << UP
        elif self.voltage_v > self._target_v:
            mask |= 1 << DOWN
        if self._over_since_s is not None:
            mask |= 1 << OVER_CURRENT
        return mask

    def read(self, name: str) -> float:
        """Return one parameter as the board says it."""
        self.advance()
        if self.frozen is not None and name in self.frozen:
            return self.frozen[name]
        if name in self.set:
            return self.set[name]
        if name == "ChStatus":
            return float(self.status())
        if name == "VMon":
            scatter = self._random.gauss(0.0, NOISE / 2) if self.voltage_v else 0.0
            shown_v = self.disturbed.shown(self.voltage_v * (1.0 + max(-NOISE, min(NOISE, scatter))))
            return round(max(0.0, shown_v), 1)
        if name in ("IMonH", "IMonL"):
            return round(self._current_ua(), 3)
        return 31.0 if name == "Temp" else 0.0

    def _current_ua(self) -> float:
        if self.voltage_v <= 0.0:
            return 0.0
        return self.drawn_ua if self.drawn_ua is not None else self._random.expovariate(1.0 / LEAKAGE_UA)

    def write(self, name: str, value: float) -> str:
        """Set one parameter; return the library's result code, empty for taken."""
        if name in READABLE:
            return "NOTSETPROP"
        if name not in WRITABLE:
            return "PARAMNOTFOUND"
        _, least, most, step = WRITABLE[name]
        if not least <= value <= most or (name == "VSet" and value > self.set["SVMax"]):
            return "OUTOFRANGE"
        self.advance()
        if name == "VSet" and self.clamp_v is not None:
            value = min(value, self.clamp_v)
        self.set[name] = round(round(value / step) * step, 6)
        if name == "Pw" and value:
            self.latched = 0
        return ""


class CaenBoard(TextDevice):
    """One board."""

    def __init__(self, spec: CaenSpec, seed: int, clock: Clock) -> None:
        self.spec = spec
        self.serial_number = spec.serial_number
        noise = random.Random(seed)
        self.channels = [Channel(clock, spec.ramp, noise) for _ in range(spec.channels)]
        self.refusing = False
        self._port = TcpPort(self.answer, spec.host, spec.port)
        super().__init__(spec.name, spec.model, [self._port], clock=clock)

    def place(self, port: Port) -> str:
        """Return the link's ``address``: there is no VISA resource."""
        return f"{self._port.host}:{self._port.port}"

    def links(self) -> list[dict[str, Any]]:
        """Return one link of unit.yaml per channel."""
        address = self.place(self._port)
        link = {"kind": "caen", "model": self.model, "address": address, "library": "simulated", "slot": 0}
        return [{"name": f"{self.name}-{n}", **link, "channel_no": n} for n in range(len(self.channels))]

    def handle(self, line: str) -> str | None:
        """Execute one line."""
        try:
            asked = json.loads(line)
            answer = self._execute(asked)
        except (ValueError, TypeError, KeyError, AttributeError):
            answer = {"ok": False, "code": "INVALIDPARAMETER"}
        return json.dumps(answer)

    def _execute(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked.get("slot", 0) != 0:
            return {"ok": False, "code": "SLOTNOTPRES"}
        if asked["op"] == "board":
            named = {
                "model": "V6533",
                "serial_number": self.spec.serial_number,
                "firmware": self.spec.firmware,
            }
            return {"ok": True, **named, "channels": len(self.channels)}
        number = int(asked["channel"])
        if number not in range(len(self.channels)):
            return {"ok": False, "code": "INVALIDPARAMETER"}
        channel, name = self.channels[number], str(asked["name"])
        if asked["op"] == "read":
            if name not in WRITABLE and name not in READABLE:
                return {"ok": False, "code": "PARAMNOTFOUND"}
            value = float(self.spec.positive) if name == "Polarity" else channel.read(name)
            return {"ok": True, "value": value}
        code = "WRITEERR" if self.refusing else channel.write(name, float(asked["value"]))
        return {"ok": not code, "code": code}

    def tick(self) -> None:
        """Let the voltages move on."""
        for channel in self.channels:
            channel.advance()

    def truth(self) -> dict[str, Any]:
        """Return the real voltage, set points and status of each channel."""
        self.tick()
        return {
            "voltage_v": [channel.voltage_v for channel in self.channels],
            "set": [dict(channel.set) for channel in self.channels],
            "status": [channel.status() for channel in self.channels],
        }

    def break_it(self, name: str, asked: Asked) -> bool:
        """Break the board or one of its channels."""
        channel = self._channel(asked)
        if name == "interlock":
            for each in self.channels:
                each.interlock = bool(asked.get("open", True))
        elif name == "alarm":
            channel.latched |= 1 << int(asked.get("bit", 10))
        elif name == "over_current":
            channel.drawn_ua = float(asked.get("current_a", 1e-3)) * 1e6
        elif name == "refuse":
            self.refusing = True
        elif name == "stuck_on":
            channel.stuck = True
        elif name == "freeze":
            channel.frozen = {each: channel.read(each) for each in READABLE if each != "Polarity"}
        elif name == "clamp":
            channel.clamp_v = float(asked.get("voltage_v", 100.0))
        elif name == "panel_change":
            for parameter in WRITABLE:
                if parameter in asked:
                    channel.write(parameter, float(asked[parameter]))
        else:
            return channel.disturbed.fault(name, asked)
        return True

    def reboot(self) -> None:
        """Come up with the table's defaults and no voltage."""
        for each in self.channels:
            each.power_on()

    def _channel(self, asked: Asked) -> Channel:
        number = int(asked.get("channel", 0))
        if number not in range(len(self.channels)):
            raise Refused(f"no channel {number}; there are 0 to {len(self.channels) - 1}")
        return self.channels[number]

    def repair(self) -> None:
        """Clear every fault of the board."""
        self.refusing = False
        for channel in self.channels:
            channel.interlock = channel.stuck = False
            channel.latched, channel.drawn_ua, channel.frozen = 0, None, None
            channel.clamp_v = None
            channel.disturbed.clear()


def make(spec: dict[str, Any], circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> CaenBoard:
    """Build a board from an entry of ``devices``; it hangs on no cell."""
    if spec.get("circuit") is not None:
        raise BenchError(f"devices: {spec.get('name')}: high voltage is wired to no cell")
    return CaenBoard(bench.convert(spec, CaenSpec), seed, clock)
