"""Small things on the unit's own computer: files that survive, the lock, the loopback, the devices."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import pytest

from cycler_unit import disk, loopback
from cycler_unit.devices import Devices
from cycler_unit.dispatch import Dispatcher
from cycler_unit.enrol import IdentityFile
from cycler_unit.hub import Hub
from cycler_unit.lock import Held, Lock
from cycler_unit.loopback import Loopback
from cycler_unit.spool import Spool
from cycler_unit.station import Station
from cycler_unit.stations import Kept, StationFolder
from tests.cycler_unit.bench import Answered, Bench, config
from tests.stack.waiting import until
from wire.messages import StationConfigure, StationDevice

LINK = {"kind": "visa", "resource": "TCPIP::1.2.3.4::5025::SOCKET"}


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    disk.write(path, b"1", mode=0o600)
    disk.write(path, b"2", mode=0o600)
    assert path.read_bytes() == b"2"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["file.json"]


def test_a_station_file_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    folder = StationFolder(tmp_path)
    configure = StationConfigure(station="a-1", name="A", version=1, devices=[])
    folder.save(Kept(configure=configure))
    (tmp_path / "b.json").write_text("{half")
    assert [kept.configure.station for kept in folder.load()] == ["a-1"]
    folder.remove("a-1")
    assert folder.load() == []


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a/b", "a.b", "-"])
def test_a_station_id_that_is_no_plain_name_becomes_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no station id"):
        StationFolder(tmp_path).save(
            Kept(configure=StationConfigure(station=name, name="A", version=1, devices=[]))
        )


def test_the_identity_is_made_once_and_private(tmp_path: Path) -> None:
    file = IdentityFile(tmp_path / "identity.json")
    first = file.load("")
    assert file.load("") == first
    assert file.path.stat().st_mode & 0o077 == 0
    assert file.load("other").hardware_id == "other"


def test_one_unit_per_state_folder(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "unit.lock"), Lock(tmp_path / "unit.lock")
    first.take()
    with pytest.raises(Held):
        second.take()
    first.release()
    second.take()
    second.release()


def test_the_loopback_guards_what_acts_by_its_secret() -> None:
    def stop_all() -> loopback.Answer:
        return 200, "text/plain", "stopped"

    server = Loopback(0, {("POST", "/stop-all"): stop_all, ("GET", "/x"): stop_all}, "secret")
    server.start()
    assert loopback.ask(server.port, "POST", "/stop-all", "secret") == (200, "stopped")
    assert loopback.ask(server.port, "POST", "/stop-all", "wrong")[0] == 403
    assert loopback.ask(server.port, "GET", "/stop-all")[0] == 405
    with socket.create_connection(("127.0.0.1", server.port)) as rude:
        rude.sendall(b"\xff\x00 nothing\r\n\r\n")
        assert b"404" in rude.recv(100)
    server.stop()
    with pytest.raises(OSError):  # noqa: PT011 - refused, reset or timed out: all mean that nobody is there
        loopback.ask(server.port, "GET", "/x", timeout_s=1.0)


class OneStation:
    """Stand for the agent's table of stations."""

    def __init__(self, hub: Hub, *stations: Station) -> None:
        self.hub = hub
        self.table = {station.id: station for station in stations}
        self.put_in: list[StationConfigure] = []

    def get(self, station: str) -> Station | None:
        """Return a station."""
        return self.table.get(station)

    def all(self) -> list[Station]:
        """Return all stations."""
        return list(self.table.values())

    def put(self, kept: Kept) -> None:
        """Make a station."""
        Station(kept, self.hub)
        self.put_in.append(kept.configure)

    def remove(self, station: str) -> None:
        """Forget a station."""
        self.table.pop(station)


def configured(dispatcher: Dispatcher, configure: StationConfigure) -> Answered:
    """Ask for a configuration and wait for the answer."""
    answered = Answered()
    dispatcher._slow.put(lambda: dispatcher.configuring.configure(configure, answered))
    until(lambda: answered.outcome, 10)
    return answered


def test_a_station_is_changed_only_while_it_is_idle_and_a_device_is_in_one_station_only(bench: Bench) -> None:
    from tests.cycler_unit.bench import CHARGE

    table = OneStation(bench.hub, bench.live)
    dispatcher = Dispatcher(bench.hub, table, lambda: None)
    newer = msgspec.structs.replace(bench.configure, version=2)
    assert configured(dispatcher, bench.configure).outcome == "done"
    assert table.put_in == [], "the same version again changes nothing"
    assert configured(dispatcher, newer).outcome == "done"
    other = msgspec.structs.replace(newer, station="other")
    assert "belongs to S1" in (configured(dispatcher, other).reason or "")
    bench.start(CHARGE)
    assert "runs an experiment" in (configured(dispatcher, newer).reason or "")
    dispatcher.stop()


def test_a_station_that_cannot_be_built_is_refused_with_the_reason(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.sqlite3")
    spool.start()
    hub = Hub(config(tmp_path), spool, Devices([]), StationFolder(tmp_path / "stations"))
    dispatcher = Dispatcher(hub, OneStation(hub), lambda: None)
    device = StationDevice(device="d", role="power", model="no-such-model", serial_number="1", link=LINK)
    strange = StationConfigure(station="s1", name="S", version=1, devices=[device])
    assert "no-such-model" in (configured(dispatcher, strange).reason or "")
    empty = StationConfigure(station="s1", name="S", version=1, devices=[])
    assert "one power device" in (configured(dispatcher, empty).reason or "")
    dispatcher.stop()
    spool.stop()
