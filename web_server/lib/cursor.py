"""Lists of thousands of rows, a page at a time, by cursor: the next page starts after the last row.

Unlike page numbers this costs the same on every page, and rows that come in meanwhile shift nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import FieldError, ValidationError
from django.db.models import Q, QuerySet

PAGE_ROWS = 50


@dataclass(frozen=True)
class Rows:
    """One page of rows; ``next`` is the cursor of the following page, "" on the last."""

    rows: list[Any]
    next: str
    first: bool

    def __iter__(self) -> Any:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def take(found: QuerySet[Any], sort: str, after: str, *, limit: int = PAGE_ROWS) -> Rows:
    """Return the page of ``found`` behind the cursor ``after``, sorted by column ``sort`` ("-" = down)."""
    column, down = sort.lstrip("-"), sort.startswith("-")
    behind = _behind(column, down, after)
    rows = found.order_by(*([sort, "-id" if down else "id"]))
    if behind is not None:
        try:
            rows = rows.filter(behind)
        except (ValidationError, FieldError, ValueError, TypeError):
            behind = None
    page = list(rows[: limit + 1])
    more = len(page) > limit
    page = page[:limit]
    return Rows(page, _cursor(page[-1], column) if more else "", behind is None)


def _cursor(row: Any, column: str) -> str:
    reached = row
    for name in column.split("__"):
        reached = getattr(reached, name, None)
    if isinstance(reached, datetime):
        reached = reached.isoformat()
    return base64.urlsafe_b64encode(json.dumps([reached, row.pk]).encode()).decode()


def _behind(column: str, down: bool, after: str) -> Q | None:
    """Return the condition of the rows behind a cursor; both databases sort null below everything."""
    try:
        reached, key = json.loads(base64.urlsafe_b64decode(after.encode()))
        key = int(key)
    except (ValueError, TypeError, binascii.Error):
        return None
    beyond = {"id__lt": key} if down else {"id__gt": key}
    if reached is None:
        same = Q(**{f"{column}__isnull": True}, **beyond)
        return same if down else same | Q(**{f"{column}__isnull": False})
    condition = Q(**{column: reached}, **beyond) | Q(**{f"{column}__{'lt' if down else 'gt'}": reached})
    return condition | Q(**{f"{column}__isnull": True}) if down else condition
