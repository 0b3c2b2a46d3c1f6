"""A KEL103 load as its bytes show it (devices.md 5): glued units, silent clamps, no error queue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from cycler_unit.simulators import bench
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Clock
from cycler_unit.simulators.links import ports
from cycler_unit.simulators.power import PowerTextDevice
from cycler_unit.simulators.regulator import Regulator, SetPoints, Trips
from cycler_unit.simulators.scpi import Instrument, ScpiError, boolean

MOST = {"VOLT": 120.0, "CURR": 30.0, "POW": 300.0, "RES": 7500.0}
UNITS = {"VOLT": "V", "CURR": "A", "POW": "W", "RES": "OHM"}
PLACES = {"VOLT": 3, "CURR": 3, "POW": 2, "RES": 3}
WORDS = {"VOLT": "VOLTage", "CURR": "CURRent", "POW": "POWer", "RES": "RESistance"}
MODE_OF = {"VOLT": "CV", "CURR": "CC", "POW": "CW", "RES": "CR"}
# What its converters show.
MEASURED = {"VOLT": 4, "CURR": 4, "POW": 3}
NUMBER = re.compile(r"^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*[A-Za-z]*\s*$")


class KelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One load of the bench file's ``devices``."""

    name: str
    model: str
    circuit: str
    serial_number: str = "01234567"
    identity: str = "RND 320-KEL103 V2.60"
    port: int | None = None
    pty: str | None = None
    noise_v: float = 0.0003
    noise_a: float = 0.0003
    latency_s: float = 0.0


class Kel103Load(Instrument):
    """Answer a KEL103's commands; what it does not know, it swallows."""

    def __init__(self, spec: KelSpec, circuit: Circuit, *, seed: int, clock: Clock) -> None:
        self.spec = spec
        self.locked = False
        self.mode = "CC"
        self.held = dict.fromkeys(MOST, 0.0) | {"RES": MOST["RES"]}
        self.upper = dict(MOST)
        self.lower = dict.fromkeys(MOST, 0.0)
        self.regulator = Regulator(
            circuit, SetPoints(), Trips(132.0, 33.0, 330.0, 33.0, 330.0), clock=clock,
            noise_v=spec.noise_v, noise_a=spec.noise_a, seed=seed, on_trip=lambda name: None,
        )  # fmt: skip
        super().__init__()
        self._act()

    def _common(self) -> None:
        """Register its few common commands and all others; there is no status register and no queue."""
        self.on("*IDN", None, lambda: f"{self.spec.identity} SN:{self.spec.serial_number}")
        for name in ("*SAV", "*RCL", "*TRG"):
            self.on(name, lambda text: None)
        self.on("SYSTem:LOCK", self._lock)
        self.on("INPut", self._switch, self._input)
        self.on("FUNCtion", self._function, lambda: "SHORt" if self.mode == "SHOR" else self.mode)
        self.on("STATus", None, lambda: f"0,4,{int(self.locked)},0,0,0")
        for name, word in WORDS.items():
            self._register(name, word)

    def _register(self, name: str, word: str) -> None:
        self.on(word, lambda text: self._set(name, text), lambda: self._text(name, self.held[name]))
        for side, limits in (("UPPer", self.upper), ("LOWer", self.lower)):
            self.on(
                f"{word}:{side}",
                lambda text, limits=limits: self._limit(limits, name, text),  # type: ignore[misc]
                lambda limits=limits: self._text(name, limits[name]),  # type: ignore[misc]
            )
        if name in MEASURED:
            self.on(f"MEASure:{word}", None, lambda: self._measured(name))

    # --- commands -----------------------------------------------------------------------------------

    def _lock(self, text: str) -> None:
        self.locked = boolean(text)

    def _switch(self, text: str) -> None:
        self.regulator.switch(boolean(text))

    def _input(self) -> str:
        self.regulator.advance()
        faults = self.regulator.faults
        if faults.stuck_on and self.regulator.flowing and not self.regulator.output:
            return faults.stuck_answer
        return "ON" if self.regulator.output else "OFF"

    def _function(self, text: str) -> None:
        mode = text.strip().upper()
        if mode in ("CV", "CC", "CR", "CW", "SHOR", "SHORT"):
            self.mode = mode[:4]
            self._act()

    def _set(self, name: str, text: str) -> None:
        """Take a set point, clamped without a word; it selects its mode."""
        if self.regulator.faults.refuse:
            return
        value = min(max(_number(text), self.lower[name]), self.upper[name])
        if name == "CURR" and self.regulator.faults.clamp_a is not None:
            value = min(value, self.regulator.faults.clamp_a)
        self.held[name] = round(value, PLACES[name])
        self.mode = MODE_OF[name]
        self._act()

    def _limit(self, limits: dict[str, float], name: str, text: str) -> None:
        limits[name] = min(max(_number(text), 0.0), MOST[name])
        self.held[name] = min(max(self.held[name], self.lower[name]), self.upper[name])
        self._act()

    def _act(self) -> None:
        """Let the power stage do what mode and set point say."""
        regulator = self.regulator
        regulator.advance()
        points = SetPoints(sink_a=MOST["CURR"], sink_w=MOST["POW"])
        if self.mode == "CC":
            points.sink_a = self.held["CURR"]
        elif self.mode == "CW":
            points.sink_w = self.held["POW"]
        elif self.mode == "CR":
            points.sink_ohm = max(self.held["RES"], 1e-3)
        elif self.mode == "CV":
            points.voltage_v = self.held["VOLT"]
        regulator.points = points
        regulator.note(self.mode.lower())

    # --- answers ------------------------------------------------------------------------------------

    @staticmethod
    def _text(name: str, value: float) -> str:
        return f"{value:.{PLACES[name]}f}{UNITS[name]}"

    def _measured(self, name: str) -> str:
        if self.regulator.faults.sensor_off:
            return f"9.9E37{UNITS[name]}"
        volts, amps, watts = self.regulator.measure()
        value = {"VOLT": volts, "CURR": -amps, "POW": -watts}[name]
        return f"{value:.{MEASURED[name]}f}{UNITS[name]}"

    def fail(self, error: ScpiError) -> None:
        """Swallow it: there is no error queue."""

    # --- what a person does ---------------------------------------------------------------------------

    @staticmethod
    def alarm_names() -> tuple[str, ...]:
        """Return the alarms that switch it off."""
        return ("OVP", "OCP", "OPP", "OT")

    def trip(self, name: str) -> None:
        """Switch off by an alarm of its own, which it tells nobody."""
        self.regulator.switch(False)

    def take_local(self) -> None:
        """Somebody unlocks the panel."""
        self.locked = False

    def clamp(self, most_a: float) -> None:
        """Hold the current silently at most at ``most_a``."""
        self.regulator.faults.clamp_a = most_a
        self.held["CURR"] = min(self.held["CURR"], most_a)
        self._act()

    def by_hand(self, asked: dict[str, Any]) -> None:
        """Somebody turns ``sink_a``, the ``mode`` or the ``output`` at the panel."""
        if "sink_a" in asked:
            self.held["CURR"] = float(asked["sink_a"])
        self.mode = str(asked.get("mode", self.mode)).upper()
        self._act()
        if asked.get("output") is not None:
            self.regulator.switch(bool(asked["output"]))

    def reboot(self) -> None:
        """Start as after mains loss: input off, panel unlocked, limits and set points as new."""
        self.regulator.release()
        self.regulator.switch(False)
        self.locked, self.mode = False, "CC"
        self.held = dict.fromkeys(MOST, 0.0) | {"RES": MOST["RES"]}
        self.upper.update(MOST)
        self._act()


def _number(text: str) -> float:
    found = NUMBER.match(text)
    if not found:
        raise ScpiError(-104)
    return float(found[1])


def make(spec: dict[str, Any], circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> PowerTextDevice:
    """Build a load from an entry of ``devices``; it needs a ``circuit``, and a port, a pty or both."""
    given = dict(spec)
    host = given.pop("host")
    load = bench.convert(given, KelSpec)
    circuit = circuits[load.circuit]
    instrument = Kel103Load(load, circuit, seed=seed, clock=clock)
    return PowerTextDevice(
        load.name, load.model, ports(host, load.port, load.pty, load.latency_s), instrument,
        clock=clock, circuit=circuit, serial_number=load.serial_number,
    )  # fmt: skip
