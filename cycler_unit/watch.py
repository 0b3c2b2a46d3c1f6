"""Safety rule 17: a loaded battery is watched from load to eject, whatever its station does.

Every 10 s, after an hour every 60 s, from the station's own readings. Outside its limits, or emptier
faster than the station's measured leak explains: alarm ``draining``, isolator open. While a test runs
or a person controls by hand their own envelopes are judged at every reading; here the output is off.

How much faster: over the last hour the voltage may fall by what ten times the leak (an open-circuit
curve is up to ten times steeper at its ends than on average) takes out of the battery, at least 10 mV a
cell. A battery relaxes after a current, so this begins an hour after the last one; within that hour
only a fall of 5 % of its voltage window in 10 minutes counts, from 10 minutes after the current on. A
current that a device measures with the output off counts at once.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from cycler_unit.contract import Refusal
from cycler_unit.readings import Taken
from cycling import envelope, judge
from cycling.contract import Envelope, EnvelopeError
from cycling.limits import find
from cycling.reading import EndReason
from cycling.reasons import LIMIT
from wire.messages import StationBattery

FIRST_S, FIRST_FOR_S, LATER_S = 10.0, 3600.0, 60.0
# A battery that cannot be read for so many looks is not watched.
UNREAD = 3
RELAX_S, SOON_S = 3600.0, 600.0
SOON_SHARE = 0.05
STEEPER = 10.0
LEAST_V_PER_CELL = 0.010
# Looks in a row with a current that nobody switched on.
FLOWS = 3


@dataclass(frozen=True)
class Found:
    """What is wrong with a loaded battery."""

    code: str
    text: str
    reason: EndReason | None = None

    @property
    def left(self) -> dict[str, Any]:
        """Return the limit that was left, with what was measured; empty when none was."""
        reason = self.reason
        if reason is None or reason.code != LIMIT:
            return {}
        return {"quantity": reason.quantity, "limit": reason.limit, "measured": reason.measured}


@dataclass
class Memory:
    """What a watch remembers of one battery."""

    loaded_s: float
    due_s: float
    current_s: float
    """When current last flowed."""
    unread: int = 0
    flows: int = 0
    window: deque[tuple[float, float]] = field(default_factory=deque)


class Watch:
    """Watch one station's battery; used by its thread only. Times are monotonic."""

    def __init__(self, *, leak_a: float | None, i_off_a: float) -> None:
        self._leak_a, self._i_off_a = leak_a or 0.0, i_off_a
        self.battery: StationBattery | None = None
        self.limits: Envelope | None = None
        self._judge: judge.Watch | None = None
        self._memory = Memory(0.0, 0.0, 0.0)
        self._told: str | None = None
        """The code that was told already, until the battery is well again or ejected."""

    def load(self, args: StationBattery, now_s: float | None = None) -> None:
        """Take the battery that is loaded, None when it was ejected; raises :class:`Refusal`."""
        limits = _limits(args) if args.battery is not None else None
        now_s = time.monotonic() if now_s is None else now_s
        same = (
            self.battery is not None
            and args.battery is not None
            and self.battery.battery is not None
            and self.battery.battery.battery == args.battery.battery
        )
        self.battery = args if args.battery is not None else None
        self.limits = limits
        self._judge = judge.Watch(limits) if limits is not None else None
        if not same:
            self._memory = Memory(now_s, now_s, now_s)
            self._told = None

    @property
    def id(self) -> str | None:
        """Return the UUID of the loaded battery."""
        loaded = self.battery.battery if self.battery is not None else None
        return loaded.battery if loaded is not None else None

    @property
    def name(self) -> str:
        """Return the loaded battery's name."""
        loaded = self.battery.battery if self.battery is not None else None
        return loaded.name if loaded is not None else ""

    def due(self, now_s: float) -> bool:
        """Say whether the battery is to be looked at now."""
        return self.battery is not None and now_s >= self._memory.due_s

    def look(
        self, taken: Taken | None, *, output_on: bool, now_s: float, isolated: bool = False
    ) -> Found | None:
        """Look when it is due; return what is wrong, once. ``taken`` None: nothing could be read."""
        memory = self._memory
        if output_on:
            memory.current_s, memory.flows = now_s, 0
            memory.window.clear()
        if not self.due(now_s):
            return None
        memory.due_s = now_s + (FIRST_S if now_s - memory.loaded_s < FIRST_FOR_S else LATER_S)
        if output_on:
            memory.unread = 0
            return None  # the running test's or the person's envelope is judged at every reading
        found = self._look(taken, now_s, isolated)
        if found is None:
            if memory.unread == 0 and memory.flows == 0:
                self._told = None
            return None
        if self._told == found.code:
            return None
        self._told = found.code
        return found

    def _look(self, taken: Taken | None, now_s: float, isolated: bool) -> Found | None:
        memory = self._memory
        if isolated:
            # Behind an open isolator nothing drains through the station; the device sees itself only.
            memory.window.clear()
            memory.unread = 0
            return None
        if taken is None or taken.voltage_v is None:
            memory.unread += 1
            if memory.unread < UNREAD:
                return None
            return Found(
                "unwatched", f"the loaded battery {self.name} cannot be watched: its voltage is missing"
            )
        memory.unread = 0
        assert self._judge is not None
        reason = self._judge.judge(taken.reading(now_s - memory.loaded_s, False))
        if reason is not None:
            return Found(
                "draining", f"the loaded battery {self.name} is out of its limits: {reason.text}", reason
            )
        return self._drains(taken.voltage_v, taken.current_a, now_s)

    def _drains(self, voltage_v: float, current_a: float | None, now_s: float) -> Found | None:
        memory = self._memory
        allowed_a = max(self._i_off_a, self._leak_a)
        memory.flows = memory.flows + 1 if current_a is not None and abs(current_a) > allowed_a else 0
        if memory.flows >= FLOWS:
            return Found(
                "draining",
                f"{current_a:.3f} A flow through the loaded battery {self.name} with the output off",
            )
        if said := self._falls(voltage_v, now_s):
            return Found("draining", f"the loaded battery {self.name} drains: {said}")
        return None

    def _falls(self, voltage_v: float, now_s: float) -> str | None:
        memory = self._memory
        window = memory.window
        window.append((now_s, voltage_v))
        while now_s - window[0][0] > RELAX_S + LATER_S:
            window.popleft()
        since_s = now_s - memory.current_s
        if since_s >= 2.0 * RELAX_S:
            fell_v, span_s = _fall(window, now_s - RELAX_S, voltage_v, now_s)
            allowed_v = self._allowed_v(span_s)
            if span_s >= 0.9 * RELAX_S and fell_v > allowed_v:
                return f"{1000 * fell_v:.0f} mV in {span_s / 60:.0f} min, its station's leak explains {1000 * allowed_v:.0f} mV"
        if since_s >= 2.0 * SOON_S:
            fell_v, span_s = _fall(window, now_s - SOON_S, voltage_v, now_s)
            allowed_v = max(SOON_SHARE * self._window_v(), self._allowed_v(span_s))
            if fell_v > allowed_v:
                return (
                    f"{1000 * fell_v:.0f} mV in {span_s / 60:.0f} min, allowed are {1000 * allowed_v:.0f} mV"
                )
        return None

    def _window_v(self) -> float:
        """Return the battery's voltage window in V."""
        assert self.limits is not None
        high, low = find(self.limits, "voltage_v", "max"), find(self.limits, "voltage_v", "min")
        return high.operating - low.operating if high is not None and low is not None else 1.0

    def _allowed_v(self, span_s: float) -> float:
        """Return how far the station's leak may pull the voltage down in this time, in V."""
        assert self.battery is not None
        assert self.battery.battery is not None
        ref = self.battery.battery
        least_v = LEAST_V_PER_CELL * ref.cells_in_series
        if not ref.capacity_ah:
            return least_v
        share = self._leak_a * span_s / 3600.0 / ref.capacity_ah
        return max(least_v, STEEPER * share * self._window_v())

    def acknowledged(self) -> None:
        """Tell again what is still so: a person has seen the alarm, and the battery is no better."""
        self._told = None


def _fall(
    window: deque[tuple[float, float]], from_s: float, voltage_v: float, now_s: float
) -> tuple[float, float]:
    """Return by how much the voltage fell since ``from_s``, and over which time really."""
    for at_s, value_v in window:
        if at_s >= from_s:
            return value_v - voltage_v, now_s - at_s
    return 0.0, 0.0


def _limits(args: StationBattery) -> Envelope:
    """Return the battery's limits in this station; raises :class:`Refusal` for a text that differs."""
    if envelope.sha256(args.envelope) != args.envelope_sha256:
        raise Refusal("the battery's limits are not the ones that were agreed: their SHA-256 differs", 2)
    try:
        return envelope.parse(args.envelope)
    except EnvelopeError as error:
        raise Refusal(str(error), 2) from None
