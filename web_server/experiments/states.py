"""Which status may follow which, and the one function that changes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from web_server.accounts import audit
from web_server.accounts.models import Person
from web_server.experiments.models import FINAL, Event, Experiment, Status
from web_server.lab.models import Station
from web_server.lib.entity import update_if
from web_server.lib.transactions import atomic

# architecture.md, "State changes". Nothing leaves a final status.
NEXT: dict[str, tuple[str, ...]] = {
    Status.QUEUED: (Status.STARTING, Status.CANCELLED),
    Status.STARTING: (Status.RUNNING, Status.QUEUED, Status.STOPPED, Status.ERROR),
    Status.RUNNING: (Status.PAUSED, Status.FINISHED, Status.STOPPED, Status.ERROR),
    Status.PAUSED: (Status.RUNNING, Status.FINISHED, Status.STOPPED, Status.ERROR),
}
_WORDS = {
    Status.QUEUED: "back in the queue",
    Status.STARTING: "starting",
    Status.RUNNING: "running",
    Status.PAUSED: "paused",
    Status.FINISHED: "finished",
    Status.STOPPED: "stopped",
    Status.ERROR: "ended by an error",
    Status.CANCELLED: "cancelled",
}


class WrongStatus(Exception):
    """Somebody asked for a status that may not follow the present one."""


@atomic
def set_status(
    experiment: Experiment,
    to: str,
    reason: dict[str, Any] | None = None,
    *,
    by: Person | None = None,
    at: datetime | None = None,
    text: str = "",
    event: bool = True,
    **columns: Any,
) -> bool:
    """Change the status by one conditional UPDATE; return False when it was not the one to change it.

    1. the row, only while its status is one that ``to`` may follow;
    2. the holds on station and battery, taken with ``starting`` and let go with every end;
    3. the audit entry, and the event unless the caller stores the unit's own (``event=False``).

    ``reason`` is the ``end_reason`` of a final status; ``columns`` are further columns of the row
    (``envelope``, ``last_seq``). ``experiment`` is read again. The same status again changes nothing.
    """
    if to not in Status.values:
        raise WrongStatus(f"unknown status {to!r}")
    before = [status for status, after in NEXT.items() if to in after]
    now = at or timezone.now()
    columns = {**_columns(experiment, to, reason, now), **columns}
    try:
        with transaction.atomic():
            changed = update_if(
                Experiment.objects.filter(pk=experiment.pk, status__in=before), status=to, **columns
            )
    except IntegrityError:
        # The station or the battery is held by another experiment: the unique columns say no.
        return False
    was = experiment.status
    experiment.refresh_from_db()
    if not changed:
        return False
    _touch(experiment)
    words = text or _sentence(to, reason, experiment)
    if event:
        add_event(experiment, "status", words, at=now, status=to, was=was, end_reason=reason)
    audit.record(by, f"experiment.{to}", experiment, was=was, reason=reason)
    return True


def _columns(experiment: Experiment, to: str, reason: dict[str, Any] | None, now: datetime) -> dict[str, Any]:
    """Return what changes together with the status."""
    columns: dict[str, Any] = {"queued_because": ""}
    if to == Status.RUNNING and experiment.started_at is None:
        columns["started_at"] = now
    if to == Status.QUEUED:
        # Station and contract stay until the next start replaces them: should the unit run after all,
        # it runs there and by this text.
        columns |= {"active_station": None, "active_battery": None}
        columns["queued_because"] = str((reason or {}).get("text", ""))[:250]
    if to in FINAL:
        columns |= {"active_station": None, "active_battery": None, "finished_at": now, "end_reason": reason}
        columns |= {"expected_end": None, "waiting_for": ""}
        if to == Status.ERROR:
            columns["error"] = str((reason or {}).get("text", ""))
        if to == Status.FINISHED:
            columns["percent"] = 100.0
    return columns


def _touch(experiment: Experiment) -> None:
    """Let the live pages see that the station holds, or held, something else."""
    if experiment.station_id:
        Station.objects.filter(pk=experiment.station_id).update(updated_at=timezone.now())


def _sentence(to: str, reason: dict[str, Any] | None, experiment: Experiment) -> str:
    words = f"{experiment.name}: {_WORDS[Status(to)]}"
    return f"{words}: {reason['text']}" if reason and reason.get("text") else words


def add_event(
    experiment: Experiment,
    kind: str,
    text: str,
    *,
    at: datetime | None = None,
    step: int | None = None,
    **detail: Any,
) -> Event:
    """Add one event of the site itself to an experiment."""
    given = {key: entry for key, entry in detail.items() if entry is not None}
    return Event.objects.create(
        experiment=experiment,
        station_id=experiment.station_id,
        at=at or timezone.now(),
        kind=kind,
        text=text,
        step=step,
        detail=given,
    )
