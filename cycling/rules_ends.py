"""Rules for the ends of steps: what they look at, where they lead."""

from __future__ import annotations

from cycling.findings import Known
from cycling.numbering import Numbered
from cycling.plan import clip_of, direction
from cycling.quantities import GROWING, KNOWN, SLOPES, resolved_op, skips
from cycling.steps import CCCV, End, Goto, Group, Note


def check(known: Known, here: Numbered) -> None:
    """Note everything that is wrong with the step's ends."""
    if isinstance(here.step, (Group, Note)):
        return
    for place, end in enumerate(here.step.end):
        name = f"end[{place}]"
        _quantity(known, here, end, name)
        _numbers(known, here, end, name)
        _reference(known, here, end, name)
        _then(known, here, end, name)
        _clip(known, here, end, name)


def _quantity(known: Known, here: Numbered, end: End, name: str) -> None:
    quantity = end.quantity
    if quantity not in KNOWN:
        if known.measures is not None and quantity not in known.measures:
            known.error(
                here,
                f"{name}.quantity",
                f"The station has no measure {quantity}; known are {', '.join(KNOWN)}.",
            )
        elif known.measures is None:
            known.warn(
                here, f"{name}.quantity", f"{quantity} is taken for an extended measure of the station."
            )
    if quantity == "temperature_c" and known.measures is not None and quantity not in known.measures:
        known.error(here, f"{name}.quantity", "The station has no measure temperature_c.")
    if isinstance(here.step, CCCV) and quantity == "voltage_v":
        known.error(
            here,
            f"{name}.quantity",
            "A cccv holds its voltage: end it on current, rate, power, charge or time.",
        )
        return
    if resolved_op(end.op, quantity, direction(here.step)) is None:
        known.error(
            here, f"{name}.op", f"It is not clear whether the end on {quantity} is above or below: give op."
        )
    if quantity in GROWING and end.op == "below":
        known.error(here, f"{name}.op", f"{quantity} grows from 0: its end must be above, not below.")


def _numbers(known: Known, here: Numbered, end: End, name: str) -> None:
    if end.quantity not in ("voltage_v", "temperature_c", "soc") and not skips(end.quantity):
        growing = end.quantity in GROWING
        if end.value < 0 or (growing and end.value == 0):
            least = "above 0" if growing else "0 or more"
            known.error(
                here, f"{name}.value", f"{end.quantity} is a magnitude: {end.value:g} must be {least}."
            )
    if end.quantity == "soc" and not 0 <= end.value <= 1:
        known.error(here, f"{name}.value", f"soc {end.value:g} must be from 0 to 1.")
    for field in ("hold_s", "after_s"):
        value = getattr(end, field)
        if value is not None and value < 0:
            known.error(here, f"{name}.{field}", f"{field} {value:g} must not be below 0 s.")
    if end.over_s is not None:
        if not end.over_s > 0:
            known.error(here, f"{name}.over_s", f"over_s {end.over_s:g} must be above 0 s.")
        if end.quantity not in SLOPES:
            known.error(
                here, f"{name}.over_s", f"over_s is for slopes: take it from the end on {end.quantity}."
            )
    if end.quantity == "time_s" and end.hold_s:
        known.error(here, f"{name}.hold_s", "Time cannot be held: take hold_s from the end on time_s.")


def _reference(known: Known, here: Numbered, end: End, name: str) -> None:
    if end.of is not None:
        if end.quantity not in ("charge_rel", "rate_abs"):
            known.error(
                here,
                f"{name}.of",
                f"Only charge_rel and rate_abs refer to a stored name, not {end.quantity}.",
            )
        elif known.stored_before(here, end.of) is None:
            known.error(here, f"{name}.of", f"No earlier step stores {end.of!r}.")
    elif end.quantity in ("charge_rel", "rate_abs", "soc") and known.lacks_capacity():
        known.error(
            here,
            f"{name}.quantity",
            f"{end.quantity} needs a capacity: give the battery's, or the profile's.",
        )
    if end.quantity == "soc" and known.initial_soc_percent is None:
        earlier = any(o.step.soc_after is not None for o in known.numbered if o.number < here.number)
        if not earlier:
            known.error(
                here,
                f"{name}.quantity",
                "The state of charge is not known here: give the experiment's initial_soc_percent, "
                "or soc_after on an earlier step.",
            )


def _then(known: Known, here: Numbered, end: End, name: str) -> None:
    if end.then == "exit_group" and known.parents[here.number] is None:
        known.error(here, f"{name}.then", "It is in no group that exit_group could leave: use next.")
    if isinstance(end.then, Goto):
        _goto(known, here, end.then.goto, name)


def _goto(known: Known, here: Numbered, label: str, name: str) -> None:
    levels = {None, *(g.number for g in known.ancestors(here))}
    found = [
        other
        for other in known.numbered
        if other.step.label == label and _level(known, other) in levels and other.path[0] == here.path[0]
    ]
    if not found:
        inner = any(other.step.label == label for other in known.numbered)
        where = " at its own or an outer level" if inner else ""
        known.error(here, f"{name}.then", f"There is no step labelled {label!r}{where} to go to.")
    elif len(found) > 1:
        numbers = " and ".join(str(other.number) for other in found)
        known.error(
            here, f"{name}.then", f"Steps {numbers} are both labelled {label!r}: give each its own label."
        )
    elif found[0].number <= here.number and _run_max(known) is None:
        known.error(
            here,
            f"{name}.then",
            f"It goes back to step {found[0].number}: give safety.run_max_s, so that it cannot go round for ever.",
        )


def _level(known: Known, other: Numbered) -> int | None:
    parent = known.parents[other.number]
    return None if parent is None else parent.number


def _run_max(known: Known) -> float | None:
    if known.profile.safety.run_max_s is not None:
        return known.profile.safety.run_max_s
    return None if known.envelope is None else known.envelope.run_max_s


def _clip(known: Known, here: Numbered, end: End, name: str) -> None:
    clip = clip_of(here.step)
    if clip is None or end.quantity != "voltage_v":
        return
    op = resolved_op(end.op, end.quantity, direction(here.step))
    if op == "above" and clip.v_max_v is not None and end.value > clip.v_max_v:
        known.error(
            here,
            f"{name}.value",
            f"It can never fire: the device holds {clip.v_max_v:g} V (clip) below {end.value:g} V.",
        )
    if op == "below" and clip.v_min_v is not None and end.value < clip.v_min_v:
        known.error(
            here,
            f"{name}.value",
            f"It can never fire: the device holds {clip.v_min_v:g} V (clip) above {end.value:g} V.",
        )
