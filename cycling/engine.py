"""See one reading: judge, count, decide, record."""

from __future__ import annotations

from typing import Literal

import msgspec

from cycling import counters, derived, ends, flow, judge, recording, sensors, setpoints, steprows, waiting
from cycling.moves import Moves
from cycling.plan import Planned
from cycling.reading import FLAG_CLIPPED, FLAG_GAP, FLAG_RESUMED, Decision, EndReason, Mode, Reading, Row
from cycling.reasons import CONTACT, DONE, NORMAL, PERSON, RUN_MAX, STEP_MAX
from cycling.state import Counters, State, StepMemory
from cycling.steps import CCCV, Drive, Record, WaitFor


class Engine(Moves):
    """What happens at each reading."""

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
            violation = self._judge_charge(reading)
        first, forced = s.phase == "new", s.force_row
        s.force_row = False
        if violation is not None:
            return self._trip(reading, violation)
        if first:
            reason = self._first(reading)
            mode: Mode = "off" if s.step is None or s.step.mode not in ("rest", "wait") else s.step.mode
            return self._finish_up(reading, reason, mode, forced=True)
        mode = "off" if s.paused or s.step is None else self._mode(s.step)
        place = self._row_of(s)
        reason = self._decide(reading)
        return self._finish_up(reading, reason, mode, forced=forced, place=place)

    def _first(self, reading: Reading) -> EndReason | None:
        """Enter the first step, unless a person stopped or paused before anything moved."""
        s = self._s
        s.phase = "running"
        if s.asked.stop is not None:
            return self._stop_asked(reading)
        if s.asked.pause:
            s.asked.pause, s.pending = False, self._plan.first
            self._pause(reading)
            return None
        return self._enter(self._plan.first, reading)

    def _judge(self, reading: Reading) -> EndReason | None:
        s = self._s
        step_a = self._envelope.resolution.current_a
        chamber_c = next((s.outputs[name] for name in sensors.CHAMBERS if name in s.outputs), None)
        found = derived.values(reading, self._names, s.thermal, chamber_c)
        violation = judge.judge(reading, self._limits, s.limits, step_a, found)
        if self._warning:
            self._warn(reading, found)
        if s.step is not None and s.step.limits:
            own = judge.judge(reading, self._step_limits[s.step.index], s.step.limits, step_a)
            violation = violation or own
        return violation

    def _warn(self, reading: Reading, found: derived.Values) -> None:
        """Note what a person should know when it begins; it is said again once it was over."""
        for limit, memory in zip(self._warning, self._s.warned, strict=True):
            told = memory.count >= judge.IN_A_ROW
            reason = judge.judge(reading, (limit,), (memory,), 0.0, found)
            if reason is not None and not told:
                self._note(
                    f"warning: {reason.text}",
                    {"warning": limit.quantity, "measured": reason.measured, "limit": reason.limit},
                )

    def _judge_charge(self, reading: Reading) -> EndReason | None:
        """Judge the counters; the budget follows the net charge over pauses, gaps and restarts."""
        s, net_ah = self._s, counters.net_ah(self._s.total)
        reversal_ah = self._envelope.reversal_ah
        one_way_ah = 0.0 if reversal_ah is None else derived.one_way_ah(s.budget, net_ah, reversal_ah)
        return judge.charge(net_ah, one_way_ah, self._envelope, reading.elapsed_s)

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
            if self._gap_s is not None and passed_s > self._gap_s:
                self._bridge(passed_s, max(s.voltage_v, voltage_v), current_a)
            elif passed_s > 0.0 and (before_a or current_a):
                counters.add(s.total, passed_s, before_v, before_a, voltage_v, current_a)
        s.reading_s, s.voltage_v, s.current_a, s.changed = s.elapsed_s, voltage_v, current_a, False

    def _bridge(self, passed_s: float, voltage_v: float, current_a: float) -> None:
        """Count a time without readings at its worst: the largest current seen or asked for, all of it."""
        s = self._s
        asked_a = s.asked_a if s.changed and not s.paused else 0.0
        worst_a = max(s.current_a, current_a, asked_a, key=abs)
        if s.paused and not worst_a:
            return  # a check before a resume reads by itself
        counters.add(s.total, passed_s, voltage_v, worst_a, voltage_v, worst_a)
        s.flags |= FLAG_GAP
        s.force_row = True
        self._note(
            f"no reading for {passed_s:.3g} s: its charge is counted as {worst_a:.6g} A throughout",
            {"gap_s": passed_s, "worst_a": worst_a},
        )

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
            # A loop of nothing but skipped steps never runs a step: its time is up all the same.
            overdue = self._overdue(reading)
            return self._enter(s.pending, reading) if overdue is None and s.pending is not None else overdue
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

    def _stop_asked(self, reading: Reading) -> EndReason | None:
        s = self._s
        assert s.asked.stop is not None
        (how, wish, person, *rest), s.asked.stop = s.asked.stop, None
        text = f"stopped by {person or 'a person'}" + (f": {wish}" if wish else "")
        why = EndReason(code=PERSON, text=text, person=person or None)
        if CONTACT in rest:
            why = EndReason(code=CONTACT, text=wish)
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
            normal = reason.code in NORMAL or reason.code in (PERSON, CONTACT)
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
        s.phase, s.paused, s.end_reason = "ended", False, reason
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

    def _record_rule(self) -> Record:
        step = self._s.step
        return self._plan.profile.record if step is None else self._plan.steps[step.index].record
