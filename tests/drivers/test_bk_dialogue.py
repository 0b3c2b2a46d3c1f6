"""What the BK meter driver says, byte by byte: every command comes back before its answer (device sheet 6)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cycler_unit.drivers.bk import Bk2831E, Bk5491B
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused

from .dialogue import Dialogue, Exchange, expected

IDENTITY = "2831E  Multimeter,Ver1.4.14.06.18,124E16150"


def said(command: str) -> Exchange:
    return (command, [command])


def asked(query: str, answer: str) -> Exchange:
    return (query, [query, answer])


STILL_VOLTS = asked("FUNC?", "VOLT:DC")

OPENING: list[Exchange | str] = [
    asked("*IDN?", IDENTITY),
    asked("SYST:ERR?", '-113,"Undefined header"'),
    asked("SYST:ERR?", '0,"No error"'),
    said("FUNC VOLT:DC"),
    asked("FUNC?", "VOLT:DC"),
    said("HOLD:STAT OFF"),
    said("VOLT:DC:REF:STAT OFF"),
    asked("VOLT:DC:REF:STAT?", "0"),
    said("TRIG:SOUR IMM"),
    said("VOLT:DC:RANG:AUTO ON"),
    asked("VOLT:DC:RANG:AUTO?", "1"),
    said("VOLT:DC:NPLC 1"),
    asked("VOLT:DC:NPLC?", "1.00"),
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cycler_unit.drivers.bk.RESYNC_S", 0.0)
    monkeypatch.setattr("cycler_unit.drivers.knobs.ECHO_S", 0.0)


@pytest.fixture
def link() -> Dialogue:
    return Dialogue()


@pytest.fixture
def meter(link: Dialogue) -> Iterator[Bk2831E]:
    device = Bk2831E({}, name="meter", transport=link)
    with expected(link, *OPENING):
        identity = device.open()
    assert (identity.maker, identity.model) == ("BK Precision", "2831E")
    assert (identity.serial_number, identity.firmware) == ("124E16150", "Ver1.4.14.06.18")
    yield device
    device.close()
    assert not link.opened


def test_it_opens_as_a_volt_meter_in_automatic_range(meter: Bk2831E) -> None:
    assert meter.function == "voltage"


@pytest.mark.parametrize(
    ("answer", "volts"),
    [
        ("3.712345", 3.712345),
        ("+3.71234E+00", 3.71234),
        ("-1.2E-3", -0.0012),
        ("9.9E37", None),
        ("9.900000E+37", None),
        ("OVLD", None),
        ("9.9E3", None),
        ("3.71234E", None),
        ("0.0213 A", None),
        ("FETC?", None),
        ("nan", None),
        ("", None),
    ],
)
def test_a_reading_is_a_number_or_missing(
    meter: Bk2831E, link: Dialogue, answer: str, volts: float | None
) -> None:
    with expected(link, asked("FETC?", answer), STILL_VOLTS):
        measured = meter.read()
    assert measured.voltage_v == volts
    assert measured.current_a is None


def test_after_a_lost_byte_it_is_in_step_again(meter: Bk2831E, link: Dialogue) -> None:
    with expected(link, ("FETC?", ["ETC?", "3.1"]), asked("FETC?", "3.2"), STILL_VOLTS):
        assert meter.read().voltage_v == 3.2


def test_an_echo_that_stays_wrong_is_lost(meter: Bk2831E, link: Dialogue) -> None:
    with (
        expected(link, ("FETC?", ["3.1"]), ("FETC?", ["3.1"])),
        pytest.raises(DeviceLost, match=r"echoes '3\.1' instead of 'FETC\?'"),
    ):
        meter.read()


def test_an_answer_that_never_comes_is_lost(meter: Bk2831E, link: Dialogue) -> None:
    with expected(link, said("FETC?")), pytest.raises(DeviceLost):
        meter.read()


@pytest.mark.parametrize("function", ["CURR:DC", "VOLT:AC", "VOLT:DC:RAT", "OLT:DC", ""])
def test_a_number_of_another_function_is_never_a_reading(
    meter: Bk2831E, link: Dialogue, function: str
) -> None:
    with expected(link, asked("FETC?", "3.7"), STILL_VOLTS):
        assert meter.read().voltage_v == 3.7
    with (
        expected(link, asked("FETC?", "0.0213"), asked("FUNC?", function)),
        pytest.raises(DeviceFault, match="not VOLT:DC: chosen at its front panel"),
    ):
        meter.read()


def test_a_number_relative_to_something_is_a_fault(
    meter: Bk2831E, link: Dialogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cycler_unit.drivers.bk.LOOK_S", 0.0)
    ask = ("VOLT:DC:REF:STAT?", ["VOLT:DC:REF:STAT?", "0"])
    with expected(link, asked("FETC?", "3.7"), STILL_VOLTS, ask, said("TRIG:SOUR IMM")):
        assert meter.read().voltage_v == 3.7
    with (
        expected(link, asked("FETC?", "0.001"), STILL_VOLTS, asked("VOLT:DC:REF:STAT?", "1")),
        pytest.raises(DeviceFault, match="relative to a reference"),
    ):
        meter.read()


def test_range_and_speed_are_set_and_read_back(meter: Bk2831E, link: Dialogue) -> None:
    with expected(
        link, said("VOLT:DC:RANG 20"), asked("VOLT:DC:RANG:AUTO?", "0"), asked("VOLT:DC:RANG?", "20")
    ):
        assert meter.set("range_v", 20.0) == 20.0
    with expected(link, said("VOLT:DC:NPLC 10"), asked("VOLT:DC:NPLC?", "10.00")):
        assert meter.set("nplc", 10.0) == 10.0
    with expected(
        link, asked("VOLT:DC:NPLC?", "10.00"), asked("VOLT:DC:RANG:AUTO?", "0"), asked("VOLT:DC:RANG?", "20")
    ):
        assert meter.held() == {"nplc": 10.0, "range_v": 20.0}


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("range_v", 5.0, r"range_v is one of 0, 0\.2, 2, 20, 200, 1000, not 5"),
        ("nplc", 2.0, r"nplc is one of 0\.1, 1, 10"),
        ("range_a", 2.0, "no setting 'range_a'"),
    ],
)
def test_a_setting_that_the_meter_does_not_have_is_refused(
    meter: Bk2831E, link: Dialogue, name: str, value: float, why: str
) -> None:
    with expected(link), pytest.raises(DeviceRefused, match=why):
        meter.set(name, value)


def test_as_an_ammeter_it_reads_current_and_may_turn_its_sign(link: Dialogue) -> None:
    meter = Bk5491B({"function": "current", "invert": True, "range": 5.0, "nplc": 0.1}, transport=link)
    with expected(
        link,
        asked("*IDN?", IDENTITY.replace("2831E", "5491B")),
        asked("SYST:ERR?", "0"),
        said("FUNC CURR:DC"),
        asked("FUNC?", '"CURR:DC"'),
        said("HOLD:STAT OFF"),
        said("CURR:DC:REF:STAT OFF"),
        asked("CURR:DC:REF:STAT?", "OFF"),
        said("TRIG:SOUR IMM"),
        said("CURR:DC:RANG 5"),
        asked("CURR:DC:RANG:AUTO?", "0"),
        asked("CURR:DC:RANG?", "5"),
        said("CURR:DC:NPLC 0.1"),
        asked("CURR:DC:NPLC?", "0.1"),
    ):
        meter.open()
    with expected(link, asked("FETC?", "1.5"), asked("FUNC?", "CURR:DC")):
        measured = meter.read()
    assert (measured.voltage_v, measured.current_a) == (None, -1.5)


def test_another_model_is_refused(link: Dialogue) -> None:
    with (
        expected(link, asked("*IDN?", IDENTITY.replace("2831E", "5491B"))),
        pytest.raises(DeviceRefused, match="'5491B', not '2831E'"),
    ):
        Bk2831E({}, transport=link).open()
    with expected(link, asked("*IDN?", "KEITHLEY,2000")), pytest.raises(DeviceRefused, match="KEITHLEY"):
        Bk2831E({}, transport=link).open()


def test_a_function_that_does_not_exist_is_refused(link: Dialogue) -> None:
    with pytest.raises(DeviceRefused, match="voltage or current, not 'ohm'"):
        Bk2831E({"function": "ohm"}, transport=link).open()
