"""The laboratory in five seconds: is anything wrong, what runs, when does it end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min, Q
from django.utils import timezone

from cycling.waiting import OPERATOR
from web_server.experiments.models import Alarm, Experiment, Status
from web_server.lab.models import Hold, Unit


@dataclass(frozen=True)
class Glance:
    """Counts for the line on top of every page."""

    alarms: int
    running: int
    paused: int
    # Paused, or in a step that asks a person to do something.
    asking: int
    queued: int
    next_end: datetime | None
    pending_units: int
    offline: int
    by_hand: int

    @property
    def alarm_words(self) -> str:
        """How many alarms wait for somebody."""
        return "1 alarm needs a look" if self.alarms == 1 else f"{self.alarms} alarms need a look"

    @property
    def asking_words(self) -> str:
        """How many tests go on only when somebody does something."""
        return "1 test waits for somebody" if self.asking == 1 else f"{self.asking} tests wait for somebody"

    @property
    def offline_words(self) -> str:
        """How many approved units are not heard."""
        return "1 unit is offline" if self.offline == 1 else f"{self.offline} units are offline"


def glance() -> Glance:
    """Return the counts; four queries whatever the size of the lab."""
    alarms = Alarm.objects.filter(state=Alarm.State.RAISED).count()
    paused = Q(status=Status.PAUSED)
    active = Experiment.objects.filter(
        status__in=[Status.QUEUED, Status.STARTING, Status.RUNNING, Status.PAUSED]
    ).aggregate(
        running=Count("pk", filter=Q(status__in=[Status.STARTING, Status.RUNNING])),
        paused=Count("pk", filter=paused),
        asking=Count("pk", filter=paused | Q(status=Status.RUNNING, waiting_for__contains=OPERATOR)),
        queued=Count("pk", filter=Q(status=Status.QUEUED)),
        next_end=Min("expected_end", filter=Q(status=Status.RUNNING)),
    )
    units = Unit.objects.filter(retired_at=None).aggregate(
        pending_units=Count("pk", filter=Q(approved=False)),
        offline=Count("pk", filter=Q(approved=True, online=False)),
    )
    return Glance(
        alarms=alarms, by_hand=Hold.objects.filter(until__gt=timezone.now()).count(), **active, **units
    )
