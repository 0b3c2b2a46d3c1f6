"""After a crash, a kill, a power cut or a restart (safety.md rule 10).

Outputs are off before anything here is asked: opening a device sends off first. Then each test that
was running is held for a person, or resumed by itself when everything that rule 10 asks for holds.
"""

from __future__ import annotations

import logging

import msgspec

from cycler_unit import contract
from cycler_unit.contract import Contract
from cycler_unit.run import Checkpoint, Run, expected_rest
from cycler_unit.spool import StoredRun
from cycler_unit.wiring import Expected
from cycling import check, envelope
from cycling.interpreter import CannotRun
from cycling.reading import FLAG_GAP
from wire.messages import ExperimentStart

logger = logging.getLogger("cycler_unit.recovery")


class Unrecoverable(Exception):
    """A test's record cannot be used; the text says why."""


def restore(stored: StoredRun, extended: list[str], period_s: float = 0.1) -> Run:
    """Return the test as its checkpoint knows it; raises :class:`Unrecoverable`."""
    if stored.checkpoint is None:
        raise Unrecoverable("the unit stopped before its first step")
    try:
        start = contract.decode_start(stored.start)
        saved = msgspec.json.decode(stored.checkpoint, type=Checkpoint)
        run = Run(start, _agreed(start), extended, saved, period_s=period_s)
    except (msgspec.MsgspecError, envelope.EnvelopeError, CannotRun) as error:
        raise Unrecoverable(str(error)) from error
    was_paused = run.interpreter.state == "paused"
    run.next_flags |= FLAG_GAP
    # Nobody saw when the output went off, so all of the gap counts; no cell takes more than it holds.
    charge_ah = saved.worst_a * (run.gap_s or 0.0) / 3600.0
    if start.capacity_ah is not None:
        charge_ah = max(-start.capacity_ah, min(start.capacity_ah, charge_ah))
    run.interpreter.after_gap(charge_in_ah=max(charge_ah, 0.0), charge_out_ah=max(-charge_ah, 0.0), hold=True)
    run.was_paused = was_paused
    run.rested = expected(run)
    return run


def _agreed(start: ExperimentStart) -> Contract:
    """Return what was agreed before the restart; it was checked then."""
    profile, problems = check.load(start.profile, strict=False)
    if profile is None:
        raise Unrecoverable(f"its profile cannot be read: {problems[0].message if problems else 'empty'}")
    return Contract(profile, envelope.parse(start.envelope))


def expected(run: Run) -> Expected | None:
    """Return where the rest voltage must lie for the checkpoint to be about this battery."""
    saved = run.saved
    if saved is None:
        return None
    return expected_rest(saved.voltage_v, saved.current_a, saved.resistance_ohm)


def why_hold(run: Run) -> str | None:
    """Return why a test must wait for a person, None when it may go on by itself.

    The wiring check with the expected rest voltage and the device's protections come after this.
    """
    start = run.start
    away = "an unknown time" if run.gap_s is None else f"{run.gap_s:.0f} s"
    if start.resume_policy != "resume":
        return f"the unit was away for {away}; this test waits for a person (resume policy: hold)"
    if run.gap_s is None:
        return "the unit was away for an unknown time: its clock was not synchronised"
    if run.gap_s > start.resume_within_s:
        return f"the unit was away for {away}, longer than resume_within_s = {start.resume_within_s:g} s"
    if run.was_paused:
        return f"the unit was away for {away}; the test was paused before"
    if why := not_resumable(run):
        return why
    if expected(run) is None:
        return "no resistance was measured before the break, so that the rest voltage cannot be judged"
    return None


def not_resumable(run: Run) -> str | None:
    """Return why the present step cannot be taken up in the middle, None when it can."""
    if run.interpreter.resumable:
        return None
    return "the running step cannot be taken up in the middle (only rest, cc, cv, cccv, cp and wait_for)"


__all__ = ["Unrecoverable", "expected", "not_resumable", "restore", "why_hold"]
