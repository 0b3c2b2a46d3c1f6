"""A unit's dispatcher with invented devices and no station of its own: what manual control and console need."""

from __future__ import annotations

import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from cycler_unit import catalogue
from cycler_unit.devices import Devices
from cycler_unit.dispatch import Dispatcher
from cycler_unit.hub import Hub
from cycler_unit.mail import Ask, Mailbox
from cycler_unit.spool import Spool, connect
from cycler_unit.stations import StationFolder
from tests.cycler_unit.bench import Answered, config
from tests.cycler_unit.invented import KINDS, Invented, InventedBuses
from tests.stack.waiting import until
from wire import codec
from wire.messages import Command, DevicePlace, Message, StationConfigure, StationDevice

RELAY_LINK = {"kind": "http", "url": "http://relay", "name": "relay"}
SUPPLY_LINK = {"kind": "http", "url": "http://supply", "name": "supply"}
TEXT_LINK = {"kind": "visa", "resource": "TCPIP::1.2.3.4::1::SOCKET", "name": "text"}
CAN_LINK = {"kind": "can", "interface": "virtual", "channel": "c1", "name": "can0"}
RELAY = DevicePlace(model="test-relay", serial_number="r1", link_name="relay")
SUPPLY = DevicePlace(model="test-supply", serial_number="s1", link_name="supply")


class FakeStation:
    """Stands for a station: its mailbox is only noted, its state is what the test says."""

    def __init__(self, *links: dict[str, Any], name: str = "S1") -> None:
        self.id = str(uuid.uuid4())
        self.mail = Mailbox()
        self.state, self.unsafe, self.period_s = "idle", None, 0.1
        self.read_every_s = 1.0
        self.conductor = SimpleNamespace(experiment=None, battery=None)
        devices = [
            StationDevice(device=f"d{n}", role="power" if n == 0 else "auxiliary", model="test-supply",
                          serial_number=f"x{n}", link=link)
            for n, link in enumerate(links)
        ]  # fmt: skip
        self.kept = SimpleNamespace(
            configure=StationConfigure(station=self.id, name=name, version=1, devices=devices)
        )
        self.kinds = {device.device: KINDS["test-supply"] for device in devices}
        self.measured: dict[str, Any] = {}
        self.held: dict[str, dict[str, float]] = {}
        self.power_device = devices[0] if devices else None
        self.power = SimpleNamespace(output_on=False)

    def beat(self) -> Any:
        """Return what a heartbeat would say."""
        return SimpleNamespace(lease=None)

    def asked(self) -> list[Ask]:
        """Return what came into the mailbox."""
        found = []
        while (ask := self.mail.take()) is not None:
            found.append(ask)
        return found


class Table:
    """The unit's stations."""

    def __init__(self) -> None:
        self.stations: list[Any] = []

    def get(self, station: str) -> Any:
        """Return a station."""
        return next((each for each in self.stations if each.id == station), None)

    def all(self) -> list[Any]:
        """Return all."""
        return list(self.stations)

    def put(self, kept: Any) -> None:
        """Not needed here."""

    def remove(self, station: str) -> None:
        """Not needed here."""


class FreeBench:
    """Two devices in no station, a text link and a CAN bus."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        for kind in KINDS.values():
            catalogue._taught[kind.key] = kind
        self.buses = InventedBuses()
        self.relay = self._add("test-relay", RELAY_LINK, "r1")
        self.supply = self._add("test-supply", SUPPLY_LINK, "s1")
        self.spool = Spool(folder / "spool.sqlite3")
        self.spool.start()
        links = [RELAY_LINK, SUPPLY_LINK, TEXT_LINK, CAN_LINK]
        self.devices = Devices(links, self.buses, file=folder / "kinds.json")
        self.restarts: list[bool] = []
        self.hub = Hub(
            config(folder, **settings), self.spool, self.devices, StationFolder(folder / "stations"),
            buses=self.buses, restart=lambda: self.restarts.append(True),
        )  # fmt: skip
        self.table = Table()
        self.published: list[bool] = []
        self.dispatcher = Dispatcher(self.hub, self.table, lambda: self.published.append(True))
        self.devices.scan(make_safe=False)

    def _add(self, key: str, link: dict[str, Any], serial: str) -> Invented:
        device = self.buses.add(KINDS[key], link, serial)
        assert device is not None
        return device

    def stop(self) -> None:
        """End all threads."""
        self.dispatcher.stop()
        self.spool.stop()
        catalogue.forget()

    def send(self, kind: str, args: Message) -> Answered:
        """Send a command; the answer may come later."""
        answered = Answered()
        command = Command(
            id=str(uuid.uuid4()), connection="now", kind=kind, args=codec.raw(args),  # type: ignore[arg-type]
            issued_at="2026-01-01T00:00:00Z", issued_by="ada",
        )  # fmt: skip
        self.dispatcher.do(command, args, answered)
        return answered

    def ask(self, kind: str, args: Message) -> Answered:
        """Send a command and wait for its answer."""
        answered = self.send(kind, args)
        until(lambda: answered.outcome, 15, f"an answer to {kind}")
        return answered

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the events in the spool."""
        self.spool.commit(5.0)
        db = connect(self.spool.path)
        bodies = [msgspec.json.decode(row[0]) for row in db.execute("SELECT body FROM events ORDER BY seq")]
        db.close()
        return [each for each in bodies if kind in (None, each["kind"])]
