"""Everything the interpreter remembers between two readings; saved and restored as plain data."""

from __future__ import annotations

from typing import Literal

import msgspec

from cycling.reading import EndReason


class Memory(msgspec.Struct, kw_only=True):
    """Base of all parts of the state: by keyword, mutable."""


class EndMemory(Memory, kw_only=True):
    """How long one end has been met, and its window of slopes: [sum of t, sum of x, n, begin]."""

    count: int = 0
    since_s: float | None = None
    buckets: list[list[float]] = []
    slope: float | None = None


class LimitMemory(Memory, kw_only=True):
    """How long one limit has been violated, and since when its value has not changed."""

    count: int = 0
    since_s: float = 0.0
    last: float | None = None
    same_since_s: float = 0.0


class Counters(Memory, kw_only=True):
    """The four counters, in Ah and Wh; each only rises."""

    charge_in_ah: float = 0.0
    charge_out_ah: float = 0.0
    energy_in_wh: float = 0.0
    energy_out_wh: float = 0.0


class BudgetMemory(Memory, kw_only=True):
    """The net charge where the present direction began, and the furthest that it has come."""

    turn_ah: float = 0.0
    extreme_ah: float = 0.0


class ThermalMemory(Memory, kw_only=True):
    """The temperature at the start, what a chamber has soaked the cell to, and means for the slope."""

    start_c: float | None = None
    soak_c: float | None = None
    means: list[list[float]] = []
    """[time of the first, sum of times, sum of temperatures, how many]."""


class StepMemory(Memory, kw_only=True):
    """The running step."""

    index: int
    mode: Literal["rest", "cc", "cv", "cp", "cr", "drive", "wait"]
    open: bool = True
    """Its row is still to be written."""
    time_s: float = 0.0
    """Since the set point, pauses left out."""
    started_us: int = 0
    start: Counters = msgspec.field(default_factory=Counters)
    voltage_before_v: float | None = None
    current_before_a: float | None = None
    temperature_max_c: float | None = None
    set_current_a: float | None = None
    ceiling_v: float | None = None
    floor_v: float | None = None
    bound_slack_v: float = 0.0
    settled_from_s: float | None = None
    readings: int = 0
    in_cv: bool = False
    near_count: int = 0
    clip_count: int = 0
    clipped: bool = False
    drive_point: int = -1
    dcir: list[dict[str, float]] = []
    ends: list[EndMemory] = []
    limits: list[LimitMemory] = []
    unmet: list[str] = []
    wait_since_s: float | None = None


class RecordMemory(Memory, kw_only=True):
    """The last recorded reading and when the next is due."""

    due_s: float = 0.0
    at_s: float = 0.0
    voltage_v: float | None = None
    current_a: float | None = None
    temperature_c: float | None = None


class Asked(Memory, kw_only=True):
    """What people asked for since the last reading."""

    pause: bool = False
    resume: bool = False
    skip: str | None = None
    stop: list[str] | None = None
    confirmed: str | None = None


class State(Memory, kw_only=True):
    """The whole state."""

    plan_sha256: str = ""
    phase: Literal["new", "running", "finishing", "ended"] = "new"
    paused: bool = False
    step: StepMemory | None = None
    pending: int | None = None
    """A step still to be entered: too many were skipped at one reading."""
    groups: list[list[int]] = []
    """The groups we are in, outermost first: [plan index, round]."""
    step_count: int = 0
    cycle: int = 0
    run_s: float = 0.0
    elapsed_s: float = 0.0
    total: Counters = msgspec.field(default_factory=Counters)
    reading_s: float | None = None
    """Time of the last complete reading; its voltage and current follow."""
    voltage_v: float | None = None
    current_a: float = 0.0
    changed: bool = False
    """A set point went out after the last reading."""
    force_row: bool = False
    outputs: dict[str, float] = {}
    stored: dict[str, float] = {}
    soc: float | None = None
    soc_net_ah: float = 0.0
    limits: list[LimitMemory] = []
    warned: list[LimitMemory] = []
    budget: BudgetMemory = msgspec.field(default_factory=BudgetMemory)
    thermal: ThermalMemory = msgspec.field(default_factory=ThermalMemory)
    asked_a: float = 0.0
    """The largest current that the last set point allows, signed."""
    record: RecordMemory = msgspec.field(default_factory=RecordMemory)
    cycle_start: Counters = msgspec.field(default_factory=Counters)
    references: dict[str, float] = {}
    """Charge of the cycles that the stop rule compares with, by tag or number."""
    flags: int = 0
    asked: Asked = msgspec.field(default_factory=Asked)
    learned_s: dict[str, float] = {}
    """How long each step took when it last ran, by number."""
    end_reason: EndReason | None = None
