"""Bring each command to the part that does it: a station's mailbox, or the unit itself."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

from cycler_unit.commands import Answer
from cycler_unit.contract import Refusal
from cycler_unit.hub import Hub
from cycler_unit.mail import Ask, Outcome
from cycler_unit.spool_reader import SpoolReader
from cycler_unit.station import BadStation, Station
from cycler_unit.stations import Kept
from wire.messages import (
    Command,
    Detect,
    ExperimentRef,
    ExperimentStart,
    ExperimentStop,
    Message,
    StationAcknowledge,
    StationConfigure,
    StationStopAll,
)

logger = logging.getLogger("cycler_unit.dispatch")

_ASKS = {
    "experiment.pause": "pause",
    "experiment.resume": "resume",
    "experiment.skip_step": "skip_step",
    "experiment.stop": "stop",
}


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
    """Act on commands; quick ones at once, slow ones (detect, configure) one after the other."""

    def __init__(self, hub: Hub, stations: Stations, publish_devices: Callable[[], None]) -> None:
        self._hub, self._stations, self._publish_devices = hub, stations, publish_devices
        self._reader: SpoolReader | None = None
        self._slow: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="slow-commands", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread of slow commands."""
        self._slow.put(None)
        self._thread.join(15.0)

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
            case StationStopAll():
                self._stop_all(args, command.issued_by, answer)
            case StationConfigure():
                self._slow.put(lambda: self._configure(args, answer))
            case Detect():
                self._slow.put(lambda: self._detect(answer))
            case _:
                raise Refusal(f"this unit does not do {command.kind!r} yet")

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
        self.stop_all(wanted, "stop all", person, answer)

    def stop_all(self, wanted: list[Station], reason: str, person: str, answer: Answer) -> None:
        """Switch stations off and end their tests; answers when all have said how it went."""
        if not wanted:
            answer("done", {"stations": {}}, None)
            return

        def told(results: list[tuple[Outcome, dict[str, Any] | None, str | None]]) -> None:
            stations = {station.id: result[1] or {} for station, result in zip(wanted, results, strict=True)}
            why = "; ".join(
                f"{station.kept.configure.name}: {result[2]}"
                for station, result in zip(wanted, results, strict=True)
                if result[0] != "done"
            )
            answer("failed" if why else "done", {"stations": stations}, why or None)

        gather = Gather(len(wanted), told, [station.id for station in wanted])
        for station in wanted:
            station.mail.put(Ask("stop_all", (reason, person), gather.reply(station.id), urgent=True))

    # --- the unit itself ------------------------------------------------------------------------

    def _work(self) -> None:
        while (work := self._slow.get()) is not None:
            try:
                work()
            except Exception:
                # The one broad except of this thread.
                logger.exception("event=slow_command_failed")

    def _configure(self, args: StationConfigure, answer: Answer) -> None:
        """Apply a station's whole configuration, only while no test has it; latches stay."""
        station = self._stations.get(args.station)
        if station is not None and station.conductor.experiment is not None:
            answer("refused", None, "the station runs an experiment; it is changed when it is idle")
            return
        if args.retired:
            self._stations.remove(args.station)
            answer("done", {"version": args.version, "retired": True}, None)
            return
        if station is not None and station.kept.configure == args:
            answer("done", {"version": args.version}, None)
            return
        shared = self._shared(args)
        if shared is not None:
            answer("refused", None, shared)
            return
        try:
            self._stations.put(Kept(configure=args, latches=list(station.kept.latches) if station else []))
        except (BadStation, ValueError, OSError) as error:
            answer("refused", None, f"the station cannot be built: {error}")
            return
        answer("done", {"version": args.version}, None)
        self._hub.changed()

    def _shared(self, args: StationConfigure) -> str | None:
        """Say which device another station has already (rule 12: one device in one station)."""
        wanted = {(each.model, each.serial_number) for each in args.devices}
        for other in self._stations.all():
            if other.id == args.station:
                continue
            for each in other.kept.configure.devices:
                if (each.model, each.serial_number) in wanted:
                    return f"device {each.model} {each.serial_number} belongs to {other.kept.configure.name}"
        return None

    def _detect(self, answer: Answer) -> None:
        report = self._hub.devices.scan(make_safe=False)
        self._publish_devices()
        answer("done", {"devices": len(report.devices)}, None)


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
