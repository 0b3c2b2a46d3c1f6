"""What the pages of experiments ask of the database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import QueryDict

from web_server.cells.models import Battery
from web_server.experiments.models import FINAL, Alarm, Event, Experiment, Status, StepRow
from web_server.lab.models import Station
from web_server.measurements.models import Sample
from web_server.profiles.models import Profile

SORTS = (
    "created_at",
    "name",
    "status",
    "started_at",
    "finished_at",
    "battery__name",
    "station__name",
    "profile_version__profile__name",
    "priority",
)
# Filters of the list that stand for several statuses.
GROUPS = {"not ended": [status for status in Status.values if status not in FINAL], "ended": list(FINAL)}
EVENTS_SHOWN = 200
STEP_ROWS_SHOWN = 200
CYCLES_SHOWN = 500


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def listed(asked: QueryDict) -> QuerySet[Experiment]:
    """Return the experiments that the list's filters ask for, with what its rows show."""
    found = Experiment.objects.select_related("battery", "station", "profile_version__profile", "owner")
    statuses = [
        status
        for word in asked.getlist("status")
        for status in GROUPS.get(word, [word])
        if status in Status.values
    ]
    if statuses:
        found = found.filter(status__in=statuses)
    if asked.get("technology") in Battery.Technology.values:
        found = found.filter(battery__technology=asked["technology"])
    for name, column in (
        ("battery", "battery__uuid"),
        ("station", "station__uuid"),
        ("profile", "profile_version__profile__uuid"),
    ):
        chosen = _uuid(asked.get(name, ""))
        if chosen:
            found = found.filter(**{column: chosen})
    for word in asked.get("q", "").split():
        found = found.filter(
            Q(name__icontains=word)
            | Q(description__icontains=word)
            | Q(project__icontains=word)
            | Q(battery__name__icontains=word)
            | Q(profile_version__profile__name__icontains=word)
        )
    return found


def choices() -> dict[str, Any]:
    """Return what the list's filters offer."""
    return {
        "technologies": Battery.Technology.choices,
        "batteries": Battery.objects.order_by("name").only("uuid", "name"),
        "stations": Station.objects.order_by("name").only("uuid", "name"),
        "profiles": Profile.objects.order_by("name").only("uuid", "name"),
        "statuses": [*GROUPS, *Status.values],
    }


def one(uuid: UUID) -> QuerySet[Experiment]:
    """Return an experiment with what its page shows."""
    return Experiment.objects.select_related(
        "battery",
        "battery__lithium",
        "battery__lead_acid",
        "battery__redox_stack",
        "station__unit",
        "profile_version__profile",
        "owner",
        "origin",
        "temperature_waived_by",
    ).filter(uuid=uuid)


def events(experiment: Experiment) -> list[Event]:
    """Return the newest events, newest first."""
    return list(experiment.events.order_by("-id")[:EVENTS_SHOWN])


def alarms(experiment: Experiment) -> list[Alarm]:
    """Return the experiment's alarms, newest first."""
    rows = experiment.alarms.select_related("station", "acknowledged_by", "experiment")
    return list(rows.order_by("-id")[:EVENTS_SHOWN])


# What is shown around an alarm: enough to see how it came.
AROUND = timedelta(minutes=5)


def events_around(alarm: Alarm) -> list[Event]:
    """Return what happened to the alarm's experiment, else its station, about when it was raised."""
    rows = Event.objects.filter(at__gte=alarm.raised_at - AROUND, at__lte=alarm.raised_at + AROUND)
    if alarm.experiment_id:
        rows = rows.filter(experiment_id=alarm.experiment_id)
    else:
        rows = rows.filter(station_id=alarm.station_id, unit_id=alarm.unit_id)
    return list(rows.order_by("-id")[:50])


def step_rows(experiment: Experiment) -> list[StepRow]:
    """Return the steps run last, newest first."""
    return list(experiment.step_rows.order_by("-step_count")[:STEP_ROWS_SHOWN])


def cycles(experiment: Experiment) -> list[Any]:
    """Return the last cycles, newest first."""
    return list(experiment.cycle_rows.order_by("-cycle")[:CYCLES_SHOWN])


def last_sample(experiment: Experiment) -> Sample | None:
    """Return the newest sample stored."""
    return Sample.objects.filter(experiment_id=experiment.pk).order_by("-seq").first()


def open_commands(experiment: Experiment) -> list[Any]:
    """Return what was asked of the unit last: unanswered ones, and the newest answer that was no yes."""
    rows = list(experiment.commands.exclude(kind="experiment.start").order_by("-id")[:5])
    waiting = [row for row in rows if row.is_open]
    newest = [row for row in rows[:1] if row.status in ("refused", "failed", "expired")]
    return waiting + newest


def loaded_batteries() -> list[Battery]:
    """Return the batteries that are in a station, by the station's name."""
    rows = Battery.objects.filter(station__isnull=False, retired_at=None)
    rows = rows.select_related("station__unit", "active_experiment", "lithium", "lead_acid", "redox_stack")
    return list(rows.order_by("station__name"))


def listed_alarms(asked: QueryDict) -> QuerySet[Alarm]:
    """Return the alarms that the list's filters ask for."""
    found = Alarm.objects.select_related("station", "experiment", "unit", "acknowledged_by")
    if asked.get("state") in Alarm.State.values:
        found = found.filter(state=asked["state"])
    station = _uuid(asked.get("station", ""))
    if station:
        found = found.filter(station__uuid=station)
    for word in asked.get("q", "").split():
        found = found.filter(
            Q(text__icontains=word) | Q(code__icontains=word) | Q(station__name__icontains=word)
        )
    return found
