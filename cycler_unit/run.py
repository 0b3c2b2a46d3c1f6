"""One experiment on this unit: its interpreter, its clock, and what of it goes to the spool."""

from __future__ import annotations

import time
from typing import Any, Literal

import msgspec

from cycler_unit.clock import boot_id, disciplined, iso
from cycler_unit.contract import Contract
from cycler_unit.readings import Taken
from cycler_unit.spool import Entry
from cycler_unit.wiring import Expected
from cycling.interpreter import Interpreter
from cycling.reading import Decision, EndReason, Happening, Reading, SetPoint, StepRow
from cycling.setpoints import largest_a
from wire.messages import ExperimentStart

COLUMNS = [
    "time_us", "elapsed_s", "step", "step_count", "cycle", "mode", "voltage_v", "current_a", "power_w",
    "temperature_c", "charge_in_ah", "charge_out_ah", "energy_in_wh", "energy_out_wh", "flags",
]  # fmt: skip
# The checkpoint is at most this old though nothing is recorded.
CHECKPOINT_S = 1.0
# Readings further apart than so many periods, and at least this, leave a gap (safety.md rule 8's numbers).
GAP_PERIODS, GAP_MIN_S = 5.0, 0.5
# Charge transfer and diffusion relax slowly: they can add this much to the ohmic drop that a current
# step shows at once (1 + 0.4 + 0.8 in the cell model's fits, with some reserve).
DROP_TOTAL = 2.5
# Below this a reading counts as taken at rest, where no resistance has been learnt yet.
REST_A = 0.01

Phase = Literal["checking", "active"]


class Checkpoint(msgspec.Struct, kw_only=True):
    """Where an experiment stood, in the same transaction as its last sample."""

    interpreter: dict[str, Any]
    elapsed_s: float
    time_us: int
    monotonic_s: float
    boot: str
    clock_good: bool
    voltage_v: float | None = None
    current_a: float | None = None
    resistance_ohm: float | None = None
    pulse_ohm: float | None = None
    worst_a: float = 0.0
    """The largest current that may flow from here on unwatched, signed: the gap's charge at its worst."""


class Run:
    """An experiment in progress. Used by its station's thread only."""

    def __init__(
        self,
        start: ExperimentStart,
        contract: Contract,
        extended: list[str],
        saved: Checkpoint | None = None,
        *,
        clock_good: bool | None = None,
        period_s: float = 0.1,
    ) -> None:
        self.start = start
        self._gap_s = max(GAP_PERIODS * period_s, GAP_MIN_S)
        self.contract = contract
        self.extended = extended
        self.phase: Phase = "checking" if saved is None else "active"
        self.resistance_ohm: float | None = None
        self.pulse_ohm = start.battery.resistance_ohm
        """What the pulse check compares with: the battery's record, or this test's own first answer."""
        self.next_flags = 0
        self.was_paused = False
        self.gap_s: float | None = 0.0
        self.set_point: SetPoint | None = None
        self.paused_at_s: float | None = None
        self.rested: Expected | None = None
        """Where the voltage should lie after a pause, as the last loaded reading told."""
        self._clock_good = disciplined() if clock_good is None else clock_good
        self._epoch_s: float | None = None
        self._elapsed_s = 0.0
        self._checkpoint_due_s = 0.0
        self._before: Reading | None = None
        self._just_set = False
        self.saved = saved
        self.interpreter = self._interpreter(saved)

    @property
    def id(self) -> str:
        """Return the experiment's UUID."""
        return self.start.experiment

    @property
    def columns(self) -> list[str]:
        """Return the names of a sample's columns."""
        return COLUMNS + self.extended

    def _interpreter(self, saved: Checkpoint | None) -> Interpreter:
        parts = (self.contract.profile, self.contract.envelope, self.start.capacity_ah)
        if saved is None:
            return Interpreter(*parts, initial_soc_percent=self.start.initial_soc_percent, gap_s=self._gap_s)
        self.pulse_ohm = saved.pulse_ohm
        self.resistance_ohm = saved.resistance_ohm
        self._go_on_counting(saved)
        return Interpreter.restore(
            *parts,
            saved.interpreter,
            initial_soc_percent=self.start.initial_soc_percent,
            gap_s=self._gap_s,
        )

    @property
    def remaining_s(self) -> float | None:
        """Return the time to the expected end, None while unknown."""
        end_s = self.interpreter.expected_end_s
        return None if end_s is None else round(max(0.0, end_s - self._elapsed_s), 1)

    # --- time -----------------------------------------------------------------------------------

    def _go_on_counting(self, saved: Checkpoint) -> None:
        """Let ``elapsed_s`` go on over the break; ``gap_s`` is None when nobody can know its length.

        The machine's own clock counts through a restart of the program; over a reboot only a
        disciplined wall clock can tell.
        """
        now = time.monotonic()
        if saved.boot and saved.boot == boot_id():
            self.gap_s = max(0.0, now - saved.monotonic_s)
        elif saved.clock_good and self._clock_good:
            self.gap_s = max(0.0, time.time() - saved.time_us / 1e6)
        else:
            self.gap_s = None
        self._elapsed_s = saved.elapsed_s
        self._epoch_s = now - saved.elapsed_s - (self.gap_s or 0.0)

    def elapsed_s(self, taken: Taken) -> float:
        """Return seconds since the experiment began; never falls."""
        if self._epoch_s is None:
            self._epoch_s = taken.taken_s
        self._elapsed_s = max(self._elapsed_s, taken.taken_s - self._epoch_s)
        return self._elapsed_s

    # --- one reading ----------------------------------------------------------------------------

    def advance(self, taken: Taken, output_on: bool) -> tuple[Reading, Decision]:
        """Give a reading to the interpreter, which judges it before anything else."""
        reading = taken.reading(self.elapsed_s(taken), output_on)
        decision = self.interpreter.advance(reading)
        self._learn_resistance(reading)
        self._before = reading
        self._just_set = decision.action == "set"
        if decision.set_point is not None:
            self._remember_rest(decision.set_point, reading)
            self.set_point = decision.set_point
        return reading, decision

    def _learn_resistance(self, reading: Reading) -> None:
        """Take the ohmic drop that the first reading after a set point shows."""
        before = self._before
        if not self._just_set or before is None:
            return
        v0, i0, v1, i1 = before.voltage_v, before.current_a, reading.voltage_v, reading.current_a
        if v0 is None or i0 is None or v1 is None or i1 is None:
            return
        step_a = i1 - i0
        smallest_a = 20.0 * self.contract.envelope.resolution.current_a
        if abs(step_a) > max(smallest_a, 0.05 * abs(i1), 1e-6):
            ohm = (v1 - v0) / step_a
            if ohm > 0.0:
                self.resistance_ohm = ohm

    def _remember_rest(self, point: SetPoint, reading: Reading) -> None:
        if point.mode == "off":
            self.rested = expected_rest(reading.voltage_v, reading.current_a, self.resistance_ohm)

    # --- to the spool ---------------------------------------------------------------------------

    def entry(self, reading: Reading, decision: Decision) -> Entry | None:
        """Return what of a reading must be kept, None when nothing is due."""
        now = time.monotonic()
        entry = Entry(experiment=self.id)
        if decision.record:
            entry.rows.append(self._row(reading, decision))
        at = iso(reading.time_us / 1e6)
        entry.events = self._in_order(decision, at)
        if not (entry.rows or entry.events or decision.action == "set" or now >= self._checkpoint_due_s):
            return None
        self._checkpoint_due_s = now + CHECKPOINT_S
        entry.checkpoint = self.checkpoint(reading, self._worst_a(reading))
        return entry

    def _in_order(self, decision: Decision, at: str) -> list[dict[str, Any]]:
        """Return a decision's events: a step's end stands before the beginning of those after it."""
        found: list[dict[str, Any]] = []
        ended = list(decision.steps_ended)
        for each in decision.events:
            entered = each.detail.get("entered")
            while ended and isinstance(entered, int) and ended[0].step_count < entered:
                found.append(self._step_event(ended.pop(0), at))
            found.append(self.event(each, at))
        return found + [self._step_event(row, at) for row in ended]

    def _row(self, reading: Reading, decision: Decision) -> list[Any]:
        row = decision.row
        flags, self.next_flags = row.flags | self.next_flags, 0
        return [
            reading.time_us, round(reading.elapsed_s, 6), row.step, row.step_count, row.cycle, row.mode,
            reading.voltage_v, reading.current_a, reading.power_w, reading.temperature_c,
            row.charge_in_ah, row.charge_out_ah, row.energy_in_wh, row.energy_out_wh, flags,
            *(reading.extended.get(name) for name in self.extended),
        ]  # fmt: skip

    def _step_event(self, row: StepRow, at: str) -> dict[str, Any]:
        return {
            "at": at, "kind": "step", "text": f"Step {row.step} ended: {row.end_reason.text}", "step": row.step,
            "station": self.start.station, "experiment": self.id, "detail": {"row": msgspec.to_builtins(row)},
        }  # fmt: skip

    def event(self, each: Happening, at: str | None = None) -> dict[str, Any]:
        """Return something that happened as an event of this experiment."""
        return {
            "at": at or iso(time.time()), "kind": each.kind, "text": each.text, "step": each.step,
            "station": self.start.station, "experiment": self.id, "detail": dict(each.detail),
        }  # fmt: skip

    def status(self, status: str, text: str, reason: EndReason | None = None, **more: Any) -> dict[str, Any]:
        """Return a status event; the spool adds ``last_seq``."""
        detail: dict[str, Any] = {"status": status, **more}
        if reason is not None:
            detail["end_reason"] = msgspec.to_builtins(reason)
        return self.event(
            Happening(kind="status", text=text, step=self.interpreter.step or None, detail=detail)
        )

    def checkpoint(self, reading: Reading, worst_a: float) -> bytes:
        """Return where the experiment stands, ready for the disk."""
        saved = Checkpoint(
            interpreter=self.interpreter.save(),
            elapsed_s=self._elapsed_s,
            time_us=reading.time_us,
            monotonic_s=self._epoch_s + self._elapsed_s if self._epoch_s is not None else time.monotonic(),
            boot=boot_id(),
            clock_good=self._clock_good,
            voltage_v=reading.voltage_v,
            current_a=reading.current_a,
            resistance_ohm=self.resistance_ohm,
            pulse_ohm=self.pulse_ohm,
            worst_a=worst_a,
        )
        return msgspec.json.encode(saved)

    def _worst_a(self, reading: Reading) -> float:
        """Return the larger of what flows and, when it was not read back yet, what was just asked for."""
        flows_a = reading.current_a or 0.0 if reading.output_on else 0.0
        asked_a = largest_a(self.set_point) if self._just_set else 0.0
        return max(flows_a, asked_a, key=abs)

    def off_checkpoint(self) -> bytes | None:
        """Return where the experiment stands with the output confirmed off; None before any reading."""
        return None if self._before is None else self.checkpoint(self._before, 0.0)

    def abort(self, reason: EndReason) -> Entry:
        """End the interpreter for a reason that it cannot know; return the running step's row."""
        self.interpreter.stop("now", reason.text)
        blind = Reading(
            time_us=int(time.time() * 1e6),
            elapsed_s=self._elapsed_s
            if self._epoch_s is None
            else max(self._elapsed_s, time.monotonic() - self._epoch_s),
            voltage_v=None,
            current_a=None,
        )
        rows = self.interpreter.advance(blind).steps_ended
        events = [
            self._step_event(msgspec.structs.replace(row, end_reason=reason), iso(time.time()))
            for row in rows
        ]
        return Entry(experiment=self.id, events=events)


def expected_rest(voltage_v: float | None, current_a: float | None, ohm: float | None) -> Expected | None:
    """Return where the voltage goes when the current stops; None when nobody can say.

    The ohmic part of the drop vanishes at once, the rest over minutes: so it is a span.
    """
    if voltage_v is None or current_a is None:
        return None
    if ohm is None:
        # No resistance is known before the first current; without a current none is needed.
        small = abs(current_a) < REST_A
        return Expected(voltage_v, voltage_v, "the last reading before the break") if small else None
    ends = sorted((voltage_v - ohm * current_a, voltage_v - DROP_TOTAL * ohm * current_a))
    return Expected(ends[0], ends[1], "the last reading before the break")


def status_event(
    station: str, experiment: str, status: str, reason: EndReason, **more: Any
) -> dict[str, Any]:
    """Return a status event of an experiment that has no :class:`Run`."""
    return {
        "at": iso(time.time()), "kind": "status", "text": reason.text, "station": station, "experiment": experiment,
        "detail": {"status": status, "end_reason": msgspec.to_builtins(reason), **more},
    }  # fmt: skip
