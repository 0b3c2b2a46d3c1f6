"""The test of one station: start, go on, pause, resume, stop, and every way in which it can end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from cycler_unit import take_up
from cycler_unit.contact import Contact
from cycler_unit.contract import Refusal, decode_start
from cycler_unit.mail import Ask
from cycler_unit.power import target
from cycler_unit.readings import Taken
from cycler_unit.requests import Requests
from cycler_unit.run import Run
from cycler_unit.spool import Entry, SpoolFull, StoredRun
from cycler_unit.wake import Wake
from cycling import reasons
from cycling.reading import FLAG_CLOCK, Decision, EndReason, Reading

if TYPE_CHECKING:
    from cycler_unit.station import Station

logger = logging.getLogger("cycler_unit.conductor")

# Before a step's set point its transaction is forced; the loop gives the disk this long, and goes on.
COMMIT_WAIT_S = 0.05
# Set points in a row without a reading that keeps one: more is a profile of skipped steps only.
CHAIN_MAX = 1000


class Conductor:
    """Run one experiment after the other on one station; all methods on the station's thread."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self.run: Run | None = None
        self._cause: EndReason | None = None
        """Why the test is ending, while it is being switched off."""
        self.pending: StoredRun | None = None
        """A test of before the restart, until the device is there and confirmed off."""
        self.wake = Wake(self)
        self.contact = Contact(self)
        self.requests = Requests(self)

    # --- what others see ------------------------------------------------------------------------

    @property
    def state(self) -> Literal["idle", "running", "paused"]:
        """Return what the test does."""
        run = self.run
        if run is None:
            return "idle"
        return "paused" if run.phase == "active" and run.interpreter.state == "paused" else "running"

    @property
    def experiment(self) -> str | None:
        """Return the UUID of the test that this station has, also before it could be taken up."""
        if self.run is not None:
            return self.run.id
        return self.pending.experiment if self.pending is not None else None

    @property
    def battery(self) -> str | None:
        """Return the UUID of the battery that this station's test has."""
        run, pending = self.run, self.pending
        if run is not None:
            return run.start.battery.battery
        try:
            return decode_start(pending.start).battery.battery if pending is not None else None
        except msgspec.MsgspecError:
            return None  # taking it up will say so

    @property
    def detail(self) -> str | None:
        """Return what is being waited for, None for nothing."""
        if self.wake.check is not None:
            return self.wake.detail
        return self.run.interpreter.waiting_for if self.run is not None else None

    @property
    def shown(self) -> tuple[Any, ...]:
        """Return what a heartbeat shows of the test, to notice changes."""
        run = self.run
        return (run.id, self.state, run.interpreter.step, self.detail) if run else (None,)

    # --- requests -------------------------------------------------------------------------------

    def serve(self, ask: Ask) -> None:
        """Do one request and answer it; raises :class:`Refusal`."""
        self.requests.serve(ask)

    def clock_jumped(self) -> None:
        """Flag the next sample; called from another thread, which a whole number survives."""
        if self.run is not None:
            self.run.next_flags |= FLAG_CLOCK

    # --- one reading ----------------------------------------------------------------------------

    def take(self, taken: Taken) -> None:
        """Do what a reading asks for; raises the errors of drivers."""
        if self.pending is not None:
            take_up.take_up(self, self.pending)
        lapsed = self.wake.alone.lapsed()
        if lapsed is not None:
            self.station.fail("dead_man", lapsed)
            return
        run = self.run
        if run is None:
            return
        if run.phase == "active":
            if (why := self.contact.look(run)) is not None:
                run.interpreter.lose_contact(why)
            if not self.wake.awaits(taken):
                self.control(run, taken)
        if self.wake.check is not None and self.run is run and self.station.unsafe is None:
            self.wake.add(taken)

    def control(self, run: Run, taken: Taken) -> None:
        """Judge, act, record; a new set point goes out at once and the device is read again."""
        power = self.station.power
        for _ in range(CHAIN_MAX):
            before = run.interpreter.step_count
            reading, decision = run.advance(taken, power.output_on)
            if decision.action == "violation":
                self._trip(run, reading, decision)
                return
            if decision.action == "finished":
                self._finish(run, reading, decision)
                return
            entry = run.entry(reading, decision)
            if decision.action == "keep":
                self._keep(entry)
                return
            again = self._set(run, decision, entry, new_step=run.interpreter.step_count != before)
            if again is None:
                return
            taken = again
        raise RuntimeError(f"{CHAIN_MAX} set points without one that stays")

    def _set(self, run: Run, decision: Decision, entry: Entry | None, *, new_step: bool) -> Taken | None:
        """Send a set point and read again; None when that ended the test."""
        assert decision.set_point is not None
        station = self.station
        if decision.set_point.mode == "off":
            result = station.switch_off()
            self._keep(entry)
            if self.run is not run:
                return None
            if result is None or not result.confirmed:
                self.fail("off_failed", station.unsafe or "not confirmed off")
                return None
            station.outputs.take(decision.set_point)
            return station.read()
        if station.unsafe is not None or station.latched:
            raise RuntimeError("a set point for a station that is not safe")
        self._keep(entry, force=new_step)
        if self.run is not run:
            return None  # the disk refused it, which has ended the test
        if new_step:
            station.hub.spool.commit(min(COMMIT_WAIT_S, station.period_s))
        station.outputs.take(decision.set_point)
        station.power.apply(target(decision.set_point))
        return station.read()

    def _keep(self, entry: Entry | None, *, force: bool = False) -> None:
        if entry is None:
            return
        try:
            self.station.hub.spool.put(entry, force=force)
        except SpoolFull as error:
            # A test that nobody records is not a test; the rows in memory are not given up.
            entry.rows.clear()
            self.station.hub.spool.put(entry)
            self.station.fail("spool_full", f"the unit's disk takes no more samples: {error}")

    # --- ends -----------------------------------------------------------------------------------

    def _trip(self, run: Run, reading: Reading, decision: Decision) -> None:
        """Take a violation: off first, read back, latch, event, alarm, spool (rule 5)."""
        reason = decision.end_reason or EndReason(code="violation", text="a limit was violated")
        self._cause = reason
        self.station.switch_off()
        self._alarm_and_end(run, reading, decision, reason, "trip")

    def _finish(self, run: Run, reading: Reading, decision: Decision) -> None:
        self.station.switch_off()
        if self.run is not run:
            return  # the device was lost on the way, and that has ended it
        reason = decision.end_reason or EndReason(code=reasons.COMPLETED, text="all steps are done")
        status = "finished" if reason.code in reasons.NORMAL else "stopped"
        self.end(run, run.entry(reading, decision), reason, status)

    def fail(self, code: str, text: str, grade: Literal["error", "trip"] = "error", **detail: Any) -> None:
        """End the test with an error of device or program, or a trip of the station's own.

        The output has been switched off before; ``detail`` may carry quantity, limit and measured.
        """
        run = self.run
        if run is None:
            return
        if run.phase == "checking":
            self.run = None
            cause = EndReason(code=code, text=text, **detail)
            self.wake.refuse_safely(run.start, Refusal(text, 13, cause), self.wake.forget())
            return
        self.wake.cancel(text)
        # A device lost while it was switched off after a trip: the trip stays the cause.
        reason = self._cause or EndReason(
            code=code, text=text, device=self.station.power_device.name or None, **detail
        )
        self._alarm_and_end(run, None, None, reason, grade)

    def _alarm_and_end(
        self, run: Run, reading: Reading | None, decision: Decision | None, reason: EndReason, grade: str
    ) -> None:
        if self.run is not run:
            return  # losing the device while switching off has ended it already
        self.wake.cancel(reason.text)
        unsafe = self.station.unsafe is not None
        # Why it is not confirmed off is in the station's own words; what it may be doing belongs here.
        text = f"{run.start.name}: {reason.text}" + (f"; {self.station.power.may_be_on()}" if unsafe else "")
        self.station.alarm(
            reason.code, text, "unsafe" if unsafe else "trip" if grade == "trip" else "error", run.id,
            quantity=reason.quantity, limit=reason.limit, measured=reason.measured, step=run.interpreter.step,
            battery=run.start.battery.battery, **_hurt(reason),
        )  # fmt: skip
        entry = run.entry(reading, decision) if reading and decision else run.abort(reason)
        self.end(run, entry, reason, "error")

    def end(self, run: Run, entry: Entry | None, reason: EndReason, status: str) -> None:
        """Record the end: last rows, status with its reason and ``last_seq``, in one transaction."""
        self.wake.cancel(reason.text)
        self.run = self._cause = None
        entry = entry or Entry(experiment=run.id)
        entry.events.append(run.status(status, reason.text, reason))
        entry.status = "ended"
        if run.phase == "checking":
            self.station.hub.spool.refuse_forever(run.id, self.station.id)
        self.station.hub.spool.put(entry, force=True)
        self.station.outputs.ended(status)
        if status != "finished":
            self.station.black_box.ask(reason.text, experiment=run.id)
        logger.info("event=experiment_ended experiment=%s status=%s reason='%s'", run.id, status, reason.text)
        self.station.hub.changed()

    def tell(self, run: Run, status: str, text: str, **more: Any) -> None:
        """Record a status that is no end."""
        entry = Entry(experiment=run.id, events=[run.status(status, text, **more)], status=status)
        self.station.hub.spool.put(entry, force=True)

    # --- over restarts --------------------------------------------------------------------------

    def suspend(self) -> None:
        """Leave the test for the next start of the unit: output off, and its checkpoint says so."""
        run = self.run
        if run is None:
            return
        if run.phase == "checking":
            self.wake.cancel("the unit stops")
            self.run = None
            return
        if self.station.power.is_open:
            self.station.round()  # count up to now
            self.station.switch_off()
        if self.station.unsafe is None and self.run is run:
            self.station.hub.spool.put(Entry(experiment=run.id, checkpoint=run.off_checkpoint()), force=True)


def _hurt(reason: EndReason) -> dict[str, Any]:
    """Return whether the battery needs an inspection before anything starts it again (rule 7)."""
    return {"quarantine": True} if reasons.quarantines(reason.code, reason.quantity) else {}
