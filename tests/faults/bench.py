"""One station with a battery in it, and what the tests of faults do with it."""

from __future__ import annotations

import itertools
from typing import Any

from tests.faults import whole
from tests.stack.api import Api
from tests.stack.cellyard import Cellyard
from tests.stack.process import Process
from tests.stack.waiting import until


class Bench:
    """A Cellyard with one station; ``broken`` may stop any part of ``lab``."""

    def __init__(self, lab: Cellyard) -> None:
        self.lab = lab
        self.station = self.battery = ""
        self._numbers = itertools.count(1)

    def start(self) -> Bench:
        """Start everything and compose the station."""
        self.lab.start()
        return self.furnish()

    def furnish(self) -> Bench:
        """Compose the station and load a battery, once unit and site are there."""
        self.station = self.lab.station()["id"]
        self.battery = self.lab.battery(station=self.station)["id"]
        return self

    @property
    def api(self) -> Api:
        """The REST API."""
        return self.lab.api

    def run(self, seconds: float, **more: Any) -> str:
        """File a test that rests shortly, then charges for so long; return it once samples are stored."""
        number = next(self._numbers)
        steps = [
            {"kind": "rest", "end": [{"quantity": "time_s", "value": 1}]},
            {"kind": "cc", "current_a": 0.1, "end": [{"quantity": "time_s", "value": seconds}]},
        ]
        profile = self.lab.profile(steps, f"profile {number}", record={"every_s": 0.2})
        filed = self.lab.file(self.battery, profile["id"], self.station, f"run {number}", **more)
        experiment = str(filed["id"])
        self.lab.experiment_is(experiment, "running")
        until(self.flows, 20, "current flows")
        whole.grows(self.api, experiment)
        return experiment

    def flows(self) -> bool:
        """Tell whether the simulated supply really drives current."""
        truth = self.lab.simulators.ask(device="psb1", query="truth")
        return bool(truth["output"]) and abs(truth["current_a"]) > 0.05

    def acknowledge(self) -> None:
        """Release every latch, and wait until the station may start something."""
        for alarm in self.api.all("alarms/", state="raised"):
            self.api.post(f"alarms/{alarm['id']}/acknowledge/?wait=10")
        until(lambda: not self.api.all("alarms/", state="raised"), 20, "all alarms are acknowledged")

    def lines(self, process: Process, text: str) -> list[str]:
        """Return the lines of a process's log that hold ``text``."""
        return [line for line in process.output().splitlines() if text in line]

    def no_traceback(self, *processes: Process) -> None:
        """Assert that none of them wrote a traceback."""
        for process in processes:
            assert "Traceback" not in process.output(), process.output()[-4000:]
