"""Monitor: all stations at a glance, trouble first."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from web_server.experiments import attention
from web_server.lab import monitor as shown
from web_server.lab import services
from web_server.lab.glance import glance
from web_server.lab.models import Station, Unit
from web_server.page import act, page, part

FILTERS = ("q", "location", "unit", "state")


def monitor(request: HttpRequest) -> HttpResponse:
    """Show what needs attention, then a tile per station."""
    return page(
        request,
        "lab/monitor.html",
        "monitor",
        tiles=shown.tiles(shown.stations(request.GET)),
        **_needs(),
        wall=request.GET.get("wall") == "1",
        filtered=any(request.GET.get(name) for name in FILTERS),
        places=sorted(set(Station.objects.filter(retired_at=None).values_list("location", flat=True)) - {""}),
        units=list(Unit.objects.filter(retired_at=None).only("name")),
        states=Station.State.values,
    )


def trouble(request: HttpRequest) -> HttpResponse:
    """Send what needs attention, and the line on top."""
    return part(request, "lab/trouble_now.html", glance=glance(), **_needs())


def _needs() -> dict[str, Any]:
    found = attention.needs()
    needs, more = attention.listed(found)
    return {"needs": needs, "more": more, "total": len(found)}


def line(request: HttpRequest) -> HttpResponse:
    """Send the line on top of every page."""
    return part(request, "parts/glance.html", glance=glance())


def tile(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Send one station's tile."""
    made = shown.one(uuid)
    if made is None:
        raise Http404
    return part(request, "lab/tile.html", tile=made)


@require_POST
def stop_all(request: HttpRequest) -> HttpResponse:
    """Stop every station of the lab."""
    person: Any = request.user
    return act(
        request,
        lambda: services.stop_all(person),
        "Every station is asked to switch off; each is off when its unit has confirmed it.",
        reverse("monitor"),
    )
