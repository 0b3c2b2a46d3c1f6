"""Move from step to step: leave one, skip some, begin the next with its set point, event and row."""

from __future__ import annotations

from typing import Any

import msgspec

from cycling import counters, derived, ends, flow, judge, plan, recording, setpoints, steprows
from cycling.contract import Envelope, Limit
from cycling.plan import Planned, PlannedEnd
from cycling.reading import FLAG_RESUMED, EndReason, Happening, Reading, SetPoint, StepRow
from cycling.reasons import COMPLETED, SET_POINT, STEP_FAILED, STOP
from cycling.state import EndMemory, State, StepMemory
from cycling.steps import Drive, Note, Profile

# So many steps may be skipped at one reading; a loop of nothing but skipped steps goes on at the next.
MAX_ENTRIES = 100


class Moves:
    """The plan, the state, what this reading has caused so far, and how steps follow each other."""

    def __init__(
        self,
        profile: Profile,
        envelope: Envelope,
        capacity_ah: float | None,
        *,
        initial_soc_percent: float | None = None,
        gap_s: float | None = None,
    ) -> None:
        self._gap_s = gap_s
        self._plan = plan.make(profile, envelope, capacity_ah)
        self._envelope = envelope
        self._limits, self._warning = judge.judged(envelope), judge.warning(envelope)
        self._names = derived.Names()
        self._step_limits: dict[int, tuple[Limit, ...]] = {
            planned.index: judge.of_step(planned.step.safety, envelope) for planned in self._plan.steps
        }
        self._bounds = {p.index: setpoints.bounds(p, envelope) for p in self._plan.steps}
        self._s = State(
            plan_sha256=self._plan.sha256,
            limits=judge.memories(self._limits),
            warned=judge.memories(self._warning),
        )
        if initial_soc_percent is not None:
            self._s.soc = initial_soc_percent / 100.0
        self._later: tuple[int, float] | None = None
        self._events: list[Happening] = []
        self._ended: list[StepRow] = []
        self._set: SetPoint | None = None

    @property
    def step(self) -> int:
        """Return the running step's number; 0 before the first."""
        return 0 if self._s.step is None else self._s.step.index + 1

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
        return failed

    def _send(self, planned: Planned, step: StepMemory) -> EndReason | None:
        """Ask for the step's set point; return why it must fail, or None."""
        try:
            self._set = setpoints.build(planned, self._plan, self._s, step, self._bounds[planned.index])
        except setpoints.Outside as error:
            return EndReason(code=SET_POINT, text=f"{planned.title}: {error}", quantity="set_point")
        self._s.changed = self._s.force_row = True
        self._s.asked_a = setpoints.largest_a(self._set)
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
        if not flow.in_cycle(self._plan, s):
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

    def _note(self, text: str, detail: dict[str, Any], number: int | None = None) -> None:
        text = text[0].upper() + text[1:]
        self._events.append(
            Happening(kind="note", text=text, step=number or self.step or None, detail=detail)
        )
