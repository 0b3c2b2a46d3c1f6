"""Checks of single fields that several services share; each returns errors instead of raising."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

Error = dict[str, Any]


def error(field: str | None, message: str, **more: Any) -> Error:
    """Return one error as `Refused` carries it."""
    return {"field": field, "message": message, **more}


def unknown(body: Mapping[str, Any], known: Collection[str], what: str) -> list[Error]:
    """Return an error per field that ``what`` does not have."""
    return [error(field, f"A {what} has no field {field!r}.") for field in body if field not in known]


def name(body: Mapping[str, Any], length: int = 100) -> list[Error]:
    """Return errors of the field ``name``."""
    text = body.get("name")
    if not isinstance(text, str) or not text.strip():
        return [error("name", "Give it a name.")]
    if len(text) > length:
        return [error("name", f"The name has {len(text)} characters; at most {length} fit.")]
    return []


def numbers(body: Mapping[str, Any], fields: Collection[str]) -> list[Error]:
    """Return an error per field that is given but is no finite number."""
    errors = []
    for field in fields:
        given = body.get(field)
        if given is None:
            continue
        if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
            errors.append(error(field, f"{field} must be a finite number; got {given!r}."))
    return errors


def in_order(body: Mapping[str, Any], low: str, high: str, *, strict: bool = True) -> list[Error]:
    """Return an error when the limit ``low`` is not below ``high``, naming both with their values."""
    a, b = body.get(low), body.get(high)
    if a is None or b is None or (a < b if strict else a <= b):
        return []
    word = "below" if strict else "at or below"
    return [error(low, f"{low} ({a:g}) must be {word} {high} ({b:g}).")]


def texts(body: Mapping[str, Any], lengths: Mapping[str, int]) -> list[Error]:
    """Return an error per field that is given but is no text, or a too long one."""
    errors = []
    for field, length in lengths.items():
        given = body.get(field)
        if given is None:
            continue
        if not isinstance(given, str):
            errors.append(error(field, f"{field} must be a text; got {given!r}."))
        elif len(given) > length:
            errors.append(error(field, f"{field} has {len(given)} characters; at most {length} fit."))
    return errors


def tags(body: Mapping[str, Any]) -> list[Error]:
    """Return errors of the field ``tags``: a list of short texts."""
    given = body.get("tags", [])
    fine = isinstance(given, list) and all(isinstance(tag, str) and 0 < len(tag) <= 50 for tag in given)
    return [] if fine else [error("tags", "tags are a list of texts, each of 1 to 50 characters.")]
