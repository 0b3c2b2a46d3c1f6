"""The two brokers of the tests: the embedded one and a private Mosquitto, with the same users."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from devops.broker import USERS, passwords

from .process import ROOT, Process
from .waiting import free_port, listens, until


class Broker:
    """A broker with the users manager, bench and enrol; ``url(user)`` is what clients take."""

    name = ""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.passwords = passwords(folder)
        self.process: Process | None = None

    def start(self) -> Broker:
        """Start the broker and wait until it listens."""
        self.process = Process(self.name, self.command(), self.folder / "log").start()
        until(self._listens, 20, f"{self.name} listens; log: {self.process.output()}")
        return self

    def command(self) -> list[str]:
        """Return the command that runs the broker in the foreground."""
        raise NotImplementedError

    def _listens(self) -> bool:
        assert self.process is not None
        if not self.process.running:
            raise RuntimeError(self.process.output())
        return listens(self.port)

    def url(self, user: str = "manager", port: int | None = None) -> str:
        """Return the address with user and password; ``port`` where a proxy stands in between."""
        return f"mqtt://{user}:{quote(self.passwords[user])}@127.0.0.1:{port or self.port}"

    def stop(self) -> None:
        """End the broker; it can be started again on the same port."""
        if self.process is not None:
            self.process.stop()

    def kill(self) -> None:
        """Kill the broker without any goodbye."""
        if self.process is not None:
            self.process.kill()


class EmbeddedBroker(Broker):
    """The broker of `make up`."""

    name = "embedded broker"

    def command(self) -> list[str]:
        where = ["--state-dir", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port)]
        return [sys.executable, "-m", "devops.broker", *where]


class Mosquitto(Broker):
    """Debian's Mosquitto with the shipped topic rules (devops/mosquitto/acl.conf)."""

    name = "mosquitto"

    def command(self) -> list[str]:
        words = self.folder / "passwords"
        if not words.exists():
            words.touch(mode=0o600)
            for user in USERS:
                subprocess.run(["mosquitto_passwd", "-b", words, user, self.passwords[user]], check=True)
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {words}\n"
            f"acl_file {ROOT / 'devops/mosquitto/acl.conf'}\n"
            # Mosquitto started by root would become a user who cannot read the folder of the test.
            "user root\npersistence false\nmessage_size_limit 1048576\n"
        )
        return [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", str(config)]
