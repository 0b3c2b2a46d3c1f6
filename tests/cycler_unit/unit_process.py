"""The unit as a real process on a real broker."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from cycler_unit.spool import connect
from tests.cycler_unit.bench import MODEL
from tests.stack.process import Process
from tests.stack.simulated import Simulators
from tests.stack.waiting import free_port
from wire.messages import StationConfigure, StationDevice

HARDWARE_ID = "test-unit"


class Unit:
    """``python -m cycler_unit`` with its own state folder."""

    def __init__(self, folder: Path, url: str, simulators: Simulators, **more: Any) -> None:
        self.folder = folder
        self.http_port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "unit.yaml"
        settings = {
            "hardware_id": HARDWARE_ID, "name": "bench", "state_dir": str(folder / "state"), "mqtt": {"url": url},
            "token": "once", "links": simulators.links(), "loop_period_s": 0.05, "idle_period_s": 0.5,
            "wiring_check_s": 0.5, "http_port": self.http_port,
        }  # fmt: skip
        self.file.write_text(yaml.safe_dump({**settings, **more}))
        command = [sys.executable, "-m", "cycler_unit", "--config", str(self.file)]
        self.process = Process("unit", command, folder / "unit.log")

    def start(self) -> Unit:
        """Start and wait until it says so."""
        self.process.start()
        return self

    def stop(self) -> int | None:
        """End it as the supervisor does."""
        return self.process.stop()

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.process.kill()

    def spooled(self, experiment: str) -> tuple[list[int], int]:
        """Return (waiting sample numbers, last number given) as the disk has them."""
        db = connect(self.folder / "state" / "spool.sqlite3")
        try:
            rows = db.execute("SELECT seq FROM samples WHERE experiment = ? ORDER BY seq", (experiment,))
            last = db.execute("SELECT last_seq FROM runs WHERE experiment = ?", (experiment,)).fetchone()
            return [row[0] for row in rows], last[0] if last else 0
        finally:
            db.close()


def station_message(simulators: Simulators, supply: str = "psb1", version: int = 1) -> StationConfigure:
    """Return a station on one supply, as the site sends it."""
    link = next(each for each in simulators.links() if each["name"] == supply)
    serial = next(each["serial_number"] for each in simulators.supplies if each["name"] == supply)
    import uuid

    device = StationDevice(
        device=str(uuid.uuid5(uuid.NAMESPACE_DNS, supply)), role="power", model=MODEL, serial_number=serial, link=link,
        name=supply,
    )  # fmt: skip
    return StationConfigure(
        station=str(uuid.uuid5(uuid.NAMESPACE_OID, supply)), name=supply, version=version, devices=[device]
    )
