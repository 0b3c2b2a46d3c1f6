"""One profile on many batteries, and one run again on something else."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse

from web_server.cells.models import Battery
from web_server.experiments import batch as batches
from web_server.experiments import listing, services
from web_server.experiments.forms import BATCH_DETAILS, BatchForm, anew, request_id
from web_server.lab.models import Station
from web_server.lib.errors import ServiceError
from web_server.lib.lookup import find
from web_server.page import forbid, page, refuse_into
from web_server.profiles.models import Profile

SECTION = "experiments"


def batch(request: HttpRequest) -> HttpResponse:
    """File one profile on many: ``check`` only answers each, ``start`` files those that are ticked."""
    refused = forbid(request, "operator", "file experiments", SECTION)
    if refused:
        return refused
    form = BatchForm(request.POST or None, initial=_initial(request))
    entries: list[batches.Entry] = []
    if request.method == "POST" and form.is_valid():
        try:
            entries = _answer(request, form)
            filed = sum(entry.experiment is not None for entry in entries)
            if filed and request.POST.get("act") == "start":
                messages.success(request, _said(filed, sum(entry.before for entry in entries)))
                return redirect(reverse("experiments") + "?status=not+ended")
        except ServiceError as error:
            refuse_into(form, error)
            anew(form)
    picked = set(request.POST.getlist("batteries")) or set(request.GET.getlist("battery"))
    offered = listing.loaded_batteries()
    answers = {entry.battery.pk: entry for entry in entries}
    return page(
        request,
        "experiments/batch.html",
        SECTION,
        422 if form.errors else 200,
        form=form,
        details=[form[name] for name in BATCH_DETAILS],
        entries=entries,
        batteries=[
            {"row": row, "picked": not picked or str(row.uuid) in picked, "answer": answers.get(row.pk)}
            for row in offered
        ],
        fitting=sum(entry.ok for entry in entries),
        profiles=Profile.objects.filter(retired_at=None).order_by("name"),
        chosen_profile=str(form["profile"].value() or ""),
    )


def _said(filed: int, before: int) -> str:
    words = f"{filed} experiment{'s' * (filed != 1)} filed"
    return f"{words}; it was sent twice and is there once." if before else f"{words}."


def _initial(request: HttpRequest) -> dict[str, Any]:
    return {
        "name_template": batches.TEMPLATE,
        "stagger_s": 0,
        "profile": request.GET.get("profile", ""),
    }


def _answer(request: HttpRequest, form: BatchForm) -> list[batches.Entry]:
    person: Any = request.user
    picked = request.POST.getlist("batteries")
    rows = [row for row in listing.loaded_batteries() if str(row.uuid) in set(picked)]
    profile = find(Profile, form.cleaned_data["profile"], "profile")
    start = request.POST.get("act") == "start"
    given = {"batteries": rows, "profile": profile, **form.body()}
    # Those that are ticked now are the ones to start: what does not fit stops the act, and is said.
    return services.file_many(person, **given, dry_run=not start)


def repeat(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Run it again, on another battery or in another station."""
    refused = forbid(request, "operator", "file an experiment", SECTION)
    if refused:
        return refused
    person: Any = request.user
    run = get_object_or_404(listing.one(uuid))
    problems: list[str] = []
    if request.method == "POST":
        try:
            once = request_id(request.POST)
            before = services.filed_before(once)
            again = services.repeat(person, run, **_where(request), request_id=once)
            twice = " It was sent twice and is there once." if before == again else ""
            messages.success(request, f"{again.name} is filed again, on {again.battery.name}.{twice}")
            return redirect("experiment", again.uuid)
        except ServiceError as error:
            errors = getattr(error, "errors", [{"message": str(error)}])
            problems = [
                (f"Step {each['step']}: " if each.get("step") else "") + each["message"] for each in errors
            ]
    return page(
        request,
        "experiments/repeat.html",
        SECTION,
        422 if problems else 200,
        experiment=run,
        problems=problems,
        batteries=Battery.objects.filter(retired_at=None).select_related("station").order_by("name"),
        stations=Station.objects.filter(retired_at=None).select_related("battery").order_by("name"),
        battery=request.POST.get("battery", str(run.battery.uuid)),
        station=request.POST.get("station", ""),
    )


def _where(request: HttpRequest) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if request.POST.get("battery"):
        found["battery"] = find(Battery, request.POST["battery"], "battery")
    if request.POST.get("station"):
        found["station"] = find(Station, request.POST["station"], "station")
    return found
