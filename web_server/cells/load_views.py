"""The Load page: a barcode scanner, a holder, a cell, a beep, the next."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_POST

from web_server.cells import loading, services
from web_server.cells.models import Battery
from web_server.commands.waiting import until_closed
from web_server.lab.models import Station
from web_server.lib.errors import Refused, ServiceError
from web_server.lib.lookup import find
from web_server.page import act, forbid, page

SECTION = "load"
SHOWN = 60
# What a unit needs to read a device now, with room.
READ_WITHIN_S = 5.0
# Where a unit reads no device on demand, the station's own reading comes with its next heartbeat.
HEARTBEAT_WITHIN_S = 7.0
LOOK_PERIOD_S = 0.2


def load(request: HttpRequest) -> HttpResponse:
    """Show the page; take a scanned code."""
    refused = forbid(request, "operator", "load batteries", SECTION)
    if refused:
        return refused
    if request.method == "POST":
        answer = _take(request)
        if "application/json" in request.headers.get("Accept", ""):
            return JsonResponse(answer)
        messages.add_message(request, getattr(messages, answer["level"].upper()), answer["text"])
        kept = {answer["pending"]["kind"]: answer["pending"]["id"]} if answer["pending"] else {}
        return redirect("/load/" + (f"?{urlencode(kept)}" if kept else ""))
    person: Any = request.user
    since = timezone.now() - timedelta(seconds=loading.UNDO_WITHIN_S)
    rows = Battery.objects.filter(loaded_by=person, loaded_at__gte=since, station__isnull=False)
    rows = rows.select_related("station", "active_experiment", "lithium", "lead_acid", "redox_stack")
    return page(
        request,
        "cells/load.html",
        SECTION,
        rows=[{"battery": row, "verdict": loading.seen(row)} for row in rows.order_by("-loaded_at")[:SHOWN]],
        pending=_pending(request.GET),
    )


def _pending(asked: Any) -> Station | Battery | None:
    """Return the holder or the cell that was scanned first."""
    for model, kind in ((Station, "station"), (Battery, "battery")):
        if services.is_uuid(asked.get(kind)):
            return model._default_manager.filter(uuid=asked[kind], retired_at=None).first()
    return None


def _take(request: HttpRequest) -> dict[str, Any]:
    """Do what a scanned code asks for; say it in words, and what is waited for next."""
    first = _pending(request.POST)
    try:
        second = loading.scanned(request.POST.get("code", ""))
    except Refused as error:
        return _answer("error", str(error), first)
    if first is None or type(first) is type(second):
        return _answer("info", _next(second, instead=first), second)
    station, battery = (first, second) if isinstance(first, Station) else (second, first)
    person: Any = request.user
    was_there = battery.station_id == station.pk
    try:
        services.load(person, battery, station)
    except ServiceError as error:
        return _answer("error", str(error), first)
    said = "is in {} already." if was_there else "is in {}."
    answer = _answer("success", f"{battery.name} {said.format(station.name)}", None)
    return {**answer, "loaded": {"battery": _short(battery), "station": _short(station)}}


def _next(item: Station | Battery, instead: Station | Battery | None) -> str:
    other = f" instead of {instead}" if instead is not None and instead.pk != item.pk else ""
    if isinstance(item, Station):
        return f"Holder {item.name}{other}. Now the cell."
    where = f" It is still in {item.station.name}." if item.station else ""
    return f"Cell {item.name}{other}.{where} Now the holder."


def _answer(level: str, text: str, pending: Station | Battery | None) -> dict[str, Any]:
    return {"level": level, "text": text, "pending": _short(pending) if pending else None, "loaded": None}


def _short(item: Station | Battery) -> dict[str, str]:
    kind = "station" if isinstance(item, Station) else "battery"
    return {"kind": kind, "id": str(item.uuid), "name": item.name}


@require_POST
def voltage(request: HttpRequest) -> JsonResponse:
    """Read the voltage of a cell that was just put in, and say whether it is the expected one."""
    person: Any = request.user
    try:
        battery = find(Battery, request.POST.get("battery"), "battery")
        command = until_closed(loading.ask_voltage(person, battery), READ_WITHIN_S)
        said = loading.verdict(battery, command)
        until = time.monotonic() + HEARTBEAT_WITHIN_S
        while said.voltage_v is None and time.monotonic() < until:
            time.sleep(LOOK_PERIOD_S)
            battery = find(Battery, battery, "battery")
            said = loading.verdict(battery, command)
    except ServiceError as error:
        return JsonResponse({"level": "warning", "text": f"The voltage could not be read: {error}"})
    return JsonResponse({"level": said.level, "text": said.text, "voltage_v": said.voltage_v})


@require_POST
def undo(request: HttpRequest) -> HttpResponse:
    """Take back the loading of a cell."""
    person: Any = request.user

    def do() -> str:
        battery = find(Battery, request.POST.get("battery"), "battery")
        station = find(Station, request.POST.get("station"), "station")
        loading.undo(person, battery, station)
        return f"{battery.name} is out of {station.name} again."

    if "application/json" not in request.headers.get("Accept", ""):
        return act(request, do, lambda said: said, "/load/")
    try:
        return JsonResponse({"level": "info", "text": do()})
    except ServiceError as error:
        return JsonResponse({"level": "error", "text": str(error)})
