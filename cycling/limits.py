"""Find, compare and combine the limits of an envelope."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Literal

import msgspec

from cycling.contract import Envelope, Limit

Side = Literal["max", "min"]


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A value that somebody gave for one limit; ``source`` names the giver and the field."""

    value: float
    source: str


def tightest(side: Side, bounds: Iterable[Bound | None]) -> Bound | None:
    """Return the lowest maximum or the highest minimum; the first giver of it is named."""
    given = [bound for bound in bounds if bound is not None]
    if not given:
        return None
    return min(given, key=lambda b: b.value) if side == "max" else max(given, key=lambda b: b.value)


def widest(side: Side, bounds: Iterable[Bound | None]) -> Bound | None:
    """Return the highest maximum or the lowest minimum of devices that take turns.

    One of them without a bound leaves it open.
    """
    given = list(bounds)
    if not given or any(bound is None for bound in given):
        return None
    known = [bound for bound in given if bound is not None]
    return max(known, key=lambda b: b.value) if side == "max" else min(known, key=lambda b: b.value)


def bound(value: float | None, source: str) -> Bound | None:
    """Return ``value`` with its giver, or None for a value not given or not a number."""
    return None if value is None or not isfinite(value) else Bound(value=float(value), source=source)


def find(envelope: Envelope, quantity: str, side: Side, when: str = "always") -> Limit | None:
    """Return one limit of the envelope, or None."""
    for limit in envelope.limits:
        if limit.quantity == quantity and limit.side == side and limit.when == when:
            return limit
    return None


def operating(envelope: Envelope, quantity: str, side: Side) -> float | None:
    """Return the operating value of one limit of the envelope, or None."""
    limit = find(envelope, quantity, side)
    return None if limit is None else limit.operating


def exceeds(side: Side, value: float, limit: float, slack: float = 1e-9) -> bool:
    """Say whether ``value`` lies outside ``limit``."""
    return value > limit + slack if side == "max" else value < limit - slack
