"""Safety rule 8: one bus has one owner, however its link is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cycler_unit.buses.protocol import bus_key, device_key
from cycler_unit.buses.text_scan import full
from cycler_unit.devices import Devices


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("TCPIP::192.168.1.20::5025::SOCKET", "TCPIP0::192.168.1.20::5025::SOCKET"),
        ("TCPIP::psu.lab::5025::SOCKET", "tcpip0::PSU.lab::5025::socket"),
        ("TCPIP::psu.lab::INSTR", "TCPIP0::psu.lab::inst0::INSTR"),
        ("TCPIP::psu.lab::INSTR", "TCPIP::psu.lab"),
        ("ASRL/dev/ttyNONE7::INSTR", "asrl/dev/ttyNONE7::instr"),
        ("ASRLCOM3::INSTR", "ASRLcom3::INSTR"),
    ],
)
def test_two_spellings_of_a_resource_are_one_bus(one: str, other: str) -> None:
    assert bus_key({"kind": "visa", "resource": one}) == bus_key({"kind": "visa", "resource": other})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("TCPIP::192.168.1.20::5025::SOCKET", "TCPIP::192.168.1.20::5026::SOCKET"),
        ("TCPIP::192.168.1.20::5025::SOCKET", "TCPIP1::192.168.1.20::5025::SOCKET"),
        ("ASRL/dev/ttyNONE7::INSTR", "ASRL/dev/ttyNONE8::INSTR"),
        ("USB0::0x1AB1::0x0588::DM3R1::INSTR", "USB0::0x1AB1::0x0588::DM3R2::INSTR"),
    ],
)
def test_different_places_are_different_buses(one: str, other: str) -> None:
    assert bus_key({"kind": "visa", "resource": one}) != bus_key({"kind": "visa", "resource": other})


def test_a_serial_port_by_any_of_its_names_is_one_bus(tmp_path: Path) -> None:
    port = tmp_path / "ttyUSB0"
    port.touch()
    by_id = tmp_path / "usb-KORAD_0001"
    by_id.symlink_to(port)
    links: list[dict[str, Any]] = [
        {"kind": "serial", "port": str(port)},
        {"kind": "serial", "port": str(by_id)},
        {"kind": "visa", "resource": f"ASRL{port}::INSTR"},
        {"kind": "visa", "resource": f"ASRL{by_id}::INSTR"},
    ]
    links += [full(link) for link in links]
    assert len({bus_key(link) for link in links}) == 1
    assert len({device_key({**link, "channel_no": 1}) for link in links}) == 1


def test_what_is_not_written_is_what_the_link_takes_by_itself() -> None:
    coupler = {"kind": "modbus", "host": "Coupler"}
    assert bus_key(coupler) == bus_key({"kind": "modbus", "host": "coupler", "port": 502})
    assert device_key(coupler) == device_key({**coupler, "unit": 1})
    assert device_key(coupler) != device_key({**coupler, "unit": 2})
    relay = {"kind": "http", "url": "http://Relay.lab/"}
    assert bus_key(relay) == bus_key({"kind": "http", "url": "http://relay.lab"})


def test_a_port_that_was_plugged_in_elsewhere_is_given_back_all_the_same(tmp_path: Path) -> None:
    by_id = tmp_path / "usb-KORAD_0001"
    by_id.symlink_to(tmp_path / "ttyUSB0")
    link = {"kind": "serial", "port": str(by_id)}
    devices = Devices([])
    devices.hold(link)
    by_id.unlink()
    by_id.symlink_to(tmp_path / "ttyUSB1")
    devices.release(link)
    assert devices.held() == []
