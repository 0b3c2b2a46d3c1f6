"""What a person asks of an experiment: pause, resume, stop, skip, cancel, again, sooner.

Nothing here changes what runs: a command asks the unit, and the unit's own event changes the status.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from django.utils import timezone

from web_server.accounts import audit
from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.cells.models import Battery
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.experiments import filing
from web_server.experiments.models import ACTIVE, FINAL, Experiment, Status
from web_server.experiments.states import add_event, set_status
from web_server.lab.models import Station
from web_server.lib import fields
from web_server.lib.entity import update_if
from web_server.lib.errors import Refused
from web_server.lib.transactions import atomic
from wire import messages


def pause(by: Person | None, experiment: Experiment) -> Command:
    """Ask the unit to pause: output off, everything kept."""
    require(by, Role.OPERATOR, "pause an experiment")
    return _ask(by, experiment, "experiment.pause", (Status.RUNNING,), "pause")


def resume(by: Person | None, experiment: Experiment) -> Command:
    """Ask the unit to go on; also confirms a step that waits for an operator."""
    require(by, Role.OPERATOR, "resume an experiment")
    return _ask(by, experiment, "experiment.resume", (Status.PAUSED, Status.RUNNING), "resume")


def skip_step(by: Person | None, experiment: Experiment) -> Command:
    """Ask the unit to end the running step and go to the next."""
    require(by, Role.OPERATOR, "skip a step")
    return _ask(by, experiment, "experiment.skip_step", (Status.RUNNING,), "skip a step of")


def _ask(by: Person | None, experiment: Experiment, kind: str, when: tuple[str, ...], act: str) -> Command:
    now = Experiment.objects.select_related("active_station__unit")
    experiment.refresh_from_db(fields=["status", "active_station"], from_queryset=now)
    station = experiment.active_station
    if experiment.status not in when or station is None:
        raise Refused.one(f"Cannot {act} {experiment.name}: it is {experiment.status}.", "status")
    args = messages.ExperimentRef(experiment=str(experiment.uuid), person=_name(by))
    return commands.request(kind, args, station.unit, station=station, experiment=experiment, by=by)


def _name(by: Person | None) -> str:
    return by.get_username() if by else audit.NOBODY


@atomic
def stop(
    by: Person | None, experiment: Experiment, *, how: Literal["now", "finish"] = "now", reason: str = ""
) -> Command | None:
    """Stop it; ``finish`` runs the profile's finish steps first. Asking twice is no error.

    A queued one is cancelled (None). One whose start never left the outbox is stopped here, as its
    unit knows nothing of it (None). Else the unit is asked; until it has answered the page says
    "not confirmed off".

    Raises:
        NotAllowed: the role is too low.
        Refused: it has ended already.
    """
    require(by, Role.OPERATOR, "stop an experiment")
    if how not in ("now", "finish"):
        raise Refused.one(f"how is now or finish; got {how!r}.", "how")
    experiment.refresh_from_db()
    if experiment.status == Status.QUEUED:
        cancel(by, experiment)
        return None
    if experiment.status not in ACTIVE:
        raise Refused.one(f"{experiment.name} is {experiment.status} already.", "status")
    if experiment.status == Status.STARTING and _recall_start(experiment):
        set_status(experiment, Status.STOPPED, stopped_by(by, reason), by=by)
        return None
    station = experiment.active_station
    assert station is not None, "an active experiment holds its station"
    args = messages.ExperimentStop(experiment=str(experiment.uuid), how=how, reason=reason, person=_name(by))
    add_event(experiment, "note", f"{_name(by)} asked to stop ({how})" + (f": {reason}" if reason else ""))
    return commands.request(
        "experiment.stop", args, station.unit, station=station, experiment=experiment, by=by
    )


def stopped_by(by: Person | None, reason: str = "") -> dict[str, Any]:
    """Return the end reason of a stop by a person."""
    text = f"stopped by {_name(by)}" + (f": {reason}" if reason else "")
    return {"code": "stopped", "text": text, "person": _name(by)}


def _recall_start(experiment: Experiment) -> bool:
    """Take the start back while no manager has taken it; the row count is the truth."""
    row = Command.objects.filter(experiment=experiment, kind="experiment.start", status=Command.Status.QUEUED)
    others = Command.objects.filter(
        experiment=experiment, kind="experiment.start", status=Command.Status.SENT
    )
    if others.exists():
        return False
    return update_if(
        row, status=Command.Status.EXPIRED, reason="Stopped before it was sent.", closed_at=timezone.now()
    )


@atomic
def cancel(by: Person | None, experiment: Experiment) -> Experiment:
    """Take a queued experiment out of the queue.

    Raises:
        NotAllowed: the role is too low.
        Refused: it is not queued any more.
    """
    require(by, Role.OPERATOR, "cancel an experiment")
    reason = {"code": "cancelled", "text": f"cancelled by {_name(by)}", "person": _name(by)}
    if not set_status(experiment, Status.CANCELLED, reason, by=by):
        raise Refused.one(
            f"{experiment.name} is {experiment.status}; only a queued one is cancelled.", "status"
        )
    return experiment


def requeue(by: Person | None, experiment: Experiment, *, request_id: UUID | None = None) -> Experiment:
    """File a copy of an ended experiment that names its origin; the same ``request_id`` twice files one.

    Raises:
        NotAllowed: the role is too low.
        Refused: it has not ended, or what it needs does not fit any more.
    """
    if experiment.status not in FINAL:
        raise Refused.one(f"{experiment.name} is {experiment.status}; it is not over yet.", "status")
    body = {column: getattr(experiment, column) for column in filing.COLUMNS if column != "load"}
    query = experiment.station_query
    return filing.file(
        by,
        origin=experiment,
        battery=experiment.battery,
        profile=experiment.profile,
        profile_version=experiment.profile_version.number,
        station=None if query is not None else experiment.station,
        station_query=query,
        request_id=request_id,
        **body,
    )


def repeat(
    by: Person | None,
    experiment: Experiment,
    *,
    battery: Battery | None = None,
    station: Station | None = None,
    request_id: UUID | None = None,
) -> Experiment:
    """File the same again, on another battery or in another station where given; the copy names its origin.

    The same ``request_id`` twice files one copy.

    Another battery runs where it is loaded, when no station is given. What a person said of this very
    battery (its rest voltage, a waived sensor) does not pass to another one.

    Raises:
        NotAllowed: the role is too low.
        Refused: it does not fit; each with field, or step and limit.
    """
    other = battery is not None and battery.pk != experiment.battery_id
    moved = station is not None and station.pk != experiment.station_id
    body = {column: getattr(experiment, column) for column in filing.COLUMNS if column != "load"}
    if other:
        body |= {"rest_voltage_confirmed": False, "initial_soc_percent": None}
    if other or moved:
        body["temperature_waiver"] = ""
    place, query = station, None
    if place is None and experiment.station_query is not None:
        query = experiment.station_query
    elif place is None:
        loaded = battery.station if other and battery is not None else None
        place = loaded or experiment.station
        if place is not None and place.pk != experiment.station_id:
            body["temperature_waiver"] = ""
    return filing.file(
        by,
        origin=experiment,
        battery=battery or experiment.battery,
        profile=experiment.profile,
        profile_version=experiment.profile_version.number,
        station=place,
        station_query=query,
        request_id=request_id,
        **body,
    )


# A drill longer than this is no drill any more.
DRILL_MAX_S = 3600.0


def drill(by: Person | None, experiment: Experiment, *, seconds: float) -> Command:
    """Let the unit behave for ``seconds`` as if the server were away: its contact policy must act (rule 9).

    What came of it is a note in the experiment's events.

    Raises:
        NotAllowed: the role is too low.
        Refused: it does not run, or the time is out of range.
    """
    require(by, Role.OPERATOR, "drill the loss of the server")
    if not 1.0 <= seconds <= DRILL_MAX_S:
        raise Refused.one(f"A drill takes 1 to {DRILL_MAX_S:g} s; got {seconds:g}.", "seconds")
    now = Experiment.objects.select_related("active_station__unit")
    experiment.refresh_from_db(fields=["status", "active_station"], from_queryset=now)
    station = experiment.active_station
    if experiment.status != Status.RUNNING or station is None:
        raise Refused.one(
            f"{experiment.name} is {experiment.status}: only a running one is drilled.", "status"
        )
    add_event(experiment, "note", f"{_name(by)} drills the loss of the server for {seconds:g} s")
    args = messages.StationDrill(station=str(station.uuid), seconds=float(seconds), person=_name(by))
    return commands.request(
        "station.drill", args, station.unit, station=station, experiment=experiment, by=by
    )


@atomic
def reorder(by: Person | None, experiments: Sequence[Experiment]) -> None:
    """Give queued experiments this order: the first goes first.

    Their priorities become consecutive, the highest as high as the highest was among them.

    Raises:
        NotAllowed: the role is too low.
        Refused: one of them is not queued any more.
    """
    require(by, Role.OPERATOR, "change the queue")
    rows = list(Experiment.objects.filter(pk__in=[experiment.pk for experiment in experiments]))
    top = max((row.priority for row in rows), default=0)
    top = max(top, len(rows) - 1)
    for place, experiment in enumerate(experiments):
        queued = Experiment.objects.filter(pk=experiment.pk, status=Status.QUEUED)
        if not update_if(queued, priority=top - place):
            raise Refused.one(f"{experiment.name} is not queued any more.", "experiments")
        audit.record(by, "experiment.priority", experiment, priority=top - place)


@atomic
def change(by: Person | None, experiment: Experiment, **body: Any) -> Experiment:
    """Change what people call it (``name description project tags``) and, while queued, its priority.

    Raises:
        NotAllowed: the role is too low.
        Refused: another field, or a wrong value.
    """
    require(by, Role.OPERATOR, "change an experiment")
    known = ("name", "description", "project", "tags", "priority")
    whole = {"name": experiment.name, **body}
    errors = [
        fields.error(field, f"{field} cannot change after filing.") for field in body if field not in known
    ]
    errors += [
        *fields.name(whole),
        *fields.texts(body, {"description": 10_000, "project": 100}),
        *fields.tags(body),
    ]
    if "priority" in body and experiment.status != Status.QUEUED:
        errors.append(fields.error("priority", f"It is {experiment.status}; only the queue has an order."))
    elif "priority" in body and (not isinstance(body["priority"], int) or isinstance(body["priority"], bool)):
        errors.append(fields.error("priority", "priority is a whole number; higher goes first."))
    if errors:
        raise Refused(errors)
    before = {field: getattr(experiment, field) for field in body}
    for field, given in body.items():
        setattr(experiment, field, given)
    # Only these columns: the unit may move the status at this very moment.
    experiment.save(update_fields=[*body, "updated_at"])
    audit.record(by, "experiment.change", experiment, changed=audit.differences(before, body))
    return experiment


@atomic
def note(by: Person, experiment: Experiment, text: str) -> None:
    """Add a person's remark to the events.

    Raises:
        NotAllowed: the role is too low.
        Refused: it is empty.
    """
    require(by, Role.OPERATOR, "write a note")
    if not text.strip():
        raise Refused.one("Write something.", "text")
    add_event(experiment, "note", text.strip(), person=by.get_username())
