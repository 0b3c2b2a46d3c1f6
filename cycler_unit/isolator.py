"""The isolator: it switches at zero current only, and closes only below a voltage difference (rule 17).

``closed`` is 1 and ``open`` 0 of a switch; opening is its safe state.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cycler_unit.instruments import Instrument
from cycler_unit.readings import Taken
from wire.messages import StationConfigure

OPEN, CLOSED = 0.0, 1.0
# An output or control of this name is it, where a device has several switches.
NAME = "isolator"
# A relay has moved and been read back by then.
MOVED_S = 5.0
# Between two looks meanwhile: well inside the permit of an output (rule 8).
LOOK_S = 0.05
# Across an open isolator; more would push current into the device's capacitors on closing.
DIFFERENCE_V = 0.5


class Isolator:
    """A switch between device and cell; used by its station's thread only."""

    def __init__(self, instrument: Instrument, control: str, *, difference_v: float = DIFFERENCE_V) -> None:
        self.instrument, self.control = instrument, control
        self.difference_v = difference_v
        self.opened_at_v: float | None = None
        """The cell's voltage when it was opened."""

    @property
    def is_open(self) -> bool | None:
        """Say whether it is open, as read back; None while unknown."""
        held = self.instrument.held.get(self.control)
        return None if held is None else held == OPEN

    def open(self, taken: Taken | None, *, off: bool, force: bool = False) -> str | None:
        """Open it; return why not. ``off``: the output is confirmed off.

        ``force`` is for an output that does not go off: then the isolator is the last switch (rule 6).
        """
        if self.is_open:
            return None
        if not (off or force):
            return "the output is on: an isolator opens at zero current only"
        if taken is not None:
            self.opened_at_v = taken.voltage_v
        return self._move(OPEN)

    def close(
        self,
        device_v: float | None,
        cell_v: float,
        *,
        no_current: bool,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> str | None:
        """Close it; return why not. ``device_v`` and ``cell_v``: the voltages on both sides.

        ``meanwhile`` is done again and again until it has moved: the device's output may be on.
        """
        if self.is_open is False:
            return None
        if not no_current:
            return "current flows: an isolator closes at zero current only"
        if device_v is None:
            return "the device's voltage is missing, so the difference across the isolator is unknown"
        across_v = abs(device_v - cell_v)
        if across_v > self.difference_v:
            return (
                f"{across_v:.3f} V lie across the isolator ({device_v:.3f} V and {cell_v:.3f} V);"
                f" it closes below {self.difference_v:g} V"
            )
        return self._move(CLOSED, meanwhile)

    def _move(self, value: float, meanwhile: Callable[[], object] = lambda: None) -> str | None:
        """Write and wait until it is read back."""
        asked = self.instrument.write(self.control, value)
        until_s = time.monotonic() + MOVED_S
        while not asked.done.wait(LOOK_S):
            if time.monotonic() >= until_s:
                return f"the isolator does not answer: {self.instrument.why_not or 'too slow'}"
            meanwhile()
        if asked.error is not None:
            return f"the isolator did not move: {asked.error}"
        return None if asked.held == value else f"the isolator says {asked.held}, not {value:g}"


def of(configure: StationConfigure, instruments: dict[str, Instrument]) -> Isolator | None:
    """Return the station's isolator: the switch named so of the device with that role, or its first one."""
    device = next((each for each in configure.devices if each.role == "isolator"), None)
    if device is None:
        return None
    instrument = instruments[device.device]
    named = [each.control for each in configure.outputs if each.device == device.device and each.name == NAME]
    switches = [each.name for each in instrument.kind.controls if each.switch or each.unit == "bool"]
    switches.sort(key=lambda name: name != NAME)
    control = next(iter([*named, *switches]), None)
    if control is None:
        raise ValueError(f"{device.name or device.model} has the role isolator and no switch")
    return made(configure, instrument, control)


def made(configure: StationConfigure, instrument: Instrument, control: str) -> Isolator:
    """Return one switch of the station's current path."""
    return Isolator(
        instrument, control, difference_v=float(configure.limits.get("isolator_max_v", DIFFERENCE_V))
    )
