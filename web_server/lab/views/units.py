"""Units: approve, detect, health."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from web_server.commands.sending import send
from web_server.lab import listing, services
from web_server.lab.models import Unit
from web_server.lib import cursor
from web_server.lib.errors import ServiceError
from web_server.page import act, forbid, page, part

SECTION = "units"
# What the unit says of a link that it did not search, because it is worked with.
IN_USE = "a device is in use here"
LOG_LINES = 200


def _units(request: HttpRequest, secret: str = "") -> HttpResponse:
    sort = request.GET.get("sort", "name")
    sort = sort if sort.lstrip("-") in listing.UNIT_SORTS else "name"
    rows = cursor.take(listing.units(request.GET), sort, request.GET.get("after", ""))
    pending = list(Unit.objects.filter(approved=False, retired_at=None))
    filtered = any(request.GET.get(name) for name in ("q", "retired"))
    return page(
        request,
        "lab/units.html",
        SECTION,
        rows=rows,
        default_sort="name",
        pending=pending,
        filtered=filtered,
        secret=secret,
    )


def units(request: HttpRequest) -> HttpResponse:
    """List the units, those that wait for approval first."""
    return _units(request)


def unit(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show one unit: health, devices, stations, what was asked of it."""
    shown = get_object_or_404(Unit.objects.select_related("approved_by"), uuid=uuid)
    return page(
        request,
        "lab/unit.html",
        SECTION,
        **_found(shown),
        stations=shown.stations.filter(retired_at=None).select_related("battery", "active_experiment"),
        commands=shown.commands.select_related("station", "experiment").order_by("-id")[:20],
    )


def found(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Send what the unit has found, with the detection that goes on."""
    return part(request, "lab/unit_devices.html", **_found(get_object_or_404(Unit, uuid=uuid)))


def _found(unit: Unit) -> dict[str, Any]:
    last = unit.commands.filter(kind="detect").order_by("-id").first()
    result = (last.result if last is not None else None) or {}
    missed = [link for link in result.get("links", []) if link.get("outcome") != "ok"]
    return {
        "unit": unit,
        "devices": listing.devices(unit),
        "detection": last,
        "in_use": [link["link"] for link in missed if link.get("reason") == IN_USE],
        "unsearched": [link for link in missed if link.get("reason") != IN_USE],
    }


def log(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show the unit's own log as it was asked for last; POST asks for it again."""
    refused = forbid(request, "manager", "read the log of a unit", SECTION)
    if refused:
        return refused
    row = get_object_or_404(Unit, uuid=uuid)
    if request.method == "POST":
        person: Any = request.user
        try:
            send(person, "unit.log", {"lines": LOG_LINES}, row)
        except ServiceError as error:
            messages.error(request, str(error))
        return HttpResponseRedirect(reverse("unit-log", args=[uuid]))
    return page(request, "lab/unit_log.html", SECTION, **_logged(row))


def log_lines(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Send the lines of the log that came last."""
    refused = forbid(request, "manager", "read the log of a unit", SECTION)
    return refused or part(request, "lab/unit_log_lines.html", **_logged(get_object_or_404(Unit, uuid=uuid)))


def _logged(unit: Unit) -> dict[str, Any]:
    asked = unit.commands.filter(kind="unit.log")
    last = asked.order_by("-id").first()
    told = asked.filter(status="done").order_by("-id").first()
    return {"unit": unit, "asked": last, "told": told}


@require_POST
def approve(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Let a unit take part."""
    person: Any = request.user
    row = get_object_or_404(Unit, uuid=uuid)
    said = f"{row.name} is approved; it hears so within 10 s."
    return act(request, lambda: services.approve(person, row), said, reverse("unit", args=[uuid]))


@require_POST
def detect(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Ask a unit to look for devices."""
    person: Any = request.user
    row = get_object_or_404(Unit, uuid=uuid)
    said = f"{row.name} is looking for devices; what it finds appears here."
    return act(request, lambda: services.detect(person, row), said, reverse("unit", args=[uuid]))


@require_POST
def rename(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Give a unit another name."""
    person: Any = request.user
    row = get_object_or_404(Unit, uuid=uuid)
    name = request.POST.get("name", "")
    return act(
        request, lambda: services.rename_unit(person, row, name), "Renamed.", reverse("unit", args=[uuid])
    )


@require_POST
def retire(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Take a unit out of use."""
    person: Any = request.user
    row = get_object_or_404(Unit, uuid=uuid)
    return act(
        request, lambda: services.retire_unit(person, row), f"{row.name} is retired.", reverse("units")
    )


@require_POST
def restart(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Ask a unit to restart its agent; it refuses while a test runs."""
    person: Any = request.user
    row = get_object_or_404(Unit, uuid=uuid)
    said = f"{row.name} is asked to restart; below stands what it answered."
    return act(request, lambda: send(person, "unit.restart", {}, row), said, reverse("unit", args=[uuid]))


@never_cache
@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """Make a one-time token for a new unit and show it, this once."""
    person: Any = request.user
    try:
        _, secret = services.issue_enrol_token(person, note=request.POST.get("note", ""))
    except ServiceError as error:
        refused = error

        def refuse() -> None:
            raise refused

        return act(request, refuse, "", reverse("units"))
    return _units(request, secret)
