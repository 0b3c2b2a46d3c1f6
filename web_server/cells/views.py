"""Pages of batteries: a cell's life, its limits, where it is now."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from web_server.cells import listing, quarantine, services
from web_server.cells.forms import BatteryForm, typed_of
from web_server.cells.models import Battery
from web_server.lab.models import Station
from web_server.lib import cursor, curve
from web_server.lib.errors import ServiceError
from web_server.page import act, forbid, page, refuse_into

SECTION = "batteries"


def batteries(request: HttpRequest) -> HttpResponse:
    """List the batteries."""
    sort = request.GET.get("sort", "name")
    sort = sort if sort.lstrip("-") in listing.SORTS else "name"
    rows = cursor.take(listing.listed(request.GET), sort, request.GET.get("after", ""))
    return page(
        request,
        "cells/batteries.html",
        SECTION,
        rows=rows,
        default_sort="name",
        technologies=Battery.Technology.choices,
        wheres=("loaded", "free", "quarantined"),
        filtered=any(request.GET.get(name) for name in ("q", "technology", "where", "retired")),
    )


def battery(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show one battery."""
    shown = get_object_or_404(listing.one(uuid))
    cycles = listing.capacity_over_time(shown)
    line = curve.draw(
        range(len(cycles)),
        [row.charge_out_ah for row in cycles],
        600,
        120,
        least=(shown.capacity_ah or 0) * 0.05,
    )
    return page(
        request,
        "cells/battery.html",
        SECTION,
        battery=shown,
        experiments=cursor.take(listing.experiments_of(shown), "-id", request.GET.get("after", ""), limit=25),
        places=[] if shown.station else listing.places(shown),
        cycles=cycles,
        line=line,
        inspections=list(shown.inspections.all()[:20]),
    )


def new(request: HttpRequest) -> HttpResponse:
    """Record a new battery."""
    refused = forbid(request, "operator", "add a battery", SECTION)
    if refused:
        return refused
    copied = (
        Battery.objects.filter(uuid=request.GET["copy"]).first()
        if _is_uuid(request.GET.get("copy"))
        else None
    )
    initial = typed_of(services.as_body(copied)) if copied else {}
    for unique in ("name", "serial_number", "barcode"):
        initial.pop(unique, None)
    return _edit(request, None, initial)


def edit(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Change a battery."""
    refused = forbid(request, "operator", "change a battery", SECTION)
    if refused:
        return refused
    changed = get_object_or_404(listing.one(uuid))
    return _edit(request, changed, typed_of(services.as_body(changed)))


def _edit(request: HttpRequest, battery: Battery | None, initial: dict[str, Any]) -> HttpResponse:
    form = BatteryForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        saved = _save(request, form, battery)
        if saved is not None:
            messages.success(request, f"{saved.name} is saved.")
            return redirect(reverse("battery", args=[saved.uuid]) + "?saved=" + _draft(battery))
    status = 422 if form.errors else 200
    return page(
        request, "cells/battery_form.html", SECTION, status, form=form, battery=battery, draft=_draft(battery)
    )


def _save(request: HttpRequest, form: BatteryForm, battery: Battery | None) -> Battery | None:
    person: Any = request.user
    try:
        if battery is None:
            return services.add(person, **form.body())
        return services.change(person, battery, **form.body())
    except ServiceError as error:
        technology = form.cleaned_data["technology"]
        _rename_own(form, error, technology)
        return None


def _rename_own(form: BatteryForm, error: ServiceError, technology: str) -> None:
    """Show an error of ``lithium.capacity_ah`` at the form's field ``lithium-capacity_ah``."""
    for problem in getattr(error, "errors", []):
        part, dot, name = str(problem.get("field") or "").partition(".")
        if dot and part == technology:
            problem["field"] = f"{part}-{name}"
            problem["message"] = problem["message"].replace(name, f"“{form.fields[f'{part}-{name}'].label}”")
    refuse_into(form, error)


def _draft(battery: Battery | None) -> str:
    return f"battery-{battery.uuid if battery else 'new'}"


def _is_uuid(text: str | None) -> bool:
    try:
        UUID(text or "")
    except ValueError:
        return False
    return True


@require_POST
def load(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Record that the battery was put into a station."""
    person: Any = request.user
    loaded = get_object_or_404(Battery, uuid=uuid)
    chosen = request.POST.get("station", "")
    station = Station.objects.filter(uuid=chosen).first() if _is_uuid(chosen) else None
    back = reverse("battery", args=[uuid])
    if station is None:
        messages.error(request, "Choose the station that you put it into.")
        return redirect(back)
    return act(
        request, lambda: services.load(person, loaded, station), f"{loaded.name} is in {station.name}.", back
    )


@require_POST
def eject(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Record that the battery was taken out."""
    person: Any = request.user
    taken = get_object_or_404(Battery.objects.select_related("station"), uuid=uuid)
    return act(
        request,
        lambda: services.eject(person, taken),
        f"{taken.name} is out.",
        reverse("battery", args=[uuid]),
    )


@require_POST
def inspect(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Record an inspection, which ends a quarantine."""
    person: Any = request.user
    seen = get_object_or_404(Battery, uuid=uuid)
    return act(
        request,
        lambda: quarantine.inspect(person, seen, request.POST.get("note", "")),
        f"The inspection of {seen.name} is recorded; it is in no quarantine.",
        reverse("battery", args=[uuid]),
    )


@require_POST
def retire(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Take a battery out of use."""
    person: Any = request.user
    old = get_object_or_404(Battery, uuid=uuid)
    return act(
        request,
        lambda: services.retire(person, old),
        f"{old.name} is retired.",
        reverse("battery", args=[uuid]),
    )
