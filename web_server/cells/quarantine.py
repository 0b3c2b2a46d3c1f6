"""Quarantine: a battery that tripped is started by no station until a person has looked (safety.md 7)."""

from __future__ import annotations

from django.utils import timezone

from web_server.accounts import audit
from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.cells.models import Battery, Inspection
from web_server.lib.errors import Refused
from web_server.lib.transactions import atomic

NOTE_LENGTH = 10_000


def sentence(battery: Battery) -> str:
    """Return why it is not started, and what helps."""
    why = battery.quarantine_reason.rstrip(".")
    return f"{battery.name} is in quarantine ({why}): record an inspection of it first."


@atomic
def put(battery: Battery, reason: str) -> None:
    """Keep every station from starting this battery until a person has inspected it."""
    battery.quarantined, battery.quarantine_reason = True, reason[:250]
    battery.quarantined_at = timezone.now()
    battery.save(update_fields=["quarantined", "quarantine_reason", "quarantined_at", "updated_at"])
    audit.record(None, "battery.quarantine", battery, reason=reason)


@atomic
def inspect(by: Person, battery: Battery, note: str) -> Inspection:
    """Record a person's inspection (who, when, what was seen), which ends the quarantine.

    A battery that is in none may be inspected too: the record stays.

    Raises:
        NotAllowed: the role is too low.
        Refused: no note says what was seen.
    """
    require(by, Role.OPERATOR, "record an inspection")
    note = note.strip()
    if not note:
        raise Refused.one("Say what you saw.", "note")
    if len(note) > NOTE_LENGTH:
        raise Refused.one(f"The note has {len(note)} characters; at most {NOTE_LENGTH} fit.", "note")
    battery = Battery.objects.select_for_update().get(pk=battery.pk)
    seen = Inspection.objects.create(
        battery=battery, by=by, by_name=by.get_username(), reason=battery.quarantine_reason, note=note
    )
    battery.quarantined, battery.quarantine_reason, battery.quarantined_at = False, "", None
    battery.save(update_fields=["quarantined", "quarantine_reason", "quarantined_at", "updated_at"])
    audit.record(by, "battery.inspect", battery, note=note, reason=seen.reason)
    return seen
