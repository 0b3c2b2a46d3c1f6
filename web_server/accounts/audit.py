"""The audit trail: who, when, what, from where."""

from __future__ import annotations

from typing import Any

from django.db import models

from web_server.accounts.models import AuditEntry, Person
from web_server.accounts.origin import current

# Who acts when nobody asked: the manager process, `prepare`, a migration.
NOBODY = "Cellyard"


def record(by: Person | None, act: str, item: models.Model, **detail: Any) -> AuditEntry:
    """Write that ``by`` did ``act`` ("battery.load") to ``item``; call it inside the same transaction.

    ``detail`` must be JSON-able and never holds a secret.
    """
    origin = current.get()
    return AuditEntry.objects.create(
        person=by,
        person_name=by.get_username() if by else NOBODY,
        act=act,
        item_type=item._meta.model_name,
        item_uuid=getattr(item, "uuid", None),
        item_name=str(item)[:250],
        detail=detail,
        way=origin.way,
        address=origin.address,
    )


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, list[Any]]:
    """Return ``{column: [old, new]}`` of what changed, as JSON-able texts and numbers."""
    changed = {key: [before.get(key), new] for key, new in after.items() if before.get(key) != new}
    return {key: [_plain(old), _plain(new)] for key, (old, new) in changed.items()}


def _plain(entry: Any) -> Any:
    return entry if isinstance(entry, str | int | float | bool | list | dict | None) else str(entry)
