"""CAEN high voltage: the parameters written and read, the health rule, and libraries that are missing."""

from __future__ import annotations

import enum
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cycler_unit import drivers
from cycler_unit.drivers import caen, caen_library, caen_status
from cycler_unit.drivers.caen import CaenChannel
from cycler_unit.drivers.caen_library import Board, CaenLibs
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused
from cycler_unit.drivers.knobs import KnobDevice
from wire import kinds

BOARD = Board("V6533", "128", "1.3", 6)
Step = tuple[str, int, str, float]


class ScriptedHv:
    """A library that knows what must come next: ``("w" or "r", channel, name, value)``."""

    def __init__(self) -> None:
        self.script: list[Step] = []
        self.failing: dict[str, Exception] = {}
        self.opened = self.closed = 0

    def open(self, slot: int) -> Board:
        self.opened += 1
        return BOARD

    def read(self, slot: int, channel: int, name: str) -> float:
        return self._next("r", channel, name)[3]

    def write(self, slot: int, channel: int, name: str, value: float) -> None:
        if name in self.failing:
            raise self.failing[name]
        assert self._next("w", channel, name)[3] == pytest.approx(value)

    def _next(self, what: str, channel: int, name: str) -> Step:
        assert self.script, f"{what} {channel} {name}: nothing was expected"
        step = self.script.pop(0)
        assert step[:3] == (what, channel, name)
        return step

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def hv(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedHv]:
    scripted = ScriptedHv()
    monkeypatch.setattr(caen, "library", lambda link: scripted)
    yield scripted
    assert not scripted.script, f"never asked: {scripted.script}"
    assert not caen._sessions


def both(channel: int, name: str, value: float) -> list[Step]:
    return [("w", channel, name, value), ("r", channel, name, value)]


def down(channel: int) -> list[Step]:
    return [*both(channel, "PDwn", 1.0), *both(channel, "VSet", 0.0), *both(channel, "Pw", 0.0)]


def start(channel: int) -> list[Step]:
    return [
        *both(channel, "ImonRange", 0.0),
        *both(channel, "ISet", 50.0),
        *both(channel, "Trip", 0.2),
        *both(channel, "RUp", 10.0),
        *both(channel, "RDWn", 100.0),
    ]


def reading(channel: int, status: int, current_ua: float = 0.1, volts: float = 1500.0) -> list[Step]:
    return [
        ("r", channel, "ChStatus", float(status)),
        ("r", channel, "ImonRange", 0.0),
        ("r", channel, "IMonH", current_ua),
        ("r", channel, "VMon", volts),
        ("r", channel, "VSet", 1500.0),
        ("r", channel, "Pw", 1.0),
        ("r", channel, "Temp", 31.0),
    ]


def channel(hv: ScriptedHv, number: int = 0, **more: Any) -> CaenChannel:
    link = {**kinds.get("caen-v6533").settings, "address": "0_0_40000000", "channel_no": number, **more}
    device = CaenChannel(link, name="HV")
    hv.script += [*down(number), *start(number)]
    identity = device.open()
    assert identity.text == f"CAEN, V6533, 128-ch{number}, 1.3"
    assert not hv.script
    return device


# --- the mask -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "ok", "over_or_under_only", "ramping_down"),
    [
        (0x0000, True, False, False),
        (0x0001, True, False, False),
        (0x0003, True, False, False),
        (0x0005, True, False, True),
        (0x0011, False, True, False),
        (0x0021, False, True, False),
        (0x0009, False, False, False),
        (0x0101, False, False, False),
        (0x1001, False, False, False),
        (0x2001, True, False, False),
    ],
)
def test_the_status_mask_means(mask: int, ok: bool, over_or_under_only: bool, ramping_down: bool) -> None:
    assert caen_status.is_ok(mask) is ok
    assert caen_status.is_over_or_under_only(mask) is over_or_under_only
    assert caen_status.is_ramping_down(mask) is ramping_down


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (0x0000, ["off"]),
        (0x0003, ["on", "ramping up"]),
        (0x1001, ["on", "interlock open"]),
        (0x3FFF, list(caen_status.WORDS.values())),
    ],
)
def test_the_status_in_words(mask: int, said: list[str]) -> None:
    assert caen_status.words(mask) == said


def test_under_voltage_is_tolerated_unless_a_ramp_down_takes_too_long() -> None:
    assert caen_status.trouble(0x0021, 0.0) is None
    assert caen_status.trouble(0x0025, 10.0) is None
    assert caen_status.trouble(0x0025, 10.5) == "under voltage, and ramping down for more than 10 s"
    # A ramp down alone may take as long as the voltage needs.
    assert caen_status.trouble(0x0005, 100.0) is None
    assert caen_status.trouble(0x1031, 0.0) == "over voltage, under voltage, interlock open"


# --- the dialogue ---------------------------------------------------------------------------------


def test_opening_ramps_down_first_and_then_writes_what_a_start_needs(hv: ScriptedHv) -> None:
    channel(hv).close()
    assert (hv.opened, hv.closed) == (1, 1)


def test_a_voltage_and_its_ramps_are_written_under_their_right_names(hv: ScriptedHv) -> None:
    device = channel(hv, 2)
    hv.script += [
        *both(2, "RUp", 25.0),
        *both(2, "RDWn", 60.0),
        *both(2, "VSet", 1999.9),
        *both(2, "Pw", 1.0),
    ]
    assert device.set("rup_v_s", 25.0) == 25.0
    assert device.set("rdwn_v_s", 60.0) == 60.0
    assert device.set("vset_v", 1999.9) == 1999.9
    assert device.set("power", 1.0) == 1.0
    device.close()


def test_currents_are_microamperes_on_the_board_and_amperes_here(hv: ScriptedHv) -> None:
    device = channel(hv)
    hv.script += both(0, "ISet", 20.0)
    assert device.set("iset_a", 20e-6) == pytest.approx(20e-6)
    hv.script += reading(0, 0x0001, current_ua=0.25)
    found = device.read().extended
    assert found["imon_a"] == pytest.approx(0.25e-6)
    assert (found["vmon_v"], found["power"], found["status_mask"]) == (1500.0, 1.0, 1.0)
    device.close()


def test_the_low_range_is_read_from_its_own_parameter(hv: ScriptedHv) -> None:
    device = channel(hv)
    hv.script += [
        ("r", 0, "ChStatus", 1.0), ("r", 0, "ImonRange", 1.0), ("r", 0, "IMonL", 0.005),
        *reading(0, 1)[3:],
    ]  # fmt: skip
    assert device.read().extended["imon_a"] == pytest.approx(5e-9)
    device.close()


def test_down_is_no_voltage_then_no_power_with_a_ramp(hv: ScriptedHv) -> None:
    device = channel(hv)
    hv.script += down(0)
    device.make_safe()
    device.close()


def test_an_open_interlock_is_a_fault_and_takes_every_channel_down(hv: ScriptedHv) -> None:
    first, second = channel(hv, 0), channel(hv, 1)
    assert hv.opened == 1
    hv.script += reading(0, 0x1001)
    for number in (0, 1):
        hv.script += [("w", number, "PDwn", 1.0), ("w", number, "VSet", 0.0), ("w", number, "Pw", 0.0)]
    with pytest.raises(DeviceFault, match=r"HV channel 0: interlock open \(status 0x1001\)"):
        first.read()
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("status", "current_ua", "said"),
    [
        (0x0001, 2.0, "2 µA at rest, 2 µA allowed"),
        (0x0003, 5.0, "5 µA while ramping, 2 µA allowed"),
        (0x0101, 0.1, "tripped"),
        (0x0009, 0.1, "over current"),
    ],
)
def test_what_is_unhealthy_is_said(hv: ScriptedHv, status: int, current_ua: float, said: str) -> None:
    device = channel(hv)
    hv.script += [
        *reading(0, status, current_ua),
        ("w", 0, "PDwn", 1.0), ("w", 0, "VSet", 0.0), ("w", 0, "Pw", 0.0),
    ]  # fmt: skip
    with pytest.raises(DeviceFault, match=said):
        device.read()
    device.close()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_is_never_healthy(hv: ScriptedHv, number: float) -> None:
    device = channel(hv)
    hv.script += reading(0, 0x0001, current_ua=number)[:3]
    with pytest.raises(DeviceLost, match=r"says (nan|inf) of IMonH of channel 0"):
        device.read()
    device.close()
    device = channel(hv)
    hv.script += [("r", 0, "ChStatus", number)]
    with pytest.raises(DeviceLost, match="of ChStatus"):
        device.read()
    device.close()


def test_a_failed_write_is_raised_with_the_librarys_words(hv: ScriptedHv) -> None:
    device = channel(hv)
    hv.failing["RDWn"] = caen_library.failure("0_0_40000000", "RDWn = 60", "WRITEERR", "set failed")
    with pytest.raises(DeviceRefused, match="CAEN 0_0_40000000: RDWn = 60: set failed"):
        device.set("rdwn_v_s", 60.0)
    device.close()


def test_a_value_that_the_board_rounds_elsewhere_is_refused(
    hv: ScriptedHv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cycler_unit.drivers.knobs.ECHO_S", 0.0)
    device = channel(hv)
    hv.script += [("w", 0, "VSet", 2000.0), ("r", 0, "VSet", 1500.0)] * 2
    with pytest.raises(DeviceRefused, match="holds vset_v at 1500 instead of 2000"):
        device.set("vset_v", 2000.0)
    device.close()


def test_a_lost_board_is_connected_again(hv: ScriptedHv) -> None:
    device = channel(hv)
    hv.failing["VSet"] = DeviceLost("CAEN 0_0_40000000: communication")
    with pytest.raises(DeviceLost, match="communication"):
        device.set("vset_v", 100.0)
    with pytest.raises(DeviceLost, match="is not open"):
        device.read()
    hv.failing.clear()
    hv.script += [*down(0), *start(0)]
    device.open()
    assert hv.opened == 2
    device.close()


def test_a_channel_that_the_board_does_not_have_is_refused(hv: ScriptedHv) -> None:
    device = CaenChannel({"address": "0_0_40000000", "channel_no": 6}, name="HV")
    hv.script += down(6)
    with pytest.raises(DeviceRefused, match="channel 6 of a board with 6"):
        device.open()


# --- the libraries --------------------------------------------------------------------------------


def test_without_the_makers_library_only_this_device_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Importing the binding fails so on a computer without CAEN's shared library.
    monkeypatch.setitem(sys.modules, "caen_libs", None)
    device = CaenChannel({"address": "0_0_40000000"}, name="HV")
    with pytest.raises(drivers.DriverMissing, match="needs caen-libs and CAEN's own HV wrapper library"):
        device.open()
    device.close()
    for kind in kinds.KINDS:
        drivers.load(kind.driver)


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ({}, "has no address"),
        ({"address": "x", "library": "mine"}, "is neither caen-libs nor simulated"),
    ],
)
def test_a_wrong_link_is_said(link: dict[str, Any], said: str) -> None:
    with pytest.raises(DeviceRefused, match=said):
        CaenChannel(link).open()


class FakeError(RuntimeError):
    """Looks like the binding's error: a code with a name."""

    def __init__(self, code: str) -> None:
        self.code = types.SimpleNamespace(name=code)
        super().__init__(f"CAENHV_SetChParam failed: {code}")


class FakeDevice:
    """The binding's device, as its signatures say."""

    calls: list[Any] = []
    failing = ""

    @classmethod
    def open(cls, system: Any, link: Any, arg: str, username: str = "", password: str = "") -> FakeDevice:
        cls.calls.append(("open", system.name, link.name, arg))
        return cls()

    def test_bd_presence(self, slot: int) -> Any:
        return types.SimpleNamespace(model="V6533N", serial_number=128, fw_version="1.03", n_channel=6)

    def get_ch_param(self, slot: int, channels: list[int], name: str) -> list[float]:
        if self.failing:
            raise FakeError(self.failing)
        return [1500.5]

    def set_ch_param(self, slot: int, channels: list[int], name: str, value: Any) -> None:
        if self.failing:
            raise FakeError(self.failing)
        self.calls.append((slot, channels, name, value, type(value).__name__))

    def close(self) -> None:
        self.calls.append("close")


@dataclass
class Binding:
    calls: list[Any]


@pytest.fixture
def binding(monkeypatch: pytest.MonkeyPatch) -> Binding:
    system = enum.Enum("SystemType", {"V65XX": 5})
    link = enum.Enum("LinkType", {"OPTLINK": 4})
    module = types.SimpleNamespace(Device=FakeDevice, SystemType=system, LinkType=link, Error=FakeError)
    monkeypatch.setattr(caen_library, "_binding", lambda: module)
    monkeypatch.setattr(FakeDevice, "calls", [])
    monkeypatch.setattr(FakeDevice, "failing", "")
    return Binding(FakeDevice.calls)


def test_the_binding_is_called_as_its_makers_say(binding: Binding) -> None:
    library = CaenLibs("0_0_40000000")
    assert library.open(0) == Board("V6533N", "128", "1.03", 6)
    assert library.read(0, 3, "VMon") == 1500.5
    library.write(0, 3, "VSet", 100.0)
    library.write(0, 3, "Pw", 1.0)
    library.close()
    library.close()
    assert FakeDevice.calls == [
        ("open", "V65XX", "OPTLINK", "0_0_40000000"),
        (0, [3], "VSet", 100.0, "float"),
        (0, [3], "Pw", 1, "int"),
        "close",
    ]
    with pytest.raises(DeviceLost, match="is not open"):
        library.read(0, 0, "VMon")


@pytest.mark.parametrize(
    ("code", "error"),
    [("COMMUNICATIONERROR", DeviceLost), ("TIMEERR", DeviceLost), ("OUTOFRANGE", DeviceRefused), ("WRITEERR", DeviceRefused)],
)  # fmt: skip
def test_the_librarys_codes_become_lost_or_refused(
    binding: Binding, monkeypatch: pytest.MonkeyPatch, code: str, error: type[Exception]
) -> None:
    library = CaenLibs("0_0_40000000")
    library.open(0)
    monkeypatch.setattr(FakeDevice, "failing", code)
    with pytest.raises(error, match=code):
        library.write(0, 0, "VSet", 100.0)


def test_a_channel_is_a_switched_device_and_no_power_device() -> None:
    assert issubclass(CaenChannel, KnobDevice)
