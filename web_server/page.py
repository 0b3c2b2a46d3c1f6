"""What every page and every act of a page has in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme

from web_server.lab.glance import glance
from web_server.lib.errors import NotAllowed, Refused, ServiceError


def page(
    request: HttpRequest, template: str, section: str, status: int = 200, **context: Any
) -> HttpResponse:
    """Render a whole page inside the frame; ``section`` is the entry of the menu it belongs to."""
    frame = {"section": section, "glance": glance(), **_rights(request)}
    return render(request, template, {**frame, **context}, status=status)


def _rights(request: HttpRequest) -> dict[str, bool]:
    """Return what decides which buttons are offered; the services decide what is done."""
    person: Any = request.user
    return {"may_operate": person.may("operator"), "may_manage": person.may("manager")}


def part(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    """Render a part of a page for htmx."""
    return render(request, template, {**_rights(request), **context})


def way_back(request: HttpRequest, otherwise: str) -> str:
    """Return where the person came from (``next``), if it is on this site."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    fine = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if fine else otherwise


def act(
    request: HttpRequest, do: Callable[[], Any], said: str | Callable[[Any], str], otherwise: str
) -> HttpResponse:
    """Do one thing that a button asks for, then say what came of it.

    With htmx the answer is that sentence alone; without scripts the page it came from, saying it.
    A refusal is no error page: nothing was done, and the sentence says why and what would help.
    """
    try:
        outcome = do()
    except ServiceError as error:
        return _say(request, "error", str(error), otherwise)
    return _say(request, "success", said if isinstance(said, str) else said(outcome), otherwise)


def _say(request: HttpRequest, level: str, text: str, otherwise: str) -> HttpResponse:
    if request.headers.get("HX-Request"):
        return render(request, "parts/said.html", {"level": level, "text": text})
    messages.add_message(request, getattr(messages, level.upper()), text)
    return HttpResponseRedirect(way_back(request, otherwise))


def refuse_into(form: forms.Form, error: ServiceError, prefix: str = "") -> None:
    """Show a service's refusal at the fields it names; what names no field of the form stands on top.

    People know the labels, not the names: ``current_min_a`` in a message becomes its label.
    """
    errors = error.errors if isinstance(error, Refused) else [{"field": None, "message": str(error)}]
    labels = {name: str(field.label or name) for name, field in form.fields.items()}
    for problem in errors:
        name = str(problem.get("field") or "").removeprefix(prefix).rpartition(".")[2]
        where = f"Step {problem['step']}: " if problem.get("step") else ""
        where += f"Line {problem['line']}: " if problem.get("line") else ""
        text = str(problem["message"])
        for known in sorted(labels, key=len, reverse=True):
            if "_" in known:
                text = text.replace(known, f"“{labels[known]}”")
        seen = name in form.fields and not form.fields[name].widget.is_hidden
        form.add_error(name if seen else None, where + text)


def forbid(request: HttpRequest, needed: str, doing: str, section: str) -> HttpResponse | None:
    """Return a page that says which role is needed, or None when the person may."""
    person: Any = request.user
    if person.may(needed):
        return None
    error = NotAllowed(f"To {doing} you need the role {needed}; you have {person.effective_role}.")
    return page(request, "parts/not_allowed.html", section, status=403, text=str(error))
