"""The containers' own commands, run natively: parsed out of the compose file and the Dockerfiles."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import yaml

from tests.stack.brokers import plugin
from tests.stack.process import ROOT, Process
from tests.stack.waiting import free_port

DEVOPS = ROOT / "devops"


def composed() -> dict[str, Any]:
    """Return the compose file as docker-compose itself understands it, with the example settings."""
    command = ["docker-compose", "--env-file", ".env.example", "config"]
    done = subprocess.run(command, cwd=DEVOPS, capture_output=True, text=True, check=True)
    config: dict[str, Any] = yaml.safe_load(done.stdout)
    return config


class Image:
    """What a Dockerfile's last stage says about running: ``env``, ``command``, ``run`` lines."""

    def __init__(self, file: Path) -> None:
        text = file.read_text().replace("\\\n", " ")
        last = re.split(r"^FROM .*$", text, flags=re.M)[-1]
        lines = [line.strip() for line in last.splitlines() if line.strip() and not line.startswith("#")]
        self.env: dict[str, str] = {}
        for line in lines:
            if line.startswith("ENV "):
                self.env |= dict(part.split("=", 1) for part in shlex.split(line[4:]))
        self.run = [line[4:] for line in lines if line.startswith("RUN ")]
        self.command: list[str] = json.loads(next(line[4:] for line in lines if line.startswith("CMD ")))


class Host:
    """One machine's folder that stands in for the containers' file systems and their network."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        self.config = config
        self.ports = {name: free_port() for name in ("database", "broker", "web")}
        self.secrets = folder / "secrets"
        for name in ("secrets", "state", "static", "broker"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, secret in config["secrets"].items():
            text = Path(secret["file"]).read_text()
            (self.secrets / name).write_text(self.outside(text))
        conf = self.native((DEVOPS / "mosquitto" / "mosquitto.conf").read_text())
        conf = conf.replace("listener 1883", f"listener {self.ports['broker']} 127.0.0.1\nuser root")
        conf = conf.replace("/usr/lib/mosquitto_dynamic_security.so", str(plugin()))
        (folder / "mosquitto.conf").write_text(conf)

    def outside(self, text: str) -> str:
        """Put this machine's addresses in the place of the containers' names."""
        text = text.replace("@database:3306", f"@127.0.0.1:{self.ports['database']}")
        return text.replace("@broker:1883", f"@127.0.0.1:{self.ports['broker']}")

    def native(self, text: str) -> str:
        """Put this machine's folders in the place of the containers'."""
        for inside, folder in (
            ("/run/secrets", self.secrets),
            ("/mosquitto/data", self.folder / "broker"),
            ("/mosquitto/config", self.folder),
            ("/var/lib/cellyard", self.folder / "state"),
            ("/srv/static", self.folder / "static"),
            ("/opt/venv/bin", Path(sys.executable).parent),
        ):
            text = text.replace(inside, str(folder))
        return text

    def service(self, name: str) -> Service:
        """Return a service of the compose file, not yet started."""
        about = self.config["services"][name]
        image = Image(ROOT / about["build"]["dockerfile"]) if "build" in about else None
        command = about.get("command") or (image.command if image else [])
        env = {**(image.env if image else {}), **about.get("environment", {})}
        env = {key: self.native(str(text)) for key, text in env.items()}
        env["PATH"] = env.get("PATH", "$PATH").replace(
            "$PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        )
        if name == "web":
            # Every container has port 8000 of its own; here there is one machine.
            env["CELLYARD_WEB_PORT"] = str(self.ports["web"])
        command = [self.native(part) for part in command]
        return Service(name, command, self.folder / f"{name}.log", env, about.get("restart", "no"))


class Service(Process):
    """A container's command under its restart policy."""

    def __init__(self, name: str, command: list[str], log: Path, env: dict[str, str], restart: str) -> None:
        super().__init__(name, command, log, env)
        self.restart = restart
        self.starts = 0
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> Service:
        """Start, and start again as Docker would."""
        self._keeper.start()
        return self

    def _keep(self) -> None:
        while not self._ended.is_set():
            super().start()
            self.starts += 1
            assert self.popen is not None
            code = self.popen.wait()
            if self.restart == "no" or (self.restart == "on-failure" and code == 0):
                return
            self._ended.wait(0.5)

    @property
    def succeeded(self) -> bool:
        """Whether it has ended by itself without an error."""
        return self.popen is not None and self.popen.poll() == 0

    def stop(self, timeout_s: float = 10.0) -> int | None:
        """End it for good."""
        self._ended.set()
        code = super().stop(timeout_s)
        if self._keeper.is_alive():
            self._keeper.join(5)
        return code
