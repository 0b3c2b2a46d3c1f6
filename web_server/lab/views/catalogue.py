"""The catalogue: the kinds of device there are, and adding a model of a known family."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from web_server.lab import services
from web_server.lab.catalogue import kind_of
from web_server.lab.model_form import ModelForm, from_answer, likest
from web_server.lab.models import DeviceModel
from web_server.lib.errors import Refused, ServiceError
from web_server.lib.lookup import find
from web_server.page import act, forbid, page, refuse_into
from wire.catalogue import KindMeasure

SECTION = "units"


def catalogue(request: HttpRequest) -> HttpResponse:
    """List the device models."""
    rows = DeviceModel.objects.annotate(found=Count("devices")).order_by("label")
    for word in request.GET.get("q", "").split():
        rows = rows.filter(
            Q(label__icontains=word)
            | Q(maker__icontains=word)
            | Q(family__icontains=word)
            | Q(type__icontains=word)
        )
    return page(request, "lab/catalogue.html", SECTION, rows=list(rows))


def model(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show everything that the catalogue says of one model."""
    kind = kind_of(get_object_or_404(DeviceModel, uuid=uuid))
    ends = {"\n": "LF", "\r\n": "CR LF"}
    link = [(name, ends.get(str(value), value)) for name, value in kind.link_settings.items()]
    measures = [(each, f"{each.resolution:g}", _accuracy(each)) for each in kind.measures]
    return page(request, "lab/model.html", SECTION, kind=kind, link_settings=link, measures=measures)


def _accuracy(measure: KindMeasure) -> str:
    share = f" + {100 * measure.accuracy_rel:g} %" if measure.accuracy_rel else ""
    return f"{measure.accuracy:g}{share}"


def add(request: HttpRequest) -> HttpResponse:
    """Add a model: first the family, then what differs."""
    refused = forbid(request, "manager", "add a device model", SECTION)
    if refused:
        return refused
    answered = request.GET.get("answered", "").strip()
    try:
        base = find(DeviceModel, request.GET.get("base"), "base") if request.GET.get("base") else None
    except Refused:
        base = None
    if base is None:
        bases = likest(list(DeviceModel.objects.exclude(driver="").order_by("family", "label")), answered)
        return page(request, "lab/model_base.html", SECTION, bases=bases, answered=answered)
    person: Any = request.user
    initial = {"maker": base.maker, **from_answer(answered)}
    form = ModelForm(base, request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            added = services.add_model(person, base=base, **form.body())
        except ServiceError as error:
            refuse_into(form, error)
        else:
            messages.success(request, f"{added.label} is added; units recognise it at their next detection.")
            return redirect(reverse("catalogue"))
    status = 422 if form.errors else 200
    return page(
        request,
        "lab/model_form.html",
        SECTION,
        status,
        form=form,
        base=base,
        groups=form.groups(),
        answered=answered,
    )


@require_POST
def remove(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Remove a model that was added here."""
    person: Any = request.user
    row = get_object_or_404(DeviceModel, uuid=uuid)
    said = f"{row.label} is removed."
    return act(request, lambda: services.remove_model(person, row), said, reverse("catalogue"))
