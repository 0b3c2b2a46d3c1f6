"""The charge budget of a battery that a person controls by hand (safety.md rule 15), counted over all leases."""

from __future__ import annotations

from cycler_unit.readings import Taken
from cycling import counters, derived, judge
from cycling.contract import Envelope
from cycling.reading import EndReason
from cycling.state import BudgetMemory, Counters


class HandCharge:
    """Count what one battery after the other takes and gives by hand; used by its station's thread only."""

    def __init__(self) -> None:
        self._battery: str | None = None
        self._begin(None)

    def _begin(self, battery: str | None) -> None:
        self._battery = battery
        self._counted, self._budget = Counters(), BudgetMemory()
        self._before: tuple[float, float, float] | None = None

    def judge(self, battery: str | None, taken: Taken, limits: Envelope, *, on: bool) -> EndReason | None:
        """Count up to a reading; return why the charge must end, None while it may go on.

        A reading without a current counts as the one before it. Another battery begins anew.
        """
        if battery != self._battery:
            self._begin(battery)
        before = self._before
        if not on:
            self._before = None
            return None
        last_v, last_a = before[1:] if before is not None else (0.0, 0.0)
        volts = last_v if taken.voltage_v is None else taken.voltage_v
        amperes = last_a if taken.current_a is None else taken.current_a
        self._before = taken.taken_s, volts, amperes
        if before is not None:
            counters.add(self._counted, taken.taken_s - before[0], last_v, last_a, volts, amperes)
        net_ah = counters.net_ah(self._counted)
        reversal_ah = limits.reversal_ah
        one_way_ah = 0.0 if reversal_ah is None else derived.one_way_ah(self._budget, net_ah, reversal_ah)
        return judge.charge(net_ah, one_way_ah, limits, taken.taken_s)
