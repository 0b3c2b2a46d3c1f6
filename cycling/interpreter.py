"""The one interpreter: steps, envelope and one reading in; the next set point, or the end, out.

Deterministic: no clock, no randomness; time comes in with the readings. The agent drives it with a
device, the dry run with a simulated cell, the tests with invented readings. ``engine`` holds what
happens at a reading, ``moves`` how steps follow each other; this is the door.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from cycling import expected, judge, steprows
from cycling.contract import Envelope
from cycling.engine import Engine
from cycling.plan import CannotRun
from cycling.reading import FLAG_RESUMED, Decision, EndReason, Reading
from cycling.reasons import CONTACT
from cycling.state import Counters, State
from cycling.steps import Profile

__all__ = ["CannotRun", "Interpreter"]


class Interpreter(Engine):
    """Run one checked profile within one envelope.

    ``capacity_ah`` is what rates refer to (None: the profile has none). ``gap_s``: readings further
    apart than this leave a gap, whose charge is counted at its worst (None: none is too far). Raises
    ``CannotRun`` for a profile that needs what is not known or not supported; see ``cycling.check``.
    """

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
        """Return the ``elapsed_s`` at which the end is expected; None when nothing runs."""
        s = self._s
        if s.step is None or s.phase == "ended":
            return None
        if self._later is None or self._later[0] != s.step_count:
            # Once per step: a profile may have thousands of steps.
            self._later = (s.step_count, expected.later_s(self._plan, s))
        left_s = expected.left_s(self._plan, s) + self._later[1]
        limit_s = self._envelope.run_max_s
        if limit_s is not None:
            left_s = min(left_s, max(limit_s - s.run_s, 0.0))
        return s.elapsed_s + left_s

    @property
    def violating(self) -> bool:
        """Tell whether the next readings decide about a trip: the last was beyond a limit that asks for three."""
        s = self._s
        own = (
            zip(self._step_limits[s.step.index], s.step.limits, strict=True)
            if s.step and s.step.limits
            else ()
        )
        judged = (*zip(self._limits, s.limits, strict=True), *own)
        return any(limit.delay_s is None and 0 < memory.count < judge.IN_A_ROW for limit, memory in judged)

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

    def lose_contact(self, text: str) -> None:
        """End the experiment now because the server was not heard (safety.md rule 9); ``text`` says it all."""
        self._s.asked.stop = ["now", text, "", CONTACT]

    def confirm(self, person: str = "") -> None:
        """Answer a step that waits for the operator."""
        self._s.asked.confirmed = person

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
        gap_s: float | None = None,
    ) -> Interpreter:
        """Return an interpreter that goes on exactly where ``saved`` was taken.

        Raises ``CannotRun`` when the state does not belong to this profile, capacity and envelope.
        """
        fresh = cls(profile, envelope, capacity_ah, initial_soc_percent=initial_soc_percent, gap_s=gap_s)
        try:
            state = msgspec.convert(saved, State)
        except msgspec.ValidationError as error:
            raise CannotRun(f"the saved state cannot be read: {error}") from None
        if state.plan_sha256 != fresh._plan.sha256 or len(state.limits) != len(fresh._limits):
            raise CannotRun("the saved state belongs to another profile, capacity or envelope")
        if len(state.warned) != len(fresh._warning):
            state.warned = judge.memories(fresh._warning)
        fresh._s = state
        return fresh

    def count_too(self, total: Counters) -> None:
        """Count what flowed outside of any step: the pulses before the first one (safety.md rule 4)."""
        mine = self._s.total
        mine.charge_in_ah += total.charge_in_ah
        mine.charge_out_ah += total.charge_out_ah
        mine.energy_in_wh += total.energy_in_wh
        mine.energy_out_wh += total.energy_out_wh

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
