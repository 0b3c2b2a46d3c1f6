"""Put the unit together: outputs off first, then stations, then the world outside."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import msgspec

from cycler_unit import __version__, config, disk, latches, loaded, metrics
from cycler_unit.buses.protocol import Buses
from cycler_unit.clock import JumpWatch, ServerClock, iso
from cycler_unit.config import Config
from cycler_unit.devices import Devices
from cycler_unit.dispatch import Dispatcher
from cycler_unit.enrol import Enrolment, IdentityFile
from cycler_unit.hub import Hub
from cycler_unit.loopback import Answer, Loopback
from cycler_unit.presence import Here
from cycler_unit.session import Session
from cycler_unit.spool import Entry, Spool, StoredRun
from cycler_unit.spool_reader import SpoolReader
from cycler_unit.station import BadStation, Station
from cycler_unit.stations import Kept, StationFolder
from mqtt_link import Address, Link
from wire.messages import StationBeat

logger = logging.getLogger("cycler_unit")

# Connected this long without an answer to a heartbeat: no manager knows this unit (any more); ask again.
UNKNOWN_S = 20.0
# What an acknowledgement leads to (a user at the broker, an answered heartbeat) takes a moment: wire.md's 10 s.
AGAIN_S = 10.0
# The user that units share until they are approved (wire.md); afterwards each has its own.
SHARED_USER = "enrol"
# A station that is changed waits so long for the record of what it ran until then.
COMMIT_S = 5.0


class Control(msgspec.Struct, kw_only=True):
    """How a program on this computer reaches the running unit; kept 0600."""

    port: int
    secret: str


class Agent:
    """The running unit."""

    def __init__(self, settings: Config, buses: Buses) -> None:
        self.config = settings
        self.spool = Spool(settings.folder / "spool.sqlite3")
        self.devices = Devices(
            list(settings.links), buses, discover=settings.discover, file=settings.folder / "kinds.json"
        )
        self.clock = ServerClock()
        self.hub = Hub(
            settings, self.spool, self.devices, StationFolder(settings.folder / "stations"), buses=buses
        )
        self.session: Session | None = None
        self.restarting = False
        """Whether the end that was asked for is to be followed by a start."""
        self._stations: dict[str, Station] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._servers: list[Loopback] = []
        self._token = config.secret(settings.token, settings.token_file, "token_file")
        self._password = config.secret(
            settings.mqtt.password, settings.mqtt.password_file, "mqtt.password_file"
        )

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start in the order that safety asks for.

        1. the spool, to know what ran; 2. each station opens its device, off first; 3. all other links
        are searched, off first; 4. the world outside.
        """
        self.identity_file = IdentityFile(self.config.folder / "identity.json")
        self.identity = self.identity_file.load(self.config.hardware_id)
        self.spool.start()
        self._start_stations()
        self.hub.changed = self._changed
        self.hub.devices_changed = self._publish_devices
        self.hub.restart = self._restart
        self.hub.heard_within = self.clock.heard_within
        self.dispatcher = Dispatcher(self.hub, self, self._publish_devices)
        self._serve()
        self._begin(self._scan, "scan")
        self._begin(self._connect, "connect")
        self._begin(self._watch_clock, "clock")
        logger.info("event=started unit=%s version=%s stations=%d", self.identity.unit, __version__, len(self._stations))  # fmt: skip

    def wait(self) -> None:
        """Wait until somebody asks for the end."""
        while not self._stopping.wait(3600.0):
            pass

    def _restart(self) -> None:
        self.restarting = True
        self.ask_to_stop()

    def ask_to_stop(self) -> None:
        """Ask for the end; returns at once."""
        self._stopping.set()

    def stop(self) -> None:
        """Switch everything off, keep what runs for the next start, say goodbye."""
        self._stopping.set()
        for station in self.all():
            station.mail.wake()
        stopping = [threading.Thread(target=station.stop) for station in self.all()]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        for thread in self._threads:
            thread.join(5.0)
        if self.session is not None:
            self.session.stop()
        self.dispatcher.stop()
        for server in self._servers:
            server.stop()
        (self.config.folder / "control.json").unlink(missing_ok=True)
        self.spool.stop()
        self.hub.buses.stop()
        logger.info("event=stopped")

    def _begin(self, work: object, name: str) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)

    # --- stations -------------------------------------------------------------------------------

    def _start_stations(self) -> None:
        reader = SpoolReader(self.spool.path)
        pending = {run.station: run for run in reader.runs()}
        reader.close()
        for kept in self.hub.folder.load():
            try:
                station = Station(kept, self.hub, pending.pop(kept.configure.station, None))
            except BadStation as error:
                logger.error("event=station_bad station=%s reason='%s'", kept.configure.station, error)
                continue
            self._stations[station.id] = station
            station.start()
        for run in pending.values():
            logger.error(
                "event=experiment_without_station experiment=%s station=%s", run.experiment, run.station
            )

    def get(self, station: str) -> Station | None:
        """Return a station, None when the unit does not have it."""
        return self._stations.get(station)

    def all(self) -> list[Station]:
        """Return all stations."""
        return list(self._stations.values())

    def put(self, kept: Kept) -> None:
        """Make or replace a station; raises ``BadStation``."""
        before = self._stations.get(kept.configure.station)
        station = Station(kept, self.hub)  # refused before anything of the old one is touched
        if before is not None:
            self._end(before)
            self.devices.hold(station.link)
            # What came to the old one until its end: a latch, a battery, a test that had just begun.
            kept.latches = before.kept.latches
            if kept.battery != before.kept.battery:
                kept.battery = before.kept.battery
                loaded.watch_again(station)
        else:
            latches.carry_over(station)
            loaded.watch_again(station)
        station.conductor.pending = self._unfinished(station.id)
        self.hub.folder.save(kept)
        self._stations[station.id] = station
        station.start()

    def remove(self, station: str) -> None:
        """Stop and forget a station."""
        found = self._stations.get(station)
        if found is not None:
            self._end(found)
            del self._stations[station]
        self.hub.folder.remove(station)

    @staticmethod
    def _end(station: Station) -> None:
        """Stop a station; one whose thread hangs keeps its devices. Raises ``BadStation``."""
        station.stop()
        if station.is_alive():
            raise BadStation("it hangs with one of its devices and cannot be stopped; restart the unit")

    def _unfinished(self, station: str) -> StoredRun | None:
        """Return the test of a station that its record says is running."""
        self.spool.commit(COMMIT_S)
        reader = SpoolReader(self.spool.path)
        try:
            return next((run for run in reader.runs() if run.station == station), None)
        finally:
            reader.close()

    def beats(self) -> list[StationBeat]:
        """Return all stations' part of a heartbeat."""
        return [station.beat() for station in self.all()]

    # --- the world outside ----------------------------------------------------------------------

    def _scan(self) -> None:
        self.devices.scan(make_safe=True)
        self._publish_devices()
        self.dispatcher.begin_readings()

    def _changed(self) -> None:
        if self.session is not None:
            self.session.pulse.soon()

    def _publish_devices(self) -> None:
        if self.session is not None:
            self.session.publish_devices()

    def _connect(self) -> None:
        """Register if the unit is not known yet, then hold the session; register again when nobody answers."""
        while not self._stopping.is_set():
            if self.identity.unit is None:
                self._register()
                continue
            if self.session is None:
                self.session = self._make_session(self.identity.unit)
                self.session.start()
            if self._shut_out():
                # The broker does not know our own user (any more): ask for it again by the shared one.
                self._register_again(lambda: self.session is not None and self.session.link.connected)
            elif self._known():
                self._stopping.wait(1.0)
            else:
                # By a connection of its own: an approved unit's user may not speak on the topics of enrolment.
                logger.warning("event=unknown_to_managers unit=%s", self.identity.unit)
                self._register_again(self._answered)

    def _known(self) -> bool:
        assert self.session is not None
        connected_s = time.monotonic() - self.session.arrived_at
        return (
            not self.session.link.connected or connected_s < UNKNOWN_S or self.clock.heard_within(UNKNOWN_S)
        )

    def _shut_out(self) -> bool:
        assert self.session is not None
        shared = (self.config.mqtt.user or Address.parse(self.config.mqtt.url).user) == SHARED_USER
        return (
            shared and not self.session.link.connected and time.monotonic() - self.session.gone_at > UNKNOWN_S
        )

    def _answered(self) -> bool:
        return self.clock.heard_within(UNKNOWN_S)

    def _register_again(self, enough: Callable[[], bool]) -> None:
        self._register(enough)
        if self.session is not None:  # still the same one: neither broker nor manager is stormed
            self._stopping.wait(AGAIN_S)

    def _register(self, enough: Callable[[], bool] = lambda: False) -> None:
        link = Link(self._url(None), f"cellyard-enrol-{self.identity.hardware_id}", ca=self.config.mqtt.ca)
        link.start()
        enrolment = Enrolment(
            link, self.config.prefix, self.identity, __version__, self._token, self.config.name
        )
        try:
            self._remember(enrolment.run(lambda: self._stopping.is_set() or enough()))
        finally:
            link.stop()

    def _remember(self, unit: str | None) -> None:
        if unit is None or unit == self.identity.unit:
            return
        moved = self.identity.unit is not None
        self.identity.unit = unit
        self.identity_file.save(self.identity)
        logger.info("event=registered unit=%s", unit)
        if self.session is not None:
            self.session.stop()
            self.session = None
        if moved:
            self._leave_stations()

    def _leave_stations(self) -> None:
        """Forget the stations of a site that knows this unit no more: nobody could retire them.

        Only what is calm and off; what runs, is held, tripped or not confirmed off keeps its devices.
        """
        for station in self.all():
            busy = station.busy or station.conductor.experiment is not None
            if busy or station.latched or station.unsafe is not None:
                logger.error(
                    "event=station_of_another_site station=%s name=%r",
                    station.id,
                    station.kept.configure.name,
                )
                continue
            try:
                self.remove(station.id)
            except BadStation as error:
                logger.error("event=station_not_removed station=%s reason='%s'", station.id, error)
                continue
            logger.warning("event=station_left station=%s name=%r", station.id, station.kept.configure.name)

    def _make_session(self, unit: str) -> Session:
        def make_link(here: Here) -> Link:
            return Link(self._url(unit), f"cellyard-unit-{unit}", will=here.will, ca=self.config.mqtt.ca)

        return Session(
            make_link, self.config.prefix, unit, spool=self.spool, devices=self.devices, clock=self.clock,
            doer=self.dispatcher, beats=self.beats, folder=self.config.folder,
        )  # fmt: skip

    def _url(self, unit: str | None) -> str:
        """Return the broker's address with the user that fits: the shared one, or after approval our own."""
        mqtt = self.config.mqtt
        address = Address.parse(mqtt.url)
        user, password = mqtt.user or address.user, self._password or address.password
        if unit is not None and user == SHARED_USER:
            user, password = unit, self.identity.password
        if user is None:
            return mqtt.url
        scheme = "mqtts" if address.tls else "mqtt"
        return f"{scheme}://{quote(user, safe='')}:{quote(password or '', safe='')}@{address.host}:{address.port}"

    def _watch_clock(self) -> None:
        watch = JumpWatch()
        while not self._stopping.wait(1.0):
            jump_s = watch.jump_s()
            if jump_s:
                logger.warning("event=clock_jump seconds=%.3f", jump_s)
                text = f"the clock of the unit jumped by {jump_s:+.3f} s"
                event = {"at": iso(time.time()), "kind": "note", "text": text, "detail": {"jump_s": jump_s}}
                self.spool.put(Entry(events=[event]))
                for station in self.all():
                    station.conductor.clock_jumped()

    # --- this computer --------------------------------------------------------------------------

    def _serve(self) -> None:
        """Serve health and metrics if wanted, and stop all always."""
        reads = {("GET", "/healthz"): self._health, ("GET", "/metrics"): self._metrics}
        if self.config.http_port:
            try:
                self._servers.append(Loopback(self.config.http_port, reads))
            except OSError as error:
                raise OSError(f"http_port {self.config.http_port}: {error.strerror}") from None
        secret = secrets.token_urlsafe(24)
        control = Loopback(0, {**reads, ("POST", "/stop-all"): self._stop_all}, secret)
        self._servers.append(control)
        for server in self._servers:
            server.start()
        body = msgspec.json.encode(Control(port=control.port, secret=secret))
        disk.write(self.config.folder / "control.json", body, mode=0o600)

    def _health(self) -> Answer:
        dead = [station.kept.configure.name for station in self.all() if not station.is_alive()]
        problems = [f"station {name} does not run" for name in dead]
        if self.spool.failing:
            problems.append(f"spool: {self.spool.failing}")
        body = msgspec.json.encode({"healthy": not problems, "problems": problems}).decode()
        return (503 if problems else 200), "application/json", body

    def _metrics(self) -> Answer:
        return 200, "text/plain; version=0.0.4", metrics.text(self)

    def _stop_all(self) -> Answer:
        told: list[tuple[str, object, str | None]] = []
        done = threading.Event()

        def answer(outcome: str, result: object, why: str | None) -> None:
            told.append((outcome, result, why))
            done.set()

        self.dispatcher.stop_all(
            self.all(), "stop all from the unit's own command line", "command line", answer
        )
        if not done.wait(25.0):
            return 503, "application/json", '{"outcome": "failed", "reason": "the stations do not answer"}'
        outcome, result, why = told[0]
        names = {station.id: station.kept.configure.name for station in self.all()}
        body = {"outcome": outcome, "result": result, "reason": why, "names": names}
        return 200, "application/json", msgspec.json.encode(body).decode()


def control_of(folder: Path) -> Control | None:
    """Return how to reach the unit that runs in this state folder, None when none does."""
    return disk.read(folder / "control.json", Control)
