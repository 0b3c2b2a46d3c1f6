"""Readings of a device for programs and charts: few rows that keep every minimum and maximum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from web_server.lab.models import Device
from web_server.measurements.models import DeviceReading

# A device is read every 10 s by default; no line is drawn over a pause of more than this many periods.
USUAL_S = 10.0
GAP_TIMES = 6.0
LEAST_GAP_S = 30.0
MAX_POINTS = 10_000

Row = tuple[int, dict[str, float | None]]
Columns = dict[str, list[float | int | None]]


def window(device: Device, start: datetime | None, end: datetime | None, points: int) -> dict[str, Any]:
    """Return the readings from ``start`` to ``end`` as columns of about ``points`` rows.

    ``columns`` holds ``time_us`` and one list per measure; null is missing, a row of nulls a gap. Few
    rows come as they are; otherwise each bucket gives two rows with the minimum and the maximum of each
    measure in the order in which they happened (``downsampled`` tells).
    """
    found = DeviceReading.objects.filter(device=device)
    if start is not None:
        found = found.filter(at__gte=start)
    if end is not None:
        found = found.filter(at__lte=end)
    count = found.count()
    rows = _rows(found)
    gap_us = max(LEAST_GAP_S, GAP_TIMES * (device.record_every_s or USUAL_S)) * 1e6
    names = _names(device)
    downsampled = count > points
    if downsampled:
        rows = _thinned(list(rows), max(1, points // 2))
    return {
        "device": str(device.uuid),
        "columns": _columns(rows, names, gap_us),
        "downsampled": downsampled,
    }


def _rows(found: Any) -> Iterator[Row]:
    for at, values in found.order_by("at", "pk").values_list("at", "values").iterator(chunk_size=5000):
        yield round(at.timestamp() * 1e6), values or {}


def _names(device: Device) -> list[str]:
    """Return the measures in the catalogue's order; names beyond it come as they are met."""
    return list(device.model.measure_names)


def _columns(rows: Iterable[Row], known: list[str], gap_us: float) -> Columns:
    columns: Columns = {"time_us": []}
    times, before = columns["time_us"], None
    for time_us, values in rows:
        if before is not None and time_us - before > gap_us:
            _append(columns, (before + time_us) // 2, {}, len(times))
        _append(columns, time_us, values, len(times))
        before = time_us
    order = ["time_us", *(name for name in known if name in columns)]
    return {name: columns[name] for name in [*order, *(name for name in columns if name not in order)]}


def _append(columns: Columns, time_us: int, values: dict[str, float | None], length: int) -> None:
    for name in values:
        if name not in columns:
            columns[name] = [None] * length
    columns["time_us"].append(time_us)
    for name, column in columns.items():
        if name != "time_us":
            column.append(_number(values.get(name)))


def _number(given: Any) -> float | None:
    if isinstance(given, bool):
        return float(given)
    return float(given) if isinstance(given, int | float) and math.isfinite(given) else None


def _thinned(rows: list[Row], buckets: int) -> Iterator[Row]:
    """Yield two rows per bucket of equal length in time, with the extremes in their order."""
    first, last = rows[0][0], rows[-1][0]
    width = max(1.0, (last - first + 1) / buckets)
    bucket: list[Row] = []
    number = 0
    for row in rows:
        here = int((row[0] - first) / width)
        if here != number and bucket:
            yield from _extremes(bucket)
            bucket = []
        number = here
        bucket.append(row)
    if bucket:
        yield from _extremes(bucket)


def _extremes(bucket: list[Row]) -> Iterator[Row]:
    if len(bucket) == 1:
        yield bucket[0]
        return
    early: dict[str, float | None] = {}
    late: dict[str, float | None] = {}
    for name in dict.fromkeys(name for _, values in bucket for name in values):
        seen = [
            (number, time_us)
            for time_us, values in bucket
            if (number := _number(values.get(name))) is not None
        ]
        if not seen:
            early[name] = late[name] = None
            continue
        low, high = min(seen), max(seen, key=lambda entry: (entry[0], -entry[1]))
        ordered = sorted((low, high), key=lambda entry: entry[1])
        early[name], late[name] = ordered[0][0], ordered[1][0]
    yield bucket[0][0], early
    yield bucket[-1][0], late
