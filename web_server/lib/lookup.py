"""Find the row that a request names."""

from __future__ import annotations

import uuid
from typing import Any, TypeVar

from django.db import models

from web_server.lib.errors import Refused

Row = TypeVar("Row", bound=models.Model)


def find(model: type[Row], given: Any, field: str) -> Row:
    """Return the row that ``given`` is, or whose UUID it is.

    Raises:
        Refused: there is none; the error is at ``field``.
    """
    if isinstance(given, model):
        return given
    try:
        key = uuid.UUID(str(given))
    except ValueError:
        key = None
    row = model._default_manager.filter(uuid=key).first() if key else None
    if row is None:
        raise Refused.one(f"There is no {model._meta.verbose_name} {given!r}.", field)
    return row
