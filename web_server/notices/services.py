"""Who is told of alarms, and the telling: planned, taken by one manager, sent, tried again.

1. `plan` makes the rows of each round: the first at once, the next after 15 minutes without an
   acknowledgement, or at once when nobody of the place before could be reached. 2. `take` gives a due row to one manager by conditional UPDATE, so that two never
   send the same. 3. `finish` writes what came of it; what failed is tried again, then given up.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from web_server.accounts import audit
from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.experiments.models import Alarm
from web_server.lib import fields
from web_server.lib.entity import update_if
from web_server.lib.errors import Refused
from web_server.lib.transactions import atomic
from web_server.notices import addresses
from web_server.notices.models import Delivery, Escalation, Target
from web_server.notices.sending import Outcome

# safety.md rule 19.
NEXT_AFTER = timedelta(minutes=15)
# Who has heard it this often will not act on one more.
REMIND_FOR = timedelta(hours=24)
# Waits between tries; after the last one it is given up and shown.
AGAIN_S = (5, 10, 30, 60, 300)
# A manager that took a row and did not say what came of it this long is dead: sending takes seconds.
LAPSED_AFTER = timedelta(seconds=90)
SEVERITIES = (Alarm.Severity.TRIP, Alarm.Severity.UNSAFE)
FIELDS = ("name", "address", "place", "active")


# --- who is told ----------------------------------------------------------------------------------


@atomic
def add(by: Person | None, **body: Any) -> Target:
    """Add an address that alarms go to.

    Raises:
        NotAllowed: only administrators.
        Refused: each wrong field; the address is never repeated.
    """
    require(by, Role.ADMINISTRATOR, "say who hears of alarms")
    if not body.get("address"):
        raise Refused.one("Give an address.", "address")
    target = Target(made_by=by)
    _write(target, body)
    audit.record(by, "notices.add", target, shown=target.shown, place=target.place)
    return target


@atomic
def change(by: Person | None, target: Target, **body: Any) -> Target:
    """Change name, place, address or whether it is used; an address left out stays.

    Raises:
        NotAllowed: only administrators.
        Refused: each wrong field.
    """
    require(by, Role.ADMINISTRATOR, "say who hears of alarms")
    _write(target, {"name": target.name, **body})
    audit.record(by, "notices.change", target, shown=target.shown, place=target.place, active=target.active)
    return target


@atomic
def remove(by: Person | None, target: Target) -> None:
    """Forget an address; what was sent to it stays recorded by its name.

    Raises:
        NotAllowed: only administrators.
    """
    require(by, Role.ADMINISTRATOR, "say who hears of alarms")
    audit.record(by, "notices.remove", target, shown=target.shown)
    target.delete()


def _write(target: Target, body: dict[str, Any]) -> None:
    errors = [*fields.unknown(body, FIELDS, "notice target"), *fields.name(body)]
    place = body.get("place", target.place)
    if isinstance(place, bool) or not isinstance(place, int) or not 1 <= place <= 99:
        errors.append(fields.error("place", "place is a whole number, 1 to 99: who hears first."))
    if not isinstance(body.get("active", True), bool):
        errors.append(fields.error("active", "active is true or false."))
    address = None
    try:
        address = addresses.parse(str(body["address"])) if body.get("address") else None
    except Refused as error:
        errors += error.errors
    if errors:
        raise Refused(errors)
    target.name, target.place = body["name"].strip(), place
    target.active = body.get("active", target.active)
    if address is not None:
        target.way, target.address, target.shown = address.way, address.url, address.shown
    try:
        with transaction.atomic():
            target.save()
    except IntegrityError:
        raise Refused.one(f"There is {target.name!r} already.", "name") from None


@atomic
def test(by: Person | None, target: Target) -> Delivery:
    """Ask a manager to send a test to this address, on the very way that an alarm would go.

    Raises:
        NotAllowed: only administrators.
    """
    require(by, Role.ADMINISTRATOR, "send a test")
    audit.record(by, "notices.test", target)
    return Delivery.objects.create(
        target=target, target_name=target.name, target_shown=target.shown, asked_by=by
    )


# --- telling --------------------------------------------------------------------------------------


def plan() -> int:
    """Make the rows that are due now; return how many rounds began.

    Called every second by every manager: a round belongs to whoever moves its row on.
    """
    targets = list(Target.objects.filter(active=True))
    if not targets:
        return 0
    now = timezone.now()
    new = _unheard().filter(escalation=None).order_by("id")[:100]
    for alarm in new:
        Escalation.objects.get_or_create(alarm=alarm, defaults={"next_at": now})
    due = Escalation.objects.filter(next_at__lte=now, alarm__in=_unheard()).select_related("alarm")
    return sum(_round(row, targets, now) for row in due[:100])


def _unheard() -> QuerySet[Alarm]:
    """Return the alarms that a person must hear of and nobody has answered yet."""
    return Alarm.objects.filter(state=Alarm.State.RAISED, severity__in=SEVERITIES, acknowledge_asked_at=None)


@atomic
def _round(row: Escalation, targets: list[Target], now: Any) -> bool:
    """Begin the next round of an alarm, unless another manager just did."""
    # Since it is known here: a unit that was cut off for days tells of its alarms late.
    over = now - row.alarm.created_at > REMIND_FOR and row.round > 0
    mine = Escalation.objects.filter(pk=row.pk, round=row.round, next_at=row.next_at)
    if not update_if(mine, round=row.round + (not over), next_at=None if over else now + NEXT_AFTER):
        return False
    if over:
        return False
    told = _of_round(row.round + 1, targets)
    Delivery.objects.bulk_create(
        [
            Delivery(
                alarm=row.alarm,
                target=target,
                target_name=target.name,
                target_shown=target.shown,
                round=row.round + 1,
            )
            for target in told
        ]
    )
    return True


def _of_round(number: int, targets: list[Target]) -> list[Target]:
    """Return who is told in a round: one place after the other, then everybody again."""
    places = sorted({target.place for target in targets})
    if number > len(places):
        return targets
    return [target for target in targets if target.place == places[number - 1]]


def take(manager: str, most: int) -> list[Delivery]:
    """Take due rows for sending; each goes to one manager only."""
    now = timezone.now()
    due = Q(state=Delivery.State.DUE, next_try_at__lte=now)
    lapsed = Q(state=Delivery.State.SENDING, taken_at__lt=now - LAPSED_AFTER)
    rows = Delivery.objects.filter(due | lapsed).select_related(
        "target", "alarm__station", "alarm__experiment"
    )
    return [row for row in rows.order_by("next_try_at", "id")[:most] if _take(row, manager, now)]


def _take(row: Delivery, manager: str, now: Any) -> bool:
    same = Delivery.objects.filter(pk=row.pk, state=row.state, attempts=row.attempts)
    if row.target is None:
        update_if(same, state=Delivery.State.FAILED, outcome="The address was removed.")
        return False
    if row.alarm is not None and row.alarm.state != Alarm.State.RAISED:
        update_if(
            same, state=Delivery.State.FAILED, outcome="Not needed any more: it was acknowledged before."
        )
        return False
    taken = {"manager": manager, "taken_at": now, "attempts": row.attempts + 1}
    if not update_if(same, state=Delivery.State.SENDING, **taken):
        return False
    row.state, row.attempts, row.manager = Delivery.State.SENDING, row.attempts + 1, manager
    return True


def finish(row: Delivery, outcome: Outcome) -> bool:
    """Write what came of a try; return False when it was taken from us meanwhile."""
    mine = Delivery.objects.filter(
        pk=row.pk, state=Delivery.State.SENDING, manager=row.manager, attempts=row.attempts
    )
    now = timezone.now()
    if outcome.sent:
        return update_if(mine, state=Delivery.State.SENT, sent_at=now, outcome="")
    again = row.alarm_id is not None and row.attempts <= len(AGAIN_S)
    columns: dict[str, Any] = {"outcome": outcome.text[:500]}
    if again:
        columns["next_try_at"] = now + timedelta(seconds=AGAIN_S[row.attempts - 1])
    noted = update_if(mine, state=Delivery.State.DUE if again else Delivery.State.FAILED, **columns)
    if noted and row.alarm_id is not None:
        _hurry(row, now)
    return noted


def _hurry(row: Delivery, now: Any) -> None:
    """Let the next place hear now, where the first tries reached nobody of this one: 30 s are not 15 min."""
    others = Delivery.objects.filter(alarm=row.alarm_id, round=row.round)
    untried = Q(state=Delivery.State.DUE, attempts=0)
    if others.filter(untried | Q(state__in=[Delivery.State.SENT, Delivery.State.SENDING])).exists():
        return
    places = Target.objects.filter(active=True).values("place").distinct().count()
    if row.round < places:  # afterwards all have been tried: reminders keep their time
        waiting = Escalation.objects.filter(alarm=row.alarm_id, round=row.round, next_at__gt=now)
        update_if(waiting, next_at=now)
