"""Samples in the REST API: what may be asked, and what the answer looks like."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, serializers
from rest_framework.request import Request

from web_server.api.schema import query
from web_server.experiments.models import Experiment
from web_server.lab.models import Device
from web_server.measurements import charts, device_charts

DEFAULT_LIMIT = 1000
DEFAULT_POINTS = 2000
SAMPLE_PARAMETERS = [
    query("after", OpenApiTypes.INT, "Raw rows with a higher `seq`; 0 = from the first."),
    query("limit", OpenApiTypes.INT, f"At most this many raw rows (1 to {charts.MAX_ROWS})."),
    query("from", OpenApiTypes.STR, "Window's start: seconds since the experiment began, or ISO 8601."),
    query("to", OpenApiTypes.STR, "Window's end: seconds since the experiment began, or ISO 8601."),
    query("points", OpenApiTypes.INT, f"About this many rows (2 to {charts.MAX_POINTS}), downsampled."),
]
_WINDOW = ("from", "to", "points")
_SCHEMA = {
    "type": "object",
    "description": "Equal-length lists by name; one more per extended measure. Downsampled: without those "
    "that have no minimum (step, cycle, mode, counters, flags); a row of nulls is a gap.",
    "properties": {
        name: {"type": "array", "items": {"type": ["string" if name == "mode" else "number", "null"]}}
        for name in charts.COLUMNS
    },
    "additionalProperties": {"type": "array", "items": {"type": ["number", "null"]}},
}


@extend_schema_field(_SCHEMA)
class ColumnsField(serializers.JSONField):
    """Columns by name."""


class SamplesBody(serializers.Serializer):  # type: ignore[type-arg]
    """Samples of one experiment."""

    experiment = serializers.UUIDField()
    columns = ColumnsField()
    next_after = serializers.IntegerField(help_text="`after` of the next call.")
    complete = serializers.BooleanField(help_text="The experiment is final and every row is stored.")
    downsampled = serializers.BooleanField(required=False)


def asked_samples(experiment: Experiment, request: Request) -> dict[str, Any]:
    """Return what the query asks for: a window if one is named, else raw rows."""
    asked = request.query_params
    if not any(name in asked for name in _WINDOW):
        after = _whole(asked.get("after", "0"), "after", 0, 2**62)
        limit = _whole(asked.get("limit", str(DEFAULT_LIMIT)), "limit", 1, charts.MAX_ROWS)
        return charts.raw(experiment, after, limit)
    strange = [name for name in ("after", "limit") if name in asked]
    if strange:
        raise exceptions.ValidationError({name: ["not together with from, to, points"] for name in strange})
    points = _whole(asked.get("points", str(DEFAULT_POINTS)), "points", 2, charts.MAX_POINTS)
    return charts.window(experiment, _moment(asked, "from"), _moment(asked, "to"), points)


def _whole(text: str, name: str, low: int, high: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise exceptions.ValidationError({name: [f"a whole number, {low} to {high}"]})
    return number


def _moment(asked: Any, name: str) -> charts.Moment | None:
    """Return an edge of the window: elapsed seconds, or a time in microseconds."""
    text = asked.get(name)
    if text in (None, ""):
        return None
    try:
        seconds = float(text)
        if math.isfinite(seconds):
            return charts.Moment("elapsed_s", seconds)
    except ValueError:
        pass
    # A plus sign in a query means a blank.
    try:
        at: datetime | None = parse_datetime(text.replace(" ", "+"))
    except ValueError:
        at = None
    if at is None:
        raise exceptions.ValidationError(
            {name: ["seconds since the beginning, or a time like 2026-05-31T12:00:00Z"]}
        )
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return charts.Moment("time_us", round(at.timestamp() * 1_000_000))


READING_PARAMETERS = [
    query("from", OpenApiTypes.STR, "Window's start, ISO 8601; default: the last 24 h."),
    query("to", OpenApiTypes.STR, "Window's end, ISO 8601."),
    query(
        "points", OpenApiTypes.INT, f"About this many rows (2 to {device_charts.MAX_POINTS}), downsampled."
    ),
]
# Without a start: what a person asks about first.
_LAST = timedelta(hours=24)


@extend_schema_field(
    {
        "type": "object",
        "description": "`time_us` and one list per measure; null = missing, a row of nulls is a gap.",
        "properties": {"time_us": {"type": "array", "items": {"type": "integer"}}},
        "additionalProperties": {"type": "array", "items": {"type": ["number", "null"]}},
    }
)
class ReadingColumnsField(serializers.JSONField):
    """Columns by measure."""


class ReadingsBody(serializers.Serializer):  # type: ignore[type-arg]
    """Readings of one device that were recorded while it ran no experiment."""

    device = serializers.UUIDField()
    columns = ReadingColumnsField()
    downsampled = serializers.BooleanField()


def asked_readings(device: Device, request: Request) -> dict[str, Any]:
    """Return the window that the query asks for; the last 24 h without one."""
    asked = request.query_params
    points = _whole(asked.get("points", str(DEFAULT_POINTS)), "points", 2, device_charts.MAX_POINTS)
    start, end = _time(asked, "from"), _time(asked, "to")
    if start is None:
        start = (end or datetime.now(UTC)) - _LAST
    return device_charts.window(device, start, end, points)


def _time(asked: Any, name: str) -> datetime | None:
    text = asked.get(name)
    if text in (None, ""):
        return None
    try:
        at = parse_datetime(text.replace(" ", "+"))
    except ValueError:
        at = None
    if at is None:
        raise exceptions.ValidationError({name: ["a time like 2026-05-31T12:00:00Z"]})
    return at if at.tzinfo else at.replace(tzinfo=UTC)
