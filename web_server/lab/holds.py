"""Who holds what by hand, as the units' answers tell it (safety.md rule 20)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from web_server.commands.models import Command
from web_server.lab.models import Device, Hold, Station
from wire.messages import LEASE_S


def mirror(command: Command, at: datetime) -> None:
    """Note what a unit has confirmed: a lease taken, renewed or given back, or everything off."""
    if command.kind == "device.lease":
        _lease(command, at)
    elif command.kind == "device.off":
        target = target_of(command)
        if target is not None:
            of(target).delete()


def _lease(command: Command, at: datetime) -> None:
    args = command.args
    if args.get("release"):
        Hold.objects.filter(lease=args["lease"]).delete()
        return
    target = target_of(command)
    if target is None:
        return
    until = at + timedelta(seconds=LEASE_S)
    if of(target).filter(lease=args["lease"]).update(until=until):
        return
    # The unit has given it to somebody: whoever held it before does not any more.
    of(target).delete()
    Hold.objects.create(
        **_key(target),
        lease=UUID(args["lease"]),
        person=command.issued_by,
        person_name=command.issued_by_name,
        terms=args,
        taken_at=at,
        until=until,
    )


def of(target: Device | Station) -> Any:
    """Return the holds of a device or station; at most one."""
    return Hold.objects.filter(**_key(target))


def now(target: Device | Station) -> Hold | None:
    """Return who holds it at this moment, as far as the site has heard; None when nobody does."""
    hold: Hold | None = of(target).first()
    return hold if hold is not None and hold.lasts else None


def target_of(command: Command) -> Device | Station | None:
    """Return what a ``device.*`` command is about."""
    args = command.args
    if args.get("station"):
        return Station.objects.filter(uuid=args["station"]).first()
    if args.get("device"):
        return Device.objects.filter(uuid=args["device"]).first()
    return None


def _key(target: Device | Station) -> dict[str, Any]:
    return {"station": target} if isinstance(target, Station) else {"device": target}
