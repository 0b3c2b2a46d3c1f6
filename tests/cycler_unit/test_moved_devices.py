"""A device of a station or zone that is plugged in elsewhere is used there after a detection, not lost for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cycler_unit import catalogue
from cycler_unit.buses.protocol import device_key
from cycler_unit.devices import Devices
from cycler_unit.hub import Hub
from cycler_unit.parts import Parts
from cycler_unit.spool import Spool
from cycler_unit.stations import StationFolder
from cycler_unit.zones import Watch
from tests.cycler_unit.bench import config
from tests.cycler_unit.invented import KINDS, Invented, InventedBuses
from tests.stack.waiting import until
from wire.messages import Interlock, StationConfigure, StationDevice, Zone

SUPPLY_LINK = {"kind": "http", "url": "http://supply", "name": "supply"}
HERE, THERE = ({"kind": "http", "url": f"http://{name}", "name": name} for name in ("here", "there"))
RELAY = StationDevice(
    device="r", role="auxiliary", model="test-relay", serial_number="r1", link=HERE, name="relay"
)
SUPPLY = StationDevice(device="s", role="power", model="test-supply", serial_number="s1", link=SUPPLY_LINK)


class Lab:
    """A unit with a relay that can be plugged in at two places."""

    def __init__(self, folder: Path) -> None:
        self.buses = InventedBuses()
        self.buses.add(KINDS["test-supply"], SUPPLY_LINK, "s1")
        self.relay = self.plug(HERE)
        self.devices = Devices([SUPPLY_LINK, HERE, THERE], self.buses)
        self.hub = Hub(
            config(folder), Spool(folder / "spool.sqlite3"), self.devices, StationFolder(folder / "stations"),
            buses=self.buses,
        )  # fmt: skip
        self.devices.scan(make_safe=False)

    def plug(self, link: dict[str, Any]) -> Invented:
        """Plug the relay in."""
        made = self.buses.add(KINDS["test-relay"], link, "r1")
        assert made is not None
        return made

    def move(self) -> Invented:
        """Plug the relay in at the other place, and detect."""
        self.relay.lost = "no answer"
        del self.buses.there[device_key(HERE)]
        moved = self.plug(THERE)
        until(lambda: not self.place(HERE).connected, 10, "it is lost at its old place")
        self.devices.scan(make_safe=False)
        return moved

    def place(self, link: dict[str, Any]) -> Any:
        """Return what is known of a place."""
        return next(each for each in self.devices.known() if each.link == link)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Return the unit."""
    monkeypatch.setattr("cycler_unit.instruments.REOPEN_S", 0.05)
    monkeypatch.setattr(Invented, "apply", lambda self, target: None, raising=False)
    for kind in KINDS.values():
        catalogue._taught[kind.key] = kind
    yield Lab(tmp_path)
    catalogue.forget()


def test_a_relay_of_a_station_is_used_where_it_turns_up(lab: Lab) -> None:
    configure = StationConfigure(station="st", name="S1", version=1, devices=[SUPPLY, RELAY])
    parts = Parts(configure, lab.hub, 0.05)
    parts.hold()
    relay = parts.instruments["r"]
    relay.start()
    until(lambda: relay.why_not is None, 10)
    moved = lab.move()
    until(lambda: relay.why_not is None, 10, "it is reached at its new place")
    relay.write("on", 1.0)
    until(lambda: moved.values["on"] == 1.0, 10)
    assert lab.devices.is_held(THERE), "nobody else opens it there"
    assert not lab.devices.is_held(HERE)
    # Pulled out and in again at the new place: it is not looked for where it was composed.
    moved.lost = "pulled out"
    until(lambda: relay.why_not == "pulled out", 10)
    moved.lost = None
    until(lambda: relay.why_not is None, 10)
    assert relay.link == THERE
    relay.stop()


def test_an_interlock_is_watched_where_its_device_turns_up(lab: Lab) -> None:
    zone = Zone(
        zone="z", name="Room", devices=[RELAY],
        interlocks=[Interlock(name="warm", device="r", measure="temperature_c")], outputs=[], max_age_s=1.0,
    )  # fmt: skip
    watch = Watch(zone, lab.hub)
    guard = watch.instruments["r"]
    lab.devices.hold(HERE)
    guard.start()
    until(lambda: guard.why_not is None, 10)
    lab.move()
    until(lambda: guard.why_not is None and guard.link == THERE, 10)
    guard.stop()
