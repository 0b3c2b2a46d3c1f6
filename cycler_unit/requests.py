"""What people ask of a station's test: start, pause, resume, skip, stop, acknowledge."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cycler_unit import contract, recovery, take_up
from cycler_unit.contract import Refusal
from cycler_unit.mail import Ask, Reply
from cycler_unit.run import Run, status_event
from cycler_unit.spool import Entry
from cycler_unit.wiring import Expected
from cycling import reasons
from cycling.interpreter import CannotRun
from cycling.reading import EndReason
from wire.messages import (
    BatteryRef,
    ExperimentRef,
    ExperimentStart,
    ExperimentStop,
    StationAcknowledge,
    StationDrill,
)

if TYPE_CHECKING:
    from cycler_unit.conductor import Conductor

# A longer pause resumes by the same checks as a crash (safety.md rule 10).
LONG_PAUSE_S = 3600.0


class Requests:
    """Serve requests between two readings, on the station's thread."""

    def __init__(self, conductor: Conductor, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._conductor = conductor
        self._station = conductor.station
        self._wake = conductor.wake
        self._stopped_before: set[str] = set()

    def serve(self, ask: Ask) -> None:
        """Do one request and answer it; raises :class:`Refusal`."""
        getattr(self, f"_ask_{ask.do}")(ask.args, ask.reply)

    def _running(self, experiment: str) -> Run:
        if self._conductor.pending is not None and self._conductor.pending.experiment == experiment:
            take_up.take_up(self._conductor, self._conductor.pending)
        if self._conductor.run is None or self._conductor.run.id != experiment:
            raise Refusal("this experiment does not run on this station")
        return self._conductor.run

    def _ask_start(self, start: ExperimentStart, reply: Reply) -> None:
        station = self._station
        if self._conductor.experiment == start.experiment:
            # Asked again after a restart that lost the answer: it is here, nothing more is done.
            reply("done", {"state": self._conductor.state, "again": True}, None)
            return
        if start.experiment in self._stopped_before:
            raise Refusal("it was stopped before it began")
        if self._conductor.experiment is not None:
            raise Refusal("the station is busy with another experiment")
        if start.station_version != station.kept.configure.version:
            raise Refusal(
                f"the experiment is for version {start.station_version} of the station,"
                f" the unit has {station.kept.configure.version}"
            )
        station.refuse_start(start.battery.battery)
        if station.unsafe is not None:
            raise Refusal(f"the station is not confirmed off: {station.unsafe}", 6)
        if station.latched:
            raise Refusal(f"the station is tripped and not acknowledged: {station.kept.latches[0].text}", 7)
        try:
            agreed = contract.verify(start, self._wake.limits(), self._wake.station_limits())
            self._wake.refuse_fault()
        except Refusal as refusal:
            if refusal.rule is not None:
                self._wake.refuse_safely(start, refusal, reply)
                return
            raise
        try:
            self._conductor.run = Run(
                start, agreed, station.composer.extended_names, period_s=station.period_s
            )
        except CannotRun as error:
            raise Refusal(f"this unit cannot run the profile: {error}") from None
        self._wake.begin("begin", self._expected_at_start(start.battery), reply)

    @staticmethod
    def _expected_at_start(battery: BatteryRef) -> Expected | None:
        if battery.rest_voltage_confirmed or battery.last_rest_voltage_v is None:
            return None
        known_v = battery.last_rest_voltage_v
        return Expected(known_v, known_v, f"the record of battery {battery.name}")

    def _ask_pause(self, args: ExperimentRef, reply: Reply) -> None:
        run = self._running(args.experiment)
        if run.phase != "active":
            raise Refusal("the experiment has not begun yet; stop it instead")
        self._wake.cancel("paused again")
        if run.interpreter.state == "paused":
            reply("done", {"state": "paused"}, None)
            return
        run.interpreter.pause()
        self._station.round()
        if self._conductor.run is run and self._conductor.state == "paused":
            run.paused_at_s = self.now()
            self._conductor.tell(run, "paused", f"paused by {args.person or 'a person'}", person=args.person)
        self._answer(run, reply, "paused")

    def _ask_resume(self, args: ExperimentRef, reply: Reply) -> None:
        run = self._running(args.experiment)
        if run.phase != "active" or self._wake.check is not None:
            raise Refusal("the wiring is being checked already")
        if run.interpreter.state != "paused":
            if run.interpreter.waiting_for is None:
                raise Refusal("the experiment is not paused and waits for nobody")
            run.interpreter.confirm(args.person)
            self._station.round()
            self._answer(run, reply, "running")
            return
        if self._station.unsafe is not None:
            raise Refusal(f"the station is not confirmed off: {self._station.unsafe}", 6)
        if self._station.latched:
            raise Refusal(f"acknowledge the alarm first: {self._station.kept.latches[0].text}", 7)
        self._wake.refuse_fault()
        long = run.paused_at_s is None or self.now() - run.paused_at_s > LONG_PAUSE_S
        expected = self._expected_after_pause(run) if long else None
        self._wake.begin("resume", expected, reply, args.person, pulse=long)

    @staticmethod
    def _expected_after_pause(run: Run) -> Expected | None:
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
        self._station.round()
        self._answer(run, reply, "running")

    def _ask_stop(self, args: ExperimentStop, reply: Reply) -> None:
        if args.experiment != self._conductor.experiment:
            self._stop_before(args, reply)
            return
        run = self._running(args.experiment)
        self._wake.cancel("stopped")
        text = args.reason or "stopped by a person"
        if run.phase == "checking" or not self._station.power.is_open:
            self._conductor.end(
                run, None, EndReason(code=reasons.PERSON, text=text, person=args.person or None), "stopped"
            )
        else:
            run.interpreter.stop(args.how, args.reason, args.person)
            self._station.round()
        ended = self._conductor.run is not run
        if args.how == "now" and self._station.unsafe is not None:
            reply("failed", {"ended": ended}, f"not confirmed off: {self._station.unsafe}")
            return
        reply("done", {"ended": ended, "output": "on" if self._station.power.output_on else "off"}, None)

    def _stop_before(self, args: ExperimentStop, reply: Reply) -> None:
        """Take a stop that came before its start: the start will be refused, however late it comes."""
        self._stopped_before.add(args.experiment)
        spool = self._station.hub.spool
        text = args.reason or "stopped before it began"
        reason = EndReason(code=reasons.PERSON, text=text, person=args.person or None)
        spool.refuse_forever(args.experiment, self._station.id)
        event = status_event(self._station.id, args.experiment, "stopped", reason)
        spool.put(Entry(experiment=args.experiment, events=[event]), force=True)
        reply("done", {"ended": True, "began": False}, None)

    def _ask_stop_all(self, args: tuple[str, str], reply: Reply) -> None:
        reason, person = args
        # Also one of before a restart that waits for its device: it must not resume by itself afterwards.
        experiment = self._conductor.experiment
        if experiment is not None:
            stop = ExperimentStop(experiment=experiment, how="now", reason=reason, person=person)
            with contextlib.suppress(Refusal):  # taken up, it could not be read and has ended
                self._ask_stop(stop, lambda *_: None)
        if self._station.power.is_open:
            self._station.switch_off()
        unsafe = self._station.unsafe
        reply("failed" if unsafe else "done", {"off": unsafe is None, "ended": experiment}, unsafe)

    def _ask_drill(self, args: StationDrill, reply: Reply) -> None:
        self._conductor.contact.drill(args, reply)

    def _ask_acknowledge(self, args: StationAcknowledge, reply: Reply) -> None:
        released = self._station.acknowledge(args.alarm)
        text = None if released else "the station was not latched by this alarm"
        reply("done", {"released": released, "latched": self._station.latched, "note": text}, None)

    def _answer(self, run: Run, reply: Reply, state: str) -> None:
        """Answer after the round that should have brought the test into ``state``."""
        if self._station.unsafe is not None:
            reply("failed", None, f"not confirmed off: {self._station.unsafe}")
        elif self._conductor.run is not run:
            reply("done", {"state": "ended"}, None)
        else:
            reply(
                "done",
                {"state": self._conductor.state},
                None if self._conductor.state == state else f"it is {self._conductor.state}",
            )
