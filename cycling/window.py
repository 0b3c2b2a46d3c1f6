"""The operating limits that a step's set points and ends must lie inside, and who gave them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cycling import words
from cycling.contract import Envelope
from cycling.limits import Bound, exceeds
from cycling.steps import Safety

Key = tuple[str, Literal["max", "min"]]


@dataclass
class Window:
    """Operating limits by quantity and side."""

    bounds: dict[Key, Bound] = field(default_factory=dict)

    def outside(self, quantity: str, value: float) -> str | None:
        """Return in words which limit ``value`` lies outside, or None."""
        for side in ("max", "min"):
            bound = self.bounds.get((quantity, "max" if side == "max" else "min"))
            if bound is not None and exceeds("max" if side == "max" else "min", value, bound.value):
                word = "above" if side == "max" else "below"
                return f"{word} the limit {words.amount(quantity, bound.value)} ({bound.source})"
        return None

    def value(self, quantity: str, side: Literal["max", "min"]) -> float | None:
        """Return one limit, or None."""
        bound = self.bounds.get((quantity, side))
        return None if bound is None else bound.value

    def tightened(self, safety: Safety | None, source: str = "the step's own limit") -> Window:
        """Return a window with the limits of ``safety`` as well, where they are tighter."""
        if safety is None:
            return self
        window = Window(dict(self.bounds))
        for (quantity, side), value in of_safety(safety).items():
            known = window.bounds.get((quantity, side))
            if known is None or exceeds(side, known.value, value, slack=0.0):
                window.bounds[quantity, side] = Bound(value=value, source=source)
        return window


def of_safety(safety: Safety) -> dict[Key, float]:
    """Return the limits that a safety part gives, by quantity and side."""
    power_w = safety.p_abs_max_w
    given: dict[Key, float | None] = {
        ("voltage_v", "max"): safety.v_max_v,
        ("voltage_v", "min"): safety.v_min_v,
        ("current_a", "max"): safety.i_max_a,
        ("current_a", "min"): safety.i_min_a,
        ("power_w", "max"): power_w,
        ("power_w", "min"): None if power_w is None else -power_w,
        ("temperature_c", "max"): safety.temp_max_c,
        ("temperature_c", "min"): safety.temp_min_c,
        ("charge_net_abs_ah", "max"): safety.q_abs_max_ah,
    }
    for measure in safety.measures:
        given[measure.name, "max"] = measure.max
        given[measure.name, "min"] = measure.min
    return {key: value for key, value in given.items() if value is not None}


def make(envelope: Envelope | None, safety: Safety) -> Window:
    """Return the window of an experiment; before its envelope is known, that of the profile's safety."""
    window = Window().tightened(safety, "the profile's own limit")
    if envelope is None:
        return window
    bounds: dict[Key, Bound] = {}
    for limit in envelope.limits:
        if limit.when != "charge":
            bounds[limit.quantity, limit.side] = Bound(value=limit.operating, source=limit.source)
    return Window({**window.bounds, **bounds})
