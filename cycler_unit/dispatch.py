"""Bring each command to the part that does it: a station's mailbox, or the unit itself."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from cycler_unit import logs
from cycler_unit.buses.protocol import bus_key, device_key
from cycler_unit.clock import iso
from cycler_unit.commands import Answer
from cycler_unit.console import Console
from cycler_unit.contract import Refusal
from cycler_unit.detection import name_of
from cycler_unit.free import Free
from cycler_unit.hands import Hands, guarded
from cycler_unit.hub import Hub
from cycler_unit.idle_readings import IdleReadings, Periods
from cycler_unit.mail import Ask, Outcome
from cycler_unit.manual import Manual
from cycler_unit.spool import Entry
from cycler_unit.spool_reader import SpoolReader
from cycler_unit.station import BadStation, Station
from cycler_unit.stations import Kept
from wire.messages import (
    CanListen,
    CanSend,
    Command,
    Detect,
    DeviceLease,
    DeviceOff,
    DeviceRead,
    DeviceSet,
    ExperimentRef,
    ExperimentStart,
    ExperimentStop,
    Message,
    ScpiMessage,
    StationAcknowledge,
    StationBattery,
    StationConfigure,
    StationDevice,
    StationDrill,
    StationStopAll,
    UnitLog,
    UnitReadings,
    UnitRestart,
)

logger = logging.getLogger("cycler_unit.dispatch")

_ASKS = {
    "experiment.pause": "pause",
    "experiment.resume": "resume",
    "experiment.skip_step": "skip_step",
    "experiment.stop": "stop",
}


# A detection tells how far it is so often.
PROGRESS_S = 0.5
# The reply to a restart gets this long to reach the broker.
RESTART_S = 0.5


Works = queue.SimpleQueue[Callable[[], None] | None]


class Stations(Protocol):
    """The unit's stations by UUID."""

    def get(self, station: str) -> Station | None:
        """Return a station, None when the unit does not have it."""

    def all(self) -> list[Station]:
        """Return all stations."""

    def put(self, kept: Kept) -> None:
        """Make or replace a station; raises :class:`BadStation`."""

    def remove(self, station: str) -> None:
        """Stop and forget a station."""


class Dispatcher:
    """Act on commands; quick ones at once, slow ones (detect, configure) one after the other.

    The console and manual control have threads of their own: nobody's listening holds up a stop.
    """

    def __init__(self, hub: Hub, stations: Stations, publish_devices: Callable[[], None]) -> None:
        self._hub, self._stations, self._publish_devices = hub, stations, publish_devices
        self._reader: SpoolReader | None = None
        self._slow: Works = queue.SimpleQueue()
        # A detection takes long; a station that is configured meanwhile does not wait for it.
        self._scans: Works = queue.SimpleQueue()
        free = Free(hub.devices)
        self._free = free
        self.manual = Manual(hub.devices, free, hub.spool)
        self.hands = Hands(self.manual, stations)
        self.console = Console(hub.devices, hub.buses, self._running)
        self._periods = Periods(hub.config.folder / "readings.json", hub.config.record_every_s)
        self.readings = IdleReadings(
            hub.devices, free, hub.spool, self._periods, stations.all, self.manual.in_hand, publish_devices
        )
        self._threads = [
            threading.Thread(target=_work, args=(works,), name=name, daemon=True)
            for name, works in (("slow-commands", self._slow), ("detections", self._scans))
        ]
        for thread in self._threads:
            thread.start()

    def begin_readings(self) -> None:
        """Record devices that run no experiment, from now on."""
        self.readings.start()

    def stop(self) -> None:
        """End all threads; what people hold is made safe, devices in no station are closed."""
        for works in (self._slow, self._scans):
            works.put(None)
        self.readings.stop()
        self.hands.stop()
        self.console.stop()
        self.manual.stop()
        self._free.stop()
        for thread in self._threads:
            thread.join(15.0)

    def do(self, command: Command, args: Message, answer: Answer) -> None:
        """Act, and call ``answer`` exactly once, now or later; raises :class:`Refusal`."""
        match args:
            case ExperimentStart():
                self._start(args, answer)
            case ExperimentStop():
                self._stop(args, answer)
            case ExperimentRef():
                self._station_of(args.experiment).mail.put(Ask(_ASKS[command.kind], args, answer))
            case StationAcknowledge():
                self._known(args.station).mail.put(Ask("acknowledge", args, answer))
            case StationBattery():
                self._known(args.station).mail.put(Ask("battery", args, answer))
            case StationDrill():
                self._known(args.station).mail.put(Ask("drill", args, answer))
            case StationStopAll():
                self._stop_all(args, command.issued_by, answer)
            case StationConfigure():
                self._slow.put(lambda: guarded(lambda: self._configure(args, answer), answer))
            case Detect():
                self._scans.put(lambda: guarded(lambda: self._detect(command.id, args, answer), answer))
            case DeviceRead() | DeviceLease() | DeviceSet() | DeviceOff():
                self.hands.do(args, answer)
            case ScpiMessage() | CanSend() | CanListen():
                self.console.do(command.kind, args, answer)
            case UnitLog():
                self._log(args, answer)
            case UnitReadings():
                self._keep_periods(args, answer)
            case UnitRestart():
                self._restart(args, answer)
            case _:
                raise Refusal(f"this unit does not do {command.kind!r}")

    # --- experiments ----------------------------------------------------------------------------

    def _known(self, station: str) -> Station:
        found = self._stations.get(station)
        if found is None:
            raise Refusal("this unit does not have that station (yet)")
        return found

    def _station_of(self, experiment: str) -> Station:
        for station in self._stations.all():
            if station.conductor.experiment == experiment:
                return station
        raise Refusal("this experiment does not run on this unit")

    def _ended(self, experiment: str) -> bool:
        if self._reader is None:
            self._reader = SpoolReader(self._hub.spool.path)
        return self._reader.has_ended(experiment)

    def _start(self, args: ExperimentStart, answer: Answer) -> None:
        if self._ended(args.experiment):
            raise Refusal("this experiment was here before and has ended")
        for other in self._stations.all():
            # The database holds it in one experiment (rule 12), and the unit again.
            if other.id != args.station and other.conductor.battery == args.battery.battery:
                raise Refusal(f"{args.battery.name} is in a test on {other.kept.configure.name}")
        self._known(args.station).mail.put(Ask("start", args, answer))

    def _stop(self, args: ExperimentStop, answer: Answer) -> None:
        try:
            station = self._station_of(args.experiment)
        except Refusal:
            if self._ended(args.experiment):
                answer("done", {"ended": True}, None)
                return
            self._stop_before(args, answer)
            return
        station.mail.put(Ask("stop", args, answer, urgent=True))

    def _stop_before(self, args: ExperimentStop, answer: Answer) -> None:
        """Take a stop of an experiment that is not here: its start may still be on its way."""
        stations = self._stations.all()
        if not stations:
            raise Refusal("this unit has no stations")
        gather = Gather(len(stations), lambda told: answer("done", told[0][1], None))
        for station in stations:
            station.mail.put(Ask("stop", args, gather.reply(station.id), urgent=True))

    def _stop_all(self, args: StationStopAll, person: str, answer: Answer) -> None:
        wanted = [self._known(each) for each in args.stations] if args.stations else self._stations.all()
        self.stop_all(wanted, "stop all", person, answer, hands=not args.stations)

    def stop_all(
        self, wanted: list[Station], reason: str, person: str, answer: Answer, *, hands: bool = True
    ) -> None:
        """Switch stations off and end their tests; with ``hands`` what people hold is made safe too.

        Answers when all have said how it went.
        """
        keys = [*(station.id for station in wanted), *(["hands"] if hands else [])]
        if not keys:
            answer("done", {"stations": {}}, None)
            return
        names = {station.id: station.kept.configure.name for station in wanted}

        def told(results: list[tuple[Outcome, dict[str, Any] | None, str | None]]) -> None:
            by_key = dict(zip(keys, results, strict=True))
            why = "; ".join(
                f"{names.get(key, 'by hand')}: {text}"
                for key, (outcome, _, text) in by_key.items()
                if outcome != "done"
            )
            stations = {key: by_key[key][1] or {} for key in names}
            answer("failed" if why else "done", {"stations": stations}, why or None)

        gather = Gather(len(keys), told, keys)
        for station in wanted:
            station.mail.put(Ask("stop_all", (reason, person), gather.reply(station.id), urgent=True))
        if hands:
            self.hands.all_off(reason, gather.reply("hands"))

    # --- the unit itself ------------------------------------------------------------------------

    def _configure(self, args: StationConfigure, answer: Answer) -> None:
        """Apply a station's whole configuration, only while no test has it; latches stay."""
        station = self._stations.get(args.station)
        if station is not None and station.conductor.experiment is not None:
            answer("refused", None, "the station runs an experiment; it is changed when it is idle")
            return
        if station is not None and station.by_hand.lease is not None:
            answer("refused", None, f"{station.by_hand.lease.person} controls the station by hand")
            return
        if station is not None and station.unsafe is not None and station.power.output_on:
            # A station made anew would not know any more what may still be on.
            answer("refused", None, f"the station is not confirmed off: {station.unsafe}")
            return
        if args.retired:
            try:
                self._stations.remove(args.station)
            except BadStation as error:
                answer("failed", None, f"the station cannot be removed: {error}")
                return
            answer("done", {"version": args.version, "retired": True}, None)
            return
        if station is not None and station.kept.configure == args:
            answer("done", {"version": args.version}, None)
            return
        own = [kind for each in args.devices if (kind := getattr(each, "kind", None))]
        for problem in self._hub.devices.learn(own):
            logger.warning("event=kind_refused reason='%s'", problem)
        shared = self._shared(args)
        if shared is not None:
            answer("refused", None, shared)
            return
        try:
            kept = msgspec.structs.replace(station.kept, configure=args) if station else Kept(configure=args)
            self._stations.put(kept)
        except (BadStation, ValueError, OSError) as error:
            answer("refused", None, f"the station cannot be built: {error}")
            return
        answer("done", {"version": args.version}, None)
        self._hub.changed()

    def _shared(self, args: StationConfigure) -> str | None:
        """Say which device another station has already (rule 12: one device in one station)."""
        zone = args.zone.devices if args.zone is not None else []
        wanted, guards = {_who(each) for each in args.devices}, {_who(each) for each in zone}
        if both := wanted & guards:
            return f"device {' '.join(both.pop())} guards the zone: opening it there would switch it here"
        for other in self._stations.all():
            if other.id == args.station:
                continue
            configure = other.kept.configure
            for each in configure.devices:
                if _who(each) in wanted | guards:
                    return f"device {each.model} {each.serial_number} belongs to {configure.name}"
            for each in configure.zone.devices if configure.zone is not None else []:
                if _who(each) in wanted:
                    return f"device {each.model} {each.serial_number} guards the zone of {configure.name}"
        return None

    # --- detection ------------------------------------------------------------------------------

    def _detect(self, command: str, args: Detect, answer: Answer) -> None:
        problems = self._hub.devices.learn(args.kinds)
        unknown = [name for name in args.links if self._hub.devices.bus_named(name) is None]
        if unknown:
            answer("refused", None, f"this unit has no link {unknown[0]!r}")
            return
        self._free.rest(self.manual.in_hand())
        report = self._hub.devices.scan(
            make_safe=False, say=Progress(self._hub, command).say, only=args.links
        )
        self._publish_devices()
        places = [
            {
                "link": name_of(each.link),
                "outcome": each.outcome,
                "found": len(each.seen),
                "reason": each.reason,
            }
            for each in self._hub.devices.last
        ]
        found = [msgspec.to_builtins(each) for each in report.devices]
        answer(
            "done",
            {"devices": len(found), "links": places, "devices_found": found, "problems": problems},
            None,
        )

    # --- the unit itself: its log, its periods, its end ------------------------------------------

    def _running(self) -> dict[str, str]:
        """Return which buses have a device that runs, and who runs there (wire.md)."""
        found = dict.fromkeys(self.manual.buses(), "somebody's manual control")
        for station in self._stations.all():
            experiment = station.conductor.experiment is not None
            if not experiment and station.state not in ("running", "paused", "manual"):
                continue
            configure = station.kept.configure
            who = f"{configure.name} ({'a test' if experiment else 'manual control'})"
            zone = configure.zone.devices if configure.zone else []
            for device in [*configure.devices, *zone]:
                found[bus_key(self._hub.devices.link_of(device))] = who
        return found

    def _log(self, args: UnitLog, answer: Answer) -> None:
        if args.level is not None:
            try:
                logs.set_levels(args.level)
            except logs.BadLogSetting as error:
                raise Refusal(str(error)) from None
        answer("done", {"lines": logs.recent.last(args.lines), "levels": logs.levels()}, None)

    def _keep_periods(self, args: UnitReadings, answer: Answer) -> None:
        for each in args.periods:
            if each.every_s is not None and not 0.5 <= each.every_s <= 86400.0:
                raise Refusal(f"a period is 0.5 to 86400 s, not {each.every_s:g}")
        try:
            self._periods.take(args.periods)
        except OSError as error:
            answer("failed", None, f"the periods cannot be kept: {error}")
            return
        self.readings.look_anew()
        answer("done", {"periods": len(args.periods)}, None)

    def _restart(self, args: UnitRestart, answer: Answer) -> None:
        running = sorted(set(self._running().values()))
        if running and not args.force:
            raise Refusal(f"{', '.join(running)} runs; force it, and what runs is switched off first")
        logger.warning("event=restart_asked by=%s force=%s", args.person, args.force)
        answer("done", {"restarting": True}, None)
        timer = threading.Timer(RESTART_S, self._hub.restart)
        timer.daemon = True
        timer.start()


def _who(device: StationDevice) -> tuple[str, str]:
    """Return what tells a device from others: model and serial number, or model and place."""
    return device.model, device.serial_number or device_key(device.link)


def _work(works: Works) -> None:
    while (work := works.get()) is not None:
        try:
            work()
        except Exception:
            # The one broad except of this thread.
            logger.exception("event=slow_command_failed")


class Progress:
    """Tells how far a long command is, as events, not too often."""

    def __init__(self, hub: Hub, command: str) -> None:
        self._hub, self._command = hub, command
        self._told_s = 0.0

    def say(self, done: int, of: int, text: str) -> None:
        """Put a progress event into the spool, when one is due or this is the end."""
        now = time.monotonic()
        if now - self._told_s < PROGRESS_S and done < of:
            return
        self._told_s = now
        detail = {"command": self._command, "done": done, "of": of, "text": text}
        event = {"at": iso(time.time()), "kind": "progress", "text": text, "detail": detail}
        self._hub.spool.put(Entry(events=[event]), force=True)


class Gather:
    """Collect one answer from each of several stations, then tell once."""

    def __init__(self, count: int, told: Callable[[list[Any]], None], order: list[str] | None = None) -> None:
        self._left, self._told, self._order = count, told, order
        self._answers: dict[str, Any] = {}
        self._lock = threading.Lock()

    def reply(self, key: str) -> Answer:
        """Return what the station ``key`` is to call."""

        def answer(outcome: Outcome, result: dict[str, Any] | None, why: str | None) -> None:
            with self._lock:
                self._answers[key] = (outcome, result, why)
                self._left -= 1
                done = self._left == 0
            if done:
                keys = self._order or list(self._answers)
                self._told([self._answers[each] for each in keys])

        return answer
