"""Is Cellyard itself well: the database, the managers, the units, the outbox, in sentences."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection
from django.utils import timezone

from web_server.commands.models import Command
from web_server.lab import listing
from web_server.lab.models import Unit
from web_server.lib.numbers import duration
from web_server.notices import queries as notices

# A manager says that it lives every few seconds; older than this it is not there.
MANAGER_AGE_S = 15
# A command waits longer than this only when no manager takes it.
OUTBOX_AGE_S = 10
DISK_BYTES = 1_000_000_000


class Finding(NamedTuple):
    """One line of the page: what was looked at, how it is, in words, what helps."""

    what: str
    state: str
    text: str
    helps: str = ""


def findings() -> list[Finding]:
    """Return how each part is; ``state`` is well, old or unwell."""
    return [_database(), _manager(), _broker(), _outbox(), _notices(), *_units()]


def _database() -> Finding:
    began = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    took = (time.perf_counter() - began) * 1000
    return Finding("Database", "well", f"{connection.vendor}, answers in {took:.1f} ms")


def _manager() -> Finding:
    beats = listing.managers()
    if not beats:
        return Finding("Manager", "unwell", "no manager has ever run here", "Start it: python -m mn_manager.")
    age = (timezone.now() - beats[0].seen_at).total_seconds()
    if age > MANAGER_AGE_S:
        helps = "Without it nothing starts and nothing is stored; units go on and keep what they measure."
        return Finding("Manager", "unwell", f"last heard {duration(age)} ago", helps)
    alive = [beat for beat in beats if (timezone.now() - beat.seen_at).total_seconds() <= MANAGER_AGE_S]
    return Finding(
        "Manager", "well", f"{len(alive)} running, on {', '.join(sorted({beat.hostname for beat in alive}))}"
    )


def _broker() -> Finding:
    beats = listing.managers()
    if not beats or (timezone.now() - beats[0].seen_at).total_seconds() > MANAGER_AGE_S:
        return Finding("Broker", "old", "not known: no manager is there to ask")
    dropped = sum((beats[0].counters.get("dropped") or {}).values())
    if not beats[0].broker_connected:
        return Finding(
            "Broker",
            "unwell",
            "the manager is not connected to it",
            "Is it running, and are user and password right?",
        )
    return Finding(
        "Broker",
        "well",
        f"connected; {dropped} messages were dropped as unreadable" if dropped else "connected",
    )


def _outbox() -> Finding:
    late = timezone.now() - timedelta(seconds=OUTBOX_AGE_S)
    waiting = Command.objects.filter(status=Command.Status.QUEUED, created_at__lt=late).count()
    if waiting:
        return Finding(
            "Outbox",
            "unwell",
            f"{waiting} commands wait for a manager or their unit",
            "Look at manager and units.",
        )
    return Finding("Outbox", "well", "nothing waits")


def _notices() -> Finding:
    if notices.anybody():
        return Finding("Alarms", "well", "somebody is told of them")
    if notices.untold():
        helps = "Enter a mail address or a webhook under “Who hears of alarms”."
        return Finding("Alarms", "unwell", "something tripped and nobody is told: no address is set", helps)
    return Finding("Alarms", "well", "none; no address is set, so that they would show on Monitor alone")


def _units() -> list[Finding]:
    found = []
    for unit in Unit.objects.filter(approved=True, retired_at=None):
        wrong = []
        if not unit.online:
            wrong.append("offline")
        if unit.clock_is_off:
            wrong.append(f"its clock is {duration(abs(unit.clock_skew_s or 0.0))} off")
        if unit.rejected_batches:
            wrong.append(f"{unit.rejected_batches} batches were rejected")
        if unit.disk_free_bytes is not None and unit.disk_free_bytes < DISK_BYTES:
            wrong.append(f"only {unit.disk_free_bytes / 1e6:.0f} MB of disk are free")
        kept = (
            f"{unit.spool_batches} batches wait to be delivered"
            if unit.spool_batches
            else "everything is delivered"
        )
        found.append(Finding(f"Unit {unit.name}", "unwell" if wrong else "well", ", ".join(wrong) or kept))
    return found


def version() -> str:
    """Return Cellyard's version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of

    try:
        return of("cellyard")
    except PackageNotFoundError:
        return "from a source tree"


def place() -> str:
    """Return where Cellyard keeps its state."""
    return str(settings.CELLYARD.state_dir)
