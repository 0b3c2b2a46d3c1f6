"""Thin what idle devices read long ago: a row every 10 s is 3 million a year for each device.

Of each bucket of time stay its first row, and for each measure the rows of its minimum and maximum: a
chart of months looks the same afterwards. Samples of experiments are never touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.db.models import Max, Min, QuerySet

from web_server.lab.models import Device
from web_server.measurements.models import DeviceReading

# Rows that are looked at together, and deleted in one short transaction.
WINDOW = timedelta(days=1)
DELETED_AT_ONCE = 500

Row = tuple[int, datetime, dict[str, float | None]]


def thin(before: datetime, every_s: float, *, dry_run: bool = False) -> int:
    """Thin all readings older than ``before`` to buckets of ``every_s`` seconds; return how many rows go.

    Run again it finds nothing more to do.
    """
    kept = _last_of_spools()
    return sum(_thin_device(device, before, every_s, kept, dry_run) for device in _devices())


def _devices() -> Iterable[int | None]:
    """Return the keys of devices with readings, and None for those of unknown devices."""
    return [*Device.objects.order_by("pk").values_list("pk", flat=True), None]


def _last_of_spools() -> set[int]:
    """Return the rows with the highest number of each spool: the next event is told by them."""
    rows = DeviceReading.objects.order_by()
    highest = rows.values("unit", "spool").annotate(last=Max("spool_seq"))
    return {
        DeviceReading.objects.get(unit=each["unit"], spool=each["spool"], spool_seq=each["last"]).pk
        for each in highest
    }


def _thin_device(device: int | None, before: datetime, every_s: float, kept: set[int], dry_run: bool) -> int:
    rows = DeviceReading.objects.filter(device=device, at__lt=before)
    gone, start = 0, _first(rows)
    while start is not None:
        end = min(start + WINDOW, before)
        surplus = [key for key in _surplus(_window(rows, start, end), every_s) if key not in kept]
        gone += len(surplus)
        for first in range(0, 0 if dry_run else len(surplus), DELETED_AT_ONCE):
            DeviceReading.objects.filter(pk__in=surplus[first : first + DELETED_AT_ONCE]).delete()
        start = _first(rows.filter(at__gte=end))
    return gone


def _first(rows: QuerySet[DeviceReading]) -> datetime | None:
    """Return the beginning of the day of the oldest row, so that buckets are the same in every run."""
    oldest: datetime | None = rows.aggregate(Min("at"))["at__min"]
    return None if oldest is None else oldest.replace(hour=0, minute=0, second=0, microsecond=0)


def _window(rows: QuerySet[DeviceReading], start: datetime, end: datetime) -> list[Row]:
    found: Any = rows.filter(at__gte=start, at__lt=end).order_by("at", "pk")
    return list(found.values_list("pk", "at", "values"))


def _surplus(rows: list[Row], every_s: float) -> Iterable[int]:
    """Return the keys of the rows that are no first, minimum or maximum of their bucket."""
    for _, bucket in groupby(rows, key=lambda row: int(row[1].timestamp() // every_s)):
        group = list(bucket)
        stays = {group[0][0]}
        for name in {name for _, _, values in group for name in values}:
            seen = [(value, key) for key, _, values in group if (value := values.get(name)) is not None]
            if seen:
                # Of equal values the first one stays, also the next time.
                stays |= {min(seen)[1], min(seen, key=lambda each: (-each[0], each[1]))[1]}
        yield from (key for key, _, _ in group if key not in stays)
