"""One real process of a test: its log in a file, ended for certain."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .waiting import until

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A command in a process group of its own; restartable under the same name.

    ``env`` is added to the test's own environment, from which every ``CELLYARD_*`` setting was
    taken out first: a process of a test gets only what the test says.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log = log
        self.cwd = cwd
        kept = {key: text for key, text in os.environ.items() if not key.startswith(("CELLYARD_", "PYTEST_"))}
        self.env = kept | {"PYTHONUNBUFFERED": "1"} | dict(env or {})
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self) -> Process:
        """Start the process and return at once; its output is appended to the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.cwd,
                env=self.env,
                start_new_session=True,
            )
        return self

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self.popen is not None and self.popen.poll() is None

    @property
    def pid(self) -> int:
        """The number of the running process."""
        assert self.popen is not None, f"{self.name} was not started"
        return self.popen.pid

    def output(self) -> str:
        """Return everything the process has written so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def says(self, text: str, timeout_s: float = 20.0) -> None:
        """Wait until the log holds ``text``; fail with the log's end when the process ends first."""

        def said() -> bool:
            if text in self.output():
                return True
            assert self.running, f"{self.name} ended: {self.output()[-3000:]}"
            return False

        until(said, timeout_s, f"{self.name} says {text!r}; its log ends: {self.output()[-2000:]}")

    def stop(self, timeout_s: float = 10.0) -> int | None:
        """End the process and all it started (terminate, then kill); safe twice. Return its exit code."""
        if self.popen is None:
            return None
        if self.popen.poll() is None:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(timeout_s)
        self.kill()
        return self.popen.returncode

    def kill(self) -> None:
        """Kill the process and all it started, as a power cut would; safe twice."""
        if self.popen is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(10)
