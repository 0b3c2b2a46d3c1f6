"""What pages ask about notices."""

from __future__ import annotations

from django.db.models import QuerySet

from web_server.experiments.models import Alarm
from web_server.notices.models import Delivery, Target


def targets() -> QuerySet[Target]:
    """Return every address, who hears first on top."""
    return Target.objects.select_related("made_by").order_by("place", "name")


def of_alarm(alarm: Alarm) -> list[Delivery]:
    """Return who was told of an alarm, the newest first."""
    return list(alarm.deliveries.order_by("-id")[:200])


def anybody() -> bool:
    """Return whether anybody would be told."""
    return Target.objects.filter(active=True).exists()


def untold() -> bool:
    """Return whether a trip waits for somebody while nobody would be told of any."""
    grave = Alarm.objects.filter(state=Alarm.State.RAISED).exclude(severity=Alarm.Severity.WARNING)
    return not anybody() and grave.exists()


def undelivered() -> list[Delivery]:
    """Return tries that failed for alarms that still wait, one per alarm and address, the newest first."""
    rows = Delivery.objects.filter(
        alarm__state=Alarm.State.RAISED, alarm__acknowledge_asked_at=None, attempts__gt=0
    ).exclude(state__in=[Delivery.State.SENT, Delivery.State.SENDING])
    rows = rows.exclude(outcome="").select_related("alarm__station").order_by("-id")
    newest: dict[tuple[int | None, str], Delivery] = {}
    for row in rows[:60]:
        newest.setdefault((row.alarm_id, row.target_name), row)
    return list(newest.values())


def with_last_tests() -> list[Target]:
    """Return every address with its newest test as ``last_test``; two queries."""
    rows = list(targets())
    newest: dict[int | None, Delivery] = {}
    for test in Delivery.objects.filter(alarm=None, target__in=rows).order_by("-id")[:200]:
        newest.setdefault(test.target_id, test)
    for row in rows:
        row.last_test = newest.get(row.pk)  # type: ignore[attr-defined]
    return rows
