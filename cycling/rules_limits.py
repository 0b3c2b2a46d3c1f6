"""Rules against the limits: set points and ends lie inside the operating limits (safety.md rule 1)."""

from __future__ import annotations

from cycling import givers, words
from cycling.findings import MAX_DELAY_S, Known
from cycling.limits import exceeds
from cycling.numbering import Numbered
from cycling.plan import clip_of, direction
from cycling.steps import CCCV, CP, CR, CV, Drive, Group, Note
from cycling.window import Window, make, of_safety


def check(known: Known, here: Numbered) -> None:
    """Note every set point and end of the step that lies outside the operating limits."""
    step = here.step
    if isinstance(step, (Group, Note)):
        return
    profile = make(known.envelope, known.profile.safety)
    _own_safety(known, here, profile)
    window = profile.tightened(step.safety)
    _currents(known, here, window)
    if isinstance(step, (CV, CCCV)):
        _inside(known, here, window, "voltage_v", step.voltage_v, "voltage_v", "V")
    if isinstance(step, CP):
        _inside(known, here, window, "power_w", step.power_w, "power_w", "W")
    if isinstance(step, Drive) and len(step.points) >= 2:
        _drive(known, here, step, window)
    if step.temperature_c is not None:
        _inside(known, here, window, "temperature_c", step.temperature_c, "temperature_c", "°C")
    if "temperature_c" in step.outputs:
        chamber_c = step.outputs["temperature_c"]
        _inside(known, here, window, "temperature_c", chamber_c, "outputs.temperature_c", "°C")
    clip = clip_of(step)
    if clip is not None:
        for name in ("v_min_v", "v_max_v"):
            value = getattr(clip, name)
            if value is not None:
                _inside(known, here, window, "voltage_v", value, f"clip.{name}", "V")
    _ends(known, here, window)


def _inside(
    known: Known, here: Numbered, window: Window, quantity: str, value: float, field: str, unit: str
) -> bool:
    why = window.outside(quantity, value)
    if why is not None:
        known.error(here, field, f"{field} {value:g} {unit} lies {why}: change it to stay inside.")
    return why is None


def _currents(known: Known, here: Numbered, window: Window) -> None:
    step = here.step
    for value in known.currents(here):
        field = "rate" if getattr(step, "rate", None) or getattr(step, "rate_max", None) else "current"
        if isinstance(step, CV):
            if _compliance(known, here, window, abs(value), field):
                _power_of_cv(known, here, window, step, abs(value), field)
        elif _inside(known, here, window, "current_a", value, field, "A"):
            _power_of(known, here, window, value, field)
    if isinstance(step, (CP, CR)) and step.current_max_a is not None:
        inside = _compliance(known, here, window, step.current_max_a, "current_max_a")
        if inside and isinstance(step, CR):
            _power_of_cr(known, here, window, step)


def _compliance(known: Known, here: Numbered, window: Window, value: float, field: str) -> bool:
    """Check a current that is a magnitude: in the step's direction, or else in the wider one."""
    sign = direction(here.step)
    charge, discharge = window.value("current_a", "max"), window.value("current_a", "min")
    sides = [charge] if sign > 0 else [None if discharge is None else -discharge] if sign < 0 else []
    if not sides:
        sides = [charge, None if discharge is None else -discharge]
    known_sides = [side for side in sides if side is not None]
    if known_sides and len(known_sides) == len(sides) and value > max(known_sides) + 1e-9:
        why = window.outside("current_a", -value if sign < 0 else value) or ""
        known.error(here, field, f"{field} {value:g} A lies {why or 'outside the limits'}: make it smaller.")
        return False
    return True


def _power_of_cv(
    known: Known, here: Numbered, window: Window, step: CV, largest_a: float, field: str
) -> None:
    """Refuse a compliance that can leave the power limits: a charge ends at the step's own voltage."""
    sign = direction(step)
    charge_a, discharge_a = window.value("current_a", "max"), window.value("current_a", "min")
    in_a = largest_a if charge_a is None else min(largest_a, charge_a)
    out_a = -largest_a if discharge_a is None else max(-largest_a, discharge_a)
    inside = sign < 0 or _power_of(known, here, window, in_a, field, step.voltage_v)
    if inside and sign <= 0:
        _power_of(known, here, window, out_a, field)


def _power_of_cr(known: Known, here: Numbered, window: Window, step: CR) -> None:
    voltage_v = window.value("voltage_v", "max")
    if voltage_v is None or not step.resistance_ohm > 0:
        return
    largest_a = min(step.current_max_a, voltage_v / step.resistance_ohm)
    _power_of(known, here, window, direction(step) * largest_a, "current_max_a")


def _power_of(
    known: Known, here: Numbered, window: Window, current_a: float, field: str, voltage_v: float | None = None
) -> bool:
    """Refuse a current whose power lies outside: the profile can leave the limits.

    ``voltage_v`` is the highest voltage at which it flows; None: the limit on the voltage.
    """
    if voltage_v is None:
        voltage_v = window.value("voltage_v", "max")
    if voltage_v is None:
        return True
    why = window.outside("power_w", current_a * voltage_v)
    if why is not None:
        known.error(
            here,
            field,
            f"{current_a:g} A at {voltage_v:g} V are {current_a * voltage_v:g} W, {why}: make it smaller.",
        )
    return why is None


def _drive(known: Known, here: Numbered, step: Drive, window: Window) -> None:
    """Check the largest and smallest value of a drive; values between them lie inside as well."""
    scaled = [x * step.scale for _, x in step.points]
    capacity_ah = known.capacity()
    quantity, unit = {
        "current": ("current_a", "A"),
        "power": ("power_w", "W"),
        "voltage": ("voltage_v", "V"),
        "rate": ("current_a", "A"),
    }[step.of]
    if step.of == "rate":
        if capacity_ah is None:
            return
        factors = [capacity_ah]
        source = known.stored_before(here, step.rate_of) if step.rate_of else None
        if source is not None and source.step.store is not None:
            factors = [capacity_ah * x for x in (source.step.store.min_rel, source.step.store.max_rel)]
        scaled = [x * factor for x in scaled for factor in factors]
    for value in {max(scaled), min(scaled)}:
        inside = _inside(known, here, window, quantity, value, "points", unit)
        if inside and quantity == "current_a":
            _power_of(known, here, window, value, "points")


_UNITS = {"voltage_v": "V", "temperature_c": "°C"}


def _ends(known: Known, here: Numbered, window: Window) -> None:
    for place, end in enumerate(here.step.end):
        field = f"end[{place}].value"
        if end.quantity in _UNITS:
            _inside(known, here, window, end.quantity, end.value, field, _UNITS[end.quantity])
            _cutoff(known, here, end.value, field, window)
        elif end.quantity in ("current_abs_a", "rate_abs", "power_abs_w"):
            _magnitude(known, here, window, end.quantity, end.value, field)
        elif end.quantity in ("charge_ah", "charge_rel"):
            _charge(known, here, window, end.quantity, end.value, end.of, field)
        elif (end.quantity, "max") in window.bounds or (end.quantity, "min") in window.bounds:
            _inside(known, here, window, end.quantity, end.value, field, "")


def _cutoff(known: Known, here: Numbered, value: float, field: str, window: Window) -> None:
    """Refuse a discharge end at the device's own cut-off: the device stops before it is read."""
    bound = window.bounds.get(("voltage_v", "min"))
    if bound is None or givers.words("discharge_cutoff_v") not in bound.source or direction(here.step) >= 0:
        return
    if abs(value - bound.value) < 1e-9:
        known.error(
            here,
            field,
            f"The device itself stops at {bound.value:g} V ({bound.source}): end the discharge above that.",
        )


def _magnitude(known: Known, here: Numbered, window: Window, quantity: str, value: float, field: str) -> None:
    signed = "power_w" if quantity == "power_abs_w" else "current_a"
    capacity_ah = known.capacity()
    if quantity == "rate_abs":
        if capacity_ah is None:
            return
        value *= capacity_ah
    sides = [window.value(signed, "max"), window.value(signed, "min")]
    given = [abs(side) for side in sides if side is not None]
    if len(given) == 2 and value > max(given) + 1e-9:
        known.error(here, field, f"{quantity} {value:g} can never be reached: the limit is {max(given):g}.")


def _charge(
    known: Known, here: Numbered, window: Window, quantity: str, value: float, of: str | None, field: str
) -> None:
    """Refuse a charge that the limit on the net charge can never allow, from one extreme to the other."""
    limit_ah, budget = (
        window.value("charge_net_abs_ah", "max"),
        window.bounds.get(("charge_one_way_ah", "max")),
    )
    capacity_ah = known.capacity()
    if quantity == "charge_rel":
        if capacity_ah is None:
            return
        source = known.stored_before(here, of) if of else None
        largest = source.step.store.max_rel if source is not None and source.step.store is not None else 1.0
        value *= capacity_ah * largest
    if budget is not None and direction(here.step) and value > budget.value + 1e-9:
        known.error(
            here,
            field,
            f"{quantity}: {value:g} Ah one way exceed the charge budget of {budget.value:g} Ah "
            f"({budget.source}): make it smaller.",
        )
    elif limit_ah is not None and value > 2 * limit_ah + 1e-9:
        known.error(
            here,
            field,
            f"{quantity}: {value:g} Ah exceed what q_abs_max_ah {limit_ah:g} allows: make it smaller.",
        )


def _own_safety(known: Known, here: Numbered, window: Window) -> None:
    """Refuse a step's safety that is wider than the limits, or that belongs to the profile."""
    safety = here.step.safety
    if safety is None:
        return
    for name in ("run_max_s", "q_abs_max_ah"):
        if getattr(safety, name) is not None:
            known.error(here, f"safety.{name}", f"{name} is a limit of the whole profile: move it there.")
    delay_s = safety.delay_s
    if delay_s is not None and (delay_s < 0 or (delay_s > MAX_DELAY_S and not known.long_delays)):
        known.error(
            here,
            "safety.delay_s",
            f"delay_s {delay_s:g} must be 0 to {MAX_DELAY_S:g} s; longer needs a manager.",
        )
    for measure in safety.measures:
        if known.measures is not None and measure.name not in known.measures:
            known.error(here, "safety.measures", f"The station has no measure {measure.name}.")
    for (quantity, side), value in of_safety(safety).items():
        bound = window.bounds.get((quantity, side))
        if bound is not None and exceeds(side, value, bound.value):
            known.error(
                here,
                "safety",
                f"Its {words.name(quantity)} of {words.amount(quantity, value)} is wider than "
                f"{words.amount(quantity, bound.value)} ({bound.source}): "
                "a step can only tighten.",
            )
