"""Rules for the profile as a whole: capacity, recording, safety, stop rule."""

from __future__ import annotations

from cycling import rules_steps
from cycling.findings import MAX_DELAY_S, Known
from cycling.steps import Group, Safety, Stop


def check(known: Known) -> None:
    """Note everything that is wrong with the profile's own parts."""
    profile = known.profile
    if not profile.name.strip():
        known.error(None, "name", "The profile needs a name.")
    if not profile.steps:
        known.error(None, "steps", "The profile has no steps: add at least one.")
    if profile.format != "profile/1":
        known.error(None, "format", f"The format {profile.format!r} is not known: use profile/1.")
    _capacity(known)
    rules_steps.record(known, None, profile.record)
    _safety(known, profile.safety)
    if profile.stop is not None:
        _stop(known, profile.stop)


def _capacity(known: Known) -> None:
    capacity = known.profile.capacity
    if capacity.basis == "given" and (capacity.ah is None or not capacity.ah > 0):
        known.error(None, "capacity.ah", "A given capacity needs ah, above 0.")
    if capacity.basis == "measured" and capacity.experiment is None:
        known.error(None, "capacity.experiment", "A measured capacity needs the experiment that measured it.")
    if known.capacity_ah is not None and not known.capacity_ah > 0:
        known.error(None, "capacity", f"The capacity {known.capacity_ah:g} Ah must be above 0.")


def _safety(known: Known, safety: Safety) -> None:
    for low, high in (("v_min_v", "v_max_v"), ("i_min_a", "i_max_a"), ("temp_min_c", "temp_max_c")):
        lowest, highest = getattr(safety, low), getattr(safety, high)
        if lowest is not None and highest is not None and not highest > lowest:
            known.error(None, f"safety.{high}", f"safety.{high} {highest:g} must be above {low} {lowest:g}.")
    for name in ("p_abs_max_w", "q_abs_max_ah", "run_max_s", "max_step_s", "i_max_a"):
        value = getattr(safety, name)
        if value is not None and not value > 0 and not (name == "i_max_a" and value == 0):
            known.error(None, f"safety.{name}", f"safety.{name} {value:g} must be above 0.")
    if safety.i_min_a is not None and safety.i_min_a > 0:
        known.error(
            None,
            "safety.i_min_a",
            f"safety.i_min_a {safety.i_min_a:g} must be 0 or below: discharging is negative.",
        )
    _delay(known, "safety.delay_s", safety.delay_s)
    names = [measure.name for measure in safety.measures]
    for measure in safety.measures:
        field = f"safety.measures.{measure.name}"
        if measure.min is None and measure.max is None:
            known.error(None, field, f"The limit on {measure.name} has neither min nor max: give one.")
        elif measure.min is not None and measure.max is not None and not measure.max > measure.min:
            known.error(
                None, field, f"{measure.name}: max {measure.max:g} must be above min {measure.min:g}."
            )
        if names.count(measure.name) > 1:
            known.error(None, field, f"{measure.name} is limited twice: give it once.")
        if known.measures is not None and measure.name not in known.measures:
            known.error(None, field, f"The station has no measure {measure.name}.")
        # A slow sensor may need more than 2 s; a person should have seen it.
        if measure.delay_s is not None and measure.delay_s < 0:
            known.error(None, field, f"{measure.name}: delay_s {measure.delay_s:g} must not be below 0 s.")
        elif measure.delay_s is not None and measure.delay_s > MAX_DELAY_S:
            known.warn(None, field, f"{measure.name} may be outside its limits for {measure.delay_s:g} s.")
    for temperature in ("temp_max_c", "temp_min_c"):
        wanted = getattr(safety, temperature) is not None
        if wanted and known.measures is not None and "temperature_c" not in known.measures:
            known.error(
                None, f"safety.{temperature}", "The station has no measure temperature_c to watch it with."
            )


def _delay(known: Known, field: str, delay_s: float | None) -> None:
    if delay_s is None:
        return
    if delay_s < 0:
        known.error(None, field, f"{field} {delay_s:g} must not be below 0 s.")
    elif delay_s > MAX_DELAY_S and not known.long_delays:
        known.error(
            None,
            field,
            f"{field} {delay_s:g} s is longer than {MAX_DELAY_S:g} s: that needs the manager role.",
        )


def _stop(known: Known, stop: Stop) -> None:
    rules = (stop.capacity_percent, stop.q_ah, stop.run_s, stop.cycles)
    if all(rule is None for rule in rules):
        known.error(None, "stop", "The stop rule says nothing: give capacity_percent, q_ah, run_s or cycles.")
    for name in ("capacity_percent", "q_ah", "run_s", "cycles"):
        value = getattr(stop, name)
        if value is not None and not value > 0:
            known.error(None, f"stop.{name}", f"stop.{name} {value:g} must be above 0.")
    groups = [here.step for here in known.numbered if isinstance(here.step, Group) and here.step.is_cycle]
    needs_cycle = stop.when != "now" or stop.capacity_percent is not None or stop.cycles is not None
    if needs_cycle and not groups:
        known.error(
            None,
            "stop",
            "The stop rule acts when a cycle ends, but no group counts cycles: "
            "set is_cycle on one, or when: now for charge and time.",
        )
    if stop.tag is not None and groups and not any(stop.tag in group.tags for group in groups):
        known.error(None, "stop.tag", f"No group of cycles has the tag {stop.tag!r}.")
    if stop.of == "nominal" and stop.capacity_percent is not None and known.lacks_capacity():
        known.error(None, "stop.of", "The stop rule refers to the nominal capacity, which is not known.")
