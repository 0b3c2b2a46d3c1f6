"""Samples as files. CSV: one header line whose names carry the units, then one line a sample."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async

from web_server.experiments.models import Experiment
from web_server.measurements.charts import COLUMNS
from web_server.measurements.models import Sample

# Rows read at once: about 1 MB of text, so memory stays flat whatever the experiment's length.
CHUNK = 5000
# In the file the time is for people and spreadsheets; every other name is the API's own.
_HEADER = tuple("time_utc" if name == "time_us" else name for name in COLUMNS)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def plain_name(name: str) -> str:
    """Return a name that every file system and every HTTP header takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "unnamed"


def file_name(experiment: Experiment, ending: str) -> str:
    """Return the experiment's name and the start of its id, as a file's name."""
    return f"{plain_name(experiment.name)}_{str(experiment.uuid)[:8]}.{ending}"


def extended_columns(experiment: Experiment) -> dict[str, str]:
    """Return {measure: header} of the extended measures, the unit in the header where known."""
    names: dict[str, str] = {}
    if experiment.station is not None:
        for measure in experiment.station.measures.all():
            names[measure.name] = _with_unit(measure.name, measure.unit_of_measure)
    # The station may have been composed anew since; what the ends recorded counts, too.
    rows = Sample.objects.filter(experiment_id=experiment.pk).order_by("seq")
    for row in (rows.first(), rows.last()):
        for name in (row.extended or {}) if row else ():
            names.setdefault(name, name)
    return {name: header for name, header in names.items() if name not in COLUMNS}


def _with_unit(name: str, unit: str) -> str:
    """Return ``flow (L/min)``; a name that ends in its unit already, like ``temp_c``, stays."""
    letters = re.sub(r"[^a-z0-9]", "", unit.lower())
    return name if not letters or name.lower().endswith(f"_{letters}") else f"{name} ({unit})"


def csv_chunks(experiment: Experiment) -> Iterator[str]:
    """Yield the CSV text of all samples stored by now, some thousand lines at a time."""
    extended = extended_columns(experiment)
    yield _lines([[*_HEADER, *extended.values()]])
    after = 0
    while chunk := read_chunk(experiment, after, extended):
        text, after = chunk
        yield text


async def csv_chunks_async(experiment: Experiment) -> AsyncIterator[str]:
    """Yield the same without holding the event loop; a plain generator would be read whole first."""
    extended = await sync_to_async(extended_columns)(experiment)
    yield _lines([[*_HEADER, *extended.values()]])
    after = 0
    while chunk := await sync_to_async(read_chunk)(experiment, after, extended):
        text, after = chunk
        yield text


def read_chunk(experiment: Experiment, after: int, extended: dict[str, str]) -> tuple[str, int] | None:
    """Return the lines of the next ``CHUNK`` samples and the last ``seq`` among them."""
    rows = list(
        Sample.objects.filter(experiment_id=experiment.pk, seq__gt=after)
        .order_by("seq")
        .values_list(*COLUMNS, "extended")[:CHUNK]
    )
    if not rows:
        return None
    return _lines([_row(row, extended) for row in rows]), rows[-1][0]


def _row(row: tuple[Any, ...], extended: dict[str, str]) -> list[Any]:
    measures = row[-1] or {}
    return [row[0], utc(row[1]), *row[2:-1], *(measures.get(name) for name in extended)]


def utc(time_us: int) -> str:
    """Return microseconds since 1970 as ISO 8601 in UTC; exact, unlike a float of seconds."""
    return (
        (_EPOCH + timedelta(microseconds=time_us)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    )


def _lines(rows: list[list[Any]]) -> str:
    """Write rows as RFC 4180 lines; None is an empty field, floats keep every digit."""
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()
