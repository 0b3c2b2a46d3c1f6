"""Rules for one step by itself: its fields, its set point, its kind."""

from __future__ import annotations

from itertools import pairwise

from cycling import rates, waiting
from cycling.findings import Known, rate_text
from cycling.numbering import Numbered
from cycling.plan import clip_of, direction
from cycling.steps import (
    CC,
    CCCV,
    CP,
    CR,
    CV,
    EIS,
    Drive,
    Group,
    Note,
    Record,
    Rest,
    Scan,
    WaitFor,
)

# What only a step with a set point or a rest of its own can have; groups and notes have none of it.
OF_STEPS_THAT_RUN = (
    "end",
    "record",
    "safety",
    "store",
    "outputs",
    "dcir_at_s",
    "rate_of",
    "soc_after",
    "temperature_c",
)


def check(known: Known, here: Numbered) -> None:
    """Note everything that is wrong with the step's own fields."""
    step = here.step
    if isinstance(step, Group):
        _group(known, here, step)
    elif isinstance(step, Note):
        _note(known, here, step)
    else:
        _unbounded(known, here)
    if isinstance(step, (Scan, EIS)) or (isinstance(step, Drive) and step.table is not None):
        what = "A drive table" if isinstance(step, Drive) else f"The kind {here.step.__struct_config__.tag}"
        known.error(here, "kind", f"{what} cannot be run, not yet: take it out of the profile.")
    if isinstance(step, (CC, CCCV)):
        _current(known, here, step)
    elif isinstance(step, CV):
        _voltage(known, here, step)
    elif isinstance(step, CP):
        _power(known, here, step)
    elif isinstance(step, CR):
        _resistance(known, here, step)
    elif isinstance(step, Drive):
        _drive(known, here, step)
    elif isinstance(step, WaitFor):
        _wait(known, here, step)
    elif isinstance(step, Rest) and step.isolate and known.isolator is False:
        known.error(here, "isolate", "The station has no isolator: leave out isolate.")
    _common(known, here)


def _unbounded(known: Known, here: Numbered) -> None:
    step = here.step
    if isinstance(step, Drive) or step.end:
        return
    known.error(here, "end", "It has no end: add at least one, for example on time_s.")


def _group(known: Known, here: Numbered, group: Group) -> None:
    if group.count < 1:
        known.error(here, "count", f"A group runs at least once: count {group.count} must be 1 or more.")
    if not group.steps:
        known.error(here, "steps", "The group is empty: put steps in it or take it out.")
    for name in _fields_of_steps_that_run(group):
        known.error(here, name, f"A group has no {name}: give it to the steps inside.")
    if group.is_cycle:
        for outer in known.ancestors(here):
            if isinstance(outer.step, Group) and outer.step.is_cycle:
                known.error(
                    here,
                    "is_cycle",
                    f"It counts cycles inside step {outer.number}, which counts them too: "
                    "let only one of them count.",
                )
                break


def _note(known: Known, here: Numbered, note: Note) -> None:
    for name in _fields_of_steps_that_run(note):
        known.error(here, name, f"A note ends at once and has no {name}: take it out.")


def _fields_of_steps_that_run(step: Group | Note) -> list[str]:
    return [name for name in OF_STEPS_THAT_RUN if getattr(step, name) not in (None, [], {})]


def _rate(known: Known, here: Numbered) -> None:
    text = rate_text(here.step)
    if text is None:
        return
    name = "rate_max" if isinstance(here.step, CV) else "rate"
    try:
        rates.parse(text)
    except ValueError as error:
        known.error(here, name, f"{error}.")
        return
    if known.lacks_capacity():
        known.error(here, name, f"The rate {text} needs a capacity: give the battery's, or the profile's.")


def _current(known: Known, here: Numbered, step: CC | CCCV) -> None:
    if (step.current_a is None) == (step.rate is None):
        known.error(here, "current_a", "Give either current_a or rate, one of them.")
        return
    if step.current_a == 0:
        known.error(here, "current_a", "A current of 0 A is a rest: use the kind rest.")
    _rate(known, here)
    _agrees(known, here)
    if isinstance(step, CCCV):
        _positive(known, here, "voltage_v", step.voltage_v)


def _agrees(known: Known, here: Numbered) -> None:
    """Refuse a direction that contradicts the sign of the set point."""
    given = here.step.direction
    sign = direction(here.step)
    meant = {"charge": 1, "discharge": -1}.get(given, 0)
    if given == "rest" or (meant and sign and meant != sign):
        does = "charges" if sign > 0 else "discharges"
        known.error(
            here, "direction", f"Its set point {does} (positive charges), but its direction says {given}."
        )


def _positive(known: Known, here: Numbered, name: str, value: float | None) -> None:
    if value is not None and not value > 0:
        known.error(here, name, f"{name} {value:g} must be above 0.")


def _voltage(known: Known, here: Numbered, step: CV) -> None:
    _positive(known, here, "voltage_v", step.voltage_v)
    _positive(known, here, "current_max_a", step.current_max_a)
    _rate(known, here)
    if step.current_max_a is not None and step.rate_max is not None:
        known.error(here, "current_max_a", "Give either current_max_a or rate_max, one of them.")
    imported = known.profile.origin is not None and known.profile.origin.format == "text"
    if step.current_max_a is None and step.rate_max is None and not imported:
        known.error(
            here,
            "current_max_a",
            "A constant voltage needs its largest current: give current_max_a or rate_max.",
        )


def _power(known: Known, here: Numbered, step: CP) -> None:
    if step.power_w == 0:
        known.error(here, "power_w", "A power of 0 W is a rest: use the kind rest.")
    _positive(known, here, "current_max_a", step.current_max_a)
    _agrees(known, here)


def _resistance(known: Known, here: Numbered, step: CR) -> None:
    _positive(known, here, "resistance_ohm", step.resistance_ohm)
    _positive(known, here, "current_max_a", step.current_max_a)
    if step.direction not in ("charge", "discharge"):
        known.error(here, "direction", "A constant resistance needs a direction: charge or discharge.")


def _drive(known: Known, here: Numbered, step: Drive) -> None:
    if step.table is not None:
        return
    times = [t for t, _ in step.points]
    if len(times) < 2:
        known.error(here, "points", "A drive needs at least two points [time in s, value].")
    elif times[0] != 0:
        known.error(here, "points", f"The first point is at {times[0]:g} s: it must be at 0 s.")
    elif any(after <= before for before, after in pairwise(times)):
        known.error(here, "points", "The times of the points must rise from each to the next.")
    if step.repeat < 1:
        known.error(here, "repeat", f"A drive runs at least once: repeat {step.repeat} must be 1 or more.")
    if step.of == "rate" and known.lacks_capacity():
        known.error(here, "of", "A drive of rates needs a capacity: give the battery's, or the profile's.")
    if step.of == "voltage" and step.clip is not None:
        known.error(here, "clip", "A drive of voltages has no clip: it sets the voltage itself.")


def _wait(known: Known, here: Numbered, step: WaitFor) -> None:
    conditions = (step.start_time, step.temperature_c, step.measure, step.operator)
    if all(condition is None for condition in conditions):
        known.error(here, None, "It waits for nothing: give start_time, temperature_c, measure or operator.")
    if step.end and not any(end.quantity == "time_s" for end in step.end):
        known.error(here, "end", "A wait needs an end on time_s, so that it cannot wait for ever.")
    if step.start_time is not None:
        try:
            waiting.start_us(step.start_time)
        except ValueError:
            known.error(
                here, "start_time", f"{step.start_time!r} is no time: write it like 2026-05-01T08:00:00Z."
            )
    _not_negative(known, here, "tolerance_c", step.tolerance_c)
    if step.measure is not None:
        _not_negative(known, here, "measure.hold_s", step.measure.hold_s)
        _measured(known, here, "measure.name", step.measure.name)
    if step.temperature_c is not None:
        _measured(known, here, "temperature_c", "temperature_c")


def _measured(known: Known, here: Numbered, name: str, measure: str) -> None:
    if known.measures is not None and measure not in known.measures and measure != "voltage_v":
        known.error(here, name, f"The station has no measure {measure}.")


def _not_negative(known: Known, here: Numbered, name: str, value: float | None) -> None:
    if value is not None and value < 0:
        known.error(here, name, f"{name} {value:g} must not be below 0.")


def _common(known: Known, here: Numbered) -> None:
    step = here.step
    _not_negative(known, here, "settle_s", step.settle_s)
    if step.record is not None:
        record(known, here, step.record)
    clip = clip_of(step)
    if clip is not None and clip.v_max_v is None and clip.v_min_v is None:
        known.error(here, "clip", "The clip has neither v_min_v nor v_max_v: give one or leave it out.")
    if any(after <= before for before, after in pairwise([0.0, *step.dcir_at_s])):
        known.error(here, "dcir_at_s", "The times of dcir_at_s must be above 0 and rise.")
    if step.soc_after is not None and not 0 <= step.soc_after <= 1:
        known.error(here, "soc_after", f"soc_after {step.soc_after:g} must be from 0 to 1.")
    for name in step.outputs:
        if known.outputs is not None and name not in known.outputs:
            known.error(here, "outputs", f"The station has no output {name}.")
    sets_it = step.temperature_c is not None and not isinstance(step, (WaitFor, Group, Note))
    if sets_it and known.outputs is not None and "temperature_c" not in known.outputs:
        known.error(here, "temperature_c", "The station has no output temperature_c to set it with.")
    _store(known, here)


def _store(known: Known, here: Numbered) -> None:
    step = here.step
    wanted = step.store
    if wanted is not None:
        if wanted.quantity != "charge_ah":
            known.error(
                here, "store.quantity", f"Only charge_ah can be stored, not yet {wanted.quantity}: change it."
            )
        if not 0 < wanted.min_rel < wanted.max_rel:
            known.error(here, "store.min_rel", "The range of store must be 0 < min_rel < max_rel.")
    if step.rate_of is not None:
        if rate_text(step) is None and not (isinstance(step, Drive) and step.of == "rate"):
            known.error(here, "rate_of", "rate_of needs a rate: give rate or rate_max in place of amperes.")
        if known.stored_before(here, step.rate_of) is None:
            known.error(here, "rate_of", f"No earlier step stores {step.rate_of!r}.")


def record(known: Known, here: Numbered | None, rule: Record) -> None:
    """Note what is wrong with a recording rule."""
    if not rule.every_s > 0:
        known.error(here, "record.every_s", f"record.every_s {rule.every_s:g} must be above 0 s.")
    for name in ("on_dv_v", "on_di_a", "on_dtemp_c"):
        value = getattr(rule, name)
        if value is not None and not value > 0:
            known.error(here, f"record.{name}", f"record.{name} {value:g} must be above 0.")
    if rule.min_gap_s is not None and rule.min_gap_s < 0:
        known.error(here, "record.min_gap_s", f"record.min_gap_s {rule.min_gap_s:g} must not be below 0 s.")
    before_s = 0.0
    for for_s, every_s in rule.burst:
        if for_s <= before_s or not every_s > 0:
            known.error(
                here, "record.burst", "Each burst is [for_s, every_s], both above 0 and for_s rising."
            )
            break
        before_s = for_s
