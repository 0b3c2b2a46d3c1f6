"""An experiment in one sentence: why it stopped, what it waits for, what it does."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.utils import timezone

from web_server.experiments.models import Event, Experiment, Status
from web_server.lib.numbers import duration, quantity, setting

UNITS = {
    "voltage_v": "V",
    "current_a": "A",
    "current_abs_a": "A",
    "power_w": "W",
    "power_abs_w": "W",
    "temperature_c": "°C",
    "charge_ah": "Ah",
    "energy_wh": "Wh",
    "time_s": "s",
    "elapsed_s": "s",
    "run_s": "s",
}
# A start that takes longer than this is worth saying whom it waits for.
START_WAIT_S = 5


class Line(NamedTuple):
    """The first line of an experiment's page: what it says, and how serious it is."""

    text: str
    level: str = "info"
    detail: str = ""


def first_line(experiment: Experiment, last_status: Event | None = None) -> Line:
    """Return what the page says first."""
    match experiment.status:
        case Status.QUEUED:
            return Line(experiment.queued_because or "waits for its turn", "info")
        case Status.STARTING:
            return Line(_starting(experiment), "info")
        case Status.RUNNING if experiment.asked_of_somebody:
            return Line(f"waits for somebody: {experiment.asked_of_somebody}", "warning")
        case Status.RUNNING if experiment.waiting_for:
            return Line(f"waits for {experiment.waiting_for}", "info")
        case Status.RUNNING:
            return Line("", "success")
        case Status.PAUSED:
            return Line(last_status.text if last_status else "paused; output off", "warning")
        case Status.ERROR:
            return Line(_why(experiment), "error", _numbers(experiment))
    return Line(_why(experiment), "info", _numbers(experiment))


def _starting(experiment: Experiment) -> str:
    unit = experiment.station.unit if experiment.station else None
    if unit is None or (timezone.now() - experiment.updated_at).total_seconds() < START_WAIT_S:
        return "the unit checks battery and wiring"
    heard = "" if unit.online else ", which is offline"
    return f"waiting for unit {unit.name}{heard}"


def _why(experiment: Experiment) -> str:
    reason = experiment.end_reason or {}
    return str(reason.get("text") or experiment.error or "no reason was recorded")


def _numbers(experiment: Experiment) -> str:
    """Return the numbers behind an end, unless the sentence says them already."""
    numbers = numbers_of(experiment.end_reason)
    return "" if numbers.partition(",")[0] in _why(experiment) else numbers


def numbers_of(reason: dict[str, Any] | None) -> str:
    """Return the numbers behind an end: "voltage_v 4.2310 V, limit 4.2300 V, for 0.3 s"."""
    if not reason or reason.get("measured") is None:
        return ""
    unit = UNITS.get(str(reason.get("quantity") or ""), "")
    parts = [
        f"{str(reason.get('quantity') or 'measured').rsplit('_', 1)[0]} {quantity(reason['measured'], unit)}"
    ]
    if reason.get("limit") is not None:
        parts.append(f"limit {setting(reason['limit'], unit)}")
    if reason.get("delay_s"):
        parts.append(f"for {duration(reason['delay_s'])}")
    if reason.get("device"):
        parts.append(str(reason["device"]))
    return ", ".join(parts)
