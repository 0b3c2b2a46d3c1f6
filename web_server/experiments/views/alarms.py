"""Alarms: what happened, who saw it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from web_server.experiments import black_box, listing, what_to_do
from web_server.experiments.models import Alarm
from web_server.lab import services
from web_server.lab.models import Station
from web_server.lib import cursor
from web_server.notices import queries as notices
from web_server.page import act, page


def alarms(request: HttpRequest) -> HttpResponse:
    """List the alarms, the newest first."""
    rows = cursor.take(listing.listed_alarms(request.GET), "-id", request.GET.get("after", ""))
    return page(
        request,
        "experiments/alarms.html",
        "alarms",
        rows=rows,
        states=Alarm.State.values,
        stations=Station.objects.order_by("name").only("uuid", "name"),
        filtered=any(request.GET.get(name) for name in ("q", "state", "station")),
    )


def alarm(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show one alarm: what happened, what to do, who was told and who saw it."""
    shown = get_object_or_404(
        Alarm.objects.select_related("station__battery", "experiment__battery", "unit", "acknowledged_by"),
        uuid=uuid,
    )
    battery = shown.experiment.battery if shown.experiment else None
    if battery is None and shown.station is not None:
        battery = shown.station.loaded_battery
    return page(
        request,
        "experiments/alarm.html",
        "alarms",
        alarm=shown,
        battery=battery,
        todo=what_to_do.about(shown),
        events=listing.events_around(shown),
        parts=black_box.parts_of(shown),
        deliveries=notices.of_alarm(shown),
        anybody=notices.anybody(),
    )


@require_POST
def acknowledge(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Say that one has seen it; the unit then releases its latch."""
    person: Any = request.user
    alarm = get_object_or_404(Alarm.objects.select_related("station__unit", "experiment"), uuid=uuid)
    said = "Acknowledged." if alarm.station is None else f"Asked {alarm.station.name} to release the latch."
    return act(request, lambda: services.acknowledge(person, alarm), said, reverse("alarms"))
