"""Take up a test of before a restart: held for a person, or resumed after the checks (rule 10)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cycler_unit import recovery
from cycler_unit.contract import Refusal
from cycler_unit.run import Run, status_event
from cycler_unit.spool import Entry, StoredRun
from cycling.reading import EndReason

if TYPE_CHECKING:
    from cycler_unit.conductor import Conductor

logger = logging.getLogger("cycler_unit.take_up")


def take_up(conductor: Conductor, stored: StoredRun) -> None:
    """Take up a test of before the restart: held for a person, or resumed after the checks (rule 10)."""
    conductor.pending = None
    try:
        run = recovery.restore(stored, conductor.station.composer.extended_names, conductor.station.period_s)
    except recovery.Unrecoverable as error:
        _give_up(conductor, stored, f"not taken up after the restart: {error}")
        return
    conductor.run = run
    why = conductor.station.unsafe or recovery.why_hold(run)
    if why is None and conductor.station.latched:
        why = f"the station is tripped: {conductor.station.kept.latches[0].text}"
    if why is None:
        try:
            conductor.wake.refuse_fault()
        except Refusal as refusal:
            why = refusal.text
    if why is not None:
        hold(conductor, run, why)
        return
    conductor.wake.begin("resume", recovery.expected(run), None)


def hold(conductor: Conductor, run: Run, why: str) -> None:
    """Keep a test paused until a person acknowledges and resumes or stops it."""
    if run.was_paused and conductor.station.latched:
        conductor.tell(run, "paused", why)  # the alarm of before the restart still stands
        return
    alarm = conductor.station.alarm("held", f"{run.start.name}: {why}", "hold", run.id)
    conductor.tell(run, "paused", why, alarm=alarm)


def _give_up(conductor: Conductor, stored: StoredRun, text: str) -> None:
    reason = EndReason(code="restart", text=text)
    event = status_event(conductor.station.id, stored.experiment, "error", reason)
    logger.error("event=experiment_given_up experiment=%s reason='%s'", stored.experiment, text)
    conductor.station.hub.spool.put(
        Entry(experiment=stored.experiment, events=[event], status="ended"), force=True
    )
