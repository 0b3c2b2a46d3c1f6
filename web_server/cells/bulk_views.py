"""Batteries from a table: looked at line by line, then taken."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from web_server.cells import bulk
from web_server.cells.forms import BulkForm
from web_server.cells.models import Battery
from web_server.lib.errors import Refused, ServiceError
from web_server.page import forbid, page, refuse_into

SECTION = "batteries"


def bulk_batteries(request: HttpRequest) -> HttpResponse:
    """Take a table: ``check`` only says what would become of each line, ``take`` does it."""
    refused = forbid(request, "operator", "record batteries", SECTION)
    if refused:
        return refused
    form = BulkForm(request.POST or None, request.FILES or None)
    table = None
    if request.method == "POST" and form.is_valid():
        person: Any = request.user
        text = form.cleaned_data["csv"]
        like = form.cleaned_data["like"]
        try:
            table = bulk.take(person, text, like=like, dry_run=True)
            if table.valid and request.POST.get("act") == "take":
                table = bulk.take(person, text, like=like)
                messages.success(request, f"{table.created} recorded, {table.loaded} loaded.")
                return redirect("load" if table.loaded and not table.created else "batteries")
        except (Refused, ServiceError) as error:
            refuse_into(form, error)
    return page(
        request,
        "cells/bulk.html",
        SECTION,
        422 if form.errors else 200,
        form=form,
        table=table,
        columns=bulk.COLUMNS,
        batteries=Battery.objects.filter(retired_at=None).only("uuid", "name").order_by("name"),
        like=request.POST.get("like", request.GET.get("like", "")),
    )
