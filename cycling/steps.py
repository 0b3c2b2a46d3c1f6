"""The one step model: what a profile is made of.

The REST API, the editor, the database (one JSON text per profile version), the broker message, the
interpreter and every importer use these structs. SI floats with the unit in the key; positive
current charges the battery, everywhere.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Direction = Literal["charge", "discharge", "rest", "auto"]
Op = Literal["above", "below", "auto"]


class Model(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Base of all parts of a profile: fields by keyword, defaults left out of the text."""


class Goto(Model, kw_only=True):
    """Where an end leads: the step with this unique label at its own or an outer level."""

    goto: str


Then = Literal["next", "exit_group", "stop", "fail"] | Goto


class Capacity(Model, kw_only=True):
    """What C-rates refer to. ``ah`` for ``given``; ``experiment`` (UUID) for ``measured``."""

    basis: Literal["nominal", "given", "measured"] = "nominal"
    ah: float | None = None
    experiment: str | None = None


class Record(Model, kw_only=True):
    """When a reading becomes a sample; several reasons for one reading make one row."""

    every_s: float = 1.0
    on_dv_v: float | None = None
    on_di_a: float | None = None
    on_dtemp_c: float | None = None
    min_gap_s: float | None = None
    burst: list[tuple[float, float]] = []


class MeasureLimit(Model, kw_only=True):
    """A limit on an extended measure, by the station's name for it."""

    name: str
    min: float | None = None
    max: float | None = None
    delay_s: float | None = None
    frozen_s: float | None = None
    when: Literal["always", "current"] = "always"


class Safety(Model, kw_only=True):
    """Limits of the profile or of one step, intersected with all others, never wider."""

    v_max_v: float | None = None
    v_min_v: float | None = None
    i_max_a: float | None = None
    i_min_a: float | None = None
    p_abs_max_w: float | None = None
    q_abs_max_ah: float | None = None
    temp_max_c: float | None = None
    temp_min_c: float | None = None
    delay_s: float | None = None
    run_max_s: float | None = None
    max_step_s: float = 172800.0
    measures: list[MeasureLimit] = []


class Stop(Model, kw_only=True):
    """Normal end of the whole test; acts when a cycle ends unless ``when`` is ``now``."""

    capacity_percent: float | None = None
    of: Literal["first", "nominal"] | int = "first"
    tag: str | None = None
    measure: Literal["discharge", "charge"] = "discharge"
    q_ah: float | None = None
    run_s: float | None = None
    cycles: int | None = None
    when: Literal["end of cycle", "now"] = "end of cycle"


class Clip(Model, kw_only=True):
    """Voltages that the device holds while the step goes on."""

    v_min_v: float | None = None
    v_max_v: float | None = None


class Store(Model, kw_only=True):
    """Keep a result of the step under a name; outside [min_rel, max_rel] x capacity fails."""

    name: str
    quantity: str
    min_rel: float
    max_rel: float


class End(Model, kw_only=True):
    """One way in which a step ends; the first met in the list wins."""

    quantity: str
    value: float
    op: Op = "auto"
    hold_s: float | None = None
    after_s: float | None = None
    over_s: float | None = None
    of: str | None = None
    then: Then | None = None
    """None: ``next``, and ``fail`` for the ``time_s`` end of a ``wait_for``."""


class Step(Model, tag_field="kind", kw_only=True):
    """What all steps share."""

    id: str | None = None
    label: str | None = None
    tags: list[str] = []
    direction: Direction = "auto"
    temperature_c: float | None = None
    outputs: dict[str, float] = {}
    record: Record | None = None
    safety: Safety | None = None
    skip_if_met: bool = True
    settle_s: float = 0.5
    store: Store | None = None
    rate_of: str | None = None
    soc_after: float | None = None
    dcir_at_s: list[float] = []
    end: list[End] = []


class Rest(Step, tag="rest", kw_only=True):
    """Output off; ``isolate`` opens the station's isolator."""

    isolate: bool = False


class CC(Step, tag="cc", kw_only=True):
    """Constant current: ``current_a`` or ``rate``."""

    current_a: float | None = None
    rate: str | None = None
    clip: Clip | None = None


class CV(Step, tag="cv", kw_only=True):
    """Constant voltage with a required compliance current (magnitude)."""

    voltage_v: float
    current_max_a: float | None = None
    rate_max: str | None = None


class CCCV(Step, tag="cccv", kw_only=True):
    """Constant current until the voltage is reached, then constant voltage; one step."""

    voltage_v: float
    current_a: float | None = None
    rate: str | None = None


class CP(Step, tag="cp", kw_only=True):
    """Constant power, positive charges."""

    power_w: float
    current_max_a: float | None = None
    clip: Clip | None = None


class CR(Step, tag="cr", kw_only=True):
    """Constant resistance in the given direction."""

    resistance_ohm: float
    current_max_a: float


class Table(Model, kw_only=True):
    """A drive table kept beside the profile, named with its content's SHA-256."""

    name: str
    sha256: str


class Drive(Step, tag="drive", kw_only=True):
    """A list of set points over time; ends by itself after ``repeat`` passes."""

    of: Literal["current", "power", "voltage", "rate"]
    points: list[tuple[float, float]] = []
    table: Table | None = None
    interpolate: Literal["hold", "linear"] = "hold"
    scale: float = 1.0
    repeat: int = 1
    clip: Clip | None = None


class Scan(Step, tag="scan", kw_only=True):
    """A voltage ramp from one voltage to another."""

    from_v: float
    to_v: float
    rate_v_s: float
    current_max_a: float


class EIS(Step, tag="eis", kw_only=True):
    """Impedance spectroscopy, only on stations with a device that can."""

    mode: str
    amplitude: float
    from_hz: float
    to_hz: float
    per_decade: int


class WaitMeasure(Model, kw_only=True):
    """A condition on an extended measure."""

    name: str
    op: Literal["above", "below"]
    value: float
    hold_s: float = 0.0


class WaitFor(Step, tag="wait_for", kw_only=True):
    """Wait until a time, a temperature, a measure or an operator; needs a ``time_s`` end."""

    start_time: str | None = None
    tolerance_c: float = 1.0
    measure: WaitMeasure | None = None
    operator: str | None = None


class Note(Step, tag="note", kw_only=True):
    """A remark for the event list; ends at once."""

    text: str


class Group(Step, tag="group", kw_only=True):
    """Steps repeated ``count`` times; ``is_cycle`` makes each round one cycle."""

    count: int = 1
    is_cycle: bool = False
    steps: list[AnyStep] = []


AnyStep = Rest | CC | CV | CCCV | CP | CR | Drive | Scan | EIS | WaitFor | Note | Group


class Origin(Model, kw_only=True):
    """Where an imported profile came from."""

    format: str
    version: str | None = None
    text: str | None = None
    losses: list[str] = []


class Profile(Model, kw_only=True):
    """An ordered list of steps with its recording, safety and stopping rules."""

    name: str
    steps: list[AnyStep]
    description: str = ""
    format: str = "profile/1"
    capacity: Capacity = msgspec.field(default_factory=Capacity)
    record: Record = msgspec.field(default_factory=Record)
    safety: Safety = msgspec.field(default_factory=Safety)
    stop: Stop | None = None
    finish: list[AnyStep] = []
    origin: Origin | None = None


def to_builtins(part: Model) -> Any:
    """Return ``part`` as plain dicts and lists, ready for JSON."""
    return msgspec.to_builtins(part)
