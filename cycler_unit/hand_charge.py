"""The charge budget of a battery that people control by hand (safety.md rule 15), kept over restarts.

Counted for each battery from its first manual control on, also what tests move in between: a budget
that only saw one side would trip though the charge went back, or never.
"""

from __future__ import annotations

import logging
import sqlite3
import time

import msgspec

from cycler_unit.drivers.base import Target
from cycler_unit.readings import Taken
from cycler_unit.spool import Spool, connect
from cycling import counters, derived, judge
from cycling.contract import Envelope
from cycling.reading import EndReason
from cycling.state import BudgetMemory, Counters

logger = logging.getLogger("cycler_unit.by_hand")

# While current flows the count is kept this often, ahead by what may flow until the next time: after a
# kill it is never too small.
SAVE_S = 5.0
# What is queued for the disk is waited for so long, while nothing flows.
QUEUED_S = 0.5


class Count(msgspec.Struct, kw_only=True):
    """What a battery took and gave, and where its present direction began."""

    counters: Counters
    budget: BudgetMemory
    reversal_ah: float


class HandCharge:
    """Count what one battery after the other takes and gives; used by its station's thread only."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._battery: str | None = None
        self._count: Count | None = None
        self._before: tuple[float, float, float] | None = None
        self._save_s = 0.0

    def take(
        self,
        battery: str | None,
        taken: Taken,
        *,
        on: bool,
        limits: Envelope | None = None,
        asked_a: float = 0.0,
    ) -> EndReason | None:
        """Count up to a reading; return why the charge must end, None while it may go on.

        ``limits`` are those of a battery's manual control, None while nobody has it by hand. A reading
        without a current counts as the one before it.
        """
        if battery != self._battery:
            self._battery, self._before = battery, None
            self._count = self._kept(battery, wait=not on)
        if battery is not None and on and limits is not None and limits.reversal_ah is not None:
            if self._count is None:
                self._count = Count(
                    counters=Counters(), budget=BudgetMemory(), reversal_ah=limits.reversal_ah
                )
            self._count.reversal_ah = limits.reversal_ah
        count = self._count
        if count is None:
            return None
        one_way_ah = self._add(count, taken, on)
        self._keep_in_time(count, on, asked_a)
        if limits is None or not on:
            return None
        return judge.charge(counters.net_ah(count.counters), one_way_ah, limits, taken.taken_s)

    def _add(self, count: Count, taken: Taken, on: bool) -> float:
        """Count up to a reading; return what has flowed one way in Ah."""
        before = self._before
        last_v, last_a = before[1:] if before is not None else (0.0, 0.0)
        volts = last_v if taken.voltage_v is None else taken.voltage_v
        amperes = last_a if taken.current_a is None else taken.current_a
        self._before = (taken.taken_s, volts, amperes) if on else None
        if before is not None and on:
            counters.add(count.counters, taken.taken_s - before[0], last_v, last_a, volts, amperes)
        return derived.one_way_ah(count.budget, counters.net_ah(count.counters), count.reversal_ah)

    # --- on the disk ------------------------------------------------------------------------------

    def _keep_in_time(self, count: Count, on: bool, asked_a: float) -> None:
        """Keep the count when current begins, every ``SAVE_S`` while it flows, and when it has ended."""
        now_s = time.monotonic()
        if not on:
            if self._save_s:
                self._save_s = 0.0
                self._keep(count)
            return
        if now_s < self._save_s:
            return
        self._save_s = now_s + SAVE_S
        flows_a = self._before[2] if self._before is not None else 0.0
        larger_a = asked_a if abs(asked_a) > abs(flows_a) else flows_a
        ahead = msgspec.structs.replace(count, counters=counters.copy(count.counters))
        # Twice the period: the disk may take its time.
        counters.add(ahead.counters, 2.0 * SAVE_S, 0.0, larger_a, 0.0, larger_a)
        self._keep(ahead)

    def _keep(self, count: Count) -> None:
        row = (_key(self._battery), msgspec.json.encode(count).decode())
        self._spool.do(lambda db: db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", row))

    def _kept(self, battery: str | None, *, wait: bool) -> Count | None:
        if battery is None:
            return None
        if wait:  # for what the station before a change has just queued; never while current flows
            self._spool.commit(QUEUED_S)
        try:
            db = connect(self._spool.path)
            try:
                row = db.execute("SELECT value FROM meta WHERE key = ?", (_key(battery),)).fetchone()
            finally:
                db.close()
            return msgspec.json.decode(row[0], type=Count) if row else None
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            logger.error("event=charge_by_hand_unreadable battery=%s reason='%s'", battery, error)
            return None


def asked_a(target: Target | None) -> float:
    """Return the current that a set point may bring at most, in A; charging where it says neither."""
    if target is None:
        return 0.0
    if target.current_a is not None:
        return target.current_a
    if target.direction == "discharge":
        return -target.discharge_current_max_a
    return target.charge_current_max_a


def _key(battery: str | None) -> str:
    return f"hand_charge:{battery}"
