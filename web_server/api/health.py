"""Is this process well (``/healthz``), can it serve (``/readyz``), and numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.db.models import Count, Max, Min, Sum
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest

from web_server.commands.models import Command
from web_server.experiments.models import Alarm, Experiment
from web_server.lab.models import ManagerBeat, Station, Unit

# Managers write every few seconds; after as long as a lease (wire.md) nobody serves the units.
MANAGER_TOO_OLD_S = 15.0


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer as long as this process can; asks nobody else."""
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 while the database answers and a manager is alive, else 503 with what is missing."""
    try:
        connection.ensure_connection()
        seen_at = ManagerBeat.objects.aggregate(newest=Max("seen_at"))["newest"]
    except DatabaseError as exc:
        return JsonResponse({"ready": False, "database": f"does not answer: {exc}"[:300]}, status=503)
    age_s = None if seen_at is None else max(0.0, (timezone.now() - seen_at).total_seconds())
    alive = age_s is not None and age_s <= MANAGER_TOO_OLD_S
    told = {"ready": alive, "database": "ok", "manager_age_s": None if age_s is None else round(age_s, 3)}
    return JsonResponse(told, status=200 if alive else 503)


class Lab:
    """Counts from the database, read when Prometheus asks."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families."""
        yield _by("experiments", "Experiments by status.", Experiment.objects, "status")
        yield _by("stations", "Stations in use by state.", Station.objects.filter(retired_at=None), "state")
        yield _by("alarms", "Alarms by state.", Alarm.objects, "state")
        yield _by("commands", "Commands by status.", Command.objects, "status")
        units = Unit.objects.filter(retired_at=None, approved=True)
        yield _by("units", "Approved units by whether they are heard.", units, "online")
        sums = units.aggregate(
            spooled=Sum("spool_batches"), rejected=Sum("rejected_batches"), dropped=Sum("dropped_messages")
        )
        yield _one("unit_spool_batches", "Batches of samples that wait on units.", sums["spooled"] or 0)
        yield _one("unit_rejected_batches", "Batches that can never be stored.", sums["rejected"] or 0)
        yield _one("unit_dropped_messages", "Messages that units dropped as malformed.", sums["dropped"] or 0)
        waiting = Command.objects.filter(status=Command.Status.QUEUED).aggregate(first=Min("created_at"))
        yield _one(
            "command_oldest_queued_seconds", "Age of the oldest unsent command.", _age(waiting["first"])
        )
        newest = ManagerBeat.objects.aggregate(newest=Max("seen_at"))["newest"]
        yield _one("manager_age_seconds", "Since any manager was heard.", _age(newest))


def _age(at: Any) -> float:
    return 0.0 if at is None else max(0.0, (timezone.now() - at).total_seconds())


def _one(name: str, text: str, number: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"cellyard_{name}", text, value=number)


def _by(name: str, text: str, rows: Any, column: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"cellyard_{name}", text, labels=[column])
    for value, count in rows.order_by().values_list(column).annotate(Count("pk")):
        family.add_metric([str(value).lower()], count)
    return family


_registry = CollectorRegistry()
ProcessCollector(registry=_registry)
PlatformCollector(registry=_registry)


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer in Prometheus' text format: counts of the lab, and this process's memory and time."""
    registry = CollectorRegistry()
    registry.register(Lab())
    text = generate_latest(_registry) + generate_latest(registry)
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)
