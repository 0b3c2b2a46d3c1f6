"""What needs a person, the worst first: since when, the cause in one sentence, the one thing to do.

The order is the design's: unsafe, tripped, held, waiting for a person, overdue, stale, finished and
still loaded, to be loaded; then what concerns no station.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, Subquery
from django.utils import timezone

from web_server.cells.models import Battery
from web_server.experiments.models import ACTIVE, FINAL, Alarm, Event, Experiment, Status
from web_server.lab.models import Station, Unit
from web_server.lib.numbers import duration
from web_server.notices import queries as notices

ORDER = (
    "unsafe",
    "tripped",
    "unheard",
    "held",
    "waiting",
    "inspect",
    "warning",
    "overdue",
    "stale",
    "finished",
    "load",
    "approve",
)
LEVELS = {
    **dict.fromkeys(("unsafe", "tripped", "unheard"), "error"),
    **dict.fromkeys(("held", "waiting", "inspect", "warning", "overdue", "stale"), "warning"),
}
# How a test ended that leaves its battery behind.
_ENDED = {
    Status.FINISHED: "is finished",
    Status.STOPPED: "was stopped",
    Status.ERROR: "ended with an error",
}
# More of one kind are counted, not listed.
SHOWN = 20
# A test is overdue when it is later than it first expected by this much, or this part of its length.
LATE_S, LATE_PART = 600.0, 0.05
# A station that runs is heard every few seconds.
STALE_S = 30.0


@dataclass
class Need:
    """One thing that needs a hand."""

    kind: str
    text: str
    item: Any
    since: datetime | None = None
    detail: str = ""
    # Which of its buttons fits, where a kind has more than one.
    way: str = ""

    @property
    def level(self) -> str:
        """How bad it is: error, warning or info."""
        return LEVELS.get(self.kind, "info")


def needs() -> list[Need]:
    """Return what needs a person, ranked; fourteen queries at most, whatever the size of the lab."""
    now = timezone.now()
    unsafe = list(_unsafe())
    alarms = list(_alarms({need.item.pk for need in unsafe}))
    # A warning says nothing of the latch.
    latched = list(_latched({need.item.station_id for need in alarms if need.kind != "warning"}))
    held = {need.item.experiment_id for need in alarms if need.kind == "held"}
    silent = _nobody_told([*unsafe, *alarms, *latched])
    found: list[Need] = [*unsafe, *alarms, *latched, *silent, *_unheard(), *_running(now, held)]
    finished = list(_finished())
    to_load = _to_load({need.item.pk for need in finished})
    found += [*_quarantined(), *_offline(), *finished, *to_load, *_pending()]
    return sorted(found, key=lambda need: (ORDER.index(need.kind), need.since or now))


def listed(found: list[Need]) -> tuple[list[Need], int]:
    """Return the first of each kind, and how many more there are."""
    count: dict[str, int] = {}
    shown = []
    for need in found:
        count[need.kind] = count.get(need.kind, 0) + 1
        if count[need.kind] <= SHOWN:
            shown.append(need)
    return shown, len(found) - len(shown)


def _unsafe() -> Iterable[Need]:
    """Stations that are not confirmed off, since the alarm that says so."""
    raised = Alarm.objects.filter(state=Alarm.State.RAISED, station__state=Station.State.UNSAFE)
    worst_last = sorted(raised, key=lambda alarm: (alarm.severity == Alarm.Severity.UNSAFE, -alarm.pk))
    since = {alarm.station_id: alarm.raised_at for alarm in worst_last}
    for row in Station.objects.filter(retired_at=None, state=Station.State.UNSAFE).order_by("name"):
        why = row.state_detail or "its output was not confirmed off"
        yield Need("unsafe", f"{row.name} may still be on: {why}", row, since.get(row.pk, row.updated_at))


def _alarms(unsafe_stations: set[int]) -> Iterable[Need]:
    """Alarms that nobody has acknowledged; a test that is held waits for its person in the same line."""
    rows = Alarm.objects.filter(state=Alarm.State.RAISED).select_related(
        "station", "experiment", "acknowledged_by"
    )
    for row in rows.order_by("-id")[:200]:
        if row.severity == Alarm.Severity.WARNING:
            kind = "warning"
        elif row.experiment is not None and row.experiment.status == Status.PAUSED:
            kind = "held"
        else:
            kind = "tripped"
        if row.severity == Alarm.Severity.UNSAFE and row.station_id in unsafe_stations:
            # The station itself says it, with its last line of defence.
            continue
        where = f"{row.station.name}: " if row.station else ""
        # Some units name the station in the text already.
        yield Need(kind, f"{where}{row.text.removeprefix(where)}", row, row.raised_at)


def _latched(with_alarm: set[int | None]) -> Iterable[Need]:
    """Stations that the unit holds latched though no alarm of theirs stands here (it is still to come)."""
    rows = Station.objects.filter(retired_at=None, latched_alarm__isnull=False)
    for row in rows.exclude(state=Station.State.UNSAFE).order_by("name"):
        if row.pk not in with_alarm:
            why = row.state_detail or "its unit has not said why yet"
            yield Need("tripped", f"{row.name} is tripped: {why}", row, row.reading_at)


def _nobody_told(found: list[Need]) -> Iterable[Need]:
    """What tripped while there is no address that would hear of it."""
    grave = [need for need in found if need.kind in ("unsafe", "tripped")]
    if grave and not notices.anybody():
        first = min((need.since for need in grave if need.since), default=None)
        yield Need("unheard", "Nobody is told of this: no address for alarms is set.", None, first)


def _unheard() -> Iterable[Need]:
    for row in notices.undelivered():
        where = row.alarm.station.name if row.alarm and row.alarm.station else "an alarm"
        text = f"{row.target_name} could not be told of {where}: {row.outcome}"
        yield Need("unheard", text, row.alarm, row.created_at)


def _running(now: datetime, held: set[int | None]) -> Iterable[Need]:
    """Tests that are paused, wait for somebody, are late, or are not heard of."""
    steps = Event.objects.filter(experiment=OuterRef("pk"), kind=Event.Kind.STEP).order_by("-id")
    rows = Experiment.objects.filter(status__in=ACTIVE).select_related("active_station__unit", "battery")
    # A step waits from its beginning on; `updated_at` moves with every heartbeat.
    rows = rows.annotate(step_since=Subquery(steps.values("at")[:1]))
    last = Event.objects.filter(kind=Event.Kind.STATUS, experiment__status=Status.PAUSED)
    paused = {event.experiment_id: event for event in last.order_by("id")}
    for row in rows.order_by("id"):
        if row.pk in held:
            continue
        if row.status == Status.PAUSED:
            event = paused.get(row.pk)
            why = event.text if event else f"{row.name} is paused"
            yield Need("held", why, row, event.at if event else row.updated_at)
        elif row.asked_of_somebody:
            since = row.step_since or row.started_at or row.updated_at
            yield Need("waiting", f"{row.name} waits for somebody: {row.asked_of_somebody}", row, since)
        else:
            yield from _slow(row, now)


def _slow(row: Experiment, now: datetime) -> Iterable[Need]:
    station = row.active_station
    if station is not None and station.unit.online and _silent(station, now):
        yield Need(
            "stale", f"{station.name} sends no readings though its unit is online.", row, station.reading_at
        )
    if row.planned_end is None or row.started_at is None:
        return
    length_s = (row.planned_end - row.started_at).total_seconds()
    late = (now - row.planned_end).total_seconds()
    if late > max(LATE_S, LATE_PART * length_s):
        text = f"{row.name} should have ended {duration(late)} ago."
        yield Need("overdue", text, row, row.planned_end)


def _silent(station: Station, now: datetime) -> bool:
    return station.reading_at is not None and now - station.reading_at > timedelta(seconds=STALE_S)


def _quarantined() -> Iterable[Need]:
    """Batteries that wait for an inspection: those in a station, or that a queued test wants."""
    wanted = Experiment.objects.filter(battery=OuterRef("pk"), status=Status.QUEUED)
    rows = Battery.objects.filter(
        Q(station__isnull=False) | Exists(wanted), quarantined=True, retired_at=None
    )
    for row in rows.select_related("station")[:200]:
        why = row.quarantine_reason.rstrip(".")
        yield Need(
            "inspect",
            f"{row.name} is in quarantine until somebody has looked at it: {why}.",
            row,
            row.quarantined_at,
        )


def _offline() -> Iterable[Need]:
    rows = Unit.objects.filter(approved=True, online=False, retired_at=None)
    detail = "What runs there goes on by itself and is delivered afterwards; nothing can be asked of it now."
    for row in rows[:200]:
        yield Need("stale", f"Unit {row.name} is offline.", row, row.last_seen, detail)


def _finished() -> Iterable[Need]:
    """Batteries still in their station though their last test is over and none is to come."""
    tests = Experiment.objects.filter(battery=OuterRef("pk"))
    ended = tests.filter(status__in=_ENDED, finished_at__gte=OuterRef("loaded_at"))
    rows = Battery.objects.filter(
        ~Exists(tests.exclude(status__in=FINAL)), station__isnull=False, quarantined=False
    )
    rows = rows.annotate(last_run=Subquery(ended.order_by("-finished_at", "-id").values("pk")[:1]))
    rows = rows.filter(last_run__isnull=False).select_related("station")
    last = {row: row.last_run for row in rows}
    runs = Experiment.objects.in_bulk(list(last.values()))
    for battery, key in last.items():
        run = runs[key]
        text = f"{run.name} {_ENDED[run.status]}; {battery.name} is still in {battery.station.name}."
        yield Need("finished", text, battery, run.finished_at)


def _to_load(finished: set[int]) -> Iterable[Need]:
    """Queued tests for which nothing stands in the way but a hand: one line per battery.

    ``finished`` are batteries that are to be taken out: they say so themselves.
    """
    unfinished = Experiment.objects.exclude(status__in=FINAL)
    elsewhere = Q(station__isnull=False) & ~Q(battery__station=F("station"))
    rows = Experiment.objects.filter(
        Q(battery__station=None) | elsewhere, status=Status.QUEUED, battery__quarantined=False
    )
    rows = rows.annotate(
        # What runs or waits there first ends by itself; then it is this one's turn.
        cell_busy=Exists(
            unfinished.filter(battery=OuterRef("battery"), station=OuterRef("battery__station"))
        ),
        place_busy=Exists(unfinished.filter(battery__station=OuterRef("station"))),
    ).select_related("battery__station", "station__battery")
    seen: set[int] = set()
    for row in rows.order_by("-priority", "id")[:1000]:
        need = None if row.battery_id in seen or row.cell_busy or row.place_busy else _load(row, finished)
        if need is not None:
            seen.add(row.battery_id)
            yield need


def _load(row: Experiment, finished: set[int]) -> Need | None:
    """Return what is to be carried where, and the button that fits: put in, scan, or look."""
    battery, station = row.battery, row.station
    wanted = f"{row.name} starts when {battery.name} is in "
    if station is None or row.station_query is not None:
        # Some station: the one that holds it decides.
        return Need("load", f"{wanted}a station that fits.", row, row.created_at, way="scan")
    inside = station.loaded_battery
    if inside is not None:
        if inside.pk in finished:
            return None
        return Need(
            "load", f"{wanted}{station.name}, which holds {inside.name}.", row, row.created_at, way="swap"
        )
    if battery.station is not None:
        text = f"{wanted}{station.name}; it is still in {battery.station.name}."
        return Need("load", text, row, row.created_at, way="move")
    return Need("load", f"{wanted}{station.name}.", row, row.created_at, way="put in")


def _pending() -> Iterable[Need]:
    for row in Unit.objects.filter(approved=False, retired_at=None)[:200]:
        who = f"{row.hostname or row.name}, {row.ip or 'address unknown'}"
        yield Need("approve", f"A new unit asks to take part: {who}.", row, row.created_at)
