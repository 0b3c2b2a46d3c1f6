"""What the SBA-5 driver says, byte by byte (device sheet 9.4)."""

from __future__ import annotations

import pytest

from cycler_unit.drivers.errors import DeviceLost, DeviceRefused
from cycler_unit.drivers.sba5 import Sba5

from .dialogue import Dialogue, Exchange, expected

LINE = "M 55121 52034 415 55.0 12.3 25.1 1013 1"
STOPPED: Exchange = ("!", ["!", "OK"])


@pytest.fixture
def link() -> Dialogue:
    return Dialogue()


@pytest.fixture
def gas(link: Dialogue) -> Sba5:
    device = Sba5({}, name="gas", transport=link)
    with expected(link, STOPPED, ("M", LINE)):
        assert device.open().model == "SBA-5"
    return device


def test_the_fourth_field_is_the_gas(gas: Sba5, link: Dialogue) -> None:
    with expected(link, ("M", LINE)):
        assert gas.read().extended == {"co2_ppm": 415.0}


def test_a_short_line_is_asked_for_again_and_then_missing(gas: Sba5, link: Dialogue) -> None:
    with expected(link, ("M", "M 5512"), ("M", LINE)):
        assert gas.read().extended == {"co2_ppm": 415.0}
    with expected(link, ("M", "M 5512"), ("M", ""), ("M", "M 1 2")):
        assert gas.read().extended == {"co2_ppm": None}


@pytest.mark.parametrize(
    "line",
    [
        LINE.removeprefix("M "),
        LINE.replace(" 52034", "52034"),
        LINE.replace("415", "4l5"),
        LINE.replace("415", "nan"),
        LINE.replace("415", "1e9"),
        LINE.replace("M", "Z"),
        "W 45.2 1 2 3 4 5 6 7",
        "P1",
        "OK",
    ],
)
def test_a_garbled_line_is_never_a_value(gas: Sba5, link: Dialogue, line: str) -> None:
    with expected(link):
        link.expect([("M", line)] * 3)
        if line.startswith("M"):
            link.script[1:] = []
        assert gas.read().extended == {"co2_ppm": None}


def test_an_ok_that_came_late_confirms_nothing(gas: Sba5, link: Dialogue) -> None:
    with expected(link, ("P0", ["OK", "P0", "OK"])):
        assert gas.set("pump", 0.0) == 0.0
    with expected(link, ("P1", ["OK", "P0", "OK"])), pytest.raises(DeviceLost):
        gas.set("pump", 1.0)
    assert gas.held() == {}


def test_its_error_value_is_passed_on_as_the_catalogue_names_it(gas: Sba5, link: Dialogue) -> None:
    with expected(link, ("M", LINE.replace("415", "-255"))):
        assert gas.read().extended == {"co2_ppm": -255.0}


def test_a_line_of_the_stream_may_come_before_the_echo(link: Dialogue) -> None:
    with expected(link, ("!", [LINE, "!", "OK"]), ("M", LINE)):
        Sba5({}, transport=link).open()


def test_who_stops_no_stream_is_refused(link: Dialogue) -> None:
    with expected(link, ("!", ["a", "b", "c", "d"])), pytest.raises(DeviceRefused, match="instead of OK"):
        Sba5({}, transport=link).open()


def test_the_pump_is_confirmed_by_its_ok(gas: Sba5, link: Dialogue) -> None:
    assert gas.held() == {}
    with expected(link, ("P0", ["P0", "OK"])):
        assert gas.set("pump", 0.0) == 0.0
    assert gas.held() == {"pump": 0.0}
    with expected(link, ("P1", ["P1"])), pytest.raises(DeviceLost):
        gas.set("pump", 1.0)
    assert gas.held() == {}


@pytest.mark.parametrize(("name", "value"), [("pump", 2.0), ("lamp", 1.0)])
def test_what_it_does_not_have_is_refused(gas: Sba5, link: Dialogue, name: str, value: float) -> None:
    with expected(link), pytest.raises(DeviceRefused, match="pump"):
        gas.set(name, value)
