"""Console: send a message or a frame on a bus of a unit, and listen; everything is in the audit trail."""

from __future__ import annotations

import re
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
# What a unit adds to the name of a CAN bus for a device on it.
_ON_CAN = re.compile(r" (node 0x[0-9A-F]+|unit \d+)$")
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
    """Return the links that the unit has reported, each once: ``{name, kind, who}``.

    A CAN bus is one link, by its own name, whoever is on it.
    """
    told = [
        (device.link_name, device.link_settings, str(device))
        for device in unit.devices.select_related("model").order_by("link_name")
    ]
    told += [
        (str(each.get("link_name", "")), each.get("link") or {}, each.get("answered", "")[:60])
        for each in unit.unknown_devices
    ]
    found: dict[str, dict[str, Any]] = {}
    for place, link, who in told:
        kind = str(link.get("kind", ""))
        name = bus_of(place) if kind == "can" else place
        entry = found.setdefault(name, {"name": name, "kind": kind, "who": ""})
        entry["who"] = ", ".join(filter(None, [entry["who"], who]))
    return [entry for name, entry in found.items() if name]


def bus_of(place: str) -> str:
    """Return the bus of a device's place on CAN: ``CAN`` of ``CAN node 0x13``."""
    return _ON_CAN.sub("", place)
