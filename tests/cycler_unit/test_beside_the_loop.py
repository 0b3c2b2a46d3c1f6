"""What works beside the control loops must not get into their way: console, scan, command line, list of processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import psutil
import pytest

from cycler_unit import catalogue, stop_all
from cycler_unit.buses.protocol import Seen
from cycler_unit.console import RUNS_S, Console
from cycler_unit.devices import Devices
from cycler_unit.owner import leftovers
from cycler_unit.stations import Kept, StationFolder
from tests.cycler_unit.bench import config
from tests.stack.simulated import MODEL
from tests.stack.waiting import until
from wire import kinds
from wire.messages import ScpiMessage, StationConfigure, StationDevice, Zone

LINK = {"kind": "visa", "resource": "TCPIP::127.0.0.1::1::SOCKET"}


@pytest.mark.parametrize("running", [True, False])
def test_a_question_that_nobody_answers_does_not_keep_a_running_device_from_its_loop(running: bool) -> None:
    waited: list[float] = []

    @contextmanager
    def opening(link: Any, wait_s: float) -> Iterator[bool]:
        yield True

    def query(link: Any, text: str, timeout_s: float) -> list[str]:
        waited.append(timeout_s)
        return []

    from cycler_unit.buses.protocol import bus_key

    busy = {bus_key(LINK): "S1 (a test)"} if running else {}
    console = Console(SimpleNamespace(opening=opening), SimpleNamespace(query=query), lambda: busy)  # type: ignore[arg-type]
    console._query(LINK, ScpiMessage(link="psu", text="FOO?", timeout_s=20.0))
    assert waited == [RUNS_S if running else 20.0]
    console.stop()


def test_a_driver_that_fails_on_one_link_keeps_no_other_device_on() -> None:
    opened: list[str] = []

    class Strange:
        def scan(self, link: Any, say: Any, busy: Any) -> list[Seen]:
            if link["resource"] == "bad":
                raise RuntimeError("a fault of the driver")
            return [Seen(link=dict(link), kind=MODEL, serial_number="1")]

        def device(self, kind: Any, link: Any, name: str) -> Any:
            def open_() -> None:
                if link["resource"] == "worse":
                    raise RuntimeError("another one")
                opened.append(link["resource"])

            return SimpleNamespace(open=open_, close=lambda: None)

    links = [{"kind": "visa", "resource": each} for each in ("bad", "worse", "good")]
    devices = Devices(links, Strange())  # type: ignore[arg-type]
    devices.scan(make_safe=True)
    assert opened == ["good"]
    assert [each.outcome for each in devices.last] == ["failed", "ok", "ok"]


def test_stop_all_without_a_unit_knows_own_models_and_takes_current_first(tmp_path: Path) -> None:
    own = msgspec.to_builtins(msgspec.structs.replace(kinds.get(MODEL), key="own-psb", identity="OWN PSB"))
    relays = StationDevice(
        device="r", role="isolator", model="esp32-relay-board", serial_number="", link={"kind": "http", "url": "http://r"}
    )  # fmt: skip
    power = StationDevice(device="p", role="power", model="own-psb", serial_number="1", link=LINK, kind=own)
    door = {"kind": "modbus", "host": "door"}
    guard = StationDevice(
        device="g", role="auxiliary", model="modbus-io-coupler", serial_number="", link=door
    )
    zone = Zone(zone="z", name="Room", devices=[guard], interlocks=[], outputs=[])
    configure = StationConfigure(station="s1", name="S1", version=1, devices=[relays, power], zone=zone)
    StationFolder(tmp_path / "stations").save(Kept(configure=configure))
    asked: list[Any] = []

    def scan(link: Any, say: Any, busy: Any) -> list[Seen]:
        asked.append(link)
        return []

    buses = SimpleNamespace(device=lambda kind, link, name: name, scan=scan)
    settings = config(tmp_path, links=[door])
    try:
        found = list(stop_all._devices(settings, buses))  # type: ignore[arg-type]
    finally:
        catalogue.forget()
    assert [(name, isinstance(device, tuple)) for name, device in found] == [
        ("S1 own-psb", True),
        ("S1 esp32-relay-board", True),
    ]
    assert asked == [], "what guards a zone is left alone"


def test_processes_of_before_are_found_though_the_clock_was_set_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftovers.note(tmp_path, {os.getpid(): "parent"})
    boot_s, created_s = psutil.boot_time(), psutil.Process().create_time()
    # The kernel counts from the start of the machine; setting the clock moves both.
    monkeypatch.setattr(psutil, "boot_time", lambda: boot_s + 86400.0)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: created_s + 86400.0)
    assert [each.pid for each in leftovers.alive(tmp_path)] == [os.getpid()]


def test_processes_of_another_boot_are_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leftovers.note(tmp_path, {os.getpid(): "parent"})
    monkeypatch.setattr(leftovers, "boot_id", lambda: "another boot")
    assert leftovers.alive(tmp_path) == []


def test_a_station_takes_a_device_only_when_the_scan_has_let_go_of_it() -> None:
    opening, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    class Slow:
        def scan(self, link: Any, say: Any, busy: Any) -> list[Seen]:
            return [Seen(link=dict(link), kind=MODEL, serial_number="1")]

        def device(self, kind: Any, link: Any, name: str) -> Any:
            def open_() -> None:
                opening.set()
                go_on.wait(10.0)

            return SimpleNamespace(open=open_, close=lambda: done.append("the scan has closed it"))

    devices = Devices([LINK], Slow())  # type: ignore[arg-type]
    scan = threading.Thread(target=devices.scan, kwargs={"make_safe": True})
    scan.start()
    assert opening.wait(10.0)

    def hold() -> None:
        devices.hold(LINK)
        done.append("a station has it")

    station = threading.Thread(target=hold)
    station.start()
    until(lambda: devices.is_held(LINK), 10)
    go_on.set()
    scan.join(10.0)
    station.join(10.0)
    assert done == ["the scan has closed it", "a station has it"]


def test_a_scan_does_not_switch_off_what_a_station_took_meanwhile() -> None:
    buses = SimpleNamespace(device=lambda *_: pytest.fail("it is the station's"))
    devices = Devices([LINK], buses)  # type: ignore[arg-type]
    devices.hold(LINK)
    assert devices._switch_off(kinds.get(MODEL), LINK) == ""
