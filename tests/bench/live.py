"""From a sample's time at the unit to its event at a client of the event stream."""

from __future__ import annotations

import threading
import time

from tests.stack.cellyard import Cellyard

from .figures import Figure, spread
from .stream import messages

GOAL_S = 0.5


class Watcher(threading.Thread):
    """Follow one experiment's stream and note how old each sample is when it comes."""

    def __init__(self, lab: Cellyard, experiment: str) -> None:
        super().__init__(name="watcher", daemon=True)
        self.delays_s: list[float] = []
        self._lab, self._experiment = lab, experiment

    def run(self) -> None:
        """Listen until the process ends."""
        authorization = str(self._lab.api.client.headers["Authorization"])
        for kind, body in messages(self._lab.address, authorization, experiment=self._experiment):
            if kind == "sample":
                now_s = time.time()
                self.delays_s += [now_s - time_us / 1e6 for time_us in body["columns"]["time_us"]]

    def figures(self) -> list[Figure]:
        """Return the delay of all samples so far."""
        return spread("live delay", self.delays_s, GOAL_S, "10 samples a second, unit to event stream")
