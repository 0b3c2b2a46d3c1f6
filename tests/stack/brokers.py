"""The two brokers of the tests: the embedded one and a private Mosquitto, with the same users."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

from devops.broker import passwords
from devops.mosquitto.users import configuration
from devops.secret_files import write_private

from .process import Process
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
    """Debian's Mosquitto as the lab runs it: dynamic security with the shipped rights of each user."""

    name = "mosquitto"

    def command(self) -> list[str]:
        """Write configuration and first users, and return the command that runs Mosquitto."""
        users = self.folder / "dynamic-security.json"
        if not users.exists():
            write_private(users, json.dumps(configuration(self.passwords)))
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\n"
            f"plugin {plugin()}\nplugin_opt_config_file {users}\n"
            # Mosquitto started by root would become a user who cannot read the folder of the test.
            "user root\npersistence false\nmessage_size_limit 1048576\n"
        )
        return [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", str(config)]


def plugin() -> Path:
    """Return where Debian puts Mosquitto's dynamic security plugin on this kind of machine."""
    return next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
