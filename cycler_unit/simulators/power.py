"""A simulated power device on a text link: its power stage's faults, shared by supplies and loads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Asked, Clock, Refused
from cycler_unit.simulators.links import Port
from cycler_unit.simulators.regulator import Regulator
from cycler_unit.simulators.text import TextDevice

# A drift slow enough to pass several control periods on its way over a limit.
DRIFT_V_S = 0.05


class PowerInstrument(Protocol):
    """What a family says of its own: the bytes, and what a hand at its front panel does."""

    regulator: Regulator

    def handle(self, message: str) -> str | None:
        """Execute a message and return its answer."""

    def alarm_names(self) -> tuple[str, ...]:
        """Return the alarms that it can raise."""

    def trip(self, name: str) -> None:
        """Switch off by an alarm of its own."""

    def take_local(self) -> None:
        """Let a person take control at the front panel."""

    def clamp(self, most_a: float) -> None:
        """Hold current set points silently at most at ``most_a``."""

    def by_hand(self, asked: dict[str, Any]) -> None:
        """Change set points or the output at the front panel."""

    def reboot(self) -> None:
        """Start as after mains loss."""


class PowerTextDevice(TextDevice):
    """One simulated supply or load with its ports; ``circuit`` is its own or shared with others."""

    def __init__(
        self,
        name: str,
        model: str,
        ports: Sequence[Port],
        instrument: PowerInstrument,
        *,
        clock: Clock,
        circuit: Circuit,
        serial_number: str = "",
    ) -> None:
        super().__init__(name, model, ports, clock=clock, circuit=circuit)
        self.instrument, self.serial_number = instrument, serial_number

    def handle(self, line: str) -> str | None:
        """Let the instrument execute one line."""
        return self.instrument.handle(line)

    def truth(self) -> dict[str, Any]:
        """Return the power stage's truth."""
        return self.instrument.regulator.truth()

    def history(self) -> list[dict[str, Any]]:
        """Return every set point and switching, with the charge moved until then."""
        self.instrument.regulator.advance()
        return list(self.instrument.regulator.history)

    def fault(self, name: str, asked: Asked) -> bool:
        """Break link, supply or circuit."""
        known = super().fault(name, asked)
        if known and name == "wrong_cell":
            self.instrument.regulator.note("cell")
        return known

    def break_it(self, name: str, asked: Asked) -> bool:
        """Break the supply itself; see the table in ``control.py``."""
        regulator, faults = self.instrument.regulator, self.instrument.regulator.faults
        regulator.advance()
        if name == "freeze":
            faults.frozen = regulator.measure()
        elif name == "drift":
            faults.drift_offset_v = float(asked.get("offset_v", 0.0))
            faults.drift_v_s = float(asked.get("rate_v_s", 0.0 if "offset_v" in asked else DRIFT_V_S))
            faults.drift_since_s = regulator.now_s()
        elif name == "noise":
            faults.noise_v = float(asked.get("voltage_v", 0.01))
            faults.noise_a = float(asked.get("current_a", 0.01))
        elif name == "stuck_on":
            faults.stuck_answer = _on_or_off(asked)
            faults.stuck_on = True
        elif name == "sense_open":
            faults.sense_share = float(asked.get("share", 0.0))
        else:
            return self._break_control(name, asked)
        return True

    def _break_control(self, name: str, asked: Asked) -> bool:
        """Faults of what the supply takes and who moves it."""
        instrument, faults = self.instrument, self.instrument.regulator.faults
        if name == "sensor_off":
            faults.sensor_off = True
        elif name == "refuse":
            faults.refuse = True
        elif name == "clamp":
            instrument.clamp(float(asked.get("current_a", 0.5)))
        elif name == "alarm":
            self._alarm(str(asked.get("name", "OT")))
        elif name == "local":
            instrument.take_local()
        elif name == "panel_change":
            instrument.by_hand(asked)
        else:
            return False
        return True

    def _alarm(self, name: str) -> None:
        if name not in self.instrument.alarm_names():
            raise Refused(f"no alarm {name!r}; there are {', '.join(self.instrument.alarm_names())}")
        self.instrument.trip(name)

    def reboot(self) -> None:
        """Start as after mains loss: output off."""
        self.instrument.reboot()

    def repair(self) -> None:
        """Clear the supply's faults."""
        self.instrument.regulator.release()


def _on_or_off(asked: Asked) -> str:
    answers = str(asked.get("answers", "OFF")).upper()
    if answers not in ("ON", "OFF"):
        raise Refused("answers is ON or OFF")
    return answers
