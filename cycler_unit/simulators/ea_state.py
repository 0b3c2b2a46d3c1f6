"""What a simulated EA device holds and does: set points, output, remote control, alarms (its words: ``ea.py``)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cycler_unit.simulators.bench import SupplySpec
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.regulator import Regulator, SetPoints, Trips
from cycler_unit.simulators.scpi import POWER_ON, Instrument, ScpiError, boolean, number
from wire.catalogue import Kind

# Protections reach 110 % and adjustable values 102 % of nominal (devices.md 4.3).
PROTECTION_SHARE = 1.10
SET_SHARE = 1.02
# The widest sink resistance in Ohm, as a multiple of nominal voltage over nominal current.
RESISTANCE_SPAN = 2000.0

# Bits of the questionable register as public readings of the maker's guide give them; the two
# examples printed there (remote, output on) agree. Not confirmed on a device.
ALARM_BITS = {"OVP": 0, "OCP": 1, "OPP": 2, "OT": 3, "PF": 13}

FIELDS = {
    "VOLTage": ("voltage_v", "V", "v"),
    "CURRent": ("source_a", "A", "a"),
    "POWer": ("source_w", "W", "w"),
}
# A load has no source: its set points are those of the sink.
LOAD_FIELDS = {
    "VOLTage": ("voltage_v", "V", "v"),
    "CURRent": ("sink_a", "A", "a"),
    "POWer": ("sink_w", "W", "w"),
}
SINK_FIELDS = {"CURRent": ("sink_a", "A", "a"), "POWer": ("sink_w", "W", "w")}


def decimals(step: float) -> int:
    """Return how many decimals a device of this resolution prints."""
    count = 0
    while round(step, count) < step * 0.999 and count < 6:
        count += 1
    return count


class EaState(Instrument):
    """A PSB, a PS or an EL; its cell lives in ``regulator``."""

    def __init__(
        self,
        spec: SupplySpec,
        *,
        seed: int = 1,
        clock: Callable[[], float] = time.monotonic,
        circuit: Circuit | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.kind = spec, spec.kind
        self.sinks = self.kind.type == "BiSource"
        self.is_load = self.kind.type == "Load"
        self.nominal = _nominal(self.kind)
        self.places = {
            letter: decimals(measure.resolution)
            for letter, measure in zip("vaw", self.kind.measures, strict=True)
        }
        self.remote = False
        self.resistance_mode = False
        self.sink_ohm = RESISTANCE_SPAN * self.nominal["v"] / self.nominal["a"]
        self.alarms: set[str] = set()
        noise_v, noise_a = spec.noise()
        self.regulator = Regulator(
            circuit or (spec.cell.build() if spec.cell else None),
            self._default_points(),
            self._default_trips(),
            clock=clock,
            speed=spec.speed,
            noise_v=noise_v,
            noise_a=noise_a,
            seed=seed,
            on_trip=self.alarm,
        )
        self.limits = {
            (field, side): (0.0 if side == "LOW" else SET_SHARE * self.nominal[letter])
            for field, _, letter in (*FIELDS.values(), *SINK_FIELDS.values())
            for side in ("LOW", "HIGH")
        }
        self._register()

    def _register(self) -> None:
        """Take the headers that it answers."""

    # --- start and defaults -----------------------------------------------------------------------

    def _default_points(self) -> SetPoints:
        """Return what a freshly started supply holds: no voltage, no current, full power."""
        watts = self.nominal["w"]
        return SetPoints(
            source_w=0.0 if self.is_load else watts, sink_w=watts if self.sinks or self.is_load else 0.0
        )

    def _default_trips(self) -> Trips:
        volts, amps, watts = (PROTECTION_SHARE * self.nominal[letter] for letter in "vaw")
        return Trips(voltage_v=volts, source_a=amps, source_w=watts, sink_a=amps, sink_w=watts)

    def reset(self) -> None:
        """``*RST``: output off, defaults, remote control stays."""
        self._need_remote()
        self._forget()

    def reboot(self) -> None:
        """Start as after mains loss: output off, defaults, in local control."""
        self.regulator.release()
        self._forget()
        self.remote = False
        self.clear()
        self.event_register = POWER_ON

    def _forget(self) -> None:
        self.regulator.switch(False)
        self.regulator.points = self._default_points()
        self.regulator.trips = self._default_trips()
        self.resistance_mode = False
        self.alarms.clear()

    # --- set points ---------------------------------------------------------------------------------

    def _need_remote(self) -> None:
        if not self.remote:
            raise ScpiError(-201)

    def _need_obedience(self) -> None:
        """Set points only: a supply that refuses them still switches."""
        self._need_remote()
        if self.regulator.faults.refuse:
            raise ScpiError(-200)

    def clamp(self, most_a: float) -> None:
        """Hold current set points, present and to come, silently at most at ``most_a``."""
        regulator = self.regulator
        regulator.advance()
        regulator.faults.clamp_a = most_a
        regulator.points.source_a = min(regulator.points.source_a, most_a)
        regulator.points.sink_a = min(regulator.points.sink_a, most_a)

    def by_hand(self, asked: dict[str, Any]) -> None:
        """Somebody at the front panel turns set points (``SetPoints`` fields) or the ``output``."""
        regulator = self.regulator
        regulator.advance()
        for field, value in asked.items():
            if field in vars(regulator.points):
                setattr(regulator.points, field, float(value))
                regulator.note(field)
        if asked.get("output") is not None:
            regulator.switch(bool(asked["output"]))

    def _hold(self, field: str, value: float) -> None:
        regulator = self.regulator
        regulator.advance()
        clamp_a = regulator.faults.clamp_a
        if clamp_a is not None and field in ("source_a", "sink_a"):
            value = min(value, clamp_a)
        setattr(regulator.points, field, value)
        regulator.note(field)

    def _set_resistance(self, text: str) -> None:
        self._need_obedience()
        self.sink_ohm = round(number(text, "OHM", self._least_ohm(), self._most_ohm()), 3)
        self._apply_resistance()

    def _set_mode(self, text: str) -> None:
        self._need_remote()
        if text.strip().upper() not in ("UIR", "UIP"):
            raise ScpiError(-104)
        if self.regulator.output:
            raise ScpiError(-221)
        self.resistance_mode = text.strip().upper() == "UIR"
        self._apply_resistance()

    def _apply_resistance(self) -> None:
        self.regulator.advance()
        self.regulator.points.sink_ohm = self.sink_ohm if self.resistance_mode else None

    def _least_ohm(self) -> float:
        return self.nominal["v"] / self.nominal["a"] / 50.0

    def _most_ohm(self) -> float:
        return RESISTANCE_SPAN * self.nominal["v"] / self.nominal["a"]

    # --- control and state ------------------------------------------------------------------------

    def _lock(self, text: str) -> None:
        wanted = boolean(text)
        if wanted and self.regulator.faults.local:
            raise ScpiError(-201)
        self.remote = wanted

    def _owner(self) -> str:
        if self.regulator.faults.local:
            return "LOCAL"
        return "REMOTE" if self.remote else "NONE"

    def take_local(self) -> None:
        """A person takes control at the front panel."""
        self.regulator.faults.local = True
        self.remote = False

    def _switch(self, text: str) -> None:
        self._need_remote()
        on = boolean(text)
        if on and self.alarms:
            raise ScpiError(-221)
        self.regulator.switch(on)

    def _output(self) -> str:
        self.regulator.advance()
        faults = self.regulator.faults
        if faults.stuck_on and self.regulator.flowing:
            return "ON" if self.regulator.output else faults.stuck_answer
        return "ON" if self.regulator.output else "OFF"

    @staticmethod
    def alarm_names() -> tuple[str, ...]:
        """Return the alarms that the status register can show."""
        return tuple(ALARM_BITS)

    def alarm(self, name: str) -> None:
        """Raise one of the device's own alarms: it stays until the error queue is read."""
        self.alarms.add(name)
        self.fail(ScpiError(-200, f"Execution error; {name} alarm"))

    def trip(self, name: str) -> None:
        """Switch off by an alarm of the device's own (over-temperature, mains)."""
        self.regulator.switch(False)
        self.alarm(name)

    def _pop_error(self) -> str:
        answer = super()._pop_error()
        if not self.errors:
            # Reading the queue is what acknowledges alarms whose cause is gone.
            self.alarms.clear()
        return answer

    def clear(self) -> None:
        """``*CLS`` acknowledges alarms like reading the queue does."""
        super().clear()
        self.alarms.clear()


def _nominal(kind: Kind) -> dict[str, float]:
    """Return nominal voltage, current and power; a row without them has no simulator."""
    spans = (
        (kind.voltage_min_v, kind.voltage_max_v),
        (kind.current_min_a, kind.current_max_a),
        (kind.power_min_w, kind.power_max_w),
    )
    found = {
        letter: max(abs(low or 0.0), abs(high or 0.0))
        for letter, (low, high) in zip("vaw", spans, strict=True)
    }
    if not all(found.values()):
        raise ValueError(f"{kind.label} states no nominal values")
    return found
