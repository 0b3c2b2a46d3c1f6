"""Stations: what they consist of, what they do; compose and change."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from web_server.lab import listing, monitor, panel, services
from web_server.lab.forms import LIMITS, StationForm, typed_of
from web_server.lab.models import Station, Unit
from web_server.lib import cursor
from web_server.lib.errors import Refused, ServiceError
from web_server.lib.lookup import find
from web_server.page import act, forbid, page, refuse_into

SECTION = "stations"


def stations(request: HttpRequest) -> HttpResponse:
    """List the stations."""
    sort = request.GET.get("sort", "name")
    sort = sort if sort.lstrip("-") in listing.STATION_SORTS else "name"
    rows = cursor.take(listing.stations(request.GET), sort, request.GET.get("after", ""))
    return page(
        request,
        "lab/stations.html",
        SECTION,
        rows=rows,
        zones=listing.zones(),
        default_sort="name",
        states=Station.State.values,
        filtered=any(request.GET.get(name) for name in ("q", "state", "retired")),
    )


def station(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show one station."""
    shown = get_object_or_404(listing.station(uuid))
    rows = cursor.take(listing.experiments_on(shown), "-id", request.GET.get("after", ""), limit=25)
    return page(
        request,
        "lab/station.html",
        SECTION,
        station=shown,
        tile=monitor.one(uuid),
        versions=listing.versions(shown),
        experiments=rows,
        outputs=panel.outputs_in_words(shown),
        drill_s=panel.drill_s(shown),
        limits=[(label, shown.limits.get(name), unit) for name, (label, unit) in LIMITS.items()],
    )


def new(request: HttpRequest) -> HttpResponse:
    """Compose a new station: first the unit, then its devices."""
    refused = forbid(request, "manager", "compose a station", SECTION)
    if refused:
        return refused
    try:
        unit = find(Unit, request.GET.get("unit"), "unit") if request.GET.get("unit") else None
    except Refused:
        unit = None
    ready = list(Unit.objects.filter(approved=True, retired_at=None))
    if unit is None and len(ready) == 1:
        unit = ready[0]
    if unit is None:
        return page(request, "lab/station_unit.html", SECTION, units=ready)
    return _edit(
        request,
        None,
        unit,
        {"sensing": 4, "loop_period_s": 0.1, "quadrants": "both", "unguarded_max_wh": 5.0},
    )


def edit(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Change a station: the next version."""
    refused = forbid(request, "manager", "change a station", SECTION)
    if refused:
        return refused
    changed = get_object_or_404(listing.station(uuid))
    return _edit(request, changed, changed.unit, typed_of(changed))


def _edit(request: HttpRequest, station: Station | None, unit: Unit, initial: dict[str, Any]) -> HttpResponse:
    person: Any = request.user
    form = StationForm(unit, request.POST if request.method == "POST" else None, initial=initial)
    draft = f"station-{station.uuid}-{station.version}" if station else f"station-new-{unit.uuid}"
    if request.method == "POST" and form.is_valid():
        try:
            saved = services.compose_station(person, station=station, unit=unit, **form.body(station))
        except ServiceError as error:
            for problem in getattr(error, "errors", []):
                if str(problem.get("field", "")).startswith("limits."):
                    problem["field"] = "limit-" + problem["field"].removeprefix("limits.")
            refuse_into(form, error)
        else:
            messages.success(
                request, f"{saved.name} is saved as version {saved.version}; its unit is told at once."
            )
            return redirect(reverse("station", args=[saved.uuid]) + f"?saved={draft}")
    status = 422 if form.errors else 200
    return page(
        request,
        "lab/station_form.html",
        SECTION,
        status,
        form=form,
        station=station,
        unit=unit,
        rows=form.rows(station),
        draft=draft,
    )


@require_POST
def stop(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Switch one station off, whatever it does."""
    person: Any = request.user
    row = get_object_or_404(Station, uuid=uuid)
    return act(
        request,
        lambda: services.stop_all(person, [row]),
        f"{row.name} is asked to switch off; it is off when its unit has confirmed it.",
        reverse("station", args=[uuid]),
    )


@require_POST
def retire(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Take a station out of use."""
    person: Any = request.user
    row = get_object_or_404(Station, uuid=uuid)
    return act(
        request,
        lambda: services.retire_station(person, row),
        f"{row.name} is retired; its devices are free.",
        reverse("stations"),
    )
