"""Rehearse a profile on a simulated cell, as fast as the computer can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from cycling.cell import Cell
from cycling.contract import Envelope
from cycling.interpreter import Interpreter
from cycling.reading import Decision, EndReason, Happening, Reading, SetPoint, StepRow
from cycling.steps import Profile

# A rehearsal that does not end is cut here.
MAX_READINGS = 5_000_000


@dataclass
class Outcome:
    """What a rehearsal showed."""

    action: Literal["finished", "violation", "cut"]
    end_reason: EndReason | None
    elapsed_s: float
    readings: int
    recorded: int
    cycle: int
    steps: list[StepRow] = field(default_factory=list)
    events: list[Happening] = field(default_factory=list)
    decision: Decision | None = None


class Bench:
    """A simulated cell behind a simulated device that does what set points ask, at once.

    ``noise_v`` and ``noise_a`` are standard deviations of normal noise, ``resolution_v`` and
    ``resolution_a`` the steps of the readings. ``extended`` are values that stay but for a noise of one
    part in a thousand, since a value that never moves counts as frozen; an output named
    ``chamber_c`` or ``temperature_c`` sets the ambient temperature, others are only kept.
    """

    def __init__(
        self,
        cell: Cell,
        *,
        noise_v: float = 0.0,
        noise_a: float = 0.0,
        resolution_v: float = 0.0,
        resolution_a: float = 0.0,
        extended: Mapping[str, float | None] | None = None,
        temperature: bool = True,
        seed: int = 1,
    ) -> None:
        self.cell = cell
        self.target = SetPoint(mode="off")
        self.noise_v, self.noise_a = noise_v, noise_a
        self.resolution_v, self.resolution_a = resolution_v, resolution_a
        self.extended: dict[str, float | None] = dict(extended or {})
        self.temperature = temperature
        self.elapsed_s = 0.0
        self._random = Random(seed)

    def apply(self, target: SetPoint) -> None:
        """Do what the interpreter asks; the current changes at once."""
        self.target = target
        for name in ("chamber_c", "temperature_c"):
            if name in target.outputs:
                self.cell.ambient_c = target.outputs[name]
        self._drive(0.0)

    def advance(self, dt_s: float) -> None:
        """Let time pass with the present set point."""
        self._drive(dt_s)
        self.elapsed_s += dt_s

    def _drive(self, dt_s: float) -> None:
        target = self.target
        value = {
            "cc": target.current_a,
            "cv": target.voltage_v,
            "cp": target.power_w,
            "cr": target.resistance_ohm,
        }.get(target.mode)
        self.cell.step(
            dt_s,
            target.mode,
            value or 0.0,
            i_min=-target.discharge_current_max_a,
            i_max=target.charge_current_max_a,
            v_min=-1e9 if target.voltage_min_v is None else target.voltage_min_v,
            v_max=1e9 if target.voltage_max_v is None else target.voltage_max_v,
            direction=target.direction,
        )

    def read(self) -> Reading:
        """Return what the device would measure now."""
        voltage_v, current_a = self.cell.voltage_v, self.cell.current_a
        if self.noise_v:
            voltage_v += self._random.gauss(0.0, self.noise_v)
        if self.noise_a:
            current_a += self._random.gauss(0.0, self.noise_a)
        return Reading(
            time_us=round(self.elapsed_s * 1e6),
            elapsed_s=self.elapsed_s,
            voltage_v=_stepped(voltage_v, self.resolution_v),
            current_a=_stepped(current_a, self.resolution_a),
            temperature_c=self.cell.temperature_c if self.temperature else None,
            extended={name: self._noisy(x) for name, x in self.extended.items()},
            output_on=self.target.mode != "off",
        )

    def _noisy(self, x: float | None) -> float | None:
        return None if x is None else x * self._random.gauss(1.0, 1e-3)


def _stepped(x: float, resolution: float) -> float:
    return round(x / resolution) * resolution if resolution else x


def fixed(period_s: float) -> Callable[[Interpreter, float], float]:
    """Read every ``period_s``."""
    return lambda interpreter, since_s: period_s


def growing(
    first_s: float = 0.5, most_s: float = 60.0, share: float = 0.1, rest_most_s: float | None = None
) -> Callable[[Interpreter, float], float]:
    """Read soon after a set point and ever less often; never past the next thing that waits for time.

    ``most_s`` is the longest interval, ``rest_most_s`` that with the output off.
    """

    def period(interpreter: Interpreter, since_s: float) -> float:
        longest_s = rest_most_s if rest_most_s and interpreter.output_off else most_s
        wait_s = min(max(first_s, since_s * share), longest_s)
        due_s = interpreter.due_in_s
        return wait_s if due_s is None else min(wait_s, max(due_s, 1e-3))

    return period


def run(
    profile: Profile,
    envelope: Envelope,
    capacity_ah: float | None,
    cell: Cell | Bench,
    *,
    period: Callable[[Interpreter, float], float] | float = 1.0,
    initial_soc_percent: float | None = None,
    max_readings: int = MAX_READINGS,
    watch: Callable[[Reading, Decision], None] | None = None,
) -> Outcome:
    """Run ``profile`` to its end on a simulated cell.

    ``period`` is the loop's period in s, or a function of the interpreter and the time since the last
    set point. ``watch`` sees each reading with its decision. Steps and events are kept in the outcome.
    """
    bench = cell if isinstance(cell, Bench) else Bench(cell)
    wait = fixed(period) if isinstance(period, (int, float)) else period
    interpreter = Interpreter(profile, envelope, capacity_ah, initial_soc_percent=initial_soc_percent)
    steps: list[StepRow] = []
    events: list[Happening] = []
    since_s, recorded, readings = 0.0, 0, 0
    decision: Decision | None = None
    while readings < max_readings:
        readings += 1
        reading = bench.read()
        decision = interpreter.advance(reading)
        recorded += decision.record
        steps.extend(decision.steps_ended)
        events.extend(decision.events)
        if watch is not None:
            watch(reading, decision)
        if decision.action in ("finished", "violation"):
            break
        if decision.set_point is not None:
            bench.apply(decision.set_point)
            since_s = 0.0
        wait_s = wait(interpreter, since_s)
        bench.advance(wait_s)
        since_s += wait_s
    action = decision.action if decision is not None else "cut"
    return Outcome(
        action=action if action in ("finished", "violation") else "cut",
        end_reason=None if decision is None else decision.end_reason,
        elapsed_s=bench.elapsed_s,
        readings=readings,
        recorded=recorded,
        cycle=interpreter.cycle,
        steps=steps,
        events=events,
        decision=decision,
    )
