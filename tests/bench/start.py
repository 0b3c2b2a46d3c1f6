"""From `make up` to the first sample on the page: the first start, and the second with its data there.

What the page shows is what its event stream tells, so a logged-in client of that stream stands for
the browser. The dependencies are installed: `make` itself then only runs ``python -m devops.up``.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx

from tests.stack.up import Up
from tests.stack.waiting import until

from .figures import Figure
from .stream import messages

# api.md: from nothing to the first sample on the page.
FIRST_S, SECOND_S = 60.0, 10.0


def measure(folder: Path) -> list[Figure]:
    """Start twice in a fresh state folder; the second time the first experiment has ended."""
    up = Timed(folder)
    try:
        page_s, sample_s = up.timed()
        up.end_test()
        up.interrupt()
        second_page_s, second_s = up.timed()
        up.interrupt()
    finally:
        up.end()
    return [
        Figure("first start to the page", page_s, "s"),
        Figure("first start to the first sample", sample_s, "s", FIRST_S, "of the experiment First run"),
        Figure("second start to the page", second_page_s, "s"),
        Figure("second start to the first reading", second_s, "s", SECOND_S, "on a tile of the Monitor page"),
    ]


class Timed(Up):
    """`make up` that tells how long its start took."""

    def timed(self) -> tuple[float, float]:
        """Start; return the seconds until the page answered, and until it showed a sample or reading."""
        before = self.state.exists()
        self.process = self.another()
        began_s = time.monotonic()
        self.process.start()
        until(self._answers, 120, f"the page answers; {self.process.output()[-2000:]}")
        page_s = time.monotonic() - began_s
        for kind, body in messages(self.address, str(self.api.client.headers["Authorization"])):
            if self._shows(kind, body, reading_suffices=before):
                break
        return page_s, time.monotonic() - began_s

    @staticmethod
    def _shows(kind: str, body: Any, *, reading_suffices: bool) -> bool:
        """Tell whether this message puts a measured value of this start on the page."""
        if kind == "sample":
            return True
        return reading_suffices and kind == "station" and body["state"] != "offline" and bool(body["reading"])

    def _answers(self) -> bool:
        if not self.process.running:
            raise RuntimeError(self.process.output()[-2000:])
        return httpx.get(f"{self.address}/login/", follow_redirects=True).is_success

    def end_test(self) -> None:
        """Stop the first experiment, so that nothing is held at the next start."""
        api = self.api
        run = api.get("experiments/")["results"][0]
        api.post(f"experiments/{run['id']}/stop/?wait=10", how="now")
        until(lambda: api.get(f"experiments/{run['id']}/")["status"] == "stopped", 20, "it is stopped")

    def interrupt(self) -> None:
        """End it as Ctrl-C does."""
        os.kill(self.process.pid, signal.SIGINT)
        until(lambda: not self.process.running, 30, "everything ended")
