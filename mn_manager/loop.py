"""The manager itself: one thread that takes messages and does what is due.

Everything that touches the database happens here, one thing after the other. The broker's thread
only fills the inbox; a missing database or broker stops nothing but the work that needs it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Count, Max, Q
from django.utils import timezone

from mn_manager import broker_users
from mn_manager.counters import Counters
from mn_manager.dispatch import Dispatch
from mn_manager.enrol import Enrol
from mn_manager.inbox import Inbox, Received
from mn_manager.leases import RENEW_S, Leases
from mn_manager.receive import Receive
from mn_manager.settings import Settings, host_name
from mqtt_link import Link
from web_server.cells.models import Battery
from web_server.commands import services as commands
from web_server.experiments import services as experiments
from web_server.experiments.models import Experiment, Status
from web_server.lab import configuration, presence
from web_server.lab.models import ManagerBeat, Station
from wire import topics

logger = logging.getLogger("mn_manager.loop")

# Messages are taken in a row for this long before what is due gets its turn.
BURST_S = 0.05
# Waits between attempts on a missing database.
AGAIN_FIRST_S, AGAIN_LONGEST_S = 0.1, 2.0
# SQLite waits 20 s for a lock; who waits for a page by then wants to know why.
LONG_S = 5.0
# A message that fails this often while the database answers other questions is given up.
ATTEMPTS_MAX = 5
# An experiment that came back to the queue is not sent to the same station again before this.
HOLD_S = 30.0
# What waits is looked at again this often though nothing that we know of has changed.
LOOK_AGAIN_S = 10.0


@dataclass
class Due:
    """Something done every now and then."""

    do: Callable[[], None]
    every_s: Callable[[], float]
    at_s: float = 0.0


class Manager:
    """All parts of one manager; `run` returns after `stop`."""

    def __init__(self, settings: Settings, name: str, version: str) -> None:
        self.settings = settings
        self.name = name
        self.version = version
        self.counters = Counters()
        self.inbox = Inbox()
        self.database_up = False
        self.turned_s = time.monotonic()
        self.link = Link(settings.mqtt_url, f"cellyard-{name}", ca=settings.mqtt_ca)
        self.leases = Leases(name)
        self.dispatch = Dispatch(self.link, settings.prefix, self.leases)
        enrol = Enrol(self.leases, broker_users.choose(self.link, settings.prefix))
        self.receive = Receive(self.link, settings.prefix, self.leases, self.dispatch, enrol, self.counters)
        self.receive.changed_units = self._subscribe
        self.link.on_connect(self._hear_anew)
        self._subscribed: set[str] = set()
        self._stopping = False
        self._in_hand: Received | None = None
        self._attempts = 0
        self._away_since_s: float | None = None
        self._failures = 0
        self._started: dict[int, tuple[int, float]] = {}
        self._looked: tuple[object, float] = (None, 0.0)
        self._hearing_since_s = time.monotonic()
        self._due = [
            Due(self._renew, lambda: RENEW_S),
            Due(self.dispatch.look_around, lambda: 1.0),
            Due(self.dispatch.send_new, lambda: self.dispatch.period_s),
            Due(self.dispatch.send_again, lambda: 0.5),
            Due(self._configure, lambda: 1.0),
            Due(self._watch, lambda: 1.0),
            Due(self._expire, lambda: 1.0),
            Due(self._silence, lambda: 1.0),
            Due(self._start_experiments, lambda: 0.5),
            Due(self._beat, lambda: 2.0),
        ]

    # --- the loop ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until stopped; then let go of the units."""
        self.link.subscribe(topics.ENROL_ASKS.format(prefix=self.settings.prefix), self.inbox.put)
        self.link.start()
        while not self._stopping:
            self.turned_s = time.monotonic()
            try:
                self._turn()
            except (DatabaseError, InterfaceError) as error:
                self._database_failed(error)
            except Exception:
                # The one broad except of this process: a fault in one message must not end it.
                logger.exception("event=fault topic=%r", self._in_hand.topic if self._in_hand else "")
                self.counters.count("faults")
                self._give_up("internal error")
                self._rest(0.1)
        self._leave()

    def stop(self) -> None:
        """Let `run` return soon; may be called from a signal handler."""
        self._stopping = True

    def _turn(self) -> None:
        self._do_due()
        began_s = time.monotonic()
        wait_s = max(0.0, min(due.at_s for due in self._due) - began_s)
        while not self._stopping:
            self._in_hand = self._in_hand or self.inbox.get(wait_s)
            if self._in_hand is None:
                break
            self._attempts += 1
            self.receive.take(self._in_hand)
            self._in_hand, self._attempts, wait_s = None, 0, 0.0
            self._database_works()
            if time.monotonic() - began_s > BURST_S:
                break

    def _do_due(self) -> None:
        for due in self._due:
            now = time.monotonic()
            if now >= due.at_s:
                # Also when it fails: the others get their turn first.
                due.at_s = now + due.every_s()
                due.do()
                self._database_works()

    # --- a database that comes and goes -------------------------------------------------------------

    def _database_failed(self, error: Exception) -> None:
        """Say so once, wait, and try again; a message that alone fails is given up in the end."""
        self._failures += 1
        connection.close()
        if self._attempts >= ATTEMPTS_MAX and self._database_answers():
            self._give_up(f"cannot be stored: {error}")
            return
        # One failure may be a connection that broke; one that took long, a lock that nobody lets go of, is said.
        took_s = time.monotonic() - self.turned_s
        if self._away_since_s is None and (self._failures > 1 or took_s > LONG_S):
            self._away_since_s = time.monotonic()
            self.database_up = False
            logger.warning("event=database_away reason='%s'", " ".join(str(error).split())[:300])
        # Leases first when it is back: what waits in the inbox is only taken for units that are ours.
        for due in self._due:
            due.at_s = 0.0
        self._rest(min(AGAIN_LONGEST_S, AGAIN_FIRST_S * 2.0 ** min(self._failures, 6)))

    def _database_works(self) -> None:
        self._failures = 0
        if self._away_since_s is not None:
            away_s = time.monotonic() - self._away_since_s
            logger.info("event=database_back after_s=%.1f", away_s)
            self._away_since_s = None
            self._hear_anew()
        self.database_up = True

    @staticmethod
    def _database_answers() -> bool:
        try:
            ManagerBeat.objects.first()
        except (DatabaseError, InterfaceError):
            return False
        return True

    def _give_up(self, reason: str) -> None:
        if self._in_hand is not None:
            self.counters.drop("unusable", self._in_hand.topic, reason)
        self._in_hand, self._attempts = None, 0

    def _rest(self, seconds: float) -> None:
        """Wait, but not past a stop."""
        until_s = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until_s:
            time.sleep(min(0.1, seconds))

    # --- what is due --------------------------------------------------------------------------------

    def _renew(self) -> None:
        self.leases.renew()
        self._subscribe()

    def _subscribe(self) -> None:
        """Listen to the exact topics of our units: a retained message is lost to a wildcard on RabbitMQ."""
        wanted = set(self.leases.units)
        for unit in wanted - self._subscribed:
            for leaf in self.receive.leaves:
                self.link.subscribe(topics.unit(self.settings.prefix, unit, leaf), self.inbox.put)
            logger.info("event=unit_taken unit=%s", unit)
            self._hear_anew()
        for unit in self._subscribed - wanted:
            for leaf in self.receive.leaves:
                self.link.unsubscribe(topics.unit(self.settings.prefix, unit, leaf))
            logger.info("event=unit_left unit=%s", unit)
        self._subscribed = wanted

    def _configure(self) -> None:
        """Send a new composition at once; what a heartbeat says differs is sent there."""
        for unit in configuration.units_to_configure(self.leases.keys()):
            configuration.send_where_different(unit)

    def _watch(self) -> None:
        """Tell units what is loaded where as soon as it changes, and again while they say otherwise."""
        self.receive.watching.send_where_different(self.leases.keys())

    def _expire(self) -> None:
        for command in commands.expire_due(self.leases.keys()):
            logger.info(
                "event=command_expired unit=%s command=%s kind=%s",
                command.unit.uuid,
                command.uuid,
                command.kind,
            )

    def _hear_anew(self) -> None:
        self._hearing_since_s = time.monotonic()

    def _silence(self) -> None:
        """Mark units offline that we could have heard for long enough and did not."""
        heard_s = time.monotonic() - self._hearing_since_s
        if not self.link.connected or heard_s < presence.OFFLINE_AFTER_S:
            # It is we who could not hear.
            return
        for unit in presence.silent(self.leases.keys(), timezone.now()):
            logger.warning("event=unit_silent unit=%s name=%r", unit.uuid, unit.name)
            self.dispatch.look_around()

    def _start_experiments(self) -> None:
        """Start what waits on our idle stations, by priority, then first come."""
        queued = Experiment.objects.filter(status=Status.QUEUED)
        # A batch starts one after the other: the next one's time has come.
        due = Count("pk", filter=Q(not_before__lte=timezone.now()))
        seen = queued.aggregate(Count("pk"), Max("updated_at"), due=due)
        if not seen["pk__count"]:
            return
        stations = list(
            Station.objects.filter(unit_id__in=self.leases.keys(), retired_at=None).select_related("battery")
        )
        situation = (seen, Battery.objects.aggregate(Max("updated_at")), self._situation(stations))
        if situation == self._looked[0] and time.monotonic() - self._looked[1] < LOOK_AGAIN_S:
            return
        self._looked = (situation, time.monotonic())
        for station in stations:
            if not self._came_back(station) and not self.receive.watching.has_another(station):
                self._start_on(station)

    def _situation(self, stations: list[Station]) -> list[tuple[object, ...]]:
        """Return what decides whether something may start, without the readings, which always change."""
        active = dict(Experiment.objects.exclude(active_station=None).values_list("active_station_id", "pk"))
        return [
            (
                each.pk, each.state, each.version, each.unit_version, active.get(each.pk),
                self.receive.watching.has_another(each),
            )
            for each in stations
        ]  # fmt: skip

    def _start_on(self, station: Station) -> None:
        started = experiments.start_next(station)
        if started is not None:
            self._started[station.pk] = (started.pk, time.monotonic())
            # Its command goes out with the next look at the outbox, not a tenth of a second later.
            self.dispatch.send_new()
            logger.info("event=experiment_starting experiment=%s station=%s", started.uuid, station.uuid)

    def _came_back(self, station: Station) -> bool:
        """Return whether what we started here last was turned down a moment ago."""
        last, at_s = self._started.get(station.pk, (0, 0.0))
        if not last or time.monotonic() - at_s > HOLD_S:
            return False
        return Experiment.objects.filter(pk=last, status=Status.QUEUED).exists()

    def _beat(self) -> None:
        self.counters.counts["overflowed"] = self.inbox.overflowed
        self.counters.counts["link_dropped"] = self.link.dropped
        ManagerBeat.objects.update_or_create(
            manager=self.name,
            defaults={
                "hostname": host_name(),
                "pid": os.getpid(),
                "version": self.version[:40],
                "seen_at": timezone.now(),
                "broker_connected": self.link.connected,
                "units": len(self.leases.units),
                "counters": self.counters.as_row(),
            },
        )

    def _leave(self) -> None:
        """Let go of the units, so that another manager need not wait for the lease to lapse."""
        self.link.stop()
        try:
            self.leases.release()
            ManagerBeat.objects.filter(manager=self.name).delete()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("event=leases_kept reason='%s'", error)
        connection.close()
