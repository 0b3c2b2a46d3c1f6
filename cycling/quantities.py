"""What an end can look at, and how."""

from __future__ import annotations

from typing import Literal

# Set by integration or by the clock: no noise, so one reading decides.
COUNTED = ("time_s", "charge_ah", "energy_wh", "charge_rel", "soc")
# Measured: two readings in a row by default.
MEASURED = ("voltage_v", "current_abs_a", "rate_abs", "power_abs_w", "temperature_c")
SLOPES = ("dv_dt_v_s", "di_dt_a_s")
KNOWN = (*COUNTED, *MEASURED, *SLOPES)
# Judged only once the set point has settled.
SETTLING = ("current_abs_a", "rate_abs", "power_abs_w", *SLOPES)
# In a cccv these count in its constant-voltage part only.
IN_CV_ONLY = ("current_abs_a", "rate_abs", "power_abs_w", "di_dt_a_s")
# What `op: auto` means for these whatever the direction: they only grow.
GROWING = ("time_s", "charge_ah", "energy_wh", "charge_rel")
# `op: auto` follows the direction of the current for these only.
FOLLOWING = ("voltage_v", "soc")


def skips(quantity: str) -> bool:
    """Say whether an end on it can skip a step: voltage, temperature, soc, extended measures."""
    return quantity in ("voltage_v", "temperature_c", "soc") or quantity not in KNOWN


def resolved_op(op: str, quantity: str, direction: int) -> Literal["above", "below"] | None:
    """Return the comparison that ``op`` means; None where ``auto`` says nothing.

    ``direction``: 1 charging, -1 discharging, 0 neither.
    """
    if op == "above" or (op == "auto" and quantity in GROWING):
        return "above"
    if op == "below":
        return "below"
    if quantity in FOLLOWING and direction:
        return "above" if direction > 0 else "below"
    return None
