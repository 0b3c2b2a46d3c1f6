"""What a notice says."""

from __future__ import annotations

from django.conf import settings

from web_server.experiments.models import Alarm
from web_server.experiments.saying import numbers_of
from web_server.notices.models import Delivery

_WHAT = {"trip": "tripped", "unsafe": "MAY STILL BE ON", "warning": "has a warning"}


def of(delivery: Delivery) -> tuple[str, str]:
    """Return title and text of a delivery."""
    if delivery.alarm is None:
        return (
            "Cellyard: a test",
            f"This is a test of the notices to {delivery.target_name}. An alarm would reach you like this. "
            "Nothing has happened.",
        )
    return title(delivery.alarm), text(delivery.alarm, delivery.round)


def title(alarm: Alarm) -> str:
    """Return one line: which station, and how bad."""
    where = alarm.station.name if alarm.station else "The laboratory"
    return f"Cellyard: {where} {_WHAT[alarm.severity]}"


def text(alarm: Alarm, number: int) -> str:
    """Return cause, numbers, experiment, time, and what to do."""
    numbers = numbers_of({"quantity": alarm.quantity, "measured": alarm.measured, "limit": alarm.limit})
    lines = [alarm.text]
    if numbers and numbers.partition(",")[0] not in alarm.text:
        lines.append(numbers)
    if alarm.experiment:
        lines.append(f"Experiment: {alarm.experiment.name}")
    lines.append(f"Raised at {alarm.raised_at:%Y-%m-%d %H:%M:%S} UTC.")
    if alarm.severity == Alarm.Severity.UNSAFE and alarm.station:
        defence = alarm.station.last_defence or "none is recorded; switch off at the device"
        lines.append(f"Last line of defence: {defence}")
    if number > 1:
        lines.append(f"Nobody has acknowledged it: this is message {number}.")
    lines.append(f"Look, then acknowledge it: {address(alarm)}")
    return "\n".join(lines)


def address(alarm: Alarm) -> str:
    """Return where the alarm's page is, as far as the settings say under which name the site is reached."""
    origins = settings.CSRF_TRUSTED_ORIGINS
    return f"{origins[0] if origins else ''}/alarms/{alarm.uuid}/"
