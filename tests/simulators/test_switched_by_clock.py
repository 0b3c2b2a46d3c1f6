"""What simulated couplers and high voltage do by themselves while time passes, on a clock of our own."""

from __future__ import annotations

from typing import Any

import pytest

from cycler_unit.drivers import caen_status
from cycler_unit.simulators import caen, coupler
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.coupler import Coupler
from cycling.cell import Cell
from wire import kinds

DOG = kinds.get("modbus-io-coupler").settings["watchdog"]


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


# --- the dead man -----------------------------------------------------------------------------------


@pytest.fixture
def io(clock: Clock) -> Coupler:
    circuit = Circuit(Cell("NMC", 2.5, None, 0.5, 1, 25.0), clock=clock, name="c")
    spec = {"name": "io", "model": "modbus-io-coupler", "host": "127.0.0.1", "circuit": "c"}
    return coupler.make(spec, {"c": circuit}, 1, clock)


def tell(io: Coupler, text: str) -> str:
    body = bytes.fromhex(text)
    request = bytearray(b"\0\1\0\0" + (len(body) + 1).to_bytes(2, "big") + b"\1" + body)
    answer = io.serve(request)
    assert answer is not None
    assert not request
    return answer[7:].hex()


def closed(io: Coupler) -> bool:
    return bool(io.truth()["outputs"][DOG["output"]])


def arm(io: Coupler) -> None:
    """Five seconds, a sign of life, isolator and dead-man output closed."""
    seconds = round(DOG["time_s"] / DOG["time"]["scale"])
    assert seconds == 50
    for request in (f"06 1000 {seconds:04x}", "06 1003 0001", "05 0000 ff00", "05 0001 ff00"):
        assert int(tell(io, request)[:2], 16) < 0x80


def test_a_dead_man_output_opens_five_seconds_after_the_last_sign_of_life(io: Coupler, clock: Clock) -> None:
    arm(io)
    assert io.truth()["connected"] is True
    for number in range(2, 6):
        clock.now_s += 4.9
        assert tell(io, f"06 1003 {number:04x}") == f"061003{number:04x}"
        assert closed(io)
    clock.now_s += 5.1
    assert not closed(io)
    assert io.truth()["connected"] is False
    assert tell(io, "03 1006 0001") == "03020002"


@pytest.mark.parametrize("other", ["03 1006 0001", "02 0000 0005", "05 0001 ff00", "06 1003 0001"])
def test_nothing_but_a_change_of_the_trigger_is_a_sign_of_life(io: Coupler, clock: Clock, other: str) -> None:
    arm(io)
    for _ in range(11):
        clock.now_s += 0.5
        tell(io, other)
    assert not closed(io)


def test_an_expired_watchdog_wants_a_restart(io: Coupler, clock: Clock) -> None:
    arm(io)
    clock.now_s += 6.0
    tell(io, "06 1003 0002")
    assert tell(io, "03 1006 0001") == "03020002"
    tell(io, "06 1007 0001")
    assert tell(io, "03 1006 0001") == "03020001"


def test_a_running_watchdog_keeps_its_time_until_it_is_stopped(io: Coupler) -> None:
    arm(io)
    assert tell(io, "06 1000 0064") == "8603"
    tell(io, "06 1008 aa55")
    assert tell(io, "06 1000 0064") == "0610000064"


def test_modbus_is_refused_by_the_book(io: Coupler) -> None:
    assert tell(io, "03 9999 0001") == "8302"
    assert tell(io, "03 1000 0000") == "8303"
    assert tell(io, "05 0000 1234") == "8503"
    assert tell(io, "2b 0e01 0000") == "ab01"
    assert tell(io, "0f 0000 0004 01 0a") == "0f00000004"
    assert io.states() == {"dead_man": False, "isolator": True, "exhaust": False, "siren": True}
    other_unit = bytearray.fromhex("0001 0000 0006 09 03 1000 0001")
    assert io.serve(other_unit) == b""


# --- high voltage -----------------------------------------------------------------------------------


@pytest.fixture
def hv(clock: Clock) -> caen.CaenBoard:
    return caen.make({"name": "hv", "model": "caen-v6533", "host": "127.0.0.1"}, {}, 1, clock)


def write(hv: caen.CaenBoard, **values: float) -> None:
    for name, value in values.items():
        assert hv.channels[0].write(name, value) == "", name


def test_a_channel_ramps_by_its_own_rates_and_says_so(hv: caen.CaenBoard, clock: Clock) -> None:
    channel = hv.channels[0]
    write(hv, RUp=10, RDWn=50, PDwn=1, VSet=100, Pw=1)
    clock.now_s += 4.0
    assert channel.read("ChStatus") == 0x0003
    assert channel.voltage_v == pytest.approx(40.0)
    assert channel.read("VMon") == pytest.approx(40.0, rel=0.021)
    clock.now_s += 7.0
    assert channel.read("ChStatus") == 0x0001
    assert channel.voltage_v == 100.0
    write(hv, VSet=0, Pw=0)
    clock.now_s += 1.0
    assert channel.read("ChStatus") == 0x0005
    assert channel.voltage_v == pytest.approx(50.0)
    clock.now_s += 1.5
    assert (channel.read("ChStatus"), channel.voltage_v) == (0.0, 0.0)


def test_power_off_without_the_ramp_drops_the_voltage(hv: caen.CaenBoard, clock: Clock) -> None:
    write(hv, RUp=500, VSet=100, Pw=1)
    clock.now_s += 1.0
    write(hv, PDwn=0, Pw=0)
    clock.now_s += 0.01
    assert hv.channels[0].read("VMon") == 0.0


def test_over_current_trips_after_its_time_and_not_before(hv: caen.CaenBoard, clock: Clock) -> None:
    channel = hv.channels[0]
    write(hv, RUp=500, VSet=100, Trip=0.2, ISet=50, Pw=1)
    clock.now_s += 1.0
    hv.break_it("over_current", {"current_a": 60e-6})
    channel.read("VMon")
    clock.now_s += 0.1
    assert caen_status.words(int(channel.read("ChStatus"))) == ["on", "over current"]
    clock.now_s += 0.2
    assert caen_status.words(int(channel.read("ChStatus"))) == ["over current", "tripped"]
    assert channel.set["Pw"] == 0.0


def test_a_trip_time_of_a_thousand_never_trips(hv: caen.CaenBoard, clock: Clock) -> None:
    channel = hv.channels[0]
    write(hv, RUp=500, VSet=100, Trip=1000, ISet=50, Pw=1)
    hv.break_it("over_current", {"current_a": 60e-6})
    clock.now_s += 1.0
    channel.read("VMon")
    clock.now_s += 2000.0
    channel.read("VMon")
    assert channel.set["Pw"] == 1.0


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("RDown", 60.0, "PARAMNOTFOUND"),
        ("VMon", 1.0, "NOTSETPROP"),
        ("VSet", 4000.1, "OUTOFRANGE"),
        ("RUp", -1.0, "OUTOFRANGE"),
    ],
)
def test_a_wrong_write_has_the_librarys_code(hv: caen.CaenBoard, name: str, value: float, code: str) -> None:
    assert hv.channels[0].write(name, value) == code
    answer: Any = hv.handle(f'{{"op": "write", "slot": 0, "channel": 0, "name": "{name}", "value": {value}}}')
    assert f'"code": "{code}"' in answer
    assert '"ok": false' in (hv.handle("nonsense") or "")


def test_values_are_held_at_the_boards_own_steps(hv: caen.CaenBoard) -> None:
    write(hv, VSet=99.96, ISet=20.02)
    assert (hv.channels[0].set["VSet"], hv.channels[0].set["ISet"]) == (100.0, 20.0)
