"""Control: one device or station by hand, with Down always in reach."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from web_server.lab import control, listing, panel, services
from web_server.lab.models import Device, Station
from web_server.lib.errors import Refused
from web_server.page import act, page, part

_WAITS = "{} is told to switch everything off; it is off when its unit has confirmed it."


def station(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show a station by hand."""
    shown = panel.of_station(get_object_or_404(listing.station(uuid)))
    return page(request, "lab/control.html", "stations", panel=shown, **_of_station(uuid))


def station_now(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Send what changes of a station by hand."""
    shown = panel.of_station(get_object_or_404(listing.station(uuid)))
    return part(request, "lab/control_now.html", panel=shown, **_of_station(uuid))


@require_POST
def station_down(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Switch everything of a station off."""
    row = get_object_or_404(Station.objects.select_related("unit", "active_experiment"), uuid=uuid)
    return _down(request, row, row.name, reverse("station-control", args=[uuid]))


def device(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show a device: its settings, its readings, their history."""
    shown = panel.of_device(get_object_or_404(_devices(), uuid=uuid))
    return page(request, "lab/control.html", "units", panel=shown, **_of_device(uuid))


def device_now(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Send what changes of a device by hand."""
    shown = panel.of_device(get_object_or_404(_devices(), uuid=uuid))
    return part(request, "lab/control_now.html", panel=shown, **_of_device(uuid))


@require_POST
def device_down(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Switch everything of a device off."""
    row = get_object_or_404(_devices(), uuid=uuid)
    return _down(request, row, str(row), reverse("device", args=[uuid]))


@require_POST
def device_period(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Set how often a device is recorded while no experiment runs."""
    person: Any = request.user
    row = get_object_or_404(_devices(), uuid=uuid)
    typed = request.POST.get("record_every_s", "").strip().replace(",", ".")

    def save() -> Device:
        try:
            every_s = float(typed) if typed else None
        except ValueError:
            raise Refused.one(f"{typed!r} is no number of seconds.", "record_every_s") from None
        return services.record_every(person, row, every_s)

    said = f"{row} is recorded every {f'{typed} s' if typed else '10 s'}."
    return act(request, save, said, reverse("device", args=[uuid]))


def _down(request: HttpRequest, target: Any, name: str, otherwise: str) -> HttpResponse:
    person: Any = request.user
    return act(request, lambda: control.down(person, target), _WAITS.format(name), otherwise)


def _devices() -> QuerySet[Device]:
    return Device.objects.select_related(
        "model", "unit", "zone", "station__active_experiment", "station__unit"
    )


def _of_station(uuid: UUID) -> dict[str, Any]:
    return {"is_station": True, **_addresses("station-control", "stations", uuid)}


def _of_device(uuid: UUID) -> dict[str, Any]:
    return {"is_station": False, **_addresses("device", "devices", uuid)}


def _addresses(name: str, resource: str, uuid: UUID) -> dict[str, str]:
    return {
        "now_address": reverse(f"{name}-now", args=[uuid]),
        "down_address": reverse(f"{name}-down", args=[uuid]),
        "api_address": f"/api/v1/{resource}/{uuid}/commands/",
    }
