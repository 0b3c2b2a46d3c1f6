"""Readings of a device for programs and charts: few rows that keep every minimum and maximum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
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
    runs = _without_gaps(rows, gap_us)
    downsampled = count > points
    if downsampled:
        runs = _thinned(runs, max(1, points // 2))
    return {
        "device": str(device.uuid),
        "columns": _columns(runs, names),
        "downsampled": downsampled,
    }


def _without_gaps(rows: Iterable[Row], gap_us: float) -> list[list[Row]]:
    """Cut the rows where nothing was read for longer than ``gap_us``."""
    runs: list[list[Row]] = []
    for row in rows:
        if not runs or row[0] - runs[-1][-1][0] > gap_us:
            runs.append([])
        runs[-1].append(row)
    return runs


def _rows(found: Any) -> Iterator[Row]:
    for at, values in found.order_by("at", "pk").values_list("at", "values").iterator(chunk_size=5000):
        yield round(at.timestamp() * 1e6), values or {}


def _names(device: Device) -> list[str]:
    """Return the measures in the catalogue's order; names beyond it come as they are met."""
    return list(device.model.measure_names)


def _columns(runs: Iterable[list[Row]], known: list[str]) -> Columns:
    """Return the runs as columns, a row of nulls between two of them."""
    columns: Columns = {"time_us": []}
    times = columns["time_us"]
    for run in runs:
        if times:
            _append(columns, (int(times[-1] or 0) + run[0][0]) // 2, {}, len(times))
        for time_us, values in run:
            _append(columns, time_us, values, len(times))
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


def _thinned(runs: list[list[Row]], buckets: int) -> list[list[Row]]:
    """Return two rows per bucket of equal length in time, with the extremes in their order."""
    first, last = runs[0][0][0], runs[-1][-1][0]
    width = max(1.0, (last - first + 1) / buckets)
    thin = []
    for run in runs:
        groups = groupby(run, key=lambda row: int((row[0] - first) / width))
        thin.append([row for _, group in groups for row in _extremes(list(group))])
    return thin


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
