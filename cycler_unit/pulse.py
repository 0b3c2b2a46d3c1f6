"""Safety rule 4 (B): a small pulse each way tells a battery from what only shows its voltage.

After the check at rest. The voltage must answer with the right sign, by a resistance between a third
and three times its record (the first time it is recorded), and come back when the pulse is over. Catches
an empty holder with a charged capacitor, crossed sense leads, an open lead, another battery.

Each pulse is done in one go, under a second and never longer than two, every reading judged by the
envelope; between two pulses the station's loop turns, with the output off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from cycler_unit.contract import Refusal
from cycler_unit.drivers.errors import DeviceLost, DriverError
from cycler_unit.power import target
from cycler_unit.readings import Taken
from cycling import counters
from cycling.envelope import Envelope
from cycling.judge import Watch
from cycling.limits import operating
from cycling.reading import SetPoint
from cycling.state import Counters
from wire.messages import BatteryRef

if TYPE_CHECKING:
    from cycler_unit.station import Station

Way = Literal["charge", "discharge"]

# Shares of the capacity per hour, tried until the answer is large enough to be read.
RATES = (0.05, 0.25, 1.0)
# Where no capacity is known: shares of the largest current allowed.
SHARES = (0.01, 0.05, 0.2)
# A pulse lasts this long, and longer only until enough readings are there; never more than the last.
PULSE_S, PULSE_MAX_S, READINGS = 0.6, 2.0, 3
# So long after a pulse the voltage must have come back.
RECOVER_S = 0.4
# An answer of so many resolution steps and at least so much is judged; a current of so many steps.
ANSWER_STEPS, ANSWER_V, CURRENT_STEPS = 10.0, 0.002, 10.0
# At the largest current an answer of this many steps has to do.
LEAST_STEPS = 3.0
# What a capacitor keeps of a pulse; a battery gives its ohmic part back at once.
KEPT_SHARE = 0.8
# Less than this may be the drift that the check at rest allows.
DRIFT_V = 0.010
FACTOR = 3.0
# At most so long apart are the readings of a pulse.
SPACING_S = 0.05


@dataclass(frozen=True)
class Answer:
    """What one pulse showed."""

    way: Way
    asked_a: float
    current_a: float
    change_v: float
    error_v: float
    """What the change of the voltage may be wrong by, from the resolution."""

    @property
    def ohm(self) -> float:
        """Return the resistance."""
        return self.change_v / self.current_a

    @property
    def error_ohm(self) -> float:
        """Return what the resistance may be wrong by."""
        return self.error_v / abs(self.current_a)


@dataclass
class PulseCheck:
    """Do the pulses of one start or resume; ``add`` is called with each reading at rest."""

    station: Station
    envelope: Envelope
    battery: BatteryRef
    record_ohm: float | None
    rest_v: float
    ways: Sequence[Way]
    now: Callable[[], float] = time.monotonic
    total: Counters = field(default_factory=Counters)
    answers: list[Answer] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    _queue: list[tuple[Way, list[float]]] = field(default_factory=list)
    _before_v: list[float] = field(default_factory=list)
    _last: Answer | None = None
    _off_s: float = 0.0
    _missing: int = 0

    def __post_init__(self) -> None:
        """Find the currents to be tried each way."""
        self._watch = Watch(self.envelope)
        for way in self.ways:
            if (why := self._no_room(way)) is not None:
                self.skipped.append(f"{way}: {why}")
            elif levels := levels_a(self.envelope, self.battery.capacity_ah, way):
                self._queue.append((way, self._begin_with(levels)))
            else:
                self.skipped.append(f"{way}: no current that the device can resolve lies inside the limits")

    @property
    def resistance_ohm(self) -> float | None:
        """Return the mean of both ways, None when no answer was large enough."""
        return fmean(each.ohm for each in self.answers) if self.answers else None

    def add(self, taken: Taken) -> bool:
        """Take a reading with the output off; True when all pulses are done and right.

        Raises :class:`Refusal` (rule 4) for what is no battery, or not this one.
        """
        if taken.voltage_v is None:
            self._missing += 1
            if self._missing >= READINGS:
                raise Refusal("the voltage is missing between the pulses", 4)
            return False
        self._missing = 0
        if self._last is not None and taken.taken_s - self._off_s < RECOVER_S:
            return False
        if self._last is not None:
            self._judge(self._last, self._kept(self._last, taken.voltage_v))
            self._last = None
            self._before_v.clear()
        if not self._queue:
            return True
        # Two readings at rest, so that one noisy one does not become a resistance.
        self._before_v.append(taken.voltage_v)
        if len(self._before_v) < 2:
            return False
        way, levels = self._queue[0]
        self._last = self._pulse(way, levels[0], fmean(self._before_v))
        if self._last is not None:
            levels.pop(0)
        else:
            self._before_v.clear()  # broken off for something urgent: if the check goes on, once more
        return False

    # --- one pulse --------------------------------------------------------------------------------

    def _pulse(self, way: Way, amperes: float, before_v: float) -> Answer | None:
        """Send a pulse and read while it lasts; off afterwards, confirmed.

        None: the device was lost, or something that must not wait (a stop, the zone) broke it off.
        """
        station, asked_a = self.station, amperes if way == "charge" else -amperes
        readings: list[Taken] = []
        began_s = self.now()
        try:
            station.power.apply(target(self._point(way, asked_a)))
            while not self._enough(readings, self.now() - began_s) and not station.wanted_elsewhere:
                readings.append(station.read())
                self._violates(readings[-1])
                time.sleep(min(SPACING_S, station.period_s))
        except DeviceLost:
            raise  # the station's round switches off by reaching it again
        except DriverError as error:
            station.switch_off()
            raise Refusal(f"the device does not take a pulse of {asked_a:g} A: {error}", 4) from None
        except Refusal:
            station.switch_off()
            raise
        off = station.switch_off()
        self._off_s = self.now()
        self._count(readings, asked_a, self._off_s - began_s)
        if off is None:
            return None
        if not off.confirmed:
            raise Refusal(f"not confirmed off after a pulse: {off.text}", 4)
        if not self._enough(readings, self._off_s - began_s):
            return None
        return self._answer(way, asked_a, before_v, readings)

    def _point(self, way: Way, current_a: float) -> SetPoint:
        return SetPoint(
            mode="cc",
            direction=way,
            current_a=current_a,
            voltage_max_v=operating(self.envelope, "voltage_v", "max"),
            voltage_min_v=operating(self.envelope, "voltage_v", "min"),
            charge_current_max_a=max(current_a, 0.0),
            discharge_current_max_a=max(-current_a, 0.0),
        )

    @staticmethod
    def _enough(readings: list[Taken], passed_s: float) -> bool:
        return passed_s >= PULSE_MAX_S or (passed_s >= PULSE_S and len(readings) >= 2 * READINGS)

    def _violates(self, taken: Taken) -> None:
        reason = self._watch.judge(taken.reading(taken.taken_s, True))
        if reason is not None:
            raise Refusal(f"in the pulse: {reason.text}", 4, reason)

    def _count(self, readings: list[Taken], asked_a: float, lasted_s: float) -> None:
        """Count the pulse at its worst: what was asked or what flowed, all of the time."""
        worst_a = max([asked_a, *(each.current_a or 0.0 for each in readings)], key=abs)
        counters.add(self.total, lasted_s, self.rest_v, worst_a, self.rest_v, worst_a)

    def _answer(self, way: Way, asked_a: float, before_v: float, readings: list[Taken]) -> Answer:
        late = readings[len(readings) // 2 :]
        volts = [each.voltage_v for each in late if each.voltage_v is not None]
        amperes = [each.current_a for each in late if each.current_a is not None]
        if not volts or not amperes:
            raise Refusal("voltage or current is missing in the pulse", 4)
        step = self.envelope.resolution
        current_a = fmean(amperes)
        if current_a * asked_a <= 0.0 or abs(current_a) < 0.5 * abs(asked_a):
            raise Refusal(
                f"of a {way} pulse of {asked_a:g} A only {current_a:.4g} A flow, at {fmean(volts):.3f} V: "
                "a lead is open, or the holder is empty",
                4,
            )
        return Answer(way, asked_a, current_a, fmean(volts) - before_v, step.voltage_v)

    # --- the verdict ------------------------------------------------------------------------------

    def _kept(self, answer: Answer, after_v: float) -> float:
        """Return what stayed of a pulse in V when that is most of it, else 0.0."""
        kept_v = after_v - fmean(self._before_v)
        visible_v = max(ANSWER_STEPS * answer.error_v, ANSWER_V)
        stays = kept_v * answer.change_v > 0 and abs(kept_v) > KEPT_SHARE * abs(answer.change_v)
        return kept_v if stays and abs(kept_v) > visible_v else 0.0

    def _judge(self, answer: Answer, kept_v: float) -> None:
        """Take the answer, or go on to a larger current while it is too small or in doubt."""
        levels = self._queue[0][1]
        moved_v = answer.change_v if answer.current_a > 0 else -answer.change_v
        wanted_v = max(ANSWER_STEPS * answer.error_v, ANSWER_V)
        if moved_v < -wanted_v:
            raise Refusal(
                f"a {answer.way} pulse of {answer.current_a:.4g} A moved the voltage by "
                f"{1000 * answer.change_v:.1f} mV, the wrong way: leads are crossed",
                4,
            )
        # A battery that still relaxes after its last use may drift by a little: a larger pulse tells.
        if levels and (moved_v < wanted_v or 0.0 < abs(kept_v) < DRIFT_V):
            return
        if kept_v:
            raise Refusal(
                f"a pulse of {answer.current_a:.4g} A moved the voltage by {1000 * answer.change_v:.1f} mV and "
                f"{1000 * kept_v:.1f} mV stayed: a charged capacitor, not a battery; is the holder empty?",
                4,
            )
        self._queue.pop(0)
        if moved_v < max(LEAST_STEPS * answer.error_v, ANSWER_V / 2):
            self._too_small(answer)
            return
        self._compare(answer)
        self.answers.append(answer)

    def _too_small(self, answer: Answer) -> None:
        self.skipped.append(f"{answer.way}: the voltage does not move visibly at {answer.current_a:.4g} A")
        if self.record_ohm is not None:
            self._compare(answer)

    def _compare(self, answer: Answer) -> None:
        known = self.record_ohm
        if known is None:
            return
        # A step of the voltage and the reading before it: both may be off by one step.
        slack = 2.0 * answer.error_ohm + ANSWER_V / 4 / abs(answer.current_a)
        if known / FACTOR - slack <= answer.ohm <= known * FACTOR + slack:
            return
        raise Refusal(
            f"a {answer.way} pulse finds {1000 * answer.ohm:.4g} mOhm, the record of {self.battery.name} says "
            f"{1000 * known:.4g} mOhm (a third to three times that is allowed): another battery, or a bad contact",
            4,
        )

    def _begin_with(self, levels: list[float]) -> list[float]:
        """Leave out currents that the recorded resistance answers with too little voltage."""
        if self.record_ohm is None:
            return levels
        wanted_v = max(ANSWER_STEPS * self.envelope.resolution.voltage_v, ANSWER_V)
        seen = [a for a in levels if a * self.record_ohm >= wanted_v]
        return seen or levels[-1:]

    def _no_room(self, way: Way) -> str | None:
        """Return why the voltage is too near a limit for a pulse, None when it is not."""
        side: Literal["max", "min"] = "max" if way == "charge" else "min"
        limit_v = operating(self.envelope, "voltage_v", side)
        if limit_v is None or abs(limit_v - self.rest_v) > 0.010 * self.envelope.cells_in_series:
            return None
        return f"{self.rest_v:.3f} V is at the limit of {limit_v:.3f} V"


def levels_a(envelope: Envelope, capacity_ah: float | None, way: Way) -> list[float]:
    """Return the currents (magnitudes, A, rising) of the pulses one way; empty: none can be used.

    A twentieth of the capacity per hour first; nothing outside the operating limits of current and power.
    """
    side: Literal["max", "min"] = "max" if way == "charge" else "min"
    most_a = abs(operating(envelope, "current_a", side) or 0.0)
    highest_v, most_w = operating(envelope, "voltage_v", "max"), operating(envelope, "power_w", side)
    if most_w is not None and highest_v:
        most_a = min(most_a, abs(most_w) / highest_v)
    wanted = [x * capacity_ah for x in RATES] if capacity_ah else [x * most_a for x in SHARES]
    least_a = max(CURRENT_STEPS * envelope.resolution.current_a, 1e-9)
    found = sorted({min(max(a, least_a), most_a) for a in wanted})
    return [a for a in found if a >= least_a]


def ways(envelope: Envelope, unguarded: Sequence[str] = ()) -> list[Way]:
    """Return the directions in which a pulse may go: allowed by the envelope and not left unguarded."""
    found: list[Way] = []
    if (operating(envelope, "current_a", "max") or 0.0) > 0.0 and "charge" not in unguarded:
        found.append("charge")
    if (operating(envelope, "current_a", "min") or 0.0) < 0.0 and "discharge" not in unguarded:
        found.append("discharge")
    return found
