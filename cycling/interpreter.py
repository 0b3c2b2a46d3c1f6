"""The one interpreter: steps, envelope and one reading in; the next set point, or the end, out.

Deterministic: no clock, no randomness; time comes in with the readings. The agent drives it with a
device, the dry run with a simulated cell, the tests with invented readings.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from cycling import counters, ends, expected, flow, judge, plan, recording, setpoints, steprows, waiting
from cycling.contract import Envelope, Limit
from cycling.plan import CannotRun, Planned, PlannedEnd
from cycling.reading import (
    FLAG_CLIPPED,
    FLAG_GAP,
    FLAG_RESUMED,
    Decision,
    EndReason,
    Happening,
    Mode,
    Reading,
    Row,
    SetPoint,
    StepRow,
)
from cycling.reasons import COMPLETED, DONE, PERSON, RUN_MAX, SET_POINT, STEP_FAILED, STEP_MAX, STOP
from cycling.state import Counters, EndMemory, State, StepMemory
from cycling.steps import CCCV, Drive, Note, Profile, WaitFor

__all__ = ["CannotRun", "Interpreter"]

# So many steps may be skipped at one reading; a loop of nothing but skipped steps goes on at the next.
MAX_ENTRIES = 100


class Interpreter:
    """Run one checked profile within one envelope.

    ``capacity_ah`` is what rates refer to (None: the profile has none). Raises ``CannotRun`` for a
    profile that needs what is not known or not supported; see ``cycling.check``.
    """

    def __init__(
        self,
        profile: Profile,
        envelope: Envelope,
        capacity_ah: float | None,
        *,
        initial_soc_percent: float | None = None,
    ) -> None:
        self._plan = plan.make(profile, envelope, capacity_ah)
        self._envelope = envelope
        self._limits = judge.judged(envelope)
        self._step_limits: dict[int, tuple[Limit, ...]] = {
            planned.index: judge.of_step(planned.step.safety, envelope) for planned in self._plan.steps
        }
        self._bounds = {p.index: setpoints.bounds(p, envelope) for p in self._plan.steps}
        self._s = State(plan_sha256=self._plan.sha256, limits=judge.memories(self._limits))
        if initial_soc_percent is not None:
            self._s.soc = initial_soc_percent / 100.0
        self._events: list[Happening] = []
        self._ended: list[StepRow] = []
        self._set: SetPoint | None = None

    # --- what is asked -----------------------------------------------------------------------

    @property
    def step(self) -> int:
        """Return the running step's number; 0 before the first."""
        return 0 if self._s.step is None else self._s.step.index + 1

    @property
    def steps(self) -> int:
        """Return the number of the last step."""
        return len(self._plan.steps)

    @property
    def step_count(self) -> int:
        """Return how many steps have been entered."""
        return self._s.step_count

    @property
    def cycle(self) -> int:
        """Return the number of the running cycle; 0 before the first."""
        return self._s.cycle

    @property
    def state(self) -> Literal["running", "paused", "finishing", "ended"]:
        """Return where the experiment stands."""
        if self._s.phase == "ended":
            return "ended"
        if self._s.paused:
            return "paused"
        return "finishing" if self._s.phase == "finishing" else "running"

    @property
    def waiting_for(self) -> str | None:
        """Return in words what a ``wait_for`` step still waits for."""
        step = self._s.step
        return ", ".join(step.unmet) if step is not None and step.unmet else None

    @property
    def expected_end_s(self) -> float | None:
        """Return the ``elapsed_s`` at which the end is expected, from the last change of step."""
        return self._s.expected_end_s

    @property
    def end_reason(self) -> EndReason | None:
        """Return why the experiment ended or is finishing."""
        return self._s.end_reason

    @property
    def resumable(self) -> bool:
        """Say whether the running step may go on after a crash (safety.md rule 10)."""
        step = self._s.step
        kinds = ("rest", "cc", "cv", "cccv", "cp", "wait_for")
        return step is not None and self._plan.steps[step.index].kind in kinds

    @property
    def output_off(self) -> bool:
        """Say whether the last set point switched the output off."""
        s = self._s
        return s.paused or s.phase == "ended" or s.step is None or s.step.mode in ("rest", "wait")

    @property
    def due_in_s(self) -> float | None:
        """Return the time to the next thing that only waits for time, in s; None if there is none."""
        step = self._s.step
        if step is None or self._s.paused or self._s.phase == "ended":
            return None
        return steprows.due_in_s(self._plan.steps[step.index], step)

    # --- what people ask for; each acts at the next reading ------------------------------------

    def pause(self, reading: Reading | None = None) -> Decision | None:
        """Switch off and hold the step's time at the next reading; with ``reading``, at this one."""
        self._s.asked.pause, self._s.asked.resume = True, False
        return None if reading is None else self.advance(reading)

    def resume(self) -> None:
        """Go on after a pause: the set point is sent again."""
        self._s.asked.resume, self._s.asked.pause = True, False

    def skip_step(self, person: str = "") -> None:
        """End the running step with ``then: next``."""
        self._s.asked.skip = person

    def stop(self, how: Literal["now", "finish"] = "now", reason: str = "", person: str = "") -> None:
        """End the experiment now, or run the profile's finish steps first."""
        self._s.asked.stop = [how, reason, person]

    def confirm(self, person: str = "") -> None:
        """Answer a step that waits for the operator."""
        self._s.asked.confirmed = person

    # --- save and restore ----------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """Return the whole state as plain data for JSON."""
        saved: dict[str, Any] = msgspec.to_builtins(self._s)
        return saved

    @classmethod
    def restore(
        cls,
        profile: Profile,
        envelope: Envelope,
        capacity_ah: float | None,
        saved: dict[str, Any],
        *,
        initial_soc_percent: float | None = None,
    ) -> Interpreter:
        """Return an interpreter that goes on exactly where ``saved`` was taken.

        Raises ``CannotRun`` when the state does not belong to this profile, capacity and envelope.
        """
        fresh = cls(profile, envelope, capacity_ah, initial_soc_percent=initial_soc_percent)
        try:
            state = msgspec.convert(saved, State)
        except msgspec.ValidationError as error:
            raise CannotRun(f"the saved state cannot be read: {error}") from None
        if state.plan_sha256 != fresh._plan.sha256 or len(state.limits) != len(fresh._limits):
            raise CannotRun("the saved state belongs to another profile, capacity or envelope")
        fresh._s = state
        return fresh

    def after_gap(self, *, charge_in_ah: float = 0.0, charge_out_ah: float = 0.0, hold: bool = False) -> None:
        """Go on after a time that nobody watched (safety.md rule 10).

        The charges given are counted, the gap counts as no step time, step and cycle are flagged, and
        the set point is sent again at the next reading unless ``hold`` (then it waits, paused).
        """
        s = self._s
        s.total.charge_in_ah += charge_in_ah
        s.total.charge_out_ah += charge_out_ah
        s.flags |= FLAG_RESUMED
        s.reading_s, s.paused = None, True
        judge.reset(s.limits)
        s.asked.pause, s.asked.resume = False, not hold

    # --- one reading ---------------------------------------------------------------------------

    def advance(self, reading: Reading) -> Decision:
        """Judge one reading and decide.

        1. the envelope and the step's own limits; 2. the counters; 3. what people asked for; 4. the
        step's ends; 5. the next step's set point; 6. whether the reading is recorded.
        """
        s = self._s
        self._events, self._ended, self._set = [], [], None
        if s.phase == "ended":
            return self._decision("keep", reading, "off", False)
        violation = self._judge(reading)
        self._count(reading)
        if violation is None:
            violation = judge.charge(counters.net_ah(s.total), self._envelope, reading.elapsed_s)
        first, forced = s.phase == "new", s.force_row
        s.force_row = False
        if violation is not None:
            return self._trip(reading, violation)
        if first:
            s.phase = "running"
            reason = self._enter(self._plan.first, reading)
            mode: Mode = "off" if s.step is None or s.step.mode not in ("rest", "wait") else s.step.mode
            return self._finish_up(reading, reason, mode, forced=True)
        mode = "off" if s.paused or s.step is None else self._mode(s.step)
        place = self._row_of(s)
        reason = self._decide(reading)
        return self._finish_up(reading, reason, mode, forced=forced, place=place)

    def _judge(self, reading: Reading) -> EndReason | None:
        s = self._s
        step_a = self._envelope.resolution.current_a
        violation = judge.judge(reading, self._limits, s.limits, step_a)
        if s.step is not None and s.step.limits:
            own = judge.judge(reading, self._step_limits[s.step.index], s.step.limits, step_a)
            violation = violation or own
        return violation

    def _count(self, reading: Reading) -> None:
        """Advance times and counters from the last reading to this one.

        The older reading holds up to a set-point change, the newer from it on; the change is taken at
        the older reading, which decided it. With the output off the current counts as 0.
        """
        s = self._s
        if s.phase == "new":
            s.elapsed_s = reading.elapsed_s
        dt_s = max(reading.elapsed_s - s.elapsed_s, 0.0)
        s.elapsed_s = max(reading.elapsed_s, s.elapsed_s)
        gap = s.reading_s is None and s.phase != "new" and bool(s.flags & FLAG_RESUMED)
        if not s.paused and not gap:
            s.run_s += dt_s
            if s.step is not None:
                s.step.time_s += dt_s
        voltage_v, measured_a = judge.number(reading.voltage_v), judge.number(reading.current_a)
        if voltage_v is None or measured_a is None:
            s.flags |= FLAG_GAP
            return
        current_a = measured_a if reading.output_on else 0.0
        if s.reading_s is not None and s.voltage_v is not None:
            before_v, before_a = (voltage_v, current_a) if s.changed else (s.voltage_v, s.current_a)
            passed_s = s.elapsed_s - s.reading_s
            if passed_s > 0.0 and (before_a or current_a):
                counters.add(s.total, passed_s, before_v, before_a, voltage_v, current_a)
        s.reading_s, s.voltage_v, s.current_a, s.changed = s.elapsed_s, voltage_v, current_a, False

    def _decide(self, reading: Reading) -> EndReason | None:
        """Return why the experiment is over at this reading, or None."""
        s = self._s
        if s.asked.stop is not None:
            return self._stop_asked(reading)
        if s.asked.pause and not s.paused:
            self._pause(reading)
        elif s.asked.resume and s.paused:
            self._resume(reading)
            s.asked.pause = s.asked.resume = False
            return self._enter(s.pending, reading) if s.pending is not None else None
        s.asked.pause = s.asked.resume = False
        if s.paused:
            return None
        if s.pending is not None:
            return self._enter(s.pending, reading)
        step = s.step
        assert step is not None  # running and nothing pending: there is a step
        planned = self._plan.steps[step.index]
        if s.asked.skip is not None:
            person, s.asked.skip = s.asked.skip, None
            skipped = EndReason(code=PERSON, text=f"skipped by {person or 'a person'}", person=person)
            # Half a step is no result: nothing is stored, and the state of charge stays counted.
            self._note(f"{planned.title} {skipped.text}", {"skipped": skipped.text, "person": person})
            self._close(reading, skipped)
            return self._follow(planned, skipped, "next", None, reading)
        reason = self._run(planned, step, reading)
        if reason is None and s.phase != "ended":
            reason = self._overdue(reading)
        return reason

    def _run(self, planned: Planned, step: StepMemory, reading: Reading) -> EndReason | None:
        """Let the running step see the reading; end it if it is over."""
        self._watch(planned, step, reading)
        raw = planned.step
        if isinstance(raw, WaitFor):
            step.unmet = waiting.unmet(raw, reading, self._s, step)
            if not step.unmet:
                person = self._s.asked.confirmed
                self._s.asked.confirmed = None
                text = "what it waited for has come" + (f", confirmed by {person}" if person else "")
                done = EndReason(code=DONE, text=text, person=person or None)
                return self._leave(planned, step, reading, done, "next", None)
        met = ends.first_met(planned, self._plan, self._s, step, reading)
        if met is not None:
            end = planned.ends[met]
            why = ends.reason(end, planned, self._plan, self._s, reading, skipped=False)
            return self._leave(planned, step, reading, why, end.then, end.goto)
        if isinstance(raw, Drive):
            if step.time_s >= setpoints.drive_pass_s(raw) * raw.repeat - 1e-6:
                done = EndReason(code=DONE, text="all points driven")
                return self._leave(planned, step, reading, done, "next", None)
            return self._drive(raw, planned, step)
        return None

    def _watch(self, planned: Planned, step: StepMemory, reading: Reading) -> None:
        """Keep what the step's row needs, and follow the device: settled, clipped, at voltage."""
        step.readings += 1
        if step.settled_from_s is None and (reading.output_on or step.mode in ("rest", "wait")):
            step.settled_from_s, step.readings = step.time_s, 1
        temperature_c = judge.number(reading.temperature_c)
        if temperature_c is not None and temperature_c > (step.temperature_max_c or -1e9):
            step.temperature_max_c = temperature_c
        if len(step.dcir) < len(planned.step.dcir_at_s):
            steprows.dcir(planned, step, reading)
        if isinstance(planned.step, CCCV) and not step.in_cv:
            self._switch_to_cv(planned.step, planned, step, reading)
        elif not step.clipped and steprows.clips(planned, step, reading, self._envelope.resolution.voltage_v):
            step.clipped = True
            self._note(f"{planned.title}: clipped, the device holds the voltage", {"clipped": True})

    def _switch_to_cv(self, raw: CCCV, planned: Planned, step: StepMemory, reading: Reading) -> None:
        """Begin the constant-voltage part once the voltage is there within one resolution step.

        Two readings in a row, so that one noisy reading does not end the constant current.
        """
        voltage_v = judge.number(reading.voltage_v)
        if voltage_v is None:
            return
        # 0.1 mV where the device's resolution is not known.
        near_v = self._envelope.resolution.voltage_v or 1e-4
        charging = planned.direction > 0
        gap_v = raw.voltage_v - voltage_v if charging else voltage_v - raw.voltage_v
        step.near_count = step.near_count + 1 if gap_v <= near_v * (1 + 1e-6) else 0
        if step.near_count < 2:
            return
        step.in_cv, step.settled_from_s, step.readings = True, None, 0
        self._send(planned, step)
        self._note(
            f"{planned.title}: {raw.voltage_v:g} V reached, constant voltage now",
            {"change": "cv", "time_s": step.time_s},
        )

    def _drive(self, raw: Drive, planned: Planned, step: StepMemory) -> EndReason | None:
        point, _ = setpoints.drive_point(raw, step.time_s)
        if point == step.drive_point and raw.interpolate == "hold":
            return None
        changed, step.drive_point = point != step.drive_point, point
        force = self._s.force_row
        failed = self._send(planned, step)
        # A line changes at every reading; only its points make rows of their own.
        self._s.force_row = force or changed or raw.interpolate == "hold"
        return failed

    def _overdue(self, reading: Reading) -> EndReason | None:
        """Return the time limit or stop rule that ends the experiment at this reading, or None."""
        s = self._s
        step, limit_s = s.step, self._envelope.run_max_s
        if limit_s is not None and s.run_s >= limit_s - 1e-9:
            return EndReason(
                code=RUN_MAX,
                text=f"it has run for {s.run_s:.6g} s; run_max_s is {limit_s:g} s",
                quantity="run_s",
                limit=limit_s,
                measured=s.run_s,
            )
        if step is not None:
            planned = self._plan.steps[step.index]
            if step.time_s >= planned.max_s - 1e-9:
                return EndReason(
                    code=STEP_MAX,
                    text=f"{planned.title} has run for {step.time_s:.6g} s; max_step_s is {planned.max_s:g} s",
                    quantity="time_s",
                    limit=planned.max_s,
                    measured=step.time_s,
                )
        rule = self._plan.profile.stop
        if rule is not None and rule.when == "now" and s.phase == "running":
            stop = flow.counted(rule, s)
            if stop is not None:
                self._close(reading, stop)
                return self._wind_up(stop, reading)
        return None

    # --- moving on -----------------------------------------------------------------------------

    def _leave(
        self,
        planned: Planned,
        step: StepMemory,
        reading: Reading,
        why: EndReason,
        then: str,
        goto: int | None,
    ) -> EndReason | None:
        """End the running step and go where its end leads."""
        self._close(reading, why)
        failed = steprows.store(planned, step, self._plan, self._s)
        if failed is not None:
            return failed
        if planned.step.soc_after is not None and then != "fail":
            self._s.soc = planned.step.soc_after
            self._s.soc_net_ah = counters.net_ah(self._s.total)
        return self._follow(planned, why, then, goto, reading)

    def _follow(
        self, planned: Planned, why: EndReason, then: str, goto: int | None, reading: Reading
    ) -> EndReason | None:
        if then == "fail":
            return msgspec.structs.replace(why, code=STEP_FAILED, text=f"{planned.title} failed: {why.text}")
        target, stop = self._target(planned, then, goto)
        if then == "stop":
            stop = msgspec.structs.replace(why, code=STOP, text=f"{planned.title} ended the test: {why.text}")
        if stop is not None:
            return self._wind_up(stop, reading)
        return self._enter(target, reading)

    def _target(self, planned: Planned, then: str, goto: int | None) -> tuple[int | None, EndReason | None]:
        if then == "goto" and goto is not None:
            flow.leave_for(goto, self._plan, self._s)
            return goto, None
        if then == "exit_group":
            return flow.exit_group(planned.index, self._plan, self._s)
        if then == "stop":
            return None, None
        return flow.after(planned.index, self._plan, self._s)

    def _enter(self, index: int | None, reading: Reading) -> EndReason | None:
        """Enter the step at ``index`` or the first after it that is not skipped."""
        s = self._s
        s.pending = None
        for _ in range(MAX_ENTRIES):
            if index is None:
                return self._wind_up(EndReason(code=COMPLETED, text="all steps done"), reading)
            planned = self._plan.steps[flow.enter(index, self._plan, s)]
            if isinstance(planned.step, Note):
                self._note(
                    f"{planned.title}: {planned.step.text}", {"note": planned.step.text}, planned.number
                )
                index, stop = flow.after(planned.index, self._plan, s)
            else:
                end = ends.skipping(planned, self._plan, s, reading)
                if end is None:
                    return self._begin(planned, reading)
                why, index, stop = self._skip(planned, end, reading)
                if why is not None:
                    return why
            if stop is not None:
                return self._wind_up(stop, reading)
        s.pending, s.step = index, None
        self._set = setpoints.off(s)
        return None

    def _skip(
        self, planned: Planned, end: PlannedEnd, reading: Reading
    ) -> tuple[EndReason | None, int | None, EndReason | None]:
        """Pass over a step whose end is met already; return a failure, the next node, a stop."""
        why = ends.reason(end, planned, self._plan, self._s, reading, skipped=True)
        self._note(f"{planned.title} skipped: {why.text}", {"skipped": why.text}, planned.number)
        if end.then == "fail":
            text = f"{planned.title} failed before it began: {why.text}"
            return msgspec.structs.replace(why, code=STEP_FAILED, text=text), None, None
        if end.then == "stop":
            text = f"{planned.title} ended the test before it began: {why.text}"
            return None, None, msgspec.structs.replace(why, code=STOP, text=text)
        target, stop = self._target(planned, end.then, end.goto)
        return None, target, stop

    def _begin(self, planned: Planned, reading: Reading) -> EndReason | None:
        """Begin a step: its memory, its outputs, its set point, its event."""
        s = self._s
        s.step_count += 1
        s.outputs.update({name: float(value) for name, value in planned.step.outputs.items()})
        if planned.step.temperature_c is not None and planned.kind != "wait_for":
            s.outputs["temperature_c"] = planned.step.temperature_c
        step = StepMemory(
            index=planned.index,
            mode=planned.mode,  # type: ignore[arg-type]  # groups and notes do not come here
            started_us=reading.time_us,
            start=counters.copy(s.total),
            voltage_before_v=judge.number(reading.voltage_v),
            current_before_a=judge.number(reading.current_a) if reading.output_on else 0.0,
            ends=[EndMemory() for _ in planned.ends],
            limits=judge.memories(self._step_limits[planned.index]),
        )
        s.step = step
        if isinstance(planned.step, Drive):
            step.drive_point = 0
        recording.begin(s.record, planned.record, reading.elapsed_s)
        failed = self._send(planned, step)
        set_point = "" if failed else steprows.in_words(planned, self._set)
        self._events.append(
            Happening(
                kind="step",
                text=f"{planned.title[0].upper()}{planned.title[1:]}: {set_point}".rstrip(": "),
                step=planned.number,
                detail={"entered": s.step_count, "cycle": s.cycle},
            )
        )
        if failed is not None:
            self._close(reading, failed)
        s.expected_end_s = expected.end_s(self._plan, s)
        return failed

    def _send(self, planned: Planned, step: StepMemory) -> EndReason | None:
        """Ask for the step's set point; return why it must fail, or None."""
        try:
            self._set = setpoints.build(planned, self._plan, self._s, step, self._bounds[planned.index])
        except setpoints.Outside as error:
            return EndReason(code=SET_POINT, text=f"{planned.title}: {error}", quantity="set_point")
        self._s.changed = self._s.force_row = True
        return None

    def _close(self, reading: Reading, why: EndReason) -> None:
        """Write the running step's row and forget the step's flags."""
        s = self._s
        if s.step is None or not s.step.open:
            return
        s.step.open = False
        planned = self._plan.steps[s.step.index]
        self._ended.append(steprows.row(planned, s.step, s, reading, why))
        s.learned_s[str(planned.number)] = s.step.time_s
        s.asked.skip = None
        if not s.groups:
            s.flags &= ~FLAG_RESUMED

    def _wind_up(self, why: EndReason, reading: Reading) -> EndReason | None:
        """Begin the finish steps after a normal end or a person's wish; with none left, it is over."""
        s = self._s
        if s.phase == "running" and self._plan.finish is not None:
            s.phase, s.end_reason = "finishing", why
            flow.leave_all(s)
            self._note(f"finish steps begin: {why.text}", {"finish": why.code})
            return self._enter(self._plan.finish, reading)
        if s.phase == "finishing" and s.end_reason is not None:
            return s.end_reason
        return why

    # --- requests ------------------------------------------------------------------------------

    def _stop_asked(self, reading: Reading) -> EndReason | None:
        s = self._s
        assert s.asked.stop is not None
        (how, wish, person), s.asked.stop = s.asked.stop, None
        text = f"stopped by {person or 'a person'}" + (f": {wish}" if wish else "")
        why = EndReason(code=PERSON, text=text, person=person or None)
        if how == "finish" and s.phase == "finishing":
            return None
        self._close(reading, why)
        if how == "finish":
            s.paused = False
            return self._wind_up(why, reading)
        return why

    def _pause(self, reading: Reading) -> None:
        s = self._s
        s.paused = True
        self._set = setpoints.off(s)
        s.changed = s.force_row = True
        rule = self._record_rule()
        s.record.due_s = reading.elapsed_s + recording.period_s(rule, 0.0, True)

    def _resume(self, reading: Reading) -> None:
        s = self._s
        s.paused = False
        if s.step is None:
            return
        planned = self._plan.steps[s.step.index]
        ends.forget(s.step)
        judge.reset(s.step.limits)
        s.step.settled_from_s, s.step.readings = None, 0
        s.record.due_s = reading.elapsed_s + recording.period_s(planned.record, s.step.time_s, False)
        self._send(planned, s.step)
        s.expected_end_s = expected.end_s(self._plan, s)

    # --- the answer ----------------------------------------------------------------------------

    def _finish_up(
        self,
        reading: Reading,
        reason: EndReason | None,
        mode: Mode,
        *,
        forced: bool,
        place: tuple[int, int, int, Counters] | None = None,
    ) -> Decision:
        s = self._s
        if reason is not None:
            normal = reason.code in ("completed", "stop", "stop_rule", "person")
            return self._over("finished" if normal else "violation", reading, reason, mode, place)
        rule, step_s = self._record_rule(), s.step.time_s if s.step is not None else 0.0
        forced = forced or bool(self._ended)
        record = recording.due(s.record, rule, reading, step_s, paused=s.paused, forced=forced)
        action: Literal["keep", "set"] = "set" if self._set is not None else "keep"
        decision = self._decision(action, reading, mode, record, place)
        if record:
            s.flags &= ~FLAG_GAP
        return decision

    def _trip(self, reading: Reading, reason: EndReason) -> Decision:
        s = self._s
        mode = "off" if s.paused or s.step is None else self._mode(s.step)
        return self._over("violation", reading, reason, mode, self._row_of(s))

    def _over(
        self,
        action: Literal["finished", "violation"],
        reading: Reading,
        reason: EndReason,
        mode: Mode,
        place: tuple[int, int, int, Counters] | None,
    ) -> Decision:
        s = self._s
        self._close(reading, reason)
        s.phase, s.paused, s.end_reason, s.expected_end_s = "ended", False, reason, reading.elapsed_s
        self._set = setpoints.off(s)
        decision = self._decision(action, reading, mode, True, place)
        s.step = s.step if s.step is None else msgspec.structs.replace(s.step, unmet=[])
        return decision

    def _row_of(self, s: State) -> tuple[int, int, int, Counters]:
        """Return where the reading belongs before the step may change: number, count, cycle, totals."""
        return self.step, s.step_count, s.cycle, s.total

    def _decision(
        self,
        action: Literal["keep", "set", "finished", "violation"],
        reading: Reading,
        mode: Mode,
        record: bool,
        place: tuple[int, int, int, Counters] | None = None,
    ) -> Decision:
        s = self._s
        number, count, cycle, total = place or self._row_of(s)
        clipped = s.step is not None and s.step.clipped and number == self.step
        row = Row(
            step=number,
            step_count=count,
            cycle=cycle,
            mode=mode,
            charge_in_ah=total.charge_in_ah,
            charge_out_ah=total.charge_out_ah,
            energy_in_wh=total.energy_in_wh,
            energy_out_wh=total.energy_out_wh,
            flags=s.flags | (FLAG_CLIPPED if clipped else 0),
        )
        return Decision(
            action=action,
            row=row,
            record=record,
            set_point=self._set,
            end_reason=s.end_reason if action in ("finished", "violation") else None,
            events=tuple(self._events),
            steps_ended=tuple(self._ended),
        )

    def _mode(self, step: StepMemory) -> Mode:
        return "cv" if step.in_cv else step.mode

    def _record_rule(self) -> Any:
        step = self._s.step
        return self._plan.profile.record if step is None else self._plan.steps[step.index].record

    def _note(self, text: str, detail: dict[str, Any], number: int | None = None) -> None:
        text = text[0].upper() + text[1:]
        self._events.append(
            Happening(kind="note", text=text, step=number or self.step or None, detail=detail)
        )
