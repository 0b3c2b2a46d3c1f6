"""Writing, checking and versioning profiles."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from django.db import IntegrityError, transaction
from django.utils import timezone

from cycling import check as core
from cycling import text as textform
from cycling.steps import Profile as Definition
from web_server.accounts import audit
from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.cells.models import Battery
from web_server.experiments import contract
from web_server.lab.models import Station
from web_server.lib import fields
from web_server.lib.errors import Refused
from web_server.lib.transactions import atomic
from web_server.profiles.models import Profile, ProfileVersion

# Of the row, not of the definition.
ROW_FIELDS = ("project", "tags")
BODY_FIELDS = (*Definition.__struct_fields__, "text", *ROW_FIELDS)


def read(body: dict[str, Any]) -> tuple[Definition | None, list[dict[str, Any]]]:
    """Return the profile that ``body`` describes, and every problem with where it is.

    ``body`` has ``steps`` as in steps.md, or ``text`` in the text form (with ``name``).
    """
    own = {key: entry for key, entry in body.items() if key not in ROW_FIELDS}
    typed = own.pop("text", None)
    if typed is not None and not own.get("steps"):
        return _read_text(typed, own)
    own.setdefault("name", "")
    definition, problems = core.load(own)
    return definition, [contract.as_error(problem) for problem in problems]


def _read_text(typed: Any, own: dict[str, Any]) -> tuple[Definition | None, list[dict[str, Any]]]:
    """Parse the text form; what else the body says (capacity, safety, record) goes over it."""
    if not isinstance(typed, str):
        return None, [fields.error("text", "text is a text, one instruction a line.")]
    parsed, problems = textform.parse(typed, str(own.get("name") or ""))
    if parsed is None or problems:
        return None, [contract.as_error(problem) for problem in problems]
    own.pop("steps", None)
    whole, wrong = core.load({**msgspec.to_builtins(parsed), **own})
    return whole, [contract.as_error(problem) for problem in wrong]


def check(
    body: dict[str, Any],
    *,
    battery: Battery | None = None,
    station: Station | None = None,
    by: Person | None = None,
) -> dict[str, Any]:
    """Return ``{valid, errors, warnings, summary}`` of a profile, without saving it; raises nothing."""
    definition, errors = read(body)
    if definition is None or errors:
        return {"valid": False, "errors": errors, "warnings": [], "summary": {}}
    # Steps are checked before anybody has thought of a name; saving asks for one.
    definition.name = definition.name.strip() or "unnamed"
    found = contract.draw_up(
        battery, station, definition, long_delays=by is not None and by.may(Role.MANAGER)
    )
    return {
        "valid": found.fits,
        "errors": found.errors,
        "warnings": found.warnings,
        "summary": found.summary,
    }


@atomic
def save(by: Person | None, *, profile: Profile | None = None, **body: Any) -> Profile:
    """Save a new profile, or a change of ``profile`` as its next version; the same again makes none.

    Raises:
        NotAllowed: the role is too low.
        Refused: every error with its step and label, or its line.
    """
    require(by, Role.OPERATOR, "save a profile")
    if profile is not None:
        profile = Profile.objects.select_for_update().get(pk=profile.pk)
        if profile.retired_at:
            raise Refused.one(f"{profile.name} is retired.", "profile")
        body = _over(profile, body)
    errors = [*fields.name(body), *fields.tags(body), *fields.texts(body, {"project": 100})]
    definition, problems = read(body)
    errors += problems
    if not errors and definition is not None:
        found = contract.draw_up(None, None, definition, long_delays=by is None or by.may(Role.MANAGER))
        errors = found.errors
    if errors or definition is None:
        raise Refused(errors)
    return _write(by, profile, definition, body, found.summary)


def _over(profile: Profile, body: dict[str, Any]) -> dict[str, Any]:
    """Return the present version with ``body`` over it: what is left out stays."""
    latest = profile.latest
    whole = {**latest.definition, "name": profile.name, **body}
    if body.get("text") is not None and "steps" not in body:
        whole.pop("steps")
    elif latest.text and "steps" not in body and "text" not in body:
        whole["text"] = latest.text
    return whole


def _write(
    by: Person | None,
    profile: Profile | None,
    definition: Definition,
    body: dict[str, Any],
    summary: dict[str, Any],
) -> Profile:
    definition.name = body["name"].strip()
    others = Profile.objects.exclude(pk=profile.pk if profile else None)
    if others.filter(name=definition.name).exists():
        raise Refused.one(f"There is a profile {definition.name!r} already.", "name")
    is_new = profile is None
    profile = profile or Profile(owner=by)
    profile.name, profile.description = definition.name, definition.description
    for field in ROW_FIELDS:
        if field in body:
            setattr(profile, field, body[field])
    written = msgspec.json.encode(definition).decode()
    typed = body.get("text") or ""
    latest = None if is_new else profile.latest
    changed = latest is None or json.loads(latest.body) != json.loads(written) or latest.text != typed
    if changed and not is_new:
        profile.version += 1
    try:
        with transaction.atomic():
            profile.save()
    except IntegrityError:
        raise Refused.one(f"There is a profile {definition.name!r} already.", "name") from None
    if changed:
        ProfileVersion.objects.create(
            profile=profile, number=profile.version, body=written, text=typed, summary=summary, made_by=by
        )
    audit.record(by, "profile.add" if is_new else "profile.change", profile, version=profile.version)
    return profile


@atomic
def retire(by: Person | None, profile: Profile) -> Profile:
    """Take a profile out of the lists; experiments that used it keep it.

    Raises:
        NotAllowed: the role is too low.
    """
    require(by, Role.OPERATOR, "retire a profile")
    profile.retired_at = timezone.now()
    profile.save(update_fields=["retired_at", "updated_at"])
    audit.record(by, "profile.retire", profile)
    return profile


def is_same(version: ProfileVersion, body: dict[str, Any]) -> bool:
    """Return whether saving ``body`` as a new profile would write what ``version`` holds already."""
    definition, problems = read(body)
    if definition is None or problems:
        return False
    definition.name = definition.name.strip()
    return bool(json.loads(version.body) == msgspec.to_builtins(definition))


def definition_of(version: ProfileVersion) -> Definition:
    """Return a stored version as the core's struct."""
    return msgspec.json.decode(version.body, type=Definition)
