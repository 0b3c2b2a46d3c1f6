"""What a unit's reply or heartbeat means for an experiment (architecture.md, State changes).

A reply that is certain acts at once. Everything else waits until heartbeats have said for some time,
with nothing left in the unit's spool, that the unit does not run the experiment: its own status
event may still be on the way, and an experiment must never be started twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from web_server.commands.models import Command
from web_server.experiments import progress
from web_server.experiments.control import stopped_by
from web_server.experiments.models import Experiment, Status
from web_server.experiments.progress_from_unit import moved_to
from web_server.experiments.states import set_status
from web_server.lab.models import Unit
from web_server.lib.entity import update_if
from wire.messages import Heartbeat, StationBeat

# Two heartbeats after the first; four for what ran already, since ending it is final.
DOUBT_STARTING_S, DOUBT_RUNNING_S = 6.0, 20.0
# A unit that turns an experiment down this often will not take it the next time.
REFUSALS_MAX = 3

Doubts = dict[int, datetime]
"""Since when heartbeats contradict us, by experiment (primary key). Kept by the manager process."""


def replied(command: Command, at: datetime) -> bool:
    """Follow the answer to a command that was just closed; return whether a status changed."""
    if command.kind != "experiment.start" or command.experiment is None:
        return False
    experiment = Experiment.objects.get(pk=command.experiment_id)
    if experiment.status != Status.STARTING:
        return False
    if command.status == Command.Status.DONE:
        return moved_to(experiment, Status.RUNNING, None, at)
    rule = (command.result or {}).get("rule")
    if command.status == Command.Status.REFUSED and rule is not None:
        # The unit has latched the station and sends the alarm by itself.
        return set_status(experiment, Status.ERROR, _reason(command), at=at, event=False)
    return False


def heard(unit: Unit, beat: Heartbeat, at: datetime, doubts: Doubts) -> None:
    """Compare the unit's active experiments with what its heartbeat says."""
    told = {station.station: station for station in beat.stations}
    active = Experiment.objects.filter(active_station__unit=unit).select_related("active_station")
    for experiment in active:
        station = told.get(str(experiment.active_station.uuid))
        if station is not None and station.experiment == str(experiment.uuid):
            doubts.pop(experiment.pk, None)
            _named(experiment, station, at)
        elif station is None or beat.spool_batches > 0:
            # It is not configured yet, or its word on this experiment is still to come.
            doubts.pop(experiment.pk, None)
        elif at - doubts.setdefault(experiment.pk, at) >= _patience(experiment):
            doubts.pop(experiment.pk, None)
            _not_run(experiment, at)


def _patience(experiment: Experiment) -> timedelta:
    starting = experiment.status == Status.STARTING
    return timedelta(seconds=DOUBT_STARTING_S if starting else DOUBT_RUNNING_S)


def _named(experiment: Experiment, station: StationBeat, at: datetime) -> None:
    """Mirror what the heartbeat says of an experiment that the unit has."""
    if experiment.status == Status.STARTING and station.step is not None:
        # The reply got lost; before the first step the unit is still checking the wiring.
        moved_to(experiment, Status.RUNNING, None, at)
    waiting_for = "" if station.alarm or station.state == "unsafe" else (station.detail or "")[:250]
    end = progress.expected_end(station.remaining_s, at)
    changed: dict[str, Any] = {}
    if experiment.waiting_for != waiting_for:
        changed["waiting_for"] = waiting_for
    if (end is None) != (experiment.expected_end is None) or (
        end and experiment.expected_end and abs((end - experiment.expected_end).total_seconds()) > 1.5
    ):
        changed["expected_end"] = end
    if end and experiment.planned_end is None:
        changed["planned_end"] = end
    if changed:
        update_if(Experiment.objects.filter(pk=experiment.pk, active_station__isnull=False), **changed)


def _not_run(experiment: Experiment, at: datetime) -> None:
    """Act on a unit that says again and again that it does not run this experiment."""
    commands = Command.objects.filter(experiment=experiment).order_by("-id")
    start = commands.filter(kind="experiment.start").first()
    if start is None or start.is_open:
        return
    stop = commands.filter(kind="experiment.stop", id__gt=start.pk).first()
    if stop is not None:
        set_status(experiment, Status.STOPPED, stopped_by(stop.issued_by), by=stop.issued_by)
    elif experiment.status != Status.STARTING:
        text = "the unit does not know this experiment any more: was its disk replaced?"
        set_status(experiment, Status.ERROR, {"code": "lost", "text": text})
    elif (
        start.status in (Command.Status.REFUSED, Command.Status.FAILED)
        and _refusals(experiment) >= REFUSALS_MAX
    ):
        set_status(experiment, Status.ERROR, _reason(start))
    else:
        set_status(experiment, Status.QUEUED, _reason(start))


def _refusals(experiment: Experiment) -> int:
    return Command.objects.filter(
        experiment=experiment,
        kind="experiment.start",
        status__in=[Command.Status.REFUSED, Command.Status.FAILED],
        created_at__gt=timezone.now() - timedelta(hours=1),
    ).count()


def _reason(start: Command) -> dict[str, Any]:
    code = (start.result or {}).get("code") or f"start_{start.status}"
    return {"code": str(code), "text": start.reason or "the unit did not start it"}
