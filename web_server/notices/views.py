"""Who hears of alarms: the addresses, and a test of each."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from web_server.lib.errors import ServiceError
from web_server.notices import addresses, queries, services
from web_server.notices.forms import TargetForm
from web_server.notices.models import Target
from web_server.page import act, forbid, page, refuse_into

SECTION = "system"


def notices(request: HttpRequest) -> HttpResponse:
    """List the addresses; add one."""
    if request.method == "POST":
        return _save(request, None)
    changed = _named(request.GET.get("change", ""))
    initial = (
        {"name": changed.name, "place": changed.place, "active": changed.active}
        if changed
        else {"active": True, "place": 1}
    )
    return _show(request, TargetForm(initial=initial), changed)


@require_POST
def change(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Change an address."""
    return _save(request, get_object_or_404(Target, uuid=uuid))


def _save(request: HttpRequest, changed: Target | None) -> HttpResponse:
    refused = forbid(request, "administrator", "say who hears of alarms", SECTION)
    if refused:
        return refused
    person: Any = request.user
    form = TargetForm(request.POST)
    if form.is_valid():
        try:
            if changed is None:
                services.add(person, **form.body())
            else:
                services.change(person, changed, **form.body())
            return redirect("notices")
        except ServiceError as error:
            refuse_into(form, error)
    return _show(request, form, changed)


def _show(request: HttpRequest, form: TargetForm, changed: Target | None) -> HttpResponse:
    person: Any = request.user
    return page(
        request,
        "notices/notices.html",
        SECTION,
        422 if form.errors else 200,
        targets=queries.with_last_tests(),
        form=form,
        changed=changed,
        examples=addresses.EXAMPLES,
        may_administer=person.may("administrator"),
    )


def _named(text: str) -> Target | None:
    try:
        return Target.objects.filter(uuid=UUID(text)).first()
    except ValueError:
        return None


@require_POST
def test(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Ask for a test; the page says what came of it as soon as a manager has tried."""
    person: Any = request.user
    target = get_object_or_404(Target, uuid=uuid)
    said = f"A test to {target.name} is on its way; what came of it stands beside it in a moment."
    return act(request, lambda: services.test(person, target), said, reverse("notices"))


@require_POST
def remove(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Forget an address."""
    person: Any = request.user
    target = get_object_or_404(Target, uuid=uuid)
    return act(
        request, lambda: services.remove(person, target), f"{target.name} is removed.", reverse("notices")
    )
