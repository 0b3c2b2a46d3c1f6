"""Console: send a message or a frame on a bus of a unit, and listen; everything is in the audit trail."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from web_server.lab.models import Unit
from web_server.page import forbid, page

SECTION = "units"
# Kinds of link that carry text.
_TEXT = ("visa", "serial")
_SHOWN = 50


def console(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show the console of a unit, with what people sent there last."""
    refused = forbid(request, "manager", "use the console of a unit", SECTION)
    if refused:
        return refused
    unit = get_object_or_404(Unit, uuid=uuid)
    sent = unit.commands.filter(Q(kind__startswith="scpi.") | Q(kind="can.send")).order_by("-id")[:_SHOWN]
    links = links_of(unit)
    return page(
        request,
        "lab/console.html",
        SECTION,
        unit=unit,
        texts=[link for link in links if link["kind"] in _TEXT],
        buses=[link for link in links if link["kind"] == "can"],
        sent=sent,
    )


def links_of(unit: Unit) -> list[dict[str, Any]]:
    """Return the links that the unit has reported, each once: ``{name, kind, who}``."""
    found: dict[str, dict[str, Any]] = {}
    for device in unit.devices.select_related("model"):
        entry = {"kind": str(device.link_settings.get("kind", "")), "who": str(device)}
        found.setdefault(device.link_name, {"name": device.link_name, **entry})
    for stranger in unit.unknown_devices:
        kind = str((stranger.get("link") or {}).get("kind", ""))
        name = str(stranger.get("link_name", ""))
        found.setdefault(name, {"name": name, "kind": kind, "who": stranger.get("answered", "")[:60]})
    return [entry for name, entry in found.items() if name]
