"""The test of one station: start, go on, pause, resume, stop, and every way in which it can end."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from cycler_unit import contract, recovery
from cycler_unit.clock import iso
from cycler_unit.contract import Refusal
from cycler_unit.drivers.errors import DeviceLost, DriverError
from cycler_unit.mail import Ask, Reply
from cycler_unit.power import target
from cycler_unit.readings import Taken
from cycler_unit.run import Run
from cycler_unit.spool import Entry, SpoolFull, StoredRun
from cycler_unit.wiring import Expected, WiringCheck
from cycling import reasons
from cycling.interpreter import CannotRun
from cycling.reading import FLAG_CLOCK, Decision, EndReason, Reading
from wire.limits import device_limits
from wire.messages import (
    BatteryRef,
    ExperimentRef,
    ExperimentStart,
    ExperimentStop,
    StationAcknowledge,
)

if TYPE_CHECKING:
    from cycler_unit.station import Station

logger = logging.getLogger("cycler_unit.conductor")

# Before a step's set point its transaction is forced; the loop gives the disk this long, and goes on.
COMMIT_WAIT_S = 0.05
# The record of a new test must be on the disk before anything moves; a disk slower than this is broken.
BEGIN_WAIT_S = 5.0
# Set points in a row without a reading that keeps one: more is a profile of skipped steps only.
CHAIN_MAX = 1000
# A longer pause resumes by the same checks as a crash (safety.md rule 10).
LONG_PAUSE_S = 3600.0


class Conductor:
    """Run one experiment after the other on one station; all methods on the station's thread."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self.run: Run | None = None
        self.check: WiringCheck | None = None
        self._asked: Reply | None = None
        self._then: Literal["begin", "resume"] = "begin"
        self._person = ""
        self._cause: EndReason | None = None
        """Why the test is ending, while it is being switched off."""
        self._stopped_before: set[str] = set()
        self.pending: StoredRun | None = None
        """A test of before the restart, until the device is there and confirmed off."""

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
    def detail(self) -> str | None:
        """Return what is being waited for, None for nothing."""
        if self.check is not None:
            return "checking the wiring at rest"
        return self.run.interpreter.waiting_for if self.run is not None else None

    @property
    def shown(self) -> tuple[Any, ...]:
        """Return what a heartbeat shows of the test, to notice changes."""
        run = self.run
        return (run.id, self.state, run.interpreter.step, self.detail) if run else (None,)

    # --- requests -------------------------------------------------------------------------------

    def serve(self, ask: Ask) -> None:
        """Do one request and answer it; raises :class:`Refusal`."""
        getattr(self, f"_ask_{ask.do}")(ask.args, ask.reply)

    def _running(self, experiment: str) -> Run:
        if self.pending is not None and self.pending.experiment == experiment:
            self._take_up(self.pending)
        if self.run is None or self.run.id != experiment:
            raise Refusal("this experiment does not run on this station")
        return self.run

    def _ask_start(self, start: ExperimentStart, reply: Reply) -> None:
        station = self.station
        if self.experiment == start.experiment:
            # Asked again after a restart that lost the answer: it is here, nothing more is done.
            reply("done", {"state": self.state, "again": True}, None)
            return
        if start.experiment in self._stopped_before:
            raise Refusal("it was stopped before it began")
        if self.experiment is not None:
            raise Refusal("the station is busy with another experiment")
        if start.station_version != station.kept.configure.version:
            raise Refusal(
                f"the experiment is for version {start.station_version} of the station,"
                f" the unit has {station.kept.configure.version}"
            )
        if station.unsafe is not None:
            raise Refusal(f"the station is not confirmed off: {station.unsafe}", 6)
        if station.latched:
            raise Refusal(f"the station is tripped and not acknowledged: {station.kept.latches[0].text}", 7)
        try:
            agreed = contract.verify(start, self._limits(), frozenset())
            self._refuse_fault()
        except Refusal as refusal:
            if refusal.rule is not None:
                self._refuse_safely(start, refusal, reply)
                return
            raise
        try:
            self.run = Run(start, agreed, station.composer.extended_names)
        except CannotRun as error:
            raise Refusal(f"this unit cannot run the profile: {error}") from None
        self._check_wiring("begin", self._expected_at_start(start.battery), reply)

    def _limits(self) -> list[Any]:
        station = self.station
        return [
            device_limits(station.kinds[each.device], each.name or each.device, each.role)
            for each in station.kept.configure.devices
        ]

    def _refuse_fault(self) -> None:
        try:
            fault = self.station.power.device.fault()
        except DriverError as error:
            raise Refusal(f"the device does not answer: {error}") from None
        if fault is not None:
            raise Refusal(f"the device reports an error: {fault}", 13)

    @staticmethod
    def _expected_at_start(battery: BatteryRef) -> Expected | None:
        if battery.rest_voltage_confirmed or battery.last_rest_voltage_v is None:
            return None
        known_v = battery.last_rest_voltage_v
        return Expected(known_v, known_v, f"the record of battery {battery.name}")

    def _refuse_safely(self, start: ExperimentStart, refusal: Refusal, reply: Reply | None) -> None:
        """Refuse by a safety rule: the experiment is an error, the station latched (architecture.md)."""
        code = {2: "contract", 3: "protection", 4: "wiring", 13: "device_fault"}.get(
            refusal.rule or 0, "refused"
        )
        station = self.station
        alarm = station.alarm(code, f"{start.name}: {refusal.text}", "trip", start.experiment)
        reason = EndReason(code=code, text=refusal.text)
        event = _status_event(station.id, start.experiment, "error", reason, alarm=alarm)
        station.hub.spool.put(Entry(experiment=start.experiment, events=[event]), force=True)
        station.hub.spool.refuse_forever(start.experiment, station.id)
        if reply is not None:
            reply("refused", {"code": code, "rule": refusal.rule, "alarm": alarm}, refusal.text)

    def _ask_pause(self, args: ExperimentRef, reply: Reply) -> None:
        run = self._running(args.experiment)
        if run.phase != "active":
            raise Refusal("the experiment has not begun yet; stop it instead")
        self._cancel_check("paused again")
        if run.interpreter.state == "paused":
            reply("done", {"state": "paused"}, None)
            return
        run.interpreter.pause()
        self.station.round()
        if self.run is run and self.state == "paused":
            run.paused_at_s = time.monotonic()
            self._tell(run, "paused", f"paused by {args.person or 'a person'}", person=args.person)
        self._answer(run, reply, "paused")

    def _ask_resume(self, args: ExperimentRef, reply: Reply) -> None:
        run = self._running(args.experiment)
        if run.phase != "active" or self.check is not None:
            raise Refusal("the wiring is being checked already")
        if run.interpreter.state != "paused":
            if run.interpreter.waiting_for is None:
                raise Refusal("the experiment is not paused and waits for nobody")
            run.interpreter.confirm(args.person)
            self.station.round()
            self._answer(run, reply, "running")
            return
        if self.station.unsafe is not None:
            raise Refusal(f"the station is not confirmed off: {self.station.unsafe}", 6)
        if self.station.latched:
            raise Refusal(f"acknowledge the alarm first: {self.station.kept.latches[0].text}", 7)
        self._refuse_fault()
        self._person = args.person
        self._check_wiring("resume", self._expected_after_pause(run), reply)

    def _expected_after_pause(self, run: Run) -> Expected | None:
        long = run.paused_at_s is None or time.monotonic() - run.paused_at_s > LONG_PAUSE_S
        if not long:
            return None
        if why := recovery.not_resumable(run):
            raise Refusal(why, 10)
        return run.rested

    def _ask_skip_step(self, args: ExperimentRef, reply: Reply) -> None:
        run = self._running(args.experiment)
        if run.phase != "active":
            raise Refusal("the experiment has not begun yet")
        if run.interpreter.state == "paused":
            raise Refusal("the experiment is paused; resume it first")
        run.interpreter.skip_step(args.person)
        self.station.round()
        self._answer(run, reply, "running")

    def _ask_stop(self, args: ExperimentStop, reply: Reply) -> None:
        if args.experiment != self.experiment:
            self._stop_before(args, reply)
            return
        run = self._running(args.experiment)
        self._cancel_check("stopped")
        text = args.reason or "stopped by a person"
        if run.phase == "checking" or not self.station.power.is_open:
            self._end(
                run, None, EndReason(code=reasons.PERSON, text=text, person=args.person or None), "stopped"
            )
        else:
            run.interpreter.stop(args.how, args.reason, args.person)
            self.station.round()
        ended = self.run is not run
        if args.how == "now" and self.station.unsafe is not None:
            reply("failed", {"ended": ended}, f"not confirmed off: {self.station.unsafe}")
            return
        reply("done", {"ended": ended, "output": "on" if self.station.power.output_on else "off"}, None)

    def _stop_before(self, args: ExperimentStop, reply: Reply) -> None:
        """Take a stop that came before its start: the start will be refused, however late it comes."""
        self._stopped_before.add(args.experiment)
        spool = self.station.hub.spool
        text = args.reason or "stopped before it began"
        reason = EndReason(code=reasons.PERSON, text=text, person=args.person or None)
        spool.refuse_forever(args.experiment, self.station.id)
        event = _status_event(self.station.id, args.experiment, "stopped", reason)
        spool.put(Entry(experiment=args.experiment, events=[event]), force=True)
        reply("done", {"ended": True, "began": False}, None)

    def _ask_stop_all(self, args: tuple[str, str], reply: Reply) -> None:
        reason, person = args
        run = self.run
        if run is not None:
            told: list[str | None] = []
            stop = ExperimentStop(experiment=run.id, how="now", reason=reason, person=person)
            self._ask_stop(stop, lambda _outcome, _result, why: told.append(why))
        if self.station.power.is_open:
            self.station.switch_off()
        unsafe = self.station.unsafe
        reply(
            "failed" if unsafe else "done", {"off": unsafe is None, "ended": run.id if run else None}, unsafe
        )

    def _ask_acknowledge(self, args: StationAcknowledge, reply: Reply) -> None:
        released = self.station.acknowledge(args.alarm)
        text = None if released else "the station was not latched by this alarm"
        reply("done", {"released": released, "latched": self.station.latched, "note": text}, None)

    def _answer(self, run: Run, reply: Reply, state: str) -> None:
        """Answer after the round that should have brought the test into ``state``."""
        if self.station.unsafe is not None:
            reply("failed", None, f"not confirmed off: {self.station.unsafe}")
        elif self.run is not run:
            reply("done", {"state": "ended"}, None)
        else:
            reply("done", {"state": self.state}, None if self.state == state else f"it is {self.state}")

    def clock_jumped(self) -> None:
        """Flag the next sample; called from another thread, which a whole number survives."""
        if self.run is not None:
            self.run.next_flags |= FLAG_CLOCK

    # --- the wiring check -----------------------------------------------------------------------

    def _check_wiring(
        self, then: Literal["begin", "resume"], expected: Expected | None, reply: Reply | None
    ) -> None:
        """Begin the check with the output off; each reading from now on adds to it."""
        assert self.run is not None
        station, config = self.station, self.station.hub.config
        self._then, self._asked = then, reply
        limits = self._limits()
        keys = [each.device for each in station.kept.configure.devices]
        accuracies = {
            key: each.voltage_accuracy_v
            for key, each in zip(keys, limits, strict=True)
            if each.measures != "none"
        }
        accuracies[""] = accuracies.pop(station.power_device.device, 0.0)
        self.check = WiringCheck(
            envelope=self.run.contract.envelope,
            cells=self.run.start.battery.cells_in_series,
            expected=expected,
            steady_s=config.wiring_check_s,
            timeout_s=config.wiring_timeout_s,
            accuracies_v=accuracies,
        )
        station.switch_off()
        station.soon()

    def _cancel_check(self, why: str) -> None:
        asked, self._asked, self.check = self._asked, None, None
        if asked is not None:
            asked("failed", None, why)

    def _add_to_check(self, taken: Taken) -> None:
        assert self.check is not None
        assert self.run is not None
        verdict = self.check.add(taken)
        if verdict is None:
            return
        check, self.check = self.check, None
        asked, self._asked = self._asked, None
        run = self.run
        try:
            if verdict:
                raise Refusal(verdict, 4)
            self._protect(run)
            if self._then == "begin":
                self._begin(run, check)
            else:
                self._resume(run)
        except Refusal as refusal:
            self._refuse_check(run, refusal, asked)
            return
        if asked is not None:
            asked("done", {"state": "running", "rest_voltage_v": check.rest_voltage_v}, None)
        # In this very round: a pause that came before the next one would find the test still paused,
        # be answered as done, and then be undone by the resume before it.
        self._control(run, self.station.read())

    def _refuse_check(self, run: Run, refusal: Refusal, asked: Reply | None) -> None:
        if run.phase == "checking":
            self.run = None
            self._refuse_safely(run.start, refusal, asked)
            return
        if asked is None:
            self._hold(run, f"not resumed after the restart: {refusal.text}")
            return
        # The test stays paused: a person looks at it, acknowledges and resumes or stops it.
        code = "wiring" if refusal.rule == 4 else "protection" if refusal.rule == 3 else "hold"
        alarm = self.station.alarm(code, f"not resumed: {refusal.text}", "trip", run.id)
        asked("refused", {"code": code, "rule": refusal.rule, "alarm": alarm}, refusal.text)

    def _protect(self, run: Run) -> None:
        """Write the device's own protections and read them back (rule 3)."""
        try:
            differs = self.station.power.protect(contract.protections(run.contract.envelope))
        except DeviceLost:
            raise
        except DriverError as error:
            differs = str(error)
        if differs is not None:
            raise Refusal(f"the device does not take its protections: {differs}", 3)

    def _begin(self, run: Run, check: WiringCheck) -> None:
        """Put the test on the disk, then let it run.

        1. its record, waited for; 2. the status event; 3. the first round.
        """
        spool, start = self.station.hub.spool, run.start
        run.phase = "active"
        spool.begin(run.id, start.station, msgspec.json.encode(start), run.columns)
        event = run.status(
            "running", f"started on {self.station.kept.configure.name}", rest_voltage_v=check.rest_voltage_v
        )
        spool.put(Entry(experiment=run.id, events=[event]), force=True)
        if not spool.commit(BEGIN_WAIT_S):
            run.phase = "checking"
            raise Refusal(f"the unit's disk does not take the record: {spool.failing or 'too slow'}")

    def _resume(self, run: Run) -> None:
        run.interpreter.resume()
        run.paused_at_s = None
        self._tell(run, "running", f"resumed by {self._person or 'the unit'}", person=self._person)

    # --- one reading ----------------------------------------------------------------------------

    def take(self, taken: Taken) -> None:
        """Do what a reading asks for; raises the errors of drivers."""
        if self.pending is not None:
            self._take_up(self.pending)
        run = self.run
        if run is None:
            return
        if run.phase == "active":
            self._control(run, taken)
        if self.check is not None and self.run is run and self.station.unsafe is None:
            self._add_to_check(taken)

    def _control(self, run: Run, taken: Taken) -> None:
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
            return station.read()
        if station.unsafe is not None or station.latched:
            raise RuntimeError("a set point for a station that is not safe")
        self._keep(entry, force=new_step)
        if self.run is not run:
            return None  # the disk refused it, which has ended the test
        if new_step:
            station.hub.spool.commit(min(COMMIT_WAIT_S, station.period_s))
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
        self._end(run, run.entry(reading, decision), reason, status)

    def fail(self, code: str, text: str) -> None:
        """End the test with an error of device or program; the output has been switched off before."""
        run = self.run
        if run is None:
            return
        if run.phase == "checking":
            asked, self._asked, self.check, self.run = self._asked, None, None, None
            self._refuse_safely(run.start, Refusal(text, 13), asked)
            return
        self._cancel_check(text)
        # A device lost while it was switched off after a trip: the trip stays the cause.
        reason = self._cause or EndReason(code=code, text=text, device=self.station.power_device.name or None)
        self._alarm_and_end(run, None, None, reason, "error")

    def _alarm_and_end(
        self, run: Run, reading: Reading | None, decision: Decision | None, reason: EndReason, grade: str
    ) -> None:
        if self.run is not run:
            return  # losing the device while switching off has ended it already
        self._cancel_check(reason.text)
        unsafe = self.station.unsafe
        text = f"{run.start.name}: {reason.text}" + (f"; {unsafe}" if unsafe else "")
        self.station.alarm(
            reason.code, text, "unsafe" if unsafe else "trip" if grade == "trip" else "error", run.id,
            quantity=reason.quantity, limit=reason.limit, measured=reason.measured, step=run.interpreter.step,
        )  # fmt: skip
        entry = run.entry(reading, decision) if reading and decision else run.abort(reason)
        self._end(run, entry, reason, "error")

    def _end(self, run: Run, entry: Entry | None, reason: EndReason, status: str) -> None:
        """Record the end: last rows, status with its reason and ``last_seq``, in one transaction."""
        self._cancel_check(reason.text)
        self.run = self._cause = None
        entry = entry or Entry(experiment=run.id)
        entry.events.append(run.status(status, reason.text, reason))
        entry.status = "ended"
        if run.phase == "checking":
            self.station.hub.spool.refuse_forever(run.id, self.station.id)
        self.station.hub.spool.put(entry, force=True)
        logger.info("event=experiment_ended experiment=%s status=%s reason='%s'", run.id, status, reason.text)
        self.station.hub.changed()

    def _tell(self, run: Run, status: str, text: str, **more: Any) -> None:
        entry = Entry(experiment=run.id, events=[run.status(status, text, **more)], status=status)
        self.station.hub.spool.put(entry, force=True)

    # --- over restarts --------------------------------------------------------------------------

    def suspend(self) -> None:
        """Leave the test for the next start of the unit: output off, and its checkpoint says so."""
        run = self.run
        if run is None:
            return
        if run.phase == "checking":
            self._cancel_check("the unit stops")
            self.run = None
            return
        if self.station.power.is_open:
            self.station.round()  # count up to now
            self.station.switch_off()
        if self.station.unsafe is None and self.run is run:
            self.station.hub.spool.put(Entry(experiment=run.id, checkpoint=run.off_checkpoint()), force=True)

    def _take_up(self, stored: StoredRun) -> None:
        """Take up a test of before the restart: held for a person, or resumed after the checks (rule 10)."""
        self.pending = None
        try:
            run = recovery.restore(stored, self.station.composer.extended_names)
        except recovery.Unrecoverable as error:
            self._give_up(stored, f"not taken up after the restart: {error}")
            return
        self.run = run
        why = self.station.unsafe or recovery.why_hold(run)
        if why is None and self.station.latched:
            why = f"the station is tripped: {self.station.kept.latches[0].text}"
        if why is None:
            try:
                self._refuse_fault()
            except Refusal as refusal:
                why = refusal.text
        if why is not None:
            self._hold(run, why)
            return
        self._person = ""
        self._check_wiring("resume", recovery.expected(run), None)

    def _hold(self, run: Run, why: str) -> None:
        """Keep a test paused until a person acknowledges and resumes or stops it."""
        if run.was_paused and self.station.latched:
            self._tell(run, "paused", why)  # the alarm of before the restart still stands
            return
        alarm = self.station.alarm("held", f"{run.start.name}: {why}", "hold", run.id)
        self._tell(run, "paused", why, alarm=alarm)

    def _give_up(self, stored: StoredRun, text: str) -> None:
        reason = EndReason(code="restart", text=text)
        event = _status_event(self.station.id, stored.experiment, "error", reason)
        logger.error("event=experiment_given_up experiment=%s reason='%s'", stored.experiment, text)
        self.station.hub.spool.put(
            Entry(experiment=stored.experiment, events=[event], status="ended"), force=True
        )


def _status_event(
    station: str, experiment: str, status: str, reason: EndReason, **more: Any
) -> dict[str, Any]:
    """Return a status event of an experiment that has no :class:`Run`."""
    return {
        "at": iso(time.time()), "kind": "status", "text": reason.text, "station": station, "experiment": experiment,
        "detail": {"status": status, "end_reason": msgspec.to_builtins(reason), **more},
    }  # fmt: skip
