"""Detection: finds, keeps, misses, and never touches what is in use."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cycler_unit import catalogue, detection
from cycler_unit.buses.local import LocalBuses
from cycler_unit.buses.protocol import device_key
from cycler_unit.detection import name_of
from cycler_unit.devices import Devices
from cycler_unit.drivers.base import Identity
from tests.cycler_unit.invented import RELAY, InventedBuses
from tests.stack.simulated import MODEL, Simulators
from tests.stack.waiting import until
from wire import kinds
from wire.messages import DevicePlace, ReportedDevice, StationDevice

PSB = kinds.get("ea-psb-10060-60")
CAN = {"kind": "can", "interface": "virtual", "channel": "c1"}


def visa(resource: str) -> dict[str, Any]:
    """Return a link."""
    return {"kind": "visa", "resource": resource}


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    """Let every test begin with the shipped kinds, and the invented one."""
    catalogue.forget()
    catalogue._taught["test-relay"] = RELAY
    yield
    catalogue.forget()


@pytest.fixture
def buses() -> InventedBuses:
    """Return empty buses."""
    return InventedBuses()


EA = "EA Elektro-Automatik GmbH & Co. KG, PSB 10060-60, 77, 1.0"


def test_a_scan_reports_known_unknown_and_lost_devices(buses: InventedBuses) -> None:
    buses.add(None, visa("a"), "77", EA)
    buses.add(None, visa("b"), "1", "Acme,Toaster,1")
    buses.gone["visa:c"] = "nobody answers"
    found = Devices([visa(each) for each in "abc"], buses)
    report = found.scan(make_safe=False)
    assert [(each.model, each.serial_number, each.connected) for each in report.devices] == [
        ("ea-psb-10060-60", "77", True),
        ("", "1", True),
    ]
    assert report.devices[1].answered == "Acme,Toaster,1"
    assert "no catalogue entry" in report.devices[1].detail
    assert [kind["key"] for kind in report.kinds] == ["ea-psb-10060-60"]


def test_what_disappeared_is_kept_as_gone_since_when_and_comes_back(buses: InventedBuses) -> None:
    buses.add(None, visa("a"), "77", EA)
    found = Devices([visa("a")], buses)
    came = only(found.scan(make_safe=False).devices)
    again = only(found.scan(make_safe=False).devices)
    assert again.since == came.since, "still there since the first time"
    del buses.there["visa:a"]
    gone = only(found.scan(make_safe=False).devices)
    assert (gone.model, gone.serial_number, gone.connected) == ("ea-psb-10060-60", "77", False)
    assert gone.since > came.since
    assert "does not answer" in gone.detail
    assert only(found.scan(make_safe=False).devices).since == gone.since
    buses.add(None, visa("a"), "77", EA)
    back = only(found.scan(make_safe=False).devices)
    assert back.connected
    assert back.since > gone.since


def only(devices: list[ReportedDevice]) -> ReportedDevice:
    """Return the single device."""
    (device,) = devices
    return device


def test_a_scan_leaves_the_places_of_stations_alone(buses: InventedBuses) -> None:
    buses.add(None, visa("a"), "77", EA)
    found = Devices([visa("a")], buses)
    found.hold({**visa("a"), "timeout_s": 2.0})
    found.scan(make_safe=True)
    assert buses.asked == []
    assert found.last[0].outcome == "busy"


def test_on_a_bus_of_many_only_the_free_devices_are_asked(buses: InventedBuses) -> None:
    for node in (0x13, 0x14):
        buses.add(RELAY, {**CAN, "node": node}, str(node))
    found = Devices([CAN], buses)
    found.hold({**CAN, "node": 0x13})
    report = found.scan(make_safe=False)
    assert buses.asked[0][1] == [device_key({**CAN, "node": 0x13})]
    assert [each.link["node"] for each in report.devices] == [0x14]
    assert report.devices[0].link_name == "CAN c1 node 0x14"


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ({"interface": "socketcan", "channel": "can0"}, "CAN can0"),
        ({"interface": "udp_multicast", "channel": "239.74.163.2", "port": 43113}, "CAN 239.74.163.2:43113"),
        ({"interface": "socketcan", "channel": "can0", "name": "left bench"}, "left bench"),
    ],
)
def test_a_can_bus_is_called_by_its_own_name_and_its_devices_by_their_place_on_it(
    buses: InventedBuses, link: dict[str, Any], name: str
) -> None:
    link = {"kind": "can", **link}
    buses.add(RELAY, {**link, "node": 0x13}, "1")
    found = Devices([link], buses)
    assert found.scan(make_safe=False).devices[0].link_name == f"{name} node 0x13"
    assert found.bus_named(name) == link


def test_a_device_in_use_is_not_marked_as_gone(buses: InventedBuses) -> None:
    for node in (0x13, 0x14):
        buses.add(RELAY, {**CAN, "node": node}, str(node))
    found = Devices([CAN], buses)
    found.scan(make_safe=False)
    found.hold({**CAN, "node": 0x13})
    del buses.there[device_key({**CAN, "node": 0x14})]
    report = found.scan(make_safe=False)
    assert {each.link["node"]: each.connected for each in report.devices} == {0x13: True, 0x14: False}


def test_one_bus_that_fails_does_not_end_the_scan(buses: InventedBuses) -> None:
    buses.gone["visa:a"] = "the adapter was pulled"
    buses.add(RELAY, visa("b"), "9")
    found = Devices([visa("a"), visa("b")], buses)
    report = found.scan(make_safe=False)
    assert [each.serial_number for each in report.devices] == ["9"]
    assert [(each.outcome, each.reason) for each in found.last] == [
        ("failed", "the adapter was pulled"),
        ("ok", ""),
    ]


def test_progress_rises_and_names_what_is_asked(buses: InventedBuses) -> None:
    told: list[tuple[int, int, str]] = []
    found = Devices([visa("a"), visa("b")], buses)
    found.scan(make_safe=False, say=lambda done, of, text: told.append((done, of, text)))
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[-1][0] == told[-1][1] == 200
    assert any("a: half way" in text for _, _, text in told)


def test_only_the_named_links_are_asked(buses: InventedBuses) -> None:
    found = Devices([{**visa("a"), "name": "left"}, visa("b")], buses)
    found.scan(make_safe=False, only=["left"])
    assert [bus for bus, _ in buses.asked] == ["visa:a"]


def test_a_device_that_moved_to_another_port_is_found_there(buses: InventedBuses) -> None:
    buses.add(None, visa("new"), "77", EA)
    found = Devices([visa("new")], buses)
    found.scan(make_safe=False)
    device = StationDevice(
        device="d", role="power", model="ea-psb-10060-60", serial_number="77", link=visa("old")
    )
    assert found.link_of(device)["resource"] == "new"
    assert found.link_of(msgspec.structs.replace(device, serial_number="78"))["resource"] == "old"


def test_a_moved_device_leaves_its_old_place(buses: InventedBuses) -> None:
    buses.add(None, visa("old"), "77", EA)
    found = Devices([visa("old"), visa("new")], buses)
    found.scan(make_safe=False)
    del buses.there["visa:old"]
    buses.add(None, visa("new"), "77", EA)
    report = found.scan(make_safe=False)
    assert [(each.link["resource"], each.connected) for each in report.devices] == [("new", True)]


def test_a_starting_unit_makes_every_device_safe(buses: InventedBuses) -> None:
    relay = buses.add(RELAY, visa("a"), "9")
    assert relay is not None
    relay.values["on"] = 1.0
    Devices([visa("a")], buses).scan(make_safe=True)
    assert relay.values["on"] == 0.0
    assert relay.log[-1] == "close"


def test_a_detection_by_a_person_switches_nothing(buses: InventedBuses) -> None:
    relay = buses.add(RELAY, visa("a"), "9")
    assert relay is not None
    Devices([visa("a")], buses).scan(make_safe=False)
    assert relay.log == []


def test_a_station_that_takes_a_place_during_a_scan_is_not_overruled(buses: InventedBuses) -> None:
    buses.add(None, visa("a"), "77", EA)
    buses.may_scan.clear()
    found = Devices([visa("a")], buses)
    scan = threading.Thread(target=lambda: found.scan(make_safe=True))
    scan.start()
    assert buses.scanning.wait(10)
    found.hold(visa("a"))
    found.seen(visa("a"), PSB, Identity("EA", "PSB", "78", "1"))
    buses.may_scan.set()
    scan.join(10)
    assert [each.serial_number for each in found.report().devices] == ["78"]


def test_a_slow_bus_holds_up_no_other(buses: InventedBuses) -> None:
    buses.may_scan.clear()
    found = Devices([visa("a"), visa("b")], buses)
    scan = threading.Thread(target=lambda: found.scan(make_safe=False))
    scan.start()
    until(lambda: len(buses.asked) == 2, 10, "both are asked at the same time")
    buses.may_scan.set()
    scan.join(10)
    assert [each.link["resource"] for each in found.last] == ["a", "b"]


# --- what this computer lists -------------------------------------------------------------------


def test_ports_that_the_computer_lists_are_asked_but_not_twice(
    buses: InventedBuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = [{"kind": "serial", "port": f"/dev/ttyX{n}"} for n in (0, 1)]
    monkeypatch.setitem(detection.LISTS, "serial", lambda: ports)
    named = {"kind": "visa", "resource": "ASRL/dev/ttyX0::INSTR"}
    Devices([named], buses, discover=["serial"]).scan(make_safe=False)
    assert sorted(bus for bus, _ in buses.asked) == ["serial:/dev/ttyX0", "serial:/dev/ttyX1"]


def test_a_list_that_cannot_be_made_does_not_stop_the_scan(
    buses: InventedBuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> list[dict[str, Any]]:
        raise OSError("no bus at all")

    monkeypatch.setitem(detection.LISTS, "visa", broken)
    Devices([visa("a")], buses, discover=["visa"]).scan(make_safe=False)
    assert [bus for bus, _ in buses.asked] == ["visa:a"]


def test_serial_ports_and_resources_are_listed_by_the_real_libraries() -> None:
    assert all(link["kind"] == "serial" for link in detection.serial_ports())
    assert all(link["kind"] == "visa" for link in detection.visa_resources())


# --- models that others made --------------------------------------------------------------------


def own_model(**more: Any) -> dict[str, Any]:
    """Return an operator's row: another supply of the family, as the site sends it."""
    row: dict[str, Any] = msgspec.to_builtins(PSB)
    return {**row, "key": "own-psb-10080-30", "identity": r"PSB 10080-30\s*,", **more}


def test_a_model_that_an_operator_added_is_matched_and_survives_a_restart(
    buses: InventedBuses, tmp_path: Path
) -> None:
    buses.add(None, visa("a"), "5", "EA Elektro-Automatik, PSB 10080-30, 5, 1")
    found = Devices([visa("a")], buses, file=tmp_path / "kinds.json")
    assert found.scan(make_safe=False).devices[0].model == ""
    assert found.learn([own_model()]) == []
    assert found.scan(make_safe=False).devices[0].model == "own-psb-10080-30"
    catalogue.forget()
    after = Devices([visa("a")], buses, file=tmp_path / "kinds.json")
    report = after.scan(make_safe=False)
    assert report.devices[0].model == "own-psb-10080-30"
    assert [kind["key"] for kind in report.kinds] == ["own-psb-10080-30"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"driver": "os:system"}, "does not have"),
        ({"identity": "("}, "cannot be used"),
        ({"voltage_max_v": "many"}, "cannot be used"),
    ],
)
def test_a_row_that_would_run_other_code_or_is_none_is_refused(more: dict[str, Any], said: str) -> None:
    (problem,) = catalogue.learn([own_model(**more)])
    assert said in problem
    assert all(kind.key != "own-psb-10080-30" for kind in catalogue.all_kinds())


def test_a_row_from_outside_never_replaces_a_shipped_one() -> None:
    catalogue.learn([{**msgspec.to_builtins(PSB), "voltage_max_v": 999.0}])
    assert catalogue.get(PSB.key).voltage_max_v == 60.0


def test_other_packages_bring_kinds_by_entry_point_and_a_broken_one_hurts_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Point:
        name = "acme"

        def __init__(self, load: Any) -> None:
            self.load = load

    def broken() -> Any:
        raise RuntimeError("half installed")

    points = [Point(broken), Point(lambda: [RELAY, "no kind"])]
    monkeypatch.setattr(catalogue, "entry_points", lambda group: points if group == "cellyard.kinds" else [])
    catalogue.forget()
    assert catalogue.get("test-relay") == RELAY
    buses = InventedBuses()
    buses.add(RELAY, visa("a"), "9")
    report = Devices([visa("a")], buses).scan(make_safe=False)
    assert report.kinds[0]["controls"], "the site learns what it does not know"


# --- names ----------------------------------------------------------------------------------------


def test_buses_are_found_by_the_names_that_people_see(buses: InventedBuses) -> None:
    buses.add(RELAY, {**CAN, "name": "can0", "node": 0x13}, "19")
    found = Devices([{**CAN, "name": "can0"}], buses)
    found.scan(make_safe=False)
    for name in ("can0", "can0 node 0x13"):
        link = found.bus_named(name)
        assert link is not None
        assert link["channel"] == "c1"
    assert found.bus_named("nowhere") is None


def test_a_device_without_a_serial_number_is_found_by_its_link(buses: InventedBuses) -> None:
    buses.add(RELAY, visa("a"), "")
    buses.add(RELAY, visa("b"), "")
    found = Devices([visa("a"), visa("b")], buses)
    found.scan(make_safe=False)
    place = found.find(DevicePlace(model="test-relay", link_name="b"))
    assert place is not None
    assert name_of(place.link) == "b"


# --- the shipped buses on the shipped simulators ----------------------------------------------------


def test_a_simulated_supply_is_found_over_its_own_bytes_and_not_switched(simulators: Simulators) -> None:
    link = next(each for each in simulators.links() if each["name"] == "psb2")
    before = len(simulators.ask(device="psb2", query="exchanges")["exchanges"])
    buses = LocalBuses()
    report = Devices([link], buses).scan(make_safe=False)
    buses.stop()
    (device,) = report.devices
    serial = next(each["serial_number"] for each in simulators.supplies if each["name"] == "psb2")
    assert (device.model, device.serial_number, device.connected) == (MODEL, serial, True)
    told = simulators.ask(device="psb2", query="exchanges")["exchanges"][before:]
    assert all(each["text"].strip().endswith("?") for each in told if each["to"] == "device")


def test_nobody_at_a_link_is_said_with_the_reason() -> None:
    buses = LocalBuses()
    found = Devices([visa("TCPIP::127.0.0.1::9::SOCKET")], buses)
    assert found.scan(make_safe=False).devices == []
    assert found.last[0].outcome == "failed"
    assert "127.0.0.1" in found.last[0].reason
    buses.stop()
