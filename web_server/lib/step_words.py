"""A step in one sentence, as the editor writes it (`static/cellyard/step_words.js`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from web_server.lib.numbers import duration, setting

KINDS = {
    "rest": ("Rest", "Rest"),
    "cc": ("CC", "Constant current"),
    "cv": ("CV", "Constant voltage"),
    "cccv": ("CC-CV", "Constant current, then voltage"),
    "cp": ("CP", "Constant power"),
    "cr": ("CR", "Constant resistance"),
    "drive": ("Drive", "Drive"),
    "scan": ("Scan", "Voltage scan"),
    "eis": ("EIS", "Impedance"),
    "wait_for": ("Wait", "Wait"),
    "note": ("Note", "Note"),
    "group": ("Group", "Group"),
}
QUANTITIES = {
    "time_s": ("time", "s"),
    "voltage_v": ("voltage", "V"),
    "current_abs_a": ("current", "A"),
    "rate_abs": ("rate", "C"),
    "power_abs_w": ("power", "W"),
    "charge_ah": ("charge", "Ah"),
    "energy_wh": ("energy", "Wh"),
    "charge_rel": ("charge ÷ capacity", ""),
    "temperature_c": ("temperature", "°C"),
    "soc": ("state of charge", "%"),
    "dv_dt_v_s": ("voltage slope", "V/s"),
    "di_dt_a_s": ("current slope", "A/s"),
}
_THEN = {"exit_group": " → leave the group", "stop": " → finish the test", "fail": " → fail"}
_SIGN = {"above": "≥", "below": "≤"}


def title(step: Mapping[str, Any]) -> str:
    """Return the step's label, or what kind it is."""
    return str(step.get("label") or KINDS.get(step["kind"], ("", step["kind"]))[1])


def direction(step: Mapping[str, Any]) -> str:
    """Return charge, discharge, group or other, for the colour of its tag."""
    kind = step["kind"]
    if kind in ("cc", "cccv", "cp"):
        return _verb(step).lower()
    if kind == "cr":
        return "charge" if step.get("direction") == "charge" else "discharge"
    return "group" if kind == "group" else "other"


def describe(step: Mapping[str, Any]) -> str:
    """Return what the step does and when it ends, in one sentence."""
    parts = [_does(step), ", or ".join(_end(end) for end in step.get("end", []))]
    return ", ".join(part for part in parts if part)


def _verb(step: Mapping[str, Any]) -> str:
    if step.get("rate"):
        return "Discharge" if str(step["rate"]).strip()[:1].upper() in ("-", "D") else "Charge"
    return "Discharge" if (step.get("current_a") or step.get("power_w") or 0) < 0 else "Charge"


def _amp(step: Mapping[str, Any], a: str = "current_a", rate: str = "rate") -> str:
    return str(step.get(rate) or setting(step.get(a), "A"))


def _does(step: Mapping[str, Any]) -> str:
    match step["kind"]:
        case "rest":
            return "Output off"
        case "cc":
            return f"{_verb(step)} at {_amp(step)}"
        case "cv":
            return (
                f"Hold {setting(step['voltage_v'], 'V')}, at most {_amp(step, 'current_max_a', 'rate_max')}"
            )
        case "cccv":
            return f"{_verb(step)} at {_amp(step)} to {setting(step['voltage_v'], 'V')} and hold it"
        case "cp":
            return f"{_verb(step)} with {setting(step['power_w'], 'W')}"
        case "cr":
            verb = "Charge" if step.get("direction") == "charge" else "Discharge"
            return f"{verb} over {setting(step['resistance_ohm'], 'Ω')}"
        case "drive":
            passes = f", {step['repeat']} passes" if step.get("repeat", 1) > 1 else ""
            return f"{len(step.get('points', []))} points of {step['of']}{passes}"
        case "group":
            return f"{step.get('count', 1)} ×" + (", each round is a cycle" if step.get("is_cycle") else "")
        case "note":
            return str(step.get("text", ""))
        case "wait_for":
            return _waits(step)
    return ""


def _waits(step: Mapping[str, Any]) -> str:
    measure = step.get("measure") or {}
    parts = [
        f"for a person: {step['operator']}" if step.get("operator") else "",
        f"for {setting(step['temperature_c'], '°C')}" if step.get("temperature_c") is not None else "",
        f"until {step['start_time']}" if step.get("start_time") else "",
        f"for {measure['name']} {measure.get('op', '')} {measure.get('value', '')}" if measure else "",
    ]
    return "Wait " + (", ".join(part for part in parts if part) or "")


def _end(end: Mapping[str, Any]) -> str:
    name, unit = QUANTITIES.get(end["quantity"], (end["quantity"], ""))
    then = end.get("then", "next")
    after = f" → go to {then['goto']}" if isinstance(then, Mapping) else _THEN.get(then, "")
    if end["quantity"] == "time_s":
        return f"for {duration(end['value'])}{after}"
    hold = f" for {duration(end['hold_s'])}" if end.get("hold_s") else ""
    return f"until {name} {_SIGN.get(end.get('op', 'auto'), 'reaches')} {setting(end['value'], unit)}{hold}{after}"
