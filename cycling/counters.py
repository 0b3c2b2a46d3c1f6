"""The four counters: charge and energy in and out, by the trapezoid on the readings' own times."""

from __future__ import annotations

from cycling.state import Counters

S_PER_H = 3600.0


def add(
    counters: Counters,
    dt_s: float,
    before_v: float,
    before_a: float,
    after_v: float,
    after_a: float,
) -> None:
    """Integrate from the older to the newer reading; a current through zero is split there."""
    hours = dt_s / S_PER_H
    if before_a >= 0.0 and after_a >= 0.0:
        counters.charge_in_ah += 0.5 * (before_a + after_a) * hours
        counters.energy_in_wh += 0.5 * (before_v * before_a + after_v * after_a) * hours
    elif before_a <= 0.0 and after_a <= 0.0:
        counters.charge_out_ah -= 0.5 * (before_a + after_a) * hours
        counters.energy_out_wh -= 0.5 * (before_v * before_a + after_v * after_a) * hours
    else:
        share = before_a / (before_a - after_a)
        middle_v = before_v + share * (after_v - before_v)
        add(counters, dt_s * share, before_v, before_a, middle_v, 0.0)
        add(counters, dt_s * (1.0 - share), middle_v, 0.0, after_v, after_a)


def copy(counters: Counters) -> Counters:
    """Return a copy that stays as it is."""
    return Counters(
        charge_in_ah=counters.charge_in_ah,
        charge_out_ah=counters.charge_out_ah,
        energy_in_wh=counters.energy_in_wh,
        energy_out_wh=counters.energy_out_wh,
    )


def net_ah(counters: Counters) -> float:
    """Return charge in less charge out, in Ah."""
    return counters.charge_in_ah - counters.charge_out_ah


def net_wh(counters: Counters) -> float:
    """Return energy in less energy out, in Wh."""
    return counters.energy_in_wh - counters.energy_out_wh
