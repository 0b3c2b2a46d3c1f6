"""What every row that people see has in common."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.utils import timezone


class Entity(models.Model):
    """A row with a bigint key inside and a UUID outside (``id`` of the API is the uuid)."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True, editable=False)

    class Meta:
        abstract = True


def update_if(rows: models.QuerySet[Any], **columns: Any) -> bool:
    """Update the one row that still matches ``rows``; return whether there was one.

    The way to take work or change a state: the condition and the change are one statement, and the
    row count is the truth (the sum of all races). ``updated_at`` follows, which ``update()`` alone
    would leave behind and the live pages would miss.
    """
    if any(field.name == "updated_at" for field in rows.model._meta.fields):
        columns.setdefault("updated_at", timezone.now())
    return rows.update(**columns) == 1
