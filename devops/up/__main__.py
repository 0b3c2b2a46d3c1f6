"""Run all of Cellyard on this machine: ``python -m devops.up``, which `make up` calls.

1. One supervisor per state folder: a second one prints the first one's address and exits with 0.
2. Ports are checked; what a killed supervisor left running is ended.
3. Broker and simulators start while the database is prepared.
4. Manager, site and unit start; the address is printed when the site answers.
5. Ctrl-C (or SIGTERM) ends the unit, then the servers, then broker and simulators.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from . import bench, leftovers, ports, processes
from .cells import Cells
from .lock import Held, Lock
from .logs import say
from .settings import ROOT, BadSetting, Settings, load
from .supervisor import Supervisor


def main() -> int:
    """Run until ended; return the exit code."""
    try:
        settings = load()
    except BadSetting as error:
        return refuse(str(error))
    try:
        # The database with its password hashes lies there: nobody else looks in.
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.run_dir.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        return refuse(f"CELLYARD_STATE_DIR: {error.filename} cannot be used: {error.strerror}.")
    lock = Lock(settings.run_dir / "up.lock")
    try:
        lock.take(settings.web_address)
    except Held as held:
        print(f"Cellyard is running already: {held}")
        return 0
    try:
        return Site(settings).run()
    except (ports.Busy, bench.BadBench) as problem:
        return refuse(str(problem))
    finally:
        lock.release()


def refuse(sentence: str) -> int:
    """Say why nothing was started."""
    print(sentence, file=sys.stderr)
    return 1


class Site:
    """Everything that runs on this machine."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        for name in leftovers.end(settings.run_dir, settings.state_dir):
            say("up", f"ended {name}, left running by an earlier start")
        ports.require(settings.bind, settings.web_port, "CELLYARD_WEB_PORT")
        if not settings.mqtt_url:
            ports.require(settings.bind, settings.mqtt_port, "CELLYARD_MQTT_PORT")
        self.simulated = settings.run_dir / "bench.yaml"
        self.cells = Cells(bench.bench(settings.state_dir), self.simulated)
        self.supervisor = Supervisor(settings.run_dir, {"simulators": self.cells.write}, self.cells.stop)
        self.exit_code = 0

    def run(self) -> int:
        """Start everything, return when all has ended."""
        self.supervisor.run(self.begin)
        say("up", "everything has ended; the data is in " + str(self.settings.state_dir))
        return self.exit_code

    async def begin(self) -> None:
        """Start the processes in their order and say where the page is."""
        await self.supervisor.launch(processes.early(self.settings, self.simulated))
        if not await self.prepare():
            self.exit_code = 1
            self.supervisor.quit()
            return
        unit_file = bench.write_unit(
            self.settings,
            self.cells.bench,
            self.mqtt_of_unit(),
            self.settings.state_dir / "enrol-token",
        )
        await self.supervisor.launch(processes.late(self.settings, unit_file))
        self.cells.start()
        await self.announce()

    def mqtt_of_unit(self) -> dict[str, Any]:
        """Return the ``mqtt`` part of unit.yaml."""
        mqtt: dict[str, Any] = {"url": processes.broker_url(self.settings, bench.HARDWARE_ID)}
        return mqtt | ({"ca": self.settings.mqtt_ca} if self.settings.mqtt_ca else {})

    async def prepare(self) -> bool:
        """Bring the database up to date and put the demonstration into an empty one."""
        command = (sys.executable, str(ROOT / "manage.py"), "prepare", "--demo")
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env=processes.environment(self.settings, without=processes.BROKER_ONLY),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None
        async for line in process.stdout:
            say("prepare", line.decode(errors="replace").rstrip())
        if code := await process.wait():
            say("up", f"the database could not be prepared (exit code {code}): see the lines above")
        return code == 0

    async def announce(self) -> None:
        """Wait until the site listens, then print address, name and password."""
        while not self.supervisor.ending:
            if not ports.is_free(self.settings.bind, self.settings.web_port):
                break
            await asyncio.sleep(0.05)
        else:
            return
        print(
            f"\n  Cellyard:  {self.settings.web_address}\n"
            f"  name:      admin\n"
            f"  password:  {admin_password(self.settings.state_dir)}\n"
            "  Ctrl-C ends everything; the data stays.\n",
            flush=True,
        )


def admin_password(state_dir: Path) -> str:
    """Return the administrator's first password, which `manage.py prepare` made or was given."""
    try:
        return (state_dir / "admin-password").read_text(encoding="utf-8").strip()
    except OSError:
        return os.environ.get("CELLYARD_ADMIN_PASSWORD", "(the one that you gave)")


if __name__ == "__main__":
    sys.exit(main())
