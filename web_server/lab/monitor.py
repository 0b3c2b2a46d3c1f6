"""What the Monitor shows: what needs a person first, then a tile per station."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import QueryDict

from web_server.commands.models import Command
from web_server.experiments.models import Alarm, Experiment, Status
from web_server.lab import stops
from web_server.lab.models import Station
from web_server.lib import curve
from web_server.measurements.models import Rollup, Sample

# A spark shows the newest samples as they are and, before them, this many rollup rows (64 samples each).
SPARK_SAMPLES = 120
SPARK_ROLLUPS = 30
# The smallest ranges that fill a spark's height: 20 mV and 2 % of an ampere.
SPARK_LEAST_V, SPARK_LEAST_A = 0.02, 0.02
WIDTH, HEIGHT = 300, 50
_EXTREMES = (
    "voltage_min_v",
    "voltage_min_at_s",
    "voltage_max_v",
    "voltage_max_at_s",
    "current_min_a",
    "current_min_at_s",
    "current_max_a",
    "current_max_at_s",
)


@dataclass
class Tile:
    """One station as the Monitor shows it."""

    station: Station
    experiment: Experiment | None
    state: str
    waiting: Experiment | None = None
    stop: Command | None = None
    alarm: Alarm | None = None
    series: str = "[]"
    voltage: curve.Curve | None = None
    current: curve.Curve | None = None


def stations(asked: QueryDict) -> QuerySet[Station]:
    """Return the stations in use that the filters ask for."""
    found = Station.objects.filter(retired_at=None).select_related(
        "unit", "battery", "active_experiment__profile_version__profile", "active_experiment__battery"
    )
    if asked.get("location"):
        found = found.filter(location=asked["location"])
    if asked.get("unit"):
        found = found.filter(unit__name=asked["unit"])
    if asked.get("state") in Station.State.values:
        found = found.filter(state=asked["state"])
    for word in asked.get("q", "").split():
        found = found.filter(
            Q(name__icontains=word)
            | Q(location__icontains=word)
            | Q(battery__name__icontains=word)
            | Q(active_experiment__name__icontains=word)
        )
    return found.order_by("name")


def tiles(found: QuerySet[Station]) -> list[Tile]:
    """Return the tiles of ``found``; six queries whatever their number."""
    rows = list(found)
    keys = [row.pk for row in rows]
    waiting = _first_waiting(keys)
    unconfirmed = stops.unconfirmed({row.unit_id for row in rows})
    alarms = {
        row.station_id: row
        for row in Alarm.objects.filter(station__in=keys, state=Alarm.State.RAISED).order_by("id")
    }
    running = [row.experiment for row in rows if row.experiment is not None]
    drawn = sparks(running)
    made = []
    for row in rows:
        stop = stops.of_station(row, unconfirmed)
        tile = Tile(row, row.experiment, _state(row), waiting.get(row.pk), stop, alarms.get(row.pk))
        points = drawn.get(row.experiment.pk) if row.experiment else None
        if points:
            _draw(tile, points)
        made.append(tile)
    return made


def _state(row: Station) -> str:
    """Return the state that the tile shows: a start is seen before the unit's next heartbeat."""
    held = row.experiment
    if (
        row.state in (Station.State.IDLE, Station.State.OFFLINE)
        and held is not None
        and held.status == Status.STARTING
    ):
        return "starting"
    return str(row.state)


def _first_waiting(keys: list[int]) -> dict[int, Experiment]:
    """Return the next queued experiment of each station."""
    queued = Experiment.objects.filter(status=Status.QUEUED, station__in=keys).select_related("battery")
    first: dict[int, Experiment] = {}
    for row in queued.order_by("-priority", "id")[:500]:
        first.setdefault(int(row.station_id or 0), row)
    return first


def sparks(running: list[Experiment]) -> dict[int, list[tuple[float, float | None, float | None]]]:
    """Return ``(elapsed_s, voltage_v, current_a)`` of the last while of each experiment, in two queries."""
    tails = Q(pk__in=[])
    rolls = Q(pk__in=[])
    for run in running:
        if not run.sample_count:
            continue
        start = max(0, run.sample_count - SPARK_SAMPLES)
        tails |= Q(experiment_id=run.pk, seq__gt=start)
        if start:
            bucket = start // 64
            rolls |= Q(
                experiment_id=run.pk, level=0, bucket__gte=max(0, bucket - SPARK_ROLLUPS), bucket__lt=bucket
            )
    points: dict[int, list[tuple[float, float | None, float | None]]] = defaultdict(list)
    if not any(run.sample_count for run in running):
        return points
    for key, *extremes in (
        Rollup.objects.filter(rolls)
        .order_by("experiment_id", "bucket")
        .values_list("experiment_id", *_EXTREMES)
    ):
        points[key] += _extremes(extremes)
    for key, at, volt, amp in (
        Sample.objects.filter(tails)
        .order_by("experiment_id", "seq")
        .values_list("experiment_id", "elapsed_s", "voltage_v", "current_a")
    ):
        points[key].append((at, volt, amp))
    return points


def _extremes(row: list[float | None]) -> list[tuple[float, float | None, float | None]]:
    """Return a rollup's minima and maxima as points in their order of time."""
    volts = [(row[i + 1], row[i], None) for i in (0, 2)]
    amps = [(row[i + 1], None, row[i]) for i in (4, 6)]
    found = [(at, volt, amp) for at, volt, amp in (*volts, *amps) if at is not None]
    return sorted(found, key=lambda point: point[0])


def _draw(tile: Tile, points: list[tuple[float, float | None, float | None]]) -> None:
    ats = [point[0] for point in points]
    tile.voltage = curve.draw(ats, [point[1] for point in points], WIDTH, HEIGHT, least=SPARK_LEAST_V)
    tile.current = curve.draw(ats, [point[2] for point in points], WIDTH, HEIGHT, least=SPARK_LEAST_A)
    short = [[round(at, 2), _short(volt), _short(amp)] for at, volt, amp in points]
    tile.series = json.dumps(short, separators=(",", ":"))


def _short(measured: float | None) -> float | None:
    """Return as many digits as a spark of 50 pixels can show, and some."""
    return None if measured is None else round(measured, 5)


def one(uuid: UUID) -> Tile | None:
    """Return the tile of one station."""
    found = tiles(stations(QueryDict()).filter(uuid=uuid))
    return found[0] if found else None
