"""Registration of units: discover → offer, request → ack, or pending until somebody approves.

Everybody may ask, so nothing here believes the asker beyond its own row: an unknown unit gets a row
that may do nothing, and an approved one keeps its UUID whoever asks with its hardware id.
"""

from __future__ import annotations

from typing import NamedTuple

from django.db import IntegrityError, transaction

from web_server.accounts import audit
from web_server.lab import services
from web_server.lab.models import Unit
from wire.messages import RegisterAnswer, RegisterAsk

# Far more computers than anybody sets up in a day; a stranger cannot fill the table.
PENDING_MAX = 200
HARDWARE_ID_MAX = 128
TOO_MANY = "too many units wait for approval; approve or delete some first"


class Registered(NamedTuple):
    """What came of a request. ``by_token``: it was approved just now by its one-time token."""

    answer: RegisterAnswer
    by_token: bool = False


def unit_for(ask: RegisterAsk) -> Unit | None:
    """Return the unit of this hardware id, made on its first question; None when too many wait."""
    known = Unit.objects.filter(hardware_id=ask.hardware_id).first()
    if known is not None:
        return known
    if Unit.objects.filter(approved=False, retired_at=None).count() >= PENDING_MAX:
        return None
    try:
        with transaction.atomic():
            unit = Unit.objects.create(
                hardware_id=ask.hardware_id, name=_free_name(ask.hostname), hostname=ask.hostname[:253]
            )
            audit.record(None, "unit.discover", unit, hardware_id=unit.hardware_id)
    except IntegrityError:
        # Another manager was faster: its row is the unit's.
        return Unit.objects.filter(hardware_id=ask.hardware_id).first()
    return unit


def answer(unit: Unit, ask: RegisterAsk) -> Registered:
    """Answer a question of ``unit``; a request writes down what it says of itself."""
    name = str(unit.uuid)
    if unit.retired_at is not None:
        return Registered(RegisterAnswer(kind="refused", unit=name, reason="this unit is retired"))
    if ask.kind == "discover":
        return Registered(RegisterAnswer(kind="offer", unit=name))
    _describe(unit, ask)
    if unit.approved:
        return Registered(RegisterAnswer(kind="ack", unit=name))
    if ask.token and services.redeem_enrol_token(ask.token, unit):
        return Registered(RegisterAnswer(kind="ack", unit=name), by_token=True)
    reason = "waiting for approval" if not ask.token else "its token is unknown, used or too old"
    return Registered(RegisterAnswer(kind="pending", unit=name, reason=reason))


def _describe(unit: Unit, ask: RegisterAsk) -> None:
    told = {
        "hostname": ask.hostname[:253],
        "ip": ask.ip[:45],
        "port": ask.port if 0 <= ask.port <= 65535 else 0,
        "user": ask.user[:100],
        "version": ask.version[:40],
    }
    changed = [column for column, value in told.items() if getattr(unit, column) != value]
    for column in changed:
        setattr(unit, column, told[column])
    if changed:
        unit.save(update_fields=[*changed, "updated_at"])


def _free_name(hostname: str) -> str:
    """Return a name that no unit has: the host's, with a number where it is taken."""
    base = "".join(sign for sign in hostname if sign.isprintable()).strip()[:80] or "unit"
    taken = set(Unit.objects.filter(name__startswith=base).values_list("name", flat=True))
    lowered = {name.lower() for name in taken}
    number = 1
    name = base
    while name.lower() in lowered:
        number += 1
        name = f"{base} {number}"
    return name
