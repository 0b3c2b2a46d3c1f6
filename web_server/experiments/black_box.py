"""What a unit's black box held: the last readings and device exchanges before a trip, error or stop."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from web_server.experiments.models import Alarm, BlackBox, Experiment
from web_server.lab.models import Station, Unit
from wire import messages

_BIG = 2**31 - 1


def store(
    unit: Unit,
    spool: UUID,
    seq: int,
    event: messages.Event,
    station: Station | None,
    experiment: Experiment | None,
    at: datetime,
) -> None:
    """Store one part; the caller has seen to it that each comes once."""
    detail = event.detail
    BlackBox.objects.create(
        unit=unit,
        spool=spool,
        spool_seq=seq,
        station=station,
        experiment=experiment,
        at=at,
        alarm=_uuid(detail.get("alarm")),
        part=_count(detail.get("part")),
        parts=_count(detail.get("parts")),
        text=event.text,
        body=json.dumps(
            {"exchanges": detail.get("exchanges") or [], "readings": detail.get("readings") or {}},
            separators=(",", ":"),
        ),
    )


def parts_of(alarm: Alarm) -> int:
    """Return how many parts of the alarm's black box are stored."""
    return BlackBox.objects.filter(alarm=alarm.uuid).count()


def whole(alarm: Alarm) -> dict[str, Any] | None:
    """Return the alarm's black box put together again, or None when there is none.

    ``{alarm, at, text, complete, exchanges[{device, at, to, text}], readings{column: [...]}}``.
    """
    rows = list(BlackBox.objects.filter(alarm=alarm.uuid).order_by("part", "id"))
    if not rows:
        return None
    exchanges: list[Any] = []
    readings: dict[str, list[Any]] = {}
    for body in (json.loads(row.body) for row in rows):
        exchanges += body["exchanges"]
        _append(readings, body["readings"].get("columns", body["readings"]))
    return {
        "alarm": str(alarm.uuid),
        "at": rows[0].at.isoformat(),
        "text": alarm.text,
        "complete": {row.part for row in rows} >= set(range(1, rows[0].parts + 1)),
        "exchanges": exchanges,
        "readings": readings,
    }


def _append(readings: dict[str, list[Any]], more: dict[str, Any]) -> None:
    """Add a part's columns; a column that only some parts have is filled with nulls."""
    before = max((len(column) for column in readings.values()), default=0)
    rows = max((len(column) for column in more.values() if isinstance(column, list)), default=0)
    for name in {**readings, **more}:
        column = more.get(name)
        given = column if isinstance(column, list) else []
        readings.setdefault(name, [None] * before)
        readings[name] += [*given, *[None] * (rows - len(given))]


def as_csv(columns: dict[str, list[Any]]) -> Iterable[str]:
    """Write the readings as CSV lines."""
    yield ",".join(columns) + "\n"
    for row in zip(*columns.values(), strict=True):
        yield ",".join("" if cell is None else str(cell) for cell in row) + "\n"


def _count(told: Any) -> int:
    return told if isinstance(told, int) and not isinstance(told, bool) and 1 <= told <= _BIG else 1


def _uuid(told: Any) -> UUID | None:
    try:
        return UUID(told) if isinstance(told, str) else None
    except ValueError:
        return None
