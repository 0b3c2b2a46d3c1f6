"""The auxiliary outputs of a station: pump, chamber, lamp, relay, and the isolator.

Set by steps and held until changed, each within its range and confirmed by what the device holds.
Nothing here waits: devices are written by their own threads, and each round looks what became of it.
On a trip the power device is off first, then outputs take their trip value.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from cycler_unit.drivers.errors import DeviceRefused
from cycler_unit.instruments import Instrument, Write
from wire.catalogue import Kind, KindControl
from wire.messages import StationConfigure, StationOutput

logger = logging.getLogger("cycler_unit.outputs")

# An output that does not hold its value after this is an error (a relay board by HTTP takes a second).
CONFIRM_S = 5.0
# A trip or safe value that was not confirmed is written again this often.
AGAIN_S = 1.0
CHAMBER = "temperature_c"


class BadOutput(ValueError):
    """An output names a device or control that the station does not have; the text says which."""


@dataclass
class Asked:
    """What an output shall hold, since when, and the write that is on its way."""

    value: float
    since_s: float
    write: Write
    strict: bool
    """A step asked for it: when it does not come, the test must end. Else it is only tried again."""


class Output:
    """One output: a control of one device under the station's name."""

    def __init__(self, row: StationOutput, instrument: Instrument) -> None:
        self.row, self.instrument = row, instrument
        self.control = _control(instrument.kind, row.control)
        if self.control is None:
            raise BadOutput(f"output {row.name}: {instrument.kind.label} has no control {row.control!r}")
        self.asked: Asked | None = None
        self._starts = _run_of(instrument.kind) if _is_chamber(self.control, instrument.kind) else None
        """A chamber that is given a temperature shall also condition."""

    @property
    def held(self) -> float | None:
        """Return what the device holds, as it was read back; None while unknown."""
        return self.instrument.held.get(self.row.control)

    @property
    def range(self) -> tuple[float, float]:
        """Return the smallest and the largest value: the station's range within the device's."""
        assert self.control is not None
        low = 0.0 if self.control.switch else None
        high = 1.0 if self.control.switch else None
        lows = [each for each in (self.row.minimum, self.control.minimum, low) if each is not None]
        highs = [each for each in (self.row.maximum, self.control.maximum, high) if each is not None]
        return max(lows, default=float("-inf")), min(highs, default=float("inf"))

    def why_not(self, value: float) -> str | None:
        """Return why ``value`` is not allowed, None when it is."""
        low, high = self.range
        if low - 1e-9 <= value <= high + 1e-9:
            return None
        return f"output {self.row.name} cannot be {value:g}: its range is {low:g} to {high:g}"

    def ask(self, value: float, *, strict: bool) -> None:
        """Let the device take a value; raises ``DeviceRefused`` outside the range."""
        if why := self.why_not(value):
            raise DeviceRefused(why)
        if self._starts is not None and strict:
            self.instrument.write(self._starts, 1.0)
        self.asked = Asked(value, time.monotonic(), self.instrument.write(self.row.control, value), strict)

    def bring(self, value: float) -> None:
        """Let the device take a safe, trip or finish value; never raises, so that no output keeps another.

        The device's own range counts: what steps may set is often narrower than what is safe.
        """
        control = self.control
        low = control.minimum if control is not None else None
        high = control.maximum if control is not None else None
        if (low is not None and value < low - 1e-9) or (high is not None and value > high + 1e-9):
            logger.error(
                "event=output_outside output='%s' value=%g range='%s to %s'", self.row.name, value, low, high
            )
            return
        self.asked = Asked(value, time.monotonic(), self.instrument.write(self.row.control, value), False)

    def refresh(self) -> None:
        """Write the value again though it did not change."""
        if self.asked is not None:
            self.asked.write = self.instrument.write(self.row.control, self.asked.value)

    def fits(self) -> bool:
        """Say whether the device holds what was asked."""
        return self.asked is None or self._holds(self.asked.value)

    def _holds(self, value: float) -> bool:
        held = self.held
        step = self.control.step if self.control is not None else 0.0
        # Half a step: a switch has steps of 1, and 0 is not 1.
        return held is not None and abs(held - value) <= 0.505 * step + 1e-6 * abs(value)

    def unconfirmed(self) -> str | None:
        """Say why the device does not hold what was asked, None when it does; for other threads too."""
        asked = self.asked  # once: the station's thread may ask for something else meanwhile
        if asked is None or (asked.write.done.is_set() and self._holds(asked.value)):
            return None
        return f"output {self.row.name} is not {asked.value:g}: {self.instrument.why_not or f'it holds {_number(self.held)}'}"

    def look(self, now_s: float) -> str | None:
        """Return why a value that a step asked for is not held; other values are written again."""
        asked = self.asked
        if asked is None or self.fits():
            if asked is not None:
                asked.since_s = now_s
            return None
        late = now_s - asked.since_s > CONFIRM_S
        if asked.strict:
            refused = asked.write.error if asked.write.done.is_set() else None
            if not (late or refused):
                return None
            why = refused or self.instrument.why_not or f"it holds {_number(self.held)}"
            return f"output {self.row.name} is not {asked.value:g}: {why}"
        if asked.write.done.is_set() and now_s - asked.since_s > AGAIN_S:
            asked.since_s = now_s
            asked.write = self.instrument.write(self.row.control, asked.value)
        return None


class Outputs:
    """All outputs of one station; used by its thread, ``shown`` by others."""

    def __init__(self, configure: StationConfigure, instruments: dict[str, Instrument]) -> None:
        rows = [*configure.outputs, *_chamber(configure, instruments)]
        self._by_name: dict[str, Output] = {}
        for row in sorted(rows, key=lambda row: row.name == CHAMBER):
            if row.device not in instruments:
                raise BadOutput(f"output {row.name}: the station has no auxiliary device {row.device}")
            # A chamber's set point that has a name of its own is temperature_c as well: one output, not two
            # that bring it to a safe value each.
            same = self._of(instruments[row.device], row.control)
            self._by_name[row.name] = same or Output(row, instruments[row.device])
        self._by_hand: dict[tuple[Instrument, str], Output] = {}
        """Controls that are no output of the station, and that somebody has set: Down means them too."""

    def set_by_hand(self, instrument: Instrument, device: str, control: str) -> None:
        """Keep in mind that a person sets a control, so that it falls back with everything else (rule 20)."""
        if self._of(instrument, control) is None:
            row = StationOutput(name=control, device=device, control=control)
            self._by_hand[instrument, control] = Output(row, instrument)

    def _of(self, instrument: Instrument, control: str) -> Output | None:
        same = (each for each in self._by_name.values() if each.instrument is instrument)
        return next((each for each in same if each.row.control == control), None)

    @property
    def _composed(self) -> list[Output]:
        """Return the station's outputs, each once though it may have two names."""
        return list(dict.fromkeys(self._by_name.values()))

    @property
    def _all(self) -> list[Output]:
        return [*self._composed, *list(self._by_hand.values())]

    @property
    def names(self) -> frozenset[str]:
        """Return the names that steps may set."""
        return frozenset(self._by_name)

    @property
    def shown(self) -> dict[str, float]:
        """Return what the outputs hold, as confirmed, for the heartbeat."""
        return {name: held for name, each in list(self._by_name.items()) if (held := each.held) is not None}

    def get(self, name: str) -> Output:
        """Return an output; raises ``DeviceRefused`` for one that the station does not have."""
        try:
            return self._by_name[name]
        except KeyError:
            raise DeviceRefused(f"the station has no output {name!r}") from None

    def value(self, name: str) -> float | None:
        """Return what an output holds as confirmed, None while unknown."""
        return self.get(name).held

    def refresh(self, name: str) -> None:
        """Write an output's value again: a dead-man output opens when this stays away (rule 3)."""
        self.get(name).refresh()

    def why_not(self, wanted: Iterable[tuple[str, float]]) -> str | None:
        """Return which value of a profile an output cannot take, None when all can."""
        for name, value in wanted:
            if name in self._by_name and (why := self._by_name[name].why_not(value)):
                return why
        return None

    def why_not_by_hand(self, instrument: Instrument, wanted: dict[str, float]) -> str | None:
        """Return which control of a device cannot be set so because the station narrows its range."""
        for each in self._by_name.values():
            value = wanted.get(each.row.control) if each.instrument is instrument else None
            if value is not None and (why := each.why_not(value)):
                return why
        return None

    def apply(self, wanted: dict[str, float]) -> None:
        """Set what changed; never waits. Raises ``DeviceRefused`` for a value outside the range."""
        asked: dict[Output, tuple[str, float]] = {}
        for name, value in wanted.items():
            output = self.get(name)
            before, same = asked.setdefault(output, (name, value))
            if same != value:
                raise DeviceRefused(
                    f"outputs {before} and {name} are one control: it cannot be {same:g} and {value:g}"
                )
            if output.asked is None or not output.asked.strict or output.asked.value != value:
                output.ask(value, strict=True)

    def look(self) -> str | None:
        """Return why an output does not hold what a step asked for, None when all is right."""
        now_s = time.monotonic()
        said = [each.look(now_s) for each in self._all]
        return next((each for each in said if each is not None), None)

    def let_go(self) -> None:
        """Let no value be an error any more: no step asks for them now; they stay as they are."""
        for each in self._all:
            each.asked = None

    def forget(self, instrument: Instrument, control: str) -> None:
        """Ask no more for what an end or a person wanted of a control: it is about to be moved as a switch."""
        if (same := self._of(instrument, control)) is not None:
            same.asked = None

    def trip(self) -> None:
        """Let each output take its trip value; the power device has been switched off before."""
        self._bring("on_trip")

    def finish(self) -> None:
        """Let each output take the value that it shall have after a normal end."""
        self._bring("on_finish")

    def safe(self) -> None:
        """Bring each output to its safe value (Down, a lost lease), by rising order."""
        ordered = sorted(self._all, key=lambda each: each.control.order if each.control else 0)
        for each in ordered:
            value = each.row.safe
            if value is None and each.control is not None:
                value = each.control.safe
            if value is not None:
                each.bring(value)

    def unconfirmed(self) -> list[str]:
        """Say which outputs do not hold what they were asked for last, and why; for other threads too."""
        return [why for each in self._all if (why := each.unconfirmed()) is not None]

    def settled(self) -> bool:
        """Say whether no write of an output that can be reached is on its way any more."""
        return all(
            each.asked is None or each.asked.write.done.is_set() or each.instrument.why_not is not None
            for each in self._all
        )

    def _bring(self, field: str) -> None:
        for each in self._composed:
            value: float | None = getattr(each.row, field)
            each.asked = None
            if value is not None:
                each.bring(value)
        for each in self._by_hand.values():
            if each.control is not None and each.control.safe is not None:
                each.bring(each.control.safe)


def _control(kind: Kind, name: str) -> KindControl | None:
    return next((each for each in kind.controls if each.name == name), None)


def _is_chamber(control: KindControl | None, kind: Kind) -> bool:
    """Say whether a control is the temperature that a chamber holds."""
    return control is not None and kind.type == "Chamber" and control.unit == "°C"


def _run_of(kind: Kind) -> str | None:
    """Return the control that lets a chamber work, None where it has none."""
    switches = [each.name for each in kind.controls if each.switch or each.unit == "bool"]
    return switches[0] if kind.type == "Chamber" and switches else None


def _chamber(configure: StationConfigure, instruments: dict[str, Instrument]) -> list[StationOutput]:
    """Return the chamber's set point as the output that ``temperature_c`` of a step sets."""
    if any(each.name == CHAMBER for each in configure.outputs):
        return []
    for key, instrument in instruments.items():
        if instrument.kind.type != "Chamber":
            continue
        for control in instrument.kind.controls:
            if _is_chamber(control, instrument.kind):
                return [StationOutput(name=CHAMBER, device=key, control=control.name)]
    return []


def problems(configure: StationConfigure) -> list[str]:
    """Name outputs that are declared twice."""
    names = [each.name for each in configure.outputs]
    return [f"output {name} is declared twice" for name in sorted(set(names)) if names.count(name) > 1]


def _number(value: float | None) -> str:
    return "an unknown value" if value is None else f"{value:g}"


__all__ = ["CHAMBER", "BadOutput", "Output", "Outputs", "problems"]
