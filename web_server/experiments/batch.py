"""One profile on many batteries: each is answered ok or why not before anything starts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.cells.models import Battery
from web_server.experiments import filing
from web_server.experiments.models import ACTIVE, Experiment, Status
from web_server.lab.models import Station
from web_server.lib import fields
from web_server.lib.errors import Refused, ServiceError
from web_server.profiles.models import Profile

BATTERIES_MAX = 500
# A whole day between two starts is no stagger but a plan.
STAGGER_MAX_S = 86_400.0
TEMPLATE = "{profile} on {battery}"
_WORDS = ("battery", "profile", "station", "n", "date")
_WORD = re.compile(r"\{([^{}]*)\}")


@dataclass
class Entry:
    """One battery of a batch: what it will be called and where it runs, or what stops it."""

    battery: Battery
    name: str = ""
    station: Station | None = None
    errors: list[dict[str, Any]] = field(default_factory=list)
    # Does not stop it, but it will not start at once.
    waits: str = ""
    not_before: datetime | None = None
    experiment: Experiment | None = None
    # The same request came before: its experiment of then.
    before: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing stops it."""
        return not self.errors


class _Undo(Exception):
    """Ends the transaction of a look, or of a batch with errors, without a trace."""


def file_many(
    by: Person | None,
    *,
    batteries: Sequence[Battery],
    profile: Profile,
    name_template: str = TEMPLATE,
    stagger_s: float = 0.0,
    dry_run: bool = False,
    only_fitting: bool = False,
    **options: Any,
) -> list[Entry]:
    """File one experiment per battery, each in the station that holds it; ``options`` as in `file`.

    1. every battery is really filed, and what stops one is kept with it; 2. with ``dry_run``, or when
    one is stopped, all of it is undone; ``only_fitting`` leaves out those that are stopped instead.
    The k-th starts no earlier than k × ``stagger_s`` from now.

    Raises:
        NotAllowed: the role is too low.
        Refused: a wrong field of the batch; or (not ``dry_run``) a battery is stopped: ``batteries.<n>``.
    """
    require(by, Role.OPERATOR, "file experiments")
    errors = problems(batteries, name_template, stagger_s)
    if errors:
        raise Refused(errors)
    entries: list[Entry] = []
    began = timezone.now()
    try:
        with transaction.atomic():
            place = 0
            for number, battery in enumerate(batteries, start=1):
                entry = Entry(battery, _name(name_template, battery, profile, number))
                entry.not_before = began + timedelta(seconds=place * stagger_s) if stagger_s else None
                _file(by, entry, profile, options)
                entries.append(entry)
                place += entry.ok
            if dry_run or not (only_fitting or all(entry.ok for entry in entries)):
                raise _Undo
    except _Undo:
        for entry in entries:
            entry.experiment = None
    if not dry_run and not only_fitting and not all(entry.ok for entry in entries):
        raise Refused(
            [
                {
                    **error,
                    "field": f"batteries.{place}",
                    "message": f"{entry.battery.name}: {error['message']}",
                }
                for place, entry in enumerate(entries)
                for error in entry.errors
            ]
        )
    return entries


def problems(batteries: Sequence[Battery], name_template: str, stagger_s: float) -> list[fields.Error]:
    """Return everything wrong with the batch itself."""
    errors = []
    if not batteries:
        errors.append(fields.error("batteries", "Choose at least one battery."))
    if len(batteries) > BATTERIES_MAX:
        errors.append(fields.error("batteries", f"{len(batteries)} batteries; at most {BATTERIES_MAX}."))
    if len({battery.pk for battery in batteries}) != len(batteries):
        errors.append(fields.error("batteries", "A battery is there twice."))
    if not 0 <= stagger_s <= STAGGER_MAX_S:
        errors.append(fields.error("stagger_s", f"stagger_s is 0 to {STAGGER_MAX_S:g} s."))
    unknown = [word for word in _WORD.findall(name_template) if word not in _WORDS]
    if unknown:
        known = ", ".join(f"{{{word}}}" for word in _WORDS)
        errors.append(
            fields.error("name_template", f"{{{unknown[0]}}} stands for nothing; there are {known}.")
        )
    if not name_template.strip():
        errors.append(fields.error("name_template", f"Give a name, for example {TEMPLATE}."))
    return errors


def _name(template: str, battery: Battery, profile: Profile, number: int) -> str:
    words = {
        "battery": battery.name,
        "profile": profile.name,
        "station": battery.station.name if battery.station else "",
        "n": str(number),
        "date": f"{timezone.now():%Y-%m-%d}",
    }
    return _WORD.sub(lambda found: words[found[1]], template).strip()[:100]


def _file(by: Person | None, entry: Entry, profile: Profile, options: dict[str, Any]) -> None:
    """File one inside a savepoint: what fails leaves nothing behind."""
    battery = entry.battery
    entry.station = battery.station
    filed = filing.filed_before(options.get("request_id"), battery)
    if filed is not None:
        _take_up(entry, filed, {"profile": profile, "station": filed.station, **options})
        return
    if battery.station is None:
        entry.errors = [fields.error("battery", f"{battery.name} is in no station: load it first.")]
        return
    entry.errors = _cannot_start(battery, battery.station)
    if entry.errors:
        return
    entry.waits = _waits(battery, battery.station)
    body = {"name": entry.name, "battery": battery, "profile": profile, "station": battery.station}
    try:
        with transaction.atomic():
            entry.experiment = filing.file(by, **body, **options)
            if entry.not_before and entry.experiment.not_before is None:
                entry.experiment.not_before = entry.not_before
                entry.experiment.save(update_fields=["not_before", "updated_at"])
    except Refused as error:
        entry.errors = error.errors
    except ServiceError as error:
        entry.errors = [fields.error(None, str(error))]


def _take_up(entry: Entry, filed: Experiment, asked: dict[str, Any]) -> None:
    """Answer with what the same request filed before, wherever its battery is by now."""
    try:
        filing.check_same(filed, asked)
    except Refused as error:
        entry.errors = error.errors
        return
    entry.experiment, entry.name, entry.before = filed, filed.name, True
    entry.station, entry.not_before = filed.station, filed.not_before


def _cannot_start(battery: Battery, station: Station) -> list[fields.Error]:
    """Return what keeps anything from starting there until a person has done something."""
    if not station.unit.approved or not station.unit.online or station.state == Station.State.OFFLINE:
        return [fields.error("station", f"{station.name} is offline: look at unit {station.unit.name}.")]
    if station.latched_alarm or station.state in (Station.State.TRIPPED, Station.State.UNSAFE):
        return [fields.error("station", f"{station.name} is {station.state}: acknowledge its alarm first.")]
    if station.state == Station.State.MANUAL:
        return [fields.error("station", f"{station.name} is controlled by hand: give it back first.")]
    return []


def _waits(battery: Battery, station: Station) -> str:
    """Return what it will wait for by itself: runs that are there already."""
    running = Experiment.objects.filter(active_station=station, status__in=ACTIVE).first()
    if running is not None:
        return f"waits for {running.name} on {station.name}"
    queued = Experiment.objects.filter(battery=battery, station=station, status=Status.QUEUED).count()
    return f"waits for {queued} filed before it" if queued else ""
