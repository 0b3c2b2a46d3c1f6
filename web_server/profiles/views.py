"""Pages of profiles: write, check, version."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import msgspec
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from cycling import text as textform
from web_server.cells.models import Battery
from web_server.lab.models import Station
from web_server.lib import cursor
from web_server.lib.errors import Refused, ServiceError
from web_server.lib.lookup import find
from web_server.page import act, forbid, page, refuse_into
from web_server.profiles import listing, services
from web_server.profiles.forms import ProfileForm
from web_server.profiles.models import Profile, ProfileVersion

SECTION = "profiles"


def profiles(request: HttpRequest) -> HttpResponse:
    """List the profiles."""
    sort = request.GET.get("sort", "name")
    sort = sort if sort.lstrip("-") in listing.SORTS else "name"
    rows = cursor.take(listing.listed(request.GET), sort, request.GET.get("after", ""))
    filtered = any(request.GET.get(name) for name in ("q", "retired"))
    return page(request, "profiles/profiles.html", SECTION, rows=rows, default_sort="name", filtered=filtered)


def profile(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show one version of a profile, the newest unless ``?version=`` names another."""
    shown = get_object_or_404(listing.one(uuid))
    versions = list(shown.versions.all())
    wanted = request.GET.get("version", "")
    version = next((row for row in versions if str(row.number) == wanted), versions[0])
    definition = services.definition_of(version)
    return page(
        request,
        "profiles/profile.html",
        SECTION,
        profile=shown,
        version=version,
        versions=versions,
        definition=msgspec.to_builtins(definition),
        steps=listing.numbered(definition),
        text=version.text or _text_of(definition)[0],
    )


def new(request: HttpRequest) -> HttpResponse:
    """Write a new profile, or one like another (``?copy=``)."""
    refused = forbid(request, "operator", "save a profile", SECTION)
    if refused:
        return refused
    try:
        copied = find(Profile, request.GET.get("copy"), "copy") if request.GET.get("copy") else None
    except Refused:
        copied = None
    initial = {"definition": json.dumps(copied.latest.definition if copied else {"steps": []}, indent=1)}
    return _edit(request, None, initial | ({"name": f"{copied.name} copy"} if copied else {}))


def edit(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Change a profile: the next version."""
    refused = forbid(request, "operator", "change a profile", SECTION)
    if refused:
        return refused
    changed = get_object_or_404(Profile, uuid=uuid)
    initial = {
        "name": changed.name,
        "description": changed.description,
        "project": changed.project,
        "tags": ", ".join(changed.tags),
        "definition": json.dumps(changed.latest.definition, indent=1, ensure_ascii=False),
    }
    return _edit(request, changed, initial)


def _edit(request: HttpRequest, profile: Profile | None, initial: dict[str, Any]) -> HttpResponse:
    person: Any = request.user
    form = ProfileForm(request.POST if request.method == "POST" else None, initial=initial)
    draft = f"profile-{profile.uuid}-{profile.version}" if profile else "profile-new"
    if request.method == "POST" and form.is_valid():
        try:
            saved = services.save(person, profile=profile, **form.body())
        except ServiceError as error:
            refuse_into(form, error)
        else:
            messages.success(request, f"{saved.name} is saved as version {saved.version}.")
            return redirect(reverse("profile", args=[saved.uuid]) + f"?saved={draft}")
    status = 422 if form.errors else 200
    return page(
        request, "profiles/profile_form.html", SECTION, status, form=form, profile=profile, draft=draft
    )


@require_POST
def retire(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Take a profile out of the lists."""
    person: Any = request.user
    old = get_object_or_404(Profile, uuid=uuid)
    return act(request, lambda: services.retire(person, old), f"{old.name} is retired.", reverse("profiles"))


def download(request: HttpRequest, uuid: UUID, number: int) -> HttpResponse:
    """Send one version as a JSON file, which the editor takes again."""
    version = get_object_or_404(
        ProfileVersion.objects.select_related("profile"), profile__uuid=uuid, number=number
    )
    answer = HttpResponse(version.body, content_type="application/json")
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in version.profile.name)
    answer["Content-Disposition"] = f'attachment; filename="{name}-v{number}.json"'
    return answer


# --- what the editor asks while one types ------------------------------------------------------------


def _asked(request: HttpRequest) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


@require_POST
def check(request: HttpRequest) -> JsonResponse:
    """Check a profile without saving it, against a battery and a station where they are chosen."""
    body = _asked(request)
    definition = body.get("definition")
    if not isinstance(definition, dict):
        wrong = {"field": None, "message": "A profile is a JSON object with steps."}
        return JsonResponse({"valid": False, "errors": [wrong], "warnings": [], "summary": {}})
    try:
        battery = find(Battery, body["battery"], "battery") if body.get("battery") else None
        station = find(Station, body["station"], "station") if body.get("station") else None
    except Refused as error:
        return JsonResponse({"valid": False, "errors": error.errors, "warnings": [], "summary": {}})
    return JsonResponse(services.check(definition, battery=battery, station=station))


@require_POST
def convert(request: HttpRequest) -> JsonResponse:
    """Turn text into steps (``{text}`` → ``{definition, errors}``) or back (``{definition}`` → ``{text, why_not}``)."""
    body = _asked(request)
    if isinstance(body.get("text"), str):
        definition, errors = services.read({"text": body["text"], "name": "Typed"})
        shown = msgspec.to_builtins(definition) if definition is not None and not errors else None
        return JsonResponse({"definition": shown, "errors": errors})
    definition, errors = services.read(body.get("definition") or {})
    if definition is None or errors:
        return JsonResponse({"text": "", "why_not": "the steps have errors; put them right first."})
    text, why_not = _text_of(definition)
    return JsonResponse({"text": text, "why_not": why_not})


def _text_of(definition: Any) -> tuple[str, str]:
    try:
        return textform.write(definition), ""
    except textform.CannotWrite as error:
        return "", str(error)
