"""What the pages of profiles ask of the database."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Count, F, Prefetch, Q, QuerySet
from django.http import QueryDict

from cycling import numbering
from cycling.steps import Profile as Definition
from web_server.profiles.models import Profile, ProfileVersion

SORTS = ("name", "updated_at", "created_at")
_LATEST = Prefetch(
    "versions", queryset=ProfileVersion.objects.filter(number=F("profile__version")), to_attr="newest"
)


def listed(asked: QueryDict) -> QuerySet[Profile]:
    """Return the profiles that the list's filters ask for, each with its newest version."""
    found = Profile.objects.select_related("owner").prefetch_related(_LATEST)
    found = found.annotate(runs=Count("versions__experiments"))
    if asked.get("retired") != "yes":
        found = found.filter(retired_at=None)
    for word in asked.get("q", "").split():
        found = found.filter(
            Q(name__icontains=word) | Q(description__icontains=word) | Q(project__icontains=word)
        )
    return found


def offered() -> QuerySet[Profile]:
    """Return all profiles that can be run, each with its newest version."""
    return Profile.objects.filter(retired_at=None).prefetch_related(_LATEST).order_by("name")


def one(uuid: UUID) -> QuerySet[Profile]:
    """Return a profile with what its page shows."""
    versions = Prefetch(
        "versions", queryset=ProfileVersion.objects.select_related("made_by").order_by("-number")
    )
    return Profile.objects.select_related("owner").prefetch_related(versions).filter(uuid=uuid)


def numbered(definition: Definition) -> list[dict[str, Any]]:
    """Return the steps in their order with number and depth, as plain dicts for a table."""
    return [
        {"number": row.number, "depth": min(row.depth, 5), "step": msgspec.to_builtins(row.step)}
        for row in numbering.number(definition)
    ]
