"""The outbox: asking units to do something, and learning what came of it.

1. `request` writes a row ``queued``; the web process does nothing else.
2. A manager takes it with `claim` and publishes it, again every 2 s (`unanswered`, `mark_sent`).
3. The unit's reply closes it with `close`; without one `expire_due` does. Stops never expire.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Q
from django.utils import timezone

from web_server.accounts import audit
from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.commands import queries
from web_server.commands.models import Command
from web_server.experiments.models import Alarm, Experiment
from web_server.lab import holds
from web_server.lab.models import Device, Station, Unit
from web_server.lib.entity import update_if
from web_server.lib.errors import Refused
from web_server.lib.transactions import atomic
from wire.messages import ARGS, STOPS, CommandKind

KINDS: tuple[str, ...] = CommandKind.__args__  # type: ignore[attr-defined]
# Anything may be on the other end of these: they belong to people who know the lab.
_FOR_MANAGERS = ("scpi.", "can.", "unit.", "station.configure")
# What the audit trail tells of what was sent to a bus or a device.
_TOLD = ("link", "text", "id", "mask", "payload", "force", "where", "values", "release", "connected")
_TOLD += ("voltage_min_v", "voltage_max_v", "current_min_a", "current_max_a", "duration_s")
_OPEN = (Command.Status.QUEUED, Command.Status.SENT)


def role_for(kind: str) -> str:
    """Return the role that may issue commands of this kind."""
    return Role.MANAGER if kind.startswith(_FOR_MANAGERS) else Role.OPERATOR


@atomic
def request(
    kind: str,
    args: Any,
    unit: Unit,
    *,
    station: Station | None = None,
    experiment: Experiment | None = None,
    by: Person | None = None,
    expires_s: float | None = 30.0,
    audited: bool = True,
) -> Command:
    """Write one command into the outbox; a manager sends it within some milliseconds.

    ``args`` is a struct of `wire.messages` or a dict. ``by`` None is Cellyard itself. ``audited`` False is
    for what a page repeats by itself every few seconds (the renewal of a lease).

    Raises:
        NotAllowed: the role is too low for this kind.
        Refused: unknown kind, wrong arguments, or a unit that nobody approved.
    """
    if kind not in KINDS:
        raise Refused.one(f"Unknown command {kind!r}; use one of {', '.join(KINDS)}.", "kind")
    require(by, role_for(kind), f"send {kind}")
    if unit.retired_at or not unit.approved:
        raise Refused.one(f"The unit {unit.name} is {unit.status}; it takes no commands.", "unit")
    if kind.startswith("device."):
        args = _with_place(kind, args, unit)
    now = timezone.now()
    command = Command.objects.create(
        unit=unit,
        station=station,
        experiment=experiment,
        kind=kind,
        args_text=_checked_args(kind, args),
        urgent=kind in STOPS,
        issued_by=by,
        issued_by_name=by.get_username() if by else audit.NOBODY,
        created_at=now,
        expires_at=None if kind in STOPS or expires_s is None else now + timedelta(seconds=expires_s),
    )
    if audited:
        said = _said(kind, command.args_text)
        audit.record(by, f"command.{kind}", experiment or station or unit, command=str(command.uuid), **said)
    return command


def _said(kind: str, args_text: str) -> dict[str, Any]:
    """Return what the audit trail tells of what a person sent to a bus or a device."""
    if not kind.startswith(("scpi.", "can.", "device.")):
        return {}
    args = json.loads(args_text)
    return {
        name: args[name] for name in _TOLD if args.get(name) not in (None, "") and args[name] is not False
    }


def _with_place(kind: str, args: Any, unit: Unit) -> Any:
    """Name the device as its unit knows it: the site's key says nothing there of a device in no station."""
    plain = args if isinstance(args, dict) else msgspec.to_builtins(args)
    if not plain.get("device"):
        if kind in ("device.read", "device.set") or not plain.get("station"):
            raise Refused.one("Name a device.", "device")
        return plain
    try:
        device = Device.objects.select_related("model").filter(uuid=UUID(str(plain["device"]))).first()
    except ValueError:
        device = None
    if device is None or device.unit_id != unit.pk:
        raise Refused.one(f"{unit.name} has no such device.", "device")
    where = {
        "model": device.model.key,
        "serial_number": device.serial_number,
        "link_name": device.link_name,
    }
    return {**plain, "device": str(device.uuid), "where": where}


def progressed(unit: Unit, detail: dict[str, Any]) -> None:
    """Note how far a long command is; a stranger's, a closed one's or a malformed telling changes nothing."""
    done, of, text = detail.get("done"), detail.get("of"), detail.get("text")
    if not isinstance(done, int) or not isinstance(of, int) or not 0 <= done <= of <= 2**31:
        return
    try:
        key = UUID(str(detail.get("command")))
    except ValueError:
        return
    row = Command.objects.filter(uuid=key, unit=unit, status__in=_OPEN)
    update_if(row, progress={"done": done, "of": of, "text": str(text or "")[:250]})


def _checked_args(kind: str, args: Any) -> str:
    """Return ``args`` as JSON text, validated by the kind's struct where it has one."""
    struct = ARGS.get(kind)
    try:
        plain = args if isinstance(args, dict) else msgspec.to_builtins(args)
        if struct is not None:
            msgspec.convert(plain, struct)
        return json.dumps(plain, allow_nan=False, separators=(",", ":"))
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise Refused.one(f"Wrong arguments for {kind}: {error}", "args") from None


def claim(unit_ids: Iterable[int], manager_id: str, limit: int = 50) -> list[Command]:
    """Take queued commands of these units (primary keys) for sending, stops first, then in order.

    Each is taken by a conditional UPDATE, so that two managers never both win it. It is ``sent``
    from here on: should the manager die before publishing, `unanswered` finds it again.
    """
    if not queries.anything_queued():
        return []
    now = timezone.now()
    waiting = Command.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=now), status=Command.Status.QUEUED, unit_id__in=list(unit_ids)
    )
    found = list(waiting.select_related("unit").order_by("-urgent", "id")[:limit])
    return [command for command in found if _take(command, manager_id, now)]


def _take(command: Command, manager_id: str, now: datetime) -> bool:
    row = Command.objects.filter(pk=command.pk, status=Command.Status.QUEUED)
    if not update_if(row, status=Command.Status.SENT, manager=manager_id, sent_at=now, sends=1):
        return False
    command.status, command.manager, command.sent_at, command.sends = Command.Status.SENT, manager_id, now, 1
    return True


def unanswered(unit_ids: Iterable[int], older_than_s: float = 2.0) -> list[Command]:
    """Return the sent commands without an answer that are due to be published again."""
    sent = Command.objects.filter(
        status=Command.Status.SENT,
        unit_id__in=list(unit_ids),
        sent_at__lte=timezone.now() - timedelta(seconds=older_than_s),
    )
    return list(sent.select_related("unit").order_by("-urgent", "id"))


def mark_sent(command: Command) -> bool:
    """Note that it was published again; False when it was answered meanwhile."""
    row = Command.objects.filter(pk=command.pk, status=Command.Status.SENT)
    return update_if(row, sent_at=timezone.now(), sends=command.sends + 1)


@atomic
def close(
    command_id: str | UUID, outcome: str, result: dict[str, Any] | None = None, reason: str | None = None
) -> Command | None:
    """Write the unit's answer; return the command, or None when it was closed before or is unknown.

    An answer that comes after the expiry is still the truth and replaces ``expired``. What the
    answer means for an alarm is done in the same transaction; for an experiment, the caller does it.
    """
    row = Command.objects.filter(uuid=command_id, status__in=[*_OPEN, Command.Status.EXPIRED])
    now = timezone.now()
    closed = update_if(
        row, status=outcome, outcome=outcome, result=result, reason=reason or "", closed_at=now
    )
    if not closed:
        return None
    command = Command.objects.select_related("unit", "station", "experiment").get(uuid=command_id)
    _end_progress(command)
    if command.kind == "station.acknowledge" and outcome == "done":
        _mirror_acknowledgement(command, now)
    elif command.kind == "station.acknowledge":
        _mirror_refusal(command)
    if command.kind in ("device.lease", "device.off") and outcome == "done":
        holds.mirror(command, now)
    return command


def _end_progress(command: Command) -> None:
    """Fill the bar of what is done: the unit's last word on it travels by another way and comes later."""
    if command.outcome == "done" and command.progress:
        command.progress = {**command.progress, "done": command.progress["of"], "text": ""}
        command.save(update_fields=["progress"])


def _mirror_acknowledgement(command: Command, now: datetime) -> None:
    """Show the alarm as acknowledged: now the unit itself said so (safety.md rule 7)."""
    alarm = Alarm.objects.filter(uuid=command.args["alarm"], state=Alarm.State.RAISED)
    update_if(alarm, state=Alarm.State.ACKNOWLEDGED, acknowledged_at=now, acknowledged_by=command.issued_by)
    Station.objects.filter(pk=command.station_id, latched_alarm=command.args["alarm"]).update(
        latched_alarm=None, updated_at=now
    )


def _mirror_refusal(command: Command) -> None:
    """Show why the latch was not released: the alarm stands as before, and people are told of it again."""
    alarm = Alarm.objects.filter(
        uuid=command.args["alarm"],
        state=Alarm.State.RAISED,
        # Somebody who asked later waits for an answer of their own.
        acknowledge_asked_at__lte=command.created_at,
    )
    # Pages put it into a sentence of their own.
    why = (command.reason or "no reason given").rstrip(". ")
    update_if(alarm, acknowledge_asked_at=None, acknowledge_refused=why[:250])


def expire_due(unit_ids: Sequence[int] | None = None) -> list[Command]:
    """Close what nobody answered in time; return those commands, so that their experiments follow."""
    due = Command.objects.filter(status__in=_OPEN, expires_at__lte=timezone.now())
    if unit_ids is not None:
        due = due.filter(unit_id__in=list(unit_ids))
    expired = []
    for command in due.select_related("unit", "station", "experiment"):
        row = Command.objects.filter(pk=command.pk, status__in=_OPEN)
        reason = "The unit did not answer in time."
        if update_if(row, status=Command.Status.EXPIRED, reason=reason, closed_at=timezone.now()):
            command.status, command.reason = Command.Status.EXPIRED, reason
            expired.append(command)
    return expired
