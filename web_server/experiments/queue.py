"""Starting what waits: priority first, then first come; and telling the others why they wait."""

from __future__ import annotations

from django.db.models import Q
from django.utils import timezone

from web_server.cells import quarantine
from web_server.cells.models import Battery
from web_server.commands import services as commands
from web_server.experiments import start, stations
from web_server.experiments.contract import draw_up
from web_server.experiments.models import Experiment, Status
from web_server.experiments.states import set_status
from web_server.lab.models import Station
from web_server.lib.entity import update_if
from web_server.lib.transactions import atomic

# The unit's answer is due within this; after it a heartbeat decides (architecture.md).
START_EXPIRES_S = 30.0


def waiting(station: Station) -> list[Experiment]:
    """Return the queued experiments that name ``station`` or whose query means it, in their order."""
    # One with a query may carry the station of an earlier attempt; its query still decides.
    named = Q(station=station, station_query__isnull=True) | Q(station_query__isnull=False)
    rows = Experiment.objects.filter(named, status=Status.QUEUED)
    rows = rows.select_related("battery", "profile_version__profile", "station").order_by("-priority", "id")
    return [row for row in rows if row.station_query is None or stations.suits(station, row.station_query)]


def start_next(station: Station) -> Experiment | None:
    """Start the next queued experiment of an idle station whose battery is loaded; None when there is none.

    ``queued → starting`` is one transaction: 1. the station and its battery are read again under a
    lock; 2. the contract is computed anew, from the battery, station and profile of this moment;
    3. the status, the holds on station and battery, and the contract's text; 4. the command row.
    Those that cannot start are told why in ``queued_because`` and stand in nobody's way.
    """
    queue = waiting(station)
    if not queue:
        return None
    blocked = _why_not_now(station)
    started = None
    for experiment in queue:
        if blocked is None and started is None and _try(experiment, station):
            started = experiment
            blocked = f"waits for {experiment.name} on {station.name}"
        elif blocked is not None:
            _explain(experiment, blocked)
    return started


def _why_not_now(station: Station) -> str | None:
    """Return why nothing can start on this station now, or None."""
    station.refresh_from_db()
    running = Experiment.objects.filter(active_station=station).values_list("name", flat=True).first()
    if running:
        return f"waits for {running} on {station.name}"
    if station.retired_at:
        return f"{station.name} is retired"
    if not station.unit.approved or not station.unit.online or station.state == Station.State.OFFLINE:
        return f"{station.name} is offline"
    if station.latched_alarm or station.state in (Station.State.TRIPPED, Station.State.UNSAFE):
        return f"{station.name} is {station.state}: acknowledge its alarm"
    if station.state != Station.State.IDLE:
        return f"{station.name} is {station.state}"
    if station.unit_version != station.version:
        return f"{station.name} is being configured (version {station.version})"
    return None


@atomic
def _try(experiment: Experiment, station: Station) -> bool:
    """Start this one if nothing stands against it; else say what does."""
    # The battery first, as loading and ejecting lock them: no deadlock.
    battery = Battery.objects.select_for_update().get(pk=experiment.battery_id)
    station = Station.objects.select_for_update().select_related("unit").get(pk=station.pk)
    experiment.battery = battery
    if experiment.not_before and experiment.not_before > timezone.now():
        return _explain(experiment, f"starts at {experiment.not_before:%H:%M:%S} UTC, after those before it")
    loaded = station.loaded_battery
    if loaded != battery:
        return _explain(experiment, f"load {battery.name} into {station.name}")
    if battery.quarantined:
        return _explain(experiment, quarantine.sentence(battery))
    contract = draw_up(
        battery,
        station,
        start.definition(experiment),
        initial_soc_percent=experiment.initial_soc_percent,
        # Whether its person may ask for them was judged when it was filed.
        long_delays=True,
        temperature_waiver=experiment.temperature_waiver,
    )
    if not contract.fits:
        return _explain(experiment, f"does not fit any more: {contract.errors[0]['message']}")
    arguments = start.arguments(experiment, station, contract)
    large = start.too_large(arguments)
    if large:
        return _explain(experiment, large["message"])
    taken = set_status(
        experiment,
        Status.STARTING,
        text=f"{experiment.name}: starting on {station.name}",
        station=station,
        active_station=station,
        active_battery=battery,
        station_version=station.version,
        capacity_ah=contract.capacity_ah,
        envelope=contract.text,
        envelope_sha256=contract.sha256,
    )
    if not taken:
        return False
    commands.request(
        "experiment.start",
        arguments,
        station.unit,
        station=station,
        experiment=experiment,
        by=None,
        expires_s=START_EXPIRES_S,
    )
    return True


def _explain(experiment: Experiment, why: str) -> bool:
    """Write why it waits, when that is new; return False: it did not start."""
    why = why[:250]
    row = Experiment.objects.filter(pk=experiment.pk, status=Status.QUEUED).exclude(queued_because=why)
    update_if(row, queued_because=why, updated_at=timezone.now())
    return False
