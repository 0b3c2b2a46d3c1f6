"""Broker, simulators, manager and unit of one test of the unit's processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import psutil

from cycler_unit.owner.leftovers import Kept
from tests.cycler_unit.bench import CHARGE, profile, start_message
from tests.cycler_unit.manager import Manager
from tests.cycler_unit.unit_process import HARDWARE_ID, Unit, station_message
from tests.stack.brokers import Broker
from tests.stack.simulated import Simulators
from tests.stack.waiting import until
from wire.messages import ExperimentStart, StationConfigure


class Lab:
    """Broker, simulators, manager and unit of one test."""

    def __init__(self, folder: Path, broker: Broker, simulators: Simulators, **settings: Any) -> None:
        self.broker, self.simulators = broker, simulators
        self.manager = Manager(broker.url("manager"), HARDWARE_ID).start()
        self.unit = Unit(folder / "unit", broker.url("bench"), simulators, **settings)
        self.station: StationConfigure = station_message(simulators)

    def up(self) -> Lab:
        """Start the unit and give it one station."""
        self.unit.start()
        self.manager.online()
        reply = self.manager.ask("station.configure", self.station)
        assert reply.outcome == "done", reply.reason
        until(lambda: self.manager.state(self.station.station) == "idle", 15, "the station is idle")
        return self

    def start(self, *steps: dict[str, Any], **more: Any) -> ExperimentStart:
        """Start a test."""
        message = start_message(self.station.station, profile(*(steps or (CHARGE,))), **more)
        reply = self.manager.ask("experiment.start", message)
        assert reply.outcome == "done", reply.reason
        return message

    def truth(self) -> dict[str, Any]:
        """Return what the first supply really does."""
        return self.simulators.ask(device="psb1", query="truth")

    def complete(self, experiment: str) -> None:
        """Wait until every sample to the last is stored, and check that none is doubled or changed."""
        until(lambda: self.manager.last_seq(experiment), 30, "the final status")
        last = self.manager.last_seq(experiment) or 0
        until(lambda: len(self.manager.seqs(experiment)) == last, 30, f"all {last} samples")
        assert self.manager.seqs(experiment) == list(range(1, last + 1))
        assert not self.manager.conflicts

    def process(self, name: str) -> psutil.Process:
        """Return one of the unit's processes: ``parent``, ``agent``, or the owner whose bus ends with ``name``."""
        body = (self.unit.folder / "state" / "processes.json").read_bytes()
        kept = msgspec.json.decode(body, type=list[Kept])
        found = [each for each in kept if each.name == name or each.name.endswith(name)]
        assert len(found) == 1, f"{name}: {kept}"
        return psutil.Process(found[0].pid)
