"""Bring each command to the part that does it: a station's mailbox, or the unit itself."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from cycler_unit.buses.protocol import bus_key
from cycler_unit.commands import Answer
from cycler_unit.configuring import Configuring, Stations
from cycler_unit.console import Console
from cycler_unit.contract import Refusal
from cycler_unit.detecting import Detecting
from cycler_unit.free import Free
from cycler_unit.gather import Gather
from cycler_unit.hands import Hands, guarded
from cycler_unit.hub import Hub
from cycler_unit.idle_readings import IdleReadings, Periods
from cycler_unit.mail import Ask, Outcome
from cycler_unit.manual import Manual
from cycler_unit.spool_reader import SpoolReader
from cycler_unit.station import Station
from cycler_unit.this_unit import ThisUnit
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


Works = queue.SimpleQueue[Callable[[], None] | None]


class Dispatcher:
    """Act on commands; quick ones at once, slow ones (detect, configure) one after the other.

    The console and manual control have threads of their own: nobody's listening holds up a stop.
    """

    def __init__(self, hub: Hub, stations: Stations, publish_devices: Callable[[], None]) -> None:
        self._hub, self._stations = hub, stations
        self._reader: SpoolReader | None = None
        self._slow: Works = queue.SimpleQueue()
        # A detection takes long; a station that is configured meanwhile does not wait for it.
        self._scans: Works = queue.SimpleQueue()
        free = Free(hub.devices)
        self._free = free
        self.manual = Manual(hub.devices, free, hub.spool)
        self.hands = Hands(self.manual, stations)
        self.console = Console(hub.devices, hub.buses, self.running)
        self.configuring = Configuring(hub, stations)
        self._detecting = Detecting(hub, free, self.manual, publish_devices)
        periods = Periods(hub.config.folder / "readings.json", hub.config.record_every_s)
        self.readings = IdleReadings(
            hub.devices, free, hub.spool, periods, stations.all, self.manual.in_hand, publish_devices
        )
        self._this_unit = ThisUnit(hub, self.running, periods, self.readings)
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
                self._slow.put(lambda: guarded(lambda: self.configuring.configure(args, answer), answer))
            case Detect():
                self._scans.put(
                    lambda: guarded(lambda: self._detecting.detect(command.id, args, answer), answer)
                )
            case DeviceRead() | DeviceLease() | DeviceSet() | DeviceOff():
                self.hands.do(args, answer)
            case ScpiMessage() | CanSend() | CanListen():
                self.console.do(command.kind, args, answer)
            case UnitLog():
                self._this_unit.log(args, answer)
            case UnitReadings():
                self._this_unit.keep_periods(args, answer)
            case UnitRestart():
                self._this_unit.restart(args, answer)
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

    # --- what runs --------------------------------------------------------------------------------

    def running(self) -> dict[str, str]:
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


def _work(works: Works) -> None:
    while (work := works.get()) is not None:
        try:
            work()
        except Exception:
            # The one broad except of this thread.
            logger.exception("event=slow_command_failed")
