"""A BK 2831E or 5491B meter as its bytes show it (devices.md 6): echo, ranges, overload, error queue."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from cycler_unit.drivers.bk import Bk2831E, Bk5491B
from cycler_unit.simulators import bench
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Asked, Clock
from cycler_unit.simulators.links import ports
from cycler_unit.simulators.scpi import Instrument, ScpiError, boolean, number
from cycler_unit.simulators.text import TextDevice
from wire import kinds

RANGES = {"2831E": Bk2831E.ranges, "5491B": Bk5491B.ranges}
COUNTS = {"2831E": 20000, "5491B": 50000}
FUNCTIONS = {"VOLT:DC": "voltage", "CURR:DC": "current", "VOLT:AC": "", "CURR:AC": "", "RES": "", "FREQ": "",
             "PER": "", "DIOD": "", "CONT": ""}  # fmt: skip
OVERLOAD = "9.9E37"
# A range shows this much more than its name before it overloads.
OVER = 1.05


class MeterSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One meter of the bench file's ``devices``; ``digits`` is how its firmware prints numbers."""

    name: str
    model: str
    circuit: str
    serial_number: str = "124E16150"
    firmware: str = "Ver1.4.14.06.18"
    digits: Literal["plain", "exponent"] = "plain"
    noise_v: float = 0.0002
    noise_a: float = 0.00005
    port: int | None = None
    pty: str | None = None
    latency_s: float = 0.0


class Meter(Instrument):
    """Measure the voltage at a circuit's terminals or the current into its cell."""

    def __init__(self, spec: MeterSpec, circuit: Circuit, seed: int) -> None:
        self.spec, self.circuit = spec, circuit
        self.type = kinds.get(spec.model).model
        self.function = "VOLT:DC"
        self.speed = dict.fromkeys(("VOLT:DC", "CURR:DC"), 1.0)
        self.fixed: dict[str, float | None] = dict.fromkeys(("VOLT:DC", "CURR:DC"))
        self.reference = dict.fromkeys(("VOLT:DC", "CURR:DC"), 0.0)
        self.relative = dict.fromkeys(("VOLT:DC", "CURR:DC"), False)
        self.trigger, self.holding, self._last = "IMM", False, OVERLOAD
        self.offset_v = self.rate_v_s = self.since_s = 0.0
        self.frozen: float | None = None
        self.sensor_off = self.refusing = False
        self.sense_share: float | None = None
        self.noise: float | None = None
        self._random = random.Random(seed)
        super().__init__()

    def _common(self) -> None:
        """Register all it knows: of the common commands three only."""
        self.on("*IDN", None, self._identity)
        self.on("*RST", lambda text: self.reset())
        self.on("*TRG", lambda text: self._take())
        self.on("SYSTem:ERRor", None, self._pop_error)
        self.on("FUNCtion", self.choose, lambda: self.function)
        self.on("FETCh", None, self._fetch)
        self.on("TRIGger:SOURce", self.pull, lambda: self.trigger)
        self.on("HOLD:STATe", self.hold, lambda: str(int(self.holding)))
        self.on("DISPlay:ENABle", lambda text: None)
        for header, pattern in (("VOLT:DC", "VOLTage:DC"), ("CURR:DC", "CURRent:DC")):
            self._register(header, pattern)

    def _register(self, header: str, pattern: str) -> None:
        ranges = RANGES[self.type][FUNCTIONS[header]]

        def auto(text: str) -> None:
            self._need_obedience()
            self.fixed[header] = None if boolean(text) else ranges[-1]

        def fix(text: str) -> None:
            self._need_obedience()
            wanted = number(text, "", 0.0, ranges[-1])
            self.fixed[header] = next(each for each in ranges if each >= wanted)

        def speed(text: str) -> None:
            self._need_obedience()
            self.speed[header] = number(text, "", 0.1, 10.0)

        def refer(text: str) -> None:
            self._need_obedience()
            self.reference[header] = number(text, "", -ranges[-1], ranges[-1])

        def relate(text: str) -> None:
            self._need_obedience()
            self.relative[header] = boolean(text)

        self.on(f"{pattern}:REFerence", refer, lambda: f"{self.reference[header]:g}")
        self.on(f"{pattern}:REFerence:STATe", relate, lambda: str(int(self.relative[header])))
        self.on(f"{pattern}:NPLCycles", speed, lambda: f"{self.speed[header]:.2f}")
        self.on(f"{pattern}:RANGe:AUTO", auto, lambda: str(int(self.fixed[header] is None)))
        self.on(f"{pattern}:RANGe", fix, lambda: f"{self._range(header):g}")

    def _need_obedience(self) -> None:
        if self.refusing:
            raise ScpiError(-200)

    def reset(self) -> None:
        """Start as after mains loss: direct voltage, automatic range."""
        self.function = "VOLT:DC"
        self.fixed = dict.fromkeys(self.fixed)
        self.speed = dict.fromkeys(self.speed, 1.0)
        self.relative = dict.fromkeys(self.relative, False)
        self.trigger, self.holding = "IMM", False

    def _identity(self) -> str:
        return f"{self.type}  Multimeter,{self.spec.firmware},{self.spec.serial_number}"

    def choose(self, text: str) -> None:
        """Take a function, from the line or by a key."""
        if text.strip().upper() not in FUNCTIONS:
            raise ScpiError(-108)
        self.function = text.strip().upper()

    def pull(self, text: str) -> None:
        """Take a trigger source; any but IMM keeps the last number."""
        if text.strip().upper() not in ("IMM", "BUS", "MAN"):
            raise ScpiError(-108)
        self.trigger = text.strip().upper()

    def hold(self, text: str) -> None:
        """Keep the last number, or go on."""
        self.holding = boolean(text)

    def press(self, key: str) -> None:
        """Press a key of the front panel: ``relative`` to what is there now, ``hold`` or manual ``trigger``."""
        if key == "relative":
            self.reference[self.function] = self.true_value()
            self.relative[self.function] = True
        elif key == "hold":
            self.holding = True
        else:
            self.pull("MAN")

    # --- reading ------------------------------------------------------------------------------------

    def true_value(self) -> float:
        """Return what is at its inputs, in V or A."""
        self.circuit.advance()
        if self.function == "CURR:DC":
            return self.circuit.current_a
        return self.circuit.terminal_v() * (1.0 if self.sense_share is None else self.sense_share)

    def _range(self, header: str) -> float:
        fixed = self.fixed[header]
        ranges = RANGES[self.type][FUNCTIONS[header]]
        return fixed or next((each for each in ranges if abs(self.true_value()) <= each * OVER), ranges[-1])

    def _fetch(self) -> str:
        if self.trigger == "IMM" and not self.holding:
            self._take()
        return self._last

    def _take(self) -> None:
        self._last = self._measured()

    def _measured(self) -> str:
        if self.sensor_off or self.function not in self.fixed:
            return OVERLOAD
        if self.frozen is not None:
            return self._print(self.frozen, self._range(self.function))
        usual = self.spec.noise_a if self.function == "CURR:DC" else self.spec.noise_v
        value = self.true_value() + self._random.gauss(0.0, usual if self.noise is None else self.noise)
        if self.since_s:
            value += self.offset_v + self.rate_v_s * (self.circuit.now_s() - self.since_s)
        span = self._range(self.function)
        return OVERLOAD if abs(value) > span * OVER else self._print(value, span)

    def _print(self, value: float, span: float) -> str:
        if self.relative[self.function]:
            value -= self.reference[self.function]
        step = span / COUNTS[self.type]
        shown = round(value / step) * step
        return f"{shown:.6E}" if self.spec.digits == "exponent" else f"{shown:.6f}"


class BkDevice(TextDevice):
    """A meter with its ports; every line comes back first. ``lost_byte`` spoils one echo."""

    def __init__(self, spec: MeterSpec, host: str, circuit: Circuit, seed: int, clock: Clock) -> None:
        super().__init__(
            spec.name,
            spec.model,
            ports(host, spec.port, spec.pty, spec.latency_s),
            clock=clock,
            circuit=circuit,
        )
        self.instrument = Meter(spec, circuit, seed)
        self.serial_number = spec.serial_number
        self._lost_bytes = 0
        for port in self.ports:
            port.ending = b"\r\n"

    def handle(self, line: str) -> str | None:
        """Echo the line, then answer it."""
        if self._lost_bytes:
            self._lost_bytes -= 1
            return line[1:]
        answer = self.instrument.handle(line)
        return line if answer is None else f"{line}\r\n{answer}"

    def truth(self) -> dict[str, Any]:
        """Return the circuit's truth and what is at the inputs."""
        return {
            **super().truth(),
            "function": self.instrument.function,
            "input": self.instrument.true_value(),
        }

    def break_it(self, name: str, asked: Asked) -> bool:
        """Break the meter: ``freeze``, ``drift``, ``noise``, ``sensor_off``, ``sense_open`` (``share``),
        ``refuse``, ``panel_change`` (``function``, or ``key``: ``relative``, ``hold``, ``trigger``), ``lost_byte``."""
        meter = self.instrument
        if name == "freeze":
            meter.frozen = meter.true_value()
        elif name == "drift":
            meter.true_value()
            meter.offset_v = float(asked.get("offset_v", 0.0))
            meter.rate_v_s = float(asked.get("rate_v_s", 0.0 if "offset_v" in asked else 0.05))
            meter.since_s = self.clock()
        elif name == "noise":
            meter.noise = float(asked.get("voltage_v", 0.01))
        elif name == "sensor_off":
            meter.sensor_off = True
        elif name == "lost_byte":
            self._lost_bytes = int(asked.get("times", 1))
        elif name == "sense_open":
            meter.sense_share = float(asked.get("share", 0.0))
        elif name == "refuse":
            meter.refusing = True
        elif name == "panel_change" and "key" in asked:
            meter.press(str(asked["key"]))
        elif name == "panel_change":
            meter.choose(str(asked.get("function", "CURR:DC" if meter.function == "VOLT:DC" else "VOLT:DC")))
        else:
            return False
        return True

    def reboot(self) -> None:
        """Start as after mains loss."""
        self.instrument.reset()

    def repair(self) -> None:
        """Clear the meter's faults."""
        meter = self.instrument
        meter.frozen = meter.noise = None
        meter.sensor_off = meter.refusing = False
        meter.sense_share = None
        meter.since_s = meter.offset_v = meter.rate_v_s = 0.0
        self._lost_bytes = 0


def make(spec: dict[str, Any], circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> BkDevice:
    """Build a meter from an entry of ``devices``; it needs a ``circuit``, and a port, a pty or both."""
    given = dict(spec)
    host = given.pop("host")
    meter = bench.convert(given, MeterSpec)
    return BkDevice(meter, host, circuits[meter.circuit], seed, clock)
