"""What changed in the database since the last look, as messages of the event stream.

Used by one thread (`hub`). State (stations, alarms, commands) is told as it stands now, so a
repeated message does no harm; events and samples are told once each, in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import msgspec
from django.db import Error, connection, connections
from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from web_server.api import live
from web_server.commands.models import Command
from web_server.experiments.models import ACTIVE, Alarm, Event, Experiment
from web_server.lab.models import Station
from web_server.measurements import charts
from web_server.measurements.models import DeviceReading, Sample

P = ParamSpec("P")
R = TypeVar("R")
# Rows of other processes may commit this much later than their number or time says.
LATE_S = 10.0
# Samples of one experiment told at once; a stream that was away catches up in such portions.
PORTION = 2000
# Events that a resuming stream may have missed; who was away longer loads the page again.
MISSED_EVENTS = 1000


class Cursor(NamedTuple):
    """Where a stream stands: the newest event, and the newest sample of each experiment.

    Its text is the ``id`` of a message: ``17`` or ``17;<experiment>:1234;...``.
    """

    event: int | None = None
    samples: dict[str, int] = {}

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read a ``Last-Event-ID``; what is no id of ours means "from now on"."""
        head, *rest = text.strip().split(";")
        try:
            event = int(head) if head else None
            pairs = (part.rsplit(":", 1) for part in rest if part)
            return cls(event, {experiment: int(seq) for experiment, seq in pairs})
        except ValueError:
            return cls()

    def __str__(self) -> str:
        parts = ["" if self.event is None else str(self.event)]
        return ";".join(parts + [f"{experiment}:{seq}" for experiment, seq in self.samples.items()])


@dataclass(frozen=True)
class Message:
    """One server-sent message. ``about`` are the UUIDs it concerns, to match filters."""

    kind: str
    about: frozenset[str]
    body: bytes
    event: int | None = None
    experiment: str | None = None
    seq: int | None = None
    newest_only: bool = False


@dataclass(frozen=True)
class Wants:
    """What a stream asked for, as UUIDs; all empty = everything, samples only the newest ones."""

    stations: frozenset[str] = frozenset()
    experiments: frozenset[str] = frozenset()
    commands: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()

    @property
    def everything(self) -> bool:
        """Whether there is no filter."""
        return not (self.stations or self.experiments or self.commands or self.devices)

    def match(self, message: Message) -> bool:
        """Return whether this stream gets the message."""
        if message.kind == "sample" and message.newest_only != self.everything:
            return False
        if message.kind == "reading":
            # Devices are many and read all the time: only who names one hears of it.
            return bool(message.about & self.devices)
        if self.everything:
            return True
        return bool(message.about & (self.stations | self.experiments | self.commands | self.devices))


@dataclass
class _Told:
    """Versions of rows already told: a row that only seems new is not told twice."""

    versions: dict[int, datetime] = field(default_factory=dict)

    def news(self, rows: QuerySet[Any]) -> list[Any]:
        """Return the rows whose version was not told, and forget versions too old to come again.

        Versions first: most rows of the last seconds have been told, and one of them may carry a whole contract.
        """
        seen = rows.order_by().values_list("pk", "updated_at")
        changed = [pk for pk, updated_at in seen if self.versions.get(pk) != updated_at]
        fresh = list(rows.filter(pk__in=changed)) if changed else []
        self.versions.update((row.pk, row.updated_at) for row in fresh)
        if len(self.versions) > 1000:
            horizon = timezone.now() - timedelta(seconds=3 * LATE_S)
            self.versions = {pk: at for pk, at in self.versions.items() if at > horizon}
        return fresh


def _reconnecting(read: Callable[P, R]) -> Callable[P, R]:
    """Keep one connection as long as it works; after an error the next look makes a new one."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return read(*args, **kwargs)
        except Error:
            if not connection.in_atomic_block:
                connection.close()
            raise

    return reading


class Feed:
    """Looks at the database for all open streams at once."""

    def __init__(self) -> None:
        self._events: dict[int, float] = {}
        self._event_floor = -1
        self._stations, self._experiments = _Told(), _Told()
        self._alarms, self._commands = _Told(), _Told()
        self._samples: dict[str, int] = {}
        self._watched_at: dict[str, float] = {}
        self._newest: dict[str, int] = {}
        self._readings: dict[str, int] = {}

    def close(self) -> None:
        """Give the connection of this thread back."""
        connections.close_all()

    # --- a stream begins ---------------------------------------------------------------------------

    @_reconnecting
    def begin(self, wants: Wants, cursor: Cursor) -> tuple[list[Message], Cursor]:
        """Return what a new stream is told first (the state now, what it missed), and where it begins."""
        self._start_events()
        messages = [self._station(row) for row in _wanted_stations(wants)]
        messages += [_alarm(row) for row in _wanted_alarms(wants)]
        commands = live.commands().filter(uuid__in=wants.commands) if wants.commands else []
        messages += [_command(row) for row in commands]
        messages += [_reading(row) for row in live.readings(wants.devices)]
        if cursor.event is not None:
            missed = live.events().filter(pk__gt=cursor.event, pk__lte=self._last_event)
            messages += [_event(row) for row in missed.order_by("-pk")[:MISSED_EVENTS][::-1]]
        begin = Cursor(self._last_event if cursor.event is None else cursor.event, dict(cursor.samples))
        for experiment in self._watched(wants):
            messages += self._catch_up(experiment, cursor)
            begin.samples.setdefault(str(experiment.uuid), self._samples[str(experiment.uuid)])
        return messages, begin

    def _catch_up(self, experiment: Experiment, cursor: Cursor) -> list[Message]:
        """Tell a new stream the samples it missed, up to where the others are."""
        key = str(experiment.uuid)
        self._watched_at[key] = time.monotonic()
        now_at = self._samples.get(key)
        if now_at is None:
            now_at = self._samples[key] = (
                Sample.objects.filter(experiment_id=experiment.pk).aggregate(top=Max("seq"))["top"] or 0
            )
        messages: list[Message] = []
        after = cursor.samples.get(key, now_at)
        while after < now_at:
            got = charts.raw(experiment, after, min(PORTION, now_at - after))
            if got["next_after"] == after:
                break
            after = got["next_after"]
            messages.append(_samples(experiment, got))
        return messages

    # --- all streams go on -------------------------------------------------------------------------

    @_reconnecting
    def poll(self, wanted: Sequence[Wants]) -> list[Message]:
        """Return everything new since the last poll that some stream may want, in a sensible order."""
        self._start_events()
        messages = self._new_samples(wanted)
        messages += self._new_events()
        since = timezone.now() - timedelta(seconds=LATE_S)
        messages += [
            _command(row) for row in self._commands.news(live.commands().filter(updated_at__gt=since))
        ]
        messages += [_alarm(row) for row in self._alarms.news(live.alarms().filter(updated_at__gt=since))]
        messages += self._new_readings(frozenset().union(*(want.devices for want in wanted)))
        return messages + self._changed_stations(since)

    def _new_readings(self, devices: frozenset[str]) -> list[Message]:
        """Tell the newest reading of each watched device that has a new one."""
        fresh = [row for row in live.readings(devices) if self._readings.get(str(row.device.uuid)) != row.pk]
        told = {str(row.device.uuid): row.pk for row in fresh}
        self._readings = {key: pk for key, pk in {**self._readings, **told}.items() if key in devices}
        return [_reading(row) for row in fresh]

    def _new_samples(self, wanted: Sequence[Wants]) -> list[Message]:
        messages = []
        named = Wants(
            frozenset().union(*(w.stations for w in wanted)),
            frozenset().union(*(w.experiments for w in wanted)),
        )
        for experiment in self._watched(named):
            key = str(experiment.uuid)
            if key not in self._samples:
                # Nobody watched it yet; who opens its page loads what is there and follows from here.
                self._catch_up(experiment, Cursor())
                if experiment.started_at and timezone.now() - experiment.started_at < timedelta(
                    seconds=LATE_S
                ):
                    self._samples[key] = 0
            self._watched_at[key] = time.monotonic()
            got = charts.raw(experiment, self._samples[key], PORTION)
            if got["columns"]["seq"]:
                self._samples[key] = got["next_after"]
                messages.append(_samples(experiment, got))
        self._forget_unwatched()
        if any(w.everything for w in wanted):
            messages += self._newest_samples()
        return messages

    def _forget_unwatched(self) -> None:
        """Drop positions nobody follows any more: the next watcher starts from that moment's end."""
        horizon = time.monotonic() - LATE_S
        for key in [key for key, at in self._watched_at.items() if at < horizon]:
            del self._watched_at[key], self._samples[key]

    def _newest_samples(self) -> list[Message]:
        """Tell the newest sample of each active experiment that has a new one."""
        messages = []
        for experiment in live.experiments().filter(status__in=ACTIVE):
            key = str(experiment.uuid)
            if self._newest.get(key) == experiment.sample_count or not experiment.sample_count:
                continue
            self._newest[key] = experiment.sample_count
            rows = Sample.objects.filter(experiment_id=experiment.pk).order_by("-seq")
            row = rows.values_list(*charts.COLUMNS, "extended").first()
            if row is not None:
                body = {"experiment": key, "columns": charts.as_columns([row]), "next_after": row[0]}
                messages.append(_samples(experiment, {**body, "complete": False}, newest_only=True))
        return messages

    @staticmethod
    def _watched(wants: Wants) -> QuerySet[Experiment] | list[Experiment]:
        """Return the experiments whose samples are wanted: named, or on a named station (just now)."""
        if not (wants.experiments or wants.stations):
            return []
        recent = Q(status__in=ACTIVE) | Q(updated_at__gt=timezone.now() - timedelta(seconds=60))
        on_stations = Q(station__uuid__in=wants.stations) & recent
        return live.experiments().filter(Q(uuid__in=wants.experiments) | on_stations)

    # --- events ------------------------------------------------------------------------------------

    @property
    def _last_event(self) -> int:
        return max(self._events, default=self._event_floor)

    def _start_events(self) -> None:
        if self._event_floor < 0:
            self._event_floor = Event.objects.aggregate(top=Max("pk"))["top"] or 0

    def _new_events(self) -> list[Message]:
        """Tell new events; one with a lower number that commits late is told, too."""
        now = time.monotonic()
        there = Event.objects.filter(pk__gt=self._event_floor).values_list("pk", flat=True)
        fresh = [pk for pk in there.order_by("pk") if pk not in self._events]
        rows = list(live.events().filter(pk__in=fresh)) if fresh else []
        for row in rows:
            self._events[row.pk] = now
        settled = [pk for pk, at in self._events.items() if now - at > LATE_S]
        self._event_floor = max([self._event_floor, *settled])
        self._events = {pk: at for pk, at in self._events.items() if pk > self._event_floor}
        return [_event(row) for row in rows]

    # --- stations ----------------------------------------------------------------------------------

    def _changed_stations(self, since: datetime) -> list[Message]:
        """Tell stations that changed, or whose experiment did (step, cycle, status)."""
        changed = {row.pk for row in self._stations.news(Station.objects.filter(updated_at__gt=since))}
        experiments = Experiment.objects.filter(updated_at__gt=since).exclude(station=None)
        changed |= {row.station_id for row in self._experiments.news(experiments)}
        return [self._station(row) for row in live.stations().filter(pk__in=changed)] if changed else []

    @staticmethod
    def _station(row: Station) -> Message:
        body = live.station_body(row)
        about = {body["id"], body["unit"], body["experiment"], body["battery"]} - {None}
        return Message("station", frozenset(about), _json(body))


def _wanted_stations(wants: Wants) -> QuerySet[Station]:
    rows = live.stations()
    if wants.everything:
        return rows
    return rows.filter(Q(uuid__in=wants.stations) | Q(active_experiment__uuid__in=wants.experiments))


def _wanted_alarms(wants: Wants) -> QuerySet[Alarm]:
    rows = live.alarms().filter(state=Alarm.State.RAISED)
    if wants.everything:
        return rows
    return rows.filter(Q(station__uuid__in=wants.stations) | Q(experiment__uuid__in=wants.experiments))


def _json(body: Any) -> bytes:
    return msgspec.json.encode(body)


def _about(row: Any) -> frozenset[str]:
    parts = (getattr(row, name, None) for name in ("experiment", "station", "unit"))
    return frozenset(str(part.uuid) for part in parts if part is not None)


def _event(row: Event) -> Message:
    return Message("event", _about(row), _json(live.event_body(row)), event=row.pk)


def _alarm(row: Alarm) -> Message:
    return Message("alarm", _about(row), _json(live.alarm_body(row)))


def _command(row: Command) -> Message:
    about = _about(row) | {str(row.uuid)} | _stopped(row)
    return Message("command", about, _json(live.command_body(row)))


def _stopped(row: Command) -> frozenset[str]:
    """Return the stations that a stop of several is about: those named, else all of its unit."""
    if row.kind != "station.stop_all":
        return frozenset()
    named = row.args.get("stations")
    every = Station.objects.filter(unit=row.unit_id, retired_at=None).values_list("uuid", flat=True)
    return frozenset(named or map(str, every))


def _reading(row: DeviceReading) -> Message:
    body = {"device": str(row.device.uuid), "at": row.at, "values": row.values}
    return Message("reading", frozenset({body["device"]}), _json(body))


def _samples(experiment: Experiment, got: dict[str, Any], newest_only: bool = False) -> Message:
    about = {str(experiment.uuid)}
    if experiment.station is not None:
        about.add(str(experiment.station.uuid))
        got = {**got, "station": str(experiment.station.uuid)}
    seq = None if newest_only else got["next_after"]
    return Message(
        "sample", frozenset(about), _json(got), experiment=got["experiment"], seq=seq, newest_only=newest_only
    )
