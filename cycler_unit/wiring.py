"""Safety rule 4, at rest: is what hangs on the leads the battery that it should be?

Before the first step, before a resume and after a crash: with the output off the voltage must be
steady, of the right sign, inside the envelope, near what is expected, and all devices of the
station must agree. Catches reversed leads, an empty holder with a charged capacitor, a wrong cell.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from cycler_unit.readings import Taken
from cycling import words
from cycling.envelope import Envelope
from cycling.judge import judged

# safety.md rule 4.
STEADY_V = 0.005
# Devices of one station agree within the sum of their accuracies, at least this.
AGREE_MIN_V = 0.020
# "Near" the expected rest voltage: rule 10 says 50 mV per cell.
NEAR_V_PER_CELL = 0.050
# A slow meter or monitor that is just beginning is waited for this long.
SEEN_S = 10.0
# Three means are compared, so that the noise of single readings does not count as drift.
PARTS = 3


@dataclass(frozen=True)
class Expected:
    """Where the rest voltage should lie, in V, and who says so."""

    low_v: float
    high_v: float
    source: str

    def why_not(self, voltage_v: float, cells: int) -> str | None:
        """Return why ``voltage_v`` is not it, None when it is."""
        slack_v = NEAR_V_PER_CELL * cells
        if self.low_v - slack_v <= voltage_v <= self.high_v + slack_v:
            return None
        span = (
            f"{self.low_v:.3f} V" if self.low_v == self.high_v else f"{self.low_v:.3f} to {self.high_v:.3f} V"
        )
        return (
            f"the voltage at rest is {voltage_v:.3f} V, but {self.source} says {span}"
            f" (within {1000 * slack_v:.0f} mV): another battery? Confirm its voltage when you file the test again"
        )


@dataclass
class WiringCheck:
    """Collect readings until the check is decided; times in seconds."""

    envelope: Envelope
    cells: int
    expected: Expected | None
    steady_s: float
    timeout_s: float
    accuracies_v: dict[str, float] = field(default_factory=dict)
    """Voltage accuracy by device UUID; ``""`` is the power device."""
    rest_voltage_v: float | None = None
    _window: deque[tuple[float, float]] = field(default_factory=deque)
    _began_s: float | None = None
    _missing: int = 0

    def add(self, taken: Taken) -> str | None:
        """Take a reading with the output off. Returns None: not decided yet; "": passed; else why not."""
        if self._began_s is None:
            self._began_s = taken.taken_s
        if taken.voltage_v is None or taken.current_a is None:
            self._missing += 1
            return "the power device gives no voltage or current" if self._missing >= 3 else None
        self._missing = 0
        if taken.voltage_v <= 0.0:
            return f"the voltage is {taken.voltage_v:.3f} V: the leads are reversed or the holder is empty"
        if why := self._outside(taken.voltage_v) or self._disagree(taken):
            return why
        verdict = self._steady(taken.taken_s, taken.voltage_v)
        return self._unseen(taken) if verdict == "" else verdict

    def awaits(self, taken: Taken) -> bool:
        """Say whether a value that the test needs has not come yet and still may."""
        return self._unseen(taken) is None

    def _unseen(self, taken: Taken) -> str | None:
        """Return "" when every value is there without which the first reading of the test would trip.

        None while one may still come: a monitor speaks once a second, and not before it was found.
        """
        found = {"temperature_c": taken.temperature_c, **taken.extended}
        needed = (each for each in judged(self.envelope) if not each.delay_s)
        absent = sorted(
            {words.name(each.quantity) for each in needed if found.get(each.quantity, 0.0) is None}
        )
        if not absent:
            return ""
        if self._began_s is None or taken.taken_s - self._began_s < SEEN_S:
            return None
        return f"{', '.join(absent)} could not be read for {SEEN_S:.0f} s, and the test has limits on it"

    def _steady(self, now_s: float, voltage_v: float) -> str | None:
        window = self._window
        window.append((now_s, voltage_v))
        while len(window) > 1 and now_s - window[1][0] >= self.steady_s:
            window.popleft()
        span_s = now_s - window[0][0]
        if span_s < self.steady_s or len(window) < 2 * PARTS:
            return self._late(now_s, "it could not be read often enough")
        means = _means([value for _, value in window])
        drift_v = max(means) - min(means)
        if drift_v > STEADY_V:
            return self._late(now_s, f"it moves by {1000 * drift_v:.1f} mV in {span_s:.1f} s, more than 5 mV")
        self.rest_voltage_v = sum(means) / len(means)
        return (self.expected.why_not(self.rest_voltage_v, self.cells) if self.expected else None) or ""

    def _late(self, now_s: float, why: str) -> str | None:
        assert self._began_s is not None
        if now_s - self._began_s < self.timeout_s:
            return None
        return f"the voltage at rest is not steady after {self.timeout_s:.0f} s: {why}; an empty holder?"

    def _outside(self, voltage_v: float) -> str | None:
        for limit in self.envelope.limits:
            if limit.quantity != "voltage_v":
                continue
            if voltage_v > limit.trip if limit.side == "max" else voltage_v < limit.trip:
                word = "above" if limit.side == "max" else "below"
                return f"the voltage at rest is {voltage_v:.3f} V, {word} the limit of {limit.trip:.3f} V"
        return None

    def _disagree(self, taken: Taken) -> str | None:
        assert taken.voltage_v is not None
        for device, other in taken.others.items():
            if other.voltage_v is None or device not in self.accuracies_v:
                continue
            allowed_v = max(AGREE_MIN_V, self.accuracies_v.get("", 0.0) + self.accuracies_v[device])
            if abs(other.voltage_v - taken.voltage_v) > allowed_v:
                return (
                    f"two devices of the station disagree: {taken.voltage_v:.3f} V and {other.voltage_v:.3f} V,"
                    f" allowed are {1000 * allowed_v:.0f} mV: a lead is off or on another battery"
                )
        return None


def _means(values: list[float]) -> list[float]:
    size = len(values) / PARTS
    parts = [values[round(i * size) : round((i + 1) * size)] for i in range(PARTS)]
    return [sum(part) / len(part) for part in parts]
