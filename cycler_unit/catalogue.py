"""All kinds of device that this unit knows: the shipped rows, other packages' rows, the operator's rows.

Another package adds rows by an entry point of the group ``cellyard.kinds`` that names an iterable of
``wire.catalogue.Kind``; its driver comes by ``cellyard.drivers``. A row that an operator made on the
site comes along with a command (``learn``) and is kept in the state folder, so that a station with such
a device starts without the server.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec

from cycler_unit import disk
from wire import kinds
from wire.catalogue import Kind

logger = logging.getLogger("cycler_unit.catalogue")

GROUP = "cellyard.kinds"

_lock = threading.Lock()
_taught: dict[str, Kind] = {}


@cache
def shipped() -> tuple[Kind, ...]:
    """Return the rows that came with this installation, those of other packages last."""
    found = {kind.key: kind for kind in kinds.KINDS}
    for point in entry_points(group=GROUP):
        try:
            rows = [kind for kind in point.load() if isinstance(kind, Kind)]
        except Exception as error:
            # Somebody else's package may fail in any way; it must not take the other devices along.
            logger.error("event=kinds_unusable package=%s reason='%s'", point.name, error)
            continue
        for kind in rows:
            found.setdefault(kind.key, kind)
    return tuple(found.values())


def all_kinds() -> tuple[Kind, ...]:
    """Return every kind this unit knows; keys are unique."""
    with _lock:
        return (*shipped(), *_taught.values())


def get(key: str) -> Kind:
    """Return the kind of a catalogue key; raise ``KeyError`` with a sentence."""
    for kind in all_kinds():
        if kind.key == key:
            return kind
    raise KeyError(f"this unit does not know the device model {key!r}")


def is_own(kind: Kind) -> bool:
    """Tell whether a row is one that an operator added: neither shipped nor another package's."""
    return all(kind.key != each.key for each in shipped())


def ratings(kind: Kind) -> dict[str, Any]:
    """Return what a row that an operator added says instead of its family's driver; {} for any other row.

    ``rated``: the driver's own names for model, ratings and steps; and those limits that the family's row
    repeats in its settings.
    """
    if not is_own(kind):
        return {}
    steps = {each.name: each.resolution for each in kind.measures}
    rated: dict[str, Any] = {"model": kind.model}
    for quantity, unit in (("voltage", "v"), ("current", "a"), ("power", "w")):
        ends = [getattr(kind, f"{quantity}_{side}_{unit}") for side in ("min", "max")]
        most = max((abs(end) for end in ends if end is not None), default=0.0)
        rated |= {f"nominal_{unit}": most} if most else {}
        step = steps.get(f"{quantity}_{unit}", 0.0)
        rated |= {f"step_{unit}": step} if step else {}
    limits: dict[str, Any] = {
        name: getattr(kind, name)
        for name in ("voltage_max_v", "current_max_a")
        if name in kind.settings and getattr(kind, name) is not None
    }
    return {"rated": rated, **limits}


def narrowed(kind: Kind, text: str) -> Kind:
    """Return the operator's row of the same driver that fits an identity too, else ``kind`` itself."""
    with _lock:
        own = [each for each in _taught.values() if (each.family, each.driver) == (kind.family, kind.driver)]
    return match(text, own) or kind


def match(text: str, among: Iterable[Kind] | None = None) -> Kind | None:
    """Return the kind whose pattern fits what a device says of itself, or None."""
    for kind in all_kinds() if among is None else among:
        if kind.identity and re.search(kind.identity, text):
            return kind
    return None


def learn(rows: Iterable[dict[str, Any]], file: Path | None = None) -> list[str]:
    """Take rows that an operator made on the site; return what was wrong with the others.

    Only models of families that this unit has a driver for: a row names code that will be run.
    """
    problems = []
    drivers = {(kind.family, kind.driver): kind for kind in shipped()}
    keys = {kind.key for kind in shipped()}
    fresh: dict[str, Kind] = {}
    for row in rows:
        try:
            kind = msgspec.convert(row, Kind)
            re.compile(kind.identity)
        except (msgspec.ValidationError, re.error) as error:
            problems.append(f"the device model {row.get('key')!r} cannot be used: {error}")
            continue
        if kind.key in keys:
            continue
        if (kind.family, kind.driver) not in drivers:
            problems.append(f"the device model {kind.key!r} names the driver {kind.driver!r}, which this unit does not have for the family {kind.family!r}")  # fmt: skip
            continue
        fresh[kind.key] = kind
    with _lock:
        changed = any(_taught.get(key) != kind for key, kind in fresh.items())
        _taught.update(fresh)
        body = msgspec.json.encode(list(_taught.values()))
    if file is not None and changed:
        disk.write(file, body)
    return problems


def restore(file: Path) -> None:
    """Take the rows that were kept; a file that cannot be read is said and left alone."""
    try:
        rows = disk.read(file, list[dict[str, Any]])
    except (msgspec.MsgspecError, OSError) as error:
        logger.error("event=kinds_unreadable file=%s reason='%s'", file, error)
        return
    for problem in learn(rows or []):
        logger.error("event=kind_refused reason='%s'", problem)


def forget() -> None:
    """Drop what was learned (tests)."""
    with _lock:
        _taught.clear()
    shipped.cache_clear()
