"""Zones: what stations share, and what acts when an interlock opens."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from web_server.lab import services
from web_server.lab.models import Unit, Zone
from web_server.lab.zone_form import ZoneForm, typed_of
from web_server.lib.errors import Refused, ServiceError
from web_server.lib.lookup import find
from web_server.page import act, forbid, page, refuse_into

SECTION = "stations"


def new(request: HttpRequest) -> HttpResponse:
    """Make a zone on one unit."""
    refused = forbid(request, "manager", "make a zone", SECTION)
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
        return page(request, "lab/station_unit.html", SECTION, units=ready, of_zone=True)
    return _edit(request, None, unit, {"max_age_s": 2})


def edit(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Change a zone: its stations get their next version."""
    refused = forbid(request, "manager", "change a zone", SECTION)
    if refused:
        return refused
    zone = get_object_or_404(Zone.objects.select_related("unit"), uuid=uuid)
    return _edit(request, zone, zone.unit, typed_of(zone))


def _edit(request: HttpRequest, zone: Zone | None, unit: Unit, initial: dict[str, Any]) -> HttpResponse:
    person: Any = request.user
    form = ZoneForm(unit, zone, request.POST if request.method == "POST" else None, initial=initial)
    draft = f"zone-{zone.uuid}" if zone else f"zone-new-{unit.uuid}"
    if request.method == "POST" and form.is_valid():
        try:
            saved = services.save_zone(person, zone=zone, unit=unit, **form.body())
        except ServiceError as error:
            refuse_into(form, error)
        else:
            messages.success(
                request, f"The zone {saved.name} is saved; its stations are told when they are idle."
            )
            return redirect(reverse("stations") + f"?saved={draft}")
    stations = list(zone.stations.filter(retired_at=None)) if zone else []
    return page(
        request,
        "lab/zone_form.html",
        SECTION,
        422 if form.errors else 200,
        form=form,
        zone=zone,
        unit=unit,
        rows=form.rows(),
        draft=draft,
        stations=stations,
    )


@require_POST
def remove(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Remove a zone that no station is in."""
    person: Any = request.user
    row = get_object_or_404(Zone, uuid=uuid)
    said = f"The zone {row.name} is removed; its devices are free."
    return act(request, lambda: services.remove_zone(person, row), said, reverse("stations"))


@require_POST
def stop(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Stop every station of a zone."""
    person: Any = request.user
    row = get_object_or_404(Zone, uuid=uuid)
    said = f"Every station of {row.name} is asked to switch off; each is off when its unit has confirmed it."
    return act(request, lambda: services.stop_all(person, zone=row), said, reverse("stations"))
