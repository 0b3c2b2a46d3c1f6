"""What units tell about experiments: status, steps and alarms as rows, each exactly once.

The key of an event is (unit, spool, seq): a batch that comes again finds its rows and does nothing.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Max, Q
from django.utils import timezone

from cycling.reading import StepRow as RunStep
from web_server.cells import quarantine
from web_server.cells.models import Battery
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.experiments import black_box
from web_server.experiments.models import Alarm, BlackBox, Event, Experiment, Status, StepRow
from web_server.experiments.sent_to import ran_on
from web_server.experiments.states import set_status
from web_server.lab.models import Station, Unit
from web_server.lab.presence import moment
from web_server.lib.entity import update_if
from web_server.lib.transactions import atomic
from web_server.measurements import cycles, readings
from web_server.measurements.models import DeviceReading
from wire import messages
from wire.messages import EventBatch

_SEVERITIES = {"warning": Alarm.Severity.WARNING, "unsafe": Alarm.Severity.UNSAFE}
_BIG = 2**31 - 1


class Gap(Exception):
    """Events before these are missing; they must come first, or the acknowledgement would lose them."""


@dataclass
class Stored:
    """What became of a batch. ``odd`` are sentences about parts that could not be used."""

    through: int
    new: int = 0
    odd: list[str] = field(default_factory=list)


@atomic
def store(unit: Unit, batch: EventBatch, *, over_a_gap: bool = False) -> Stored:
    """Store the events of ``unit`` that are not stored yet, in order, with all they mean.

    Raises:
        Gap: the events do not follow on what is stored. ``over_a_gap`` takes them all the same: a
            database that was restored from a backup will never see the ones between.
    """
    spool = _spool(batch.spool)
    # 1. One writer per unit: two managers may overlap for a moment when a lease changes hands.
    Unit.objects.select_for_update().get(pk=unit.pk)
    # 2. What is there, by the highest number: numbers have no holes but those taken knowingly.
    last = _last(unit, spool)
    if batch.first_seq > last + 1 and not over_a_gap:
        raise Gap(f"events {last + 1} to {batch.first_seq - 1} are missing")
    stored = Stored(through=batch.first_seq + len(batch.events) - 1)
    # 3. The new ones, each with its consequences.
    for seq, event in enumerate(batch.events, start=batch.first_seq):
        if seq > last:
            stored.new += 1
            _take(unit, spool, seq, event, stored.odd)
    return stored


def _last(unit: Unit, spool: UUID) -> int:
    """Return the highest number stored of this spool; black boxes and readings have their own tables."""
    tables = (Event.objects, BlackBox.objects, DeviceReading.objects)
    found = [
        rows.filter(unit=unit, spool=spool).aggregate(Max("spool_seq"))["spool_seq__max"] for rows in tables
    ]
    return max(number or 0 for number in found)


def _spool(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        # Still one key per spool, whatever it calls itself.
        return uuid.uuid5(uuid.NAMESPACE_OID, text)


def _take(unit: Unit, spool: UUID, seq: int, event: messages.Event, odd: list[str]) -> None:
    station = _station(unit, event, odd)
    experiment = _experiment(unit, event, odd)
    at = moment(event.at) or timezone.now()
    if event.kind == "black_box":
        black_box.store(unit, spool, seq, event, station, experiment, at)
        return
    if event.kind == "reading":
        problem = readings.store(unit, spool, seq, event.detail, at)
        odd += [problem] if problem else []
        return
    if event.kind == "progress":
        commands.progressed(unit, {"text": event.text, **event.detail})
    row = Event.objects.create(
        unit=unit,
        spool=spool,
        spool_seq=seq,
        station=station,
        experiment=experiment,
        at=at,
        kind=event.kind,
        text=event.text,
        step=event.step if event.step is not None and 0 <= event.step <= _BIG else None,
        detail=event.detail,
    )
    if event.kind == "alarm":
        _alarm(row, event.detail)
    if experiment is None:
        return
    if event.kind == "status":
        _status(experiment, event.detail, at, odd)
    elif event.kind == "step" and "row" in event.detail:
        _step(experiment, event.detail["row"], odd)


def _station(unit: Unit, event: messages.Event, odd: list[str]) -> Station | None:
    key = _uuid(event.station)
    if key is None:
        return None
    station = Station.objects.filter(uuid=key, unit=unit).first()
    if station is None:
        odd.append(f"an event names the station {key}, which is not one of this unit")
    return station


def _experiment(unit: Unit, event: messages.Event, odd: list[str]) -> Experiment | None:
    key = _uuid(event.experiment)
    if key is None:
        return None
    experiment = Experiment.objects.select_related("station").filter(uuid=key).first()
    if experiment is None or not ran_on(experiment, unit):
        odd.append(f"an event names the experiment {key}, which did not run on this unit")
        return None
    return experiment


# --- what a kind of event means ---------------------------------------------------------------


def _status(experiment: Experiment, detail: dict[str, Any], at: datetime, odd: list[str]) -> None:
    to = detail.get("status")
    if to not in (Status.RUNNING, Status.PAUSED, Status.FINISHED, Status.STOPPED, Status.ERROR):
        return
    columns: dict[str, Any] = {}
    last_seq = detail.get("last_seq")
    if isinstance(last_seq, int) and 0 <= last_seq < 2**62:
        columns["last_seq"] = last_seq
    reason = detail.get("end_reason")
    reason = reason if isinstance(reason, dict) else None
    _resistance(experiment, detail.get("resistance_ohm"), at)
    moved_to(experiment, to, reason, at, **columns)
    experiment.refresh_from_db()
    if experiment.status != to and not (to == Status.RUNNING and experiment.is_final):
        odd.append(f"experiment {experiment.uuid} is {experiment.status}; the unit says {to}")
    if experiment.is_final:
        # The unit's last number is the truth also when the status came from elsewhere before.
        Experiment.objects.filter(pk=experiment.pk).update(**columns, updated_at=timezone.now())
        _rest_at_end(experiment, at)


def moved_to(
    experiment: Experiment, to: str, reason: dict[str, Any] | None, at: datetime, **columns: Any
) -> bool:
    """Bring an experiment to the status that its unit reports, over the steps in between.

    The unit's own event is the record of the change; only a step in between gets one of the site.
    """
    if experiment.status == Status.QUEUED and _was_sent(experiment):
        # Given up as not started, yet it runs: it is taken back, if its station is still free.
        set_status(
            experiment,
            Status.STARTING,
            at=at,
            active_station=experiment.station,
            active_battery=experiment.battery,
        )
    if experiment.status == Status.STARTING and to in (Status.PAUSED, Status.FINISHED):
        set_status(experiment, Status.RUNNING, at=at)
    changed = set_status(experiment, to, reason, at=at, event=False, **columns)
    if changed and to == Status.RUNNING:
        # From now on the battery is anywhere but at its recorded rest voltage.
        Battery.objects.filter(pk=experiment.battery_id).update(last_rest_voltage_v=None, last_rest_at=None)
    return changed


def _resistance(experiment: Experiment, told: Any, at: datetime) -> None:
    """Keep the resistance of the first pulse check; the later ones are compared with it (safety.md 4)."""
    measured = _number(told)
    if measured is not None and measured > 0:
        first = Battery.objects.filter(pk=experiment.battery_id, resistance_ohm=None)
        update_if(first, resistance_ohm=measured, resistance_at=at)


def _was_sent(experiment: Experiment) -> bool:
    return Command.objects.filter(experiment=experiment, kind="experiment.start").exists()


def _step(experiment: Experiment, told: Any, odd: list[str]) -> None:
    try:
        row = msgspec.convert(told, RunStep)
        started_at = datetime.fromtimestamp(row.started_us / 1e6, tz=UTC)
    except (msgspec.ValidationError, ValueError, OverflowError, OSError) as error:
        odd.append(f"a step row cannot be stored: {error}")
        return
    if not all(0 <= number <= _BIG for number in (row.step, row.step_count, row.cycle, row.flags)):
        odd.append("a step row's numbers are out of range")
        return
    plain = msgspec.to_builtins(row)
    columns = {field.name for field in StepRow._meta.concrete_fields} & plain.keys()
    StepRow.objects.update_or_create(
        experiment=experiment,
        step_count=row.step_count,
        defaults={name: plain[name] for name in columns if name != "step_count"}
        | {"label": (row.label or "")[:100], "mode": row.mode[:8], "started_at": started_at},
    )
    if row.tags and row.cycle:
        cycles.mark(experiment.pk, row.cycle, row.tags)


def _alarm(event: Event, detail: dict[str, Any]) -> None:
    """Raise the alarm of an event; its UUID is the unit's latch."""
    key = _uuid(detail.get("id")) or uuid.uuid5(
        uuid.NAMESPACE_OID, f"{event.unit_id}/{event.spool}/{event.spool_seq}"
    )
    _, is_new = Alarm.objects.get_or_create(
        uuid=key,
        defaults={
            "experiment": event.experiment,
            "station": event.station,
            "unit": event.unit,
            "raised_at": event.at,
            "severity": _SEVERITIES.get(str(detail.get("class")), Alarm.Severity.TRIP),
            "code": str(detail.get("code", "alarm"))[:60],
            "text": event.text,
            "quantity": str(detail.get("quantity") or "")[:60],
            "limit": _number(detail.get("limit")),
            "measured": _number(detail.get("measured")),
        },
    )
    if is_new and detail.get("quarantine") is True:
        _quarantine(event, detail)


def _quarantine(event: Event, detail: dict[str, Any]) -> None:
    """Quarantine the battery that tripped: the one the unit names, else the one that was under test there."""
    battery = None
    if key := _uuid(detail.get("battery")):
        # Only one that was here: a unit speaks for its own stations alone.
        here = Q(station__unit=event.unit) | Q(experiments__station__unit=event.unit)
        battery = Battery.objects.filter(here, uuid=key).distinct().first()
    elif event.experiment is not None:
        battery = event.experiment.battery
    elif event.station is not None:
        battery = event.station.loaded_battery
    if battery is not None:
        quarantine.put(battery, event.text)


# A rest of a minute before the end leaves a voltage that the next start can be compared with.
REST_AT_END_S = 60.0


def _rest_at_end(experiment: Experiment, at: datetime) -> None:
    """Record the battery's rest voltage when the experiment ended with a rest (safety.md rule 4)."""
    last = experiment.step_rows.order_by("-step_count").first()
    if last and last.mode == "rest" and last.duration_s >= REST_AT_END_S and last.voltage_end_v is not None:
        Battery.objects.filter(pk=experiment.battery_id).update(
            last_rest_voltage_v=last.voltage_end_v, last_rest_at=at
        )


def _uuid(text: Any) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else None
