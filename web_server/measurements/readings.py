"""Readings of devices that run no experiment: stored once, read as a history."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any
from uuid import UUID

from web_server.lab.models import Device, Unit
from web_server.measurements.models import DeviceReading

# Names and numbers that fit any device; more is a mistake or an attack.
VALUES_MAX, NAME_MAX, NUMBER_MAX = 200, 60, 1e12


def store(unit: Unit, spool: UUID, seq: int, detail: dict[str, Any], at: datetime) -> str | None:
    """Store one reading; return what was wrong with it in a sentence, None when nothing was.

    A reading of an unknown device keeps its number, so that the next event does not look like a gap.
    """
    device, values = _device(unit, detail), _values(detail.get("values"))
    DeviceReading.objects.get_or_create(
        unit=unit, spool=spool, spool_seq=seq, defaults={"device": device, "at": at, "values": values}
    )
    if device is None:
        return f"a reading of the unknown device {str(detail.get('model'))[:60]!r} {str(detail.get('serial_number'))[:60]!r}"  # fmt: skip
    return None


def _device(unit: Unit, detail: dict[str, Any]) -> Device | None:
    """Return which device of this unit is meant: by the site's own key, else as the unit reported it."""
    named = detail.get("device")
    devices = Device.objects.filter(unit=unit)
    try:
        if named:
            return devices.filter(uuid=UUID(str(named))).first()
    except ValueError:
        return None
    told = [detail.get(name) or "" for name in ("model", "serial_number", "link_name")]
    if not all(isinstance(text, str) for text in told):
        return None
    return devices.filter(identity=Device.identity_of(told[0], told[1][:100], told[2][:200])).first()


def _values(told: Any) -> dict[str, float | None]:
    if not isinstance(told, dict):
        return {}
    return {
        name: None if value is None else float(value)
        for name, value in list(told.items())[:VALUES_MAX]
        if isinstance(name, str) and len(name) <= NAME_MAX and _fits(value)
    }


def _fits(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, int | float) and math.isfinite(value) and abs(value) <= NUMBER_MAX


def latest(device: Device) -> DeviceReading | None:
    """Return a device's newest reading."""
    return DeviceReading.objects.filter(device=device).order_by("-at").first()


def history(
    device: Device,
    measure: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    points: int = 500,
) -> list[tuple[datetime, float]]:
    """Return (time, value) of one measure in order, at most ``points``, keeping minima and maxima."""
    rows = DeviceReading.objects.filter(device=device)
    if since is not None:
        rows = rows.filter(at__gte=since)
    if until is not None:
        rows = rows.filter(at__lte=until)
    found = [
        (at, float(values[measure]))
        for at, values in rows.order_by("at").values_list("at", "values").iterator(chunk_size=2000)
        if values.get(measure) is not None
    ]
    return thinned(found, points)


def thinned(rows: list[tuple[datetime, float]], points: int) -> list[tuple[datetime, float]]:
    """Return at most ``points`` of these rows: the lowest and the highest of each part, in order."""
    if len(rows) <= points:
        return rows
    parts = max(1, points // 2)
    kept: list[tuple[datetime, float]] = []
    for part in range(parts):
        bucket = rows[len(rows) * part // parts : len(rows) * (part + 1) // parts]
        ends = {min(bucket, key=lambda row: row[1]), max(bucket, key=lambda row: row[1])}
        kept += sorted(ends)
    return kept
