"""Find the row that a request names."""

from __future__ import annotations

import uuid
from typing import Any, TypeVar

from django.db import models

from web_server.lib.errors import Refused

Row = TypeVar("Row", bound=models.Model)


def find(model: type[Row], given: Any, field: str) -> Row:
    """Return the row that ``given`` is, or whose UUID it is, as the database has it now.

    Also a row that the caller holds is read again: it may be from before somebody's change.

    Raises:
        Refused: there is none; the error is at ``field``.
    """
    rows = model._default_manager
    if isinstance(given, model):
        row = rows.filter(pk=given.pk).first()
    else:
        row = rows.filter(uuid=key).first() if (key := _uuid(given)) else None
    if row is None:
        raise Refused.one(f"There is no {model._meta.verbose_name} {given!r}.", field)
    return row


def _uuid(given: Any) -> uuid.UUID | None:
    try:
        return uuid.UUID(str(given))
    except ValueError:
        return None
