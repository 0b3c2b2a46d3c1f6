"""`make up` as a test runs it: real processes under the real supervisor."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil

from devops.up.processes import MARK

from .api import Api
from .process import Process
from .waiting import free_port, until

NAMES = ("broker", "manager", "simulators", "unit", "web")


class Up:
    """`make up` with a state folder and ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.web_port = free_port()
        self.address = f"http://127.0.0.1:{self.web_port}"
        self.env = {
            "CELLYARD_STATE_DIR": str(self.state),
            "CELLYARD_WEB_PORT": str(self.web_port),
            "CELLYARD_MQTT_PORT": str(free_port()),
        }
        self.logs = (folder / f"up-{number}.log" for number in itertools.count(1))
        self.process = self.another()

    def another(self, **env: str) -> Process:
        """Return one more supervisor with a log of its own, not yet started."""
        return Process("up", [sys.executable, "-m", "devops.up"], next(self.logs), self.env | env)

    def start(self) -> None:
        """Start and wait for the printed address and for all processes."""
        self.process.start()
        self.process.says("password:", 60)
        until(lambda: all(self.pid(name) for name in NAMES), 20, f"all run; {self.process.output()[-2000:]}")

    def pid(self, name: str) -> int:
        """Return the number in a process's pid file; 0 while there is none."""
        file = self.state / "run" / f"{name}.pid"
        return int(file.read_text()) if file.exists() else 0

    @functools.cached_property
    def api(self) -> Api:
        """The REST API with the administrator's token, which outlives a restart."""
        return Api(self.address, "admin", (self.state / "admin-password").read_text().strip())

    def first_sample(self, timeout_s: float) -> dict[str, Any]:
        """Wait until the first experiment has a sample in the database."""

        def there() -> Any:
            found = self.api.get("experiments/")["results"]
            samples = found and self.api.get(f"experiments/{found[0]['id']}/samples/", after=0, limit=1)
            return found[0] if samples and samples["columns"].get("seq") else None

        experiment: dict[str, Any] = until(there, timeout_s, "a first sample", every_s=0.2)
        return experiment

    def survivors(self) -> list[int]:
        """Return the processes of this state folder that still run."""
        return [process.pid for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == str(self.state) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def end(self) -> None:
        """Leave nothing behind."""
        self.process.stop(20)
        for pid in self.survivors():
            os.kill(pid, signal.SIGKILL)
