"""The whole of Cellyard in real processes on free ports, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import yaml

from . import backend
from .api import Api
from .brokers import Mosquitto
from .mariadb import MariaDB
from .process import ROOT, Process
from .proxy import Proxy
from .simulated import Simulators, supply
from .waiting import free_port, until

ADMIN_PASSWORD = "a password only for tests"
FINAL = ("finished", "stopped", "error", "cancelled")


class Cellyard:
    """Broker, database, simulators, manager, site and one unit, which reaches the broker by a proxy.

    Use: ``with Cellyard(folder) as lab: ...``. ``lab.api`` speaks as the administrator. The parts are
    ``lab.manager``, ``lab.web``, ``lab.unit`` (processes), ``lab.broker``, ``lab.simulators``,
    ``lab.network`` (the proxy between unit and broker). ``devices`` and ``circuits`` are those of the
    bench file, without ``supplies`` alone; ``unit`` are more keys of unit.yaml.
    """

    def __init__(
        self,
        folder: Path,
        supplies: list[dict[str, Any]] | None = None,
        *,
        token: bool = True,
        devices: list[dict[str, Any]] | None = None,
        circuits: list[dict[str, Any]] | None = None,
        unit: dict[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.state = folder / "site"
        self.lab = backend.chosen() == "lab"
        self.with_token = token
        self.broker = backend.broker(folder / "broker")
        if supplies is None and devices is None:
            supplies = [supply("psb1"), supply("psb2")]
        self.simulators = Simulators(folder / "bench", supplies or [], devices=devices, circuits=circuits)
        self.unit_settings = unit or {}
        self.network = Proxy(self.broker.port)
        self.web_port = free_port()
        self.address = f"http://127.0.0.1:{self.web_port}"
        self.own_database: MariaDB | None = None
        self.env = self._settings()
        self.manager = self._python("manager", "-m", "mn_manager")
        self.web = self._python("web", "-m", "gunicorn", "--config", "gunicorn.conf.py")
        self.unit_file = folder / "unit.yaml"
        unit = [sys.executable, "-m", "cycler_unit", "--config", str(self.unit_file)]
        self.unit = Process("unit", unit, folder / "unit.log")
        self._api: Api | None = None

    def _settings(self) -> dict[str, str]:
        settings = {
            "CELLYARD_STATE_DIR": str(self.state),
            "CELLYARD_SECRET_KEY": "only for tests, " * 4,
            "CELLYARD_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "CELLYARD_WEB_PORT": str(self.web_port),
            "CELLYARD_MQTT_URL": self.broker.url("manager"),
            "CELLYARD_MQTT_USERS": "mosquitto" if isinstance(self.broker, Mosquitto) else "static",
        }
        # Said although it is the default: a developer's own .env must not reach the tests.
        settings["CELLYARD_DATABASE_URL"] = f"sqlite:///{self.state / 'cellyard.sqlite3'}"
        if self.lab:
            self.own_database = MariaDB(self.folder / "mariadb")
            settings["CELLYARD_DATABASE_URL"] = self.own_database.url("cellyard")
        return settings

    def _python(self, name: str, *arguments: str) -> Process:
        return Process(name, [sys.executable, *arguments], self.folder / f"{name}.log", self.env)

    # --- start and end ----------------------------------------------------------------------------

    def __enter__(self) -> Cellyard:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything; return when the unit is online with its devices reported."""
        self.prepare()
        self.broker.start()
        self.manager.start()
        self.web.start()
        self.unit.start()
        self.wait_for_site()
        if self.with_token:
            self.wait_for_unit()

    def prepare(self) -> None:
        """Start what is not ours but the broker (database, network, supplies), and write what ours reads."""
        self.state.mkdir(parents=True, exist_ok=True)
        if self.own_database is not None:
            self.own_database.start()
            self.own_database.create("cellyard")
        self.network.start()
        self.simulators.start()
        self.manage("prepare", *(["--enrol-token"] if self.with_token else []))
        self.write_unit_file()

    def stop(self) -> None:
        """End everything; safe twice."""
        for process in (self.unit, self.web, self.manager):
            process.stop()
        self.simulators.stop()
        self.network.stop()
        self.broker.stop()
        if self.own_database is not None:
            self.own_database.stop()

    def manage(self, *arguments: str) -> str:
        """Run ``manage.py`` with the site's settings and return what it prints."""
        env = {key: text for key, text in os.environ.items() if not key.startswith("CELLYARD_")} | self.env
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"manage.py {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def write_unit_file(self, **changes: Any) -> None:
        """Write unit.yaml; ``changes`` replace its keys."""
        user = "enrol" if isinstance(self.broker, Mosquitto) else "bench"
        settings = {
            "name": "unit under test",
            "hardware_id": "unit-under-test",
            "state_dir": str(self.folder / "unit"),
            "mqtt": {"url": self.broker.url(user, port=self.network.port)},
            "links": [*self.simulators.links(), *self.simulators.links_of_devices()],
            **self.unit_settings,
        }
        if self.with_token:
            settings["token_file"] = str(self.state / "enrol-token")
        self.unit_file.write_text(yaml.safe_dump(settings | changes))

    # --- what it says ------------------------------------------------------------------------------

    @property
    def api(self) -> Api:
        """The REST API with the administrator's token."""
        if self._api is None:
            self._api = Api(self.address, "admin", ADMIN_PASSWORD)
        return self._api

    def wait_for_site(self) -> None:
        """Wait until the site answers."""
        until(lambda: httpx.get(f"{self.address}/healthz").is_success, 30, f"the site answers; {self.logs()}")

    def wait_for_unit(self, devices: int | None = None) -> dict[str, Any]:
        """Wait until the unit is online and has reported its devices; return it."""
        wanted = self.simulators.count if devices is None else devices

        def there() -> Any:
            units = self.api.get("units/")["results"]
            found = self.api.get("devices/", connected="true")["results"]
            return units[0] if units and units[0]["online"] and len(found) >= wanted else None

        try:
            unit: dict[str, Any] = until(there, 30, "the unit is online with its devices")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.logs()}") from None
        return unit

    def logs(self) -> str:
        """Return the last lines of every process, for a failing test."""
        parts = (self.web, self.manager, self.unit, self.simulators.process)
        return "\n".join(f"--- {part.name}\n{part.output()[-1500:]}" for part in parts)

    # --- things that nearly every test needs -------------------------------------------------------

    def station(self, name: str = "S1", supply: int = 0, **more: Any) -> dict[str, Any]:
        """Compose a station from one of the supplies and wait until its unit has taken it."""
        serial_number = self.simulators.supplies[supply]["serial_number"]
        device = self.api.get("devices/", serial_number=serial_number)["results"][0]
        body = {"name": name, "unit": device["unit"], "devices": [{"device": device["id"], "role": "power"}]}
        made: dict[str, Any] = self.api.post("stations/", **body, **more)
        self.station_is(made["id"], "idle")
        return made

    def station_is(self, station: str, *states: str, timeout_s: float = 30) -> dict[str, Any]:
        """Wait until a station is in one of ``states``; return it."""
        seen: dict[str, Any] = {}

        def there() -> bool:
            seen.update(self.api.get(f"stations/{station}/"))
            return seen["state"] in states

        try:
            until(there, timeout_s, f"the station is {' or '.join(states)}")
        except AssertionError as error:
            raise AssertionError(f"{error}; {seen}; {self.logs()}") from None
        return seen

    def battery(self, name: str = "cell", station: str | None = None, **more: Any) -> dict[str, Any]:
        """Record a battery that fits the simulated cell, and load it."""
        body = {
            "name": name,
            "technology": "lithium",
            "cells_in_series": 1,
            "cell_voltage_min_v": 2.5,
            "cell_voltage_max_v": 4.2,
            "voltage_abs_min_v": 2.3,
            "voltage_abs_max_v": 4.3,
            "current_min_a": -1.0,
            "current_max_a": 1.0,
            "temperature_min_c": -20.0,
            "temperature_max_c": 60.0,
            "energy_wh": 0.185,
            "lithium": {"capacity_ah": 0.05, "chemistry": "NMC"},
        }
        made: dict[str, Any] = self.api.post("batteries/", **(body | more))
        if station is not None:
            self.api.post(f"batteries/{made['id']}/load/", station=station)
        return made

    def profile(self, steps: list[dict[str, Any]], name: str = "profile", **more: Any) -> dict[str, Any]:
        """Save a profile."""
        made: dict[str, Any] = self.api.post("profiles/", name=name, steps=steps, **more)
        return made

    def file(
        self, battery: str, profile: str, station: str, name: str = "run", **more: Any
    ) -> dict[str, Any]:
        """File an experiment."""
        body = {"name": name, "battery": battery, "profile": profile, "station": station}
        made: dict[str, Any] = self.api.post("experiments/", **body, **more)
        return made

    def experiment_is(self, experiment: str, *statuses: str, timeout_s: float = 60) -> dict[str, Any]:
        """Wait until an experiment has one of ``statuses``; fail at once on another final one."""
        path = f"experiments/{experiment}/"
        seen: dict[str, Any] = {}

        def there() -> bool:
            seen.update(self.api.get(path))
            return seen["status"] in statuses or seen["status"] in FINAL

        try:
            until(there, timeout_s, f"the experiment is {' or '.join(statuses)}")
        except AssertionError as error:
            raise AssertionError(f"{error}; {seen}; {self.logs()}") from None
        assert seen["status"] in statuses, f"{seen['status']}: {seen['end_reason']}; {self.logs()}"
        return seen

    def samples(self, experiment: str) -> dict[str, list[Any]]:
        """Return all stored samples of an experiment as columns."""
        columns: dict[str, list[Any]] = {}
        after = 0
        while True:
            answer = self.api.get(f"experiments/{experiment}/samples/", after=after, limit=5000)
            if not answer["columns"].get("seq"):
                return columns
            for name, column in answer["columns"].items():
                columns.setdefault(name, []).extend(column)
            after = answer["next_after"]

    def complete(self, experiment: str, timeout_s: float = 30) -> dict[str, list[Any]]:
        """Wait until every row of an ended experiment is stored; return its samples."""
        path = f"experiments/{experiment}/samples/"
        until(lambda: self.api.get(path, after=0, limit=1)["complete"], timeout_s, "all samples are stored")
        return self.samples(experiment)
