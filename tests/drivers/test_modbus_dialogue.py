"""Climate chambers and couplers by Modbus TCP: telegrams out, answers in, for more than one register map."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cycler_unit.buses import modbus
from cycler_unit.buses.modbus import ModbusLink
from cycler_unit.drivers.chamber import ClimateChamber
from cycler_unit.drivers.coupler import IoCoupler
from cycler_unit.drivers.errors import DeviceLost, DeviceRefused
from cycler_unit.drivers.registers import Register, parse
from tests.drivers.scripted import Telegrams
from tests.stack.waiting import free_port
from wire import kinds


@pytest.fixture
def device() -> Iterator[Telegrams]:
    running = Telegrams()
    yield running
    running.close()


def settings(key: str, device: Telegrams, **more: Any) -> dict[str, Any]:
    kind = kinds.get(key)
    return {**kind.link_settings, **kind.settings, "host": "127.0.0.1", "port": device.port, **more}


# --- the bus --------------------------------------------------------------------------------------


def test_an_exception_is_a_refusal_in_words(device: Telegrams) -> None:
    link = ModbusLink({"host": "127.0.0.1", "port": device.port})
    link.open()
    with (
        device.dialogue(("03 0005 0001", "83 02")),
        pytest.raises(DeviceRefused, match=r"refuses read holding 5.*it has no such address"),
    ):
        link.registers("holding", 5, 1)
    with (
        device.dialogue(("06 0005 0007", "86 03")),
        pytest.raises(DeviceRefused, match="does not take this value"),
    ):
        link.write_registers(5, [7])
    # The gateway is there, the device behind it is not: lost, so that it is tried again.
    with (
        device.dialogue(("03 0005 0001", "83 0b")),
        pytest.raises(DeviceLost, match="does not answer its gateway"),
    ):
        link.registers("holding", 5, 1)
    link.close()


def test_devices_behind_one_gateway_share_one_connection() -> None:
    gateway = Telegrams(unit=7)
    one, two = (ModbusLink({"host": "127.0.0.1", "port": gateway.port, "unit": 7}) for _ in range(2))
    one.open()
    two.open()
    with gateway.dialogue(("04 0000 0001", "04 02 0001"), ("04 0001 0001", "04 02 0002")):
        assert one.registers("input", 0, 1) == [1]
        assert two.registers("input", 1, 1) == [2]
    assert gateway.connections == 1
    one.close()
    one.close()
    with gateway.dialogue(("04 0001 0001", "04 02 0003")):
        assert two.registers("input", 1, 1) == [3]
    two.close()
    assert not modbus._buses
    with pytest.raises(DeviceLost, match="is not open"):
        two.registers("input", 1, 1)
    gateway.close()


def test_two_threads_never_mix_their_exchanges() -> None:
    gateway = Telegrams()
    links = [ModbusLink({"host": "127.0.0.1", "port": gateway.port}) for _ in range(2)]
    for link in links:
        link.open()
    gateway.script = [(bytes.fromhex("04 0000 0001"), bytes.fromhex("04 02 0001"))] * 100
    threads = [
        threading.Thread(target=lambda link=link: [link.registers("input", 0, 1) for _ in range(50)])
        for link in links
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not gateway.wrong
    assert not gateway.script
    for link in links:
        link.close()
    gateway.close()


def test_a_silent_device_is_lost_and_the_next_exchange_connects_again(device: Telegrams) -> None:
    link = ModbusLink({"host": "127.0.0.1", "port": device.port, "timeout_s": 0.2})
    link.open()
    began_s = time.monotonic()
    with pytest.raises(DeviceLost, match="does not answer read input 0"):
        link.registers("input", 0, 1)
    assert time.monotonic() - began_s < 3.0
    device.wrong.clear()
    with device.dialogue(("04 0000 0001", "04 02 0009")):
        assert link.registers("input", 0, 1) == [9]
    link.close()


@pytest.mark.parametrize(
    "answer",
    ["03 02 0063", "06 0000 0063", "04 04 0063 0064", "04 00", "04 04 0063", "02 01 ff"],
    ids=["other function", "a write's echo", "too many", "none", "cut short", "bits"],
)
def test_the_answer_to_another_question_is_never_a_value(device: Telegrams, answer: str) -> None:
    link = ModbusLink({"host": "127.0.0.1", "port": device.port, "timeout_s": 0.2})
    link.open()
    device.script = [(bytes.fromhex("04 0000 0001"), bytes.fromhex(answer))] * 2
    with pytest.raises(DeviceLost, match="answer"):
        link.registers("input", 0, 1)
    device.script.clear()
    with device.dialogue(("04 0000 0001", "04 02 0007")):
        assert link.registers("input", 0, 1) == [7]
    with device.dialogue(("02 0000 000c", "02 01 ff")), pytest.raises(DeviceLost, match="8 of 12 bits"):
        link.bits("discrete", 0, 12)
    link.close()


def test_nobody_there_is_lost() -> None:
    link = ModbusLink({"host": "127.0.0.1", "port": free_port()})
    with pytest.raises(DeviceLost, match="cannot be connected"):
        link.open()
    with pytest.raises(DeviceRefused, match="has no host"):
        ModbusLink({}).open()
    assert not modbus._buses


# --- register maps ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("register", "words", "value"),
    [
        ({"format": "int16", "scale": 0.1}, [0xFFF6], -1.0),
        ({"format": "uint16", "scale": 0.1}, [0xFFF6], 6552.6),
        ({"format": "int32"}, [0xFFFF, 0xFFFE], -2.0),
        ({"format": "uint32", "word_order": "low_first"}, [0x0001, 0x0002], 131073.0),
        ({"format": "float32"}, [0x41BC, 0x0000], 23.5),
        ({"format": "float32", "word_order": "low_first"}, [0x0000, 0x41BC], 23.5),
        ({"on_word": 5, "off_word": 9}, [5], 1.0),
        ({"on_word": 5, "off_word": 9}, [9], 0.0),
    ],
)
def test_a_register_means_the_same_both_ways(
    register: dict[str, Any], words: list[int], value: float
) -> None:
    found = parse({"x": {"table": "holding", "address": 0, **register}}, "map")["x"]
    assert found.decode(words) == pytest.approx(value)
    assert found.encode(value) == words


def test_what_a_register_calls_missing_is_missing() -> None:
    register = Register(table="input", address=0, scale=0.1, missing=(32767,))
    assert register.decode([32767]) is None
    assert Register(table="input", address=0, format="float32").decode([0x7FC0, 0]) is None


def test_a_word_that_is_neither_on_nor_off_is_missing() -> None:
    register = Register(table="holding", address=0, format="uint16", on_word=5, off_word=9)
    assert [register.decode([word]) for word in (5, 9, 0, 7)] == [1.0, 0.0, None, None]


def test_a_value_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DeviceRefused, match=r"register 3 \(int16\) cannot hold"):
        Register(table="holding", address=3, scale=0.1).encode(9999.0)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"actual": {"table": "input"}}, r"register map .*missing required field `address`"),
        ({"actual": {"table": "disk", "address": 0}}, r"register map .*Invalid enum value 'disk'"),
        ({"actual": {"table": "input", "address": 0, "adress": 1}}, r"unknown field `adress`"),
        ({"actual": {"table": "input", "address": 70000}}, r"<= 65535"),
        ({"actual": {"table": "input", "address": 0}}, "has no set_point"),
    ],
)
def test_a_wrong_map_is_said(device: Telegrams, tree: dict[str, Any], said: str) -> None:
    chamber = ClimateChamber(settings("chamber-modbus-int16", device, map=tree))
    with pytest.raises(DeviceRefused, match=said):
        chamber.open()


# --- chambers ---------------------------------------------------------------------------------------

# Conditioning off and read back, the set point to 23.0 °C and read back, then everything once.
OPEN_INT16 = (
    ("05 0000 0000", "05 0000 0000"),
    ("01 0000 0001", "01 01 00"),
    ("06 0000 00e6", "06 0000 00e6"),
    ("03 0000 0001", "03 02 00e6"),
)
READ_INT16 = (
    ("04 0000 0001", "04 02 00eb"),
    ("03 0000 0001", "03 02 00e6"),
    ("01 0000 0001", "01 01 00"),
    ("04 0001 0001", "04 02 0000"),
    ("02 0000 0001", "02 01 01"),
)


def test_a_chamber_of_whole_numbers_is_stopped_set_and_started(device: Telegrams) -> None:
    chamber = ClimateChamber(settings("chamber-modbus-int16", device), name="chamber")
    with device.dialogue(*OPEN_INT16, *READ_INT16):
        identity = chamber.open()
    assert identity.serial_number == f"127.0.0.1:{device.port}/1"
    with device.dialogue(
        ("06 0000 ff9c", "06 0000 ff9c"),
        ("03 0000 0001", "03 02 ff9c"),
        ("05 0000 ff00", "05 0000 ff00"),
        ("01 0000 0001", "01 01 01"),
    ):
        assert chamber.set("set_point_c", -10.0) == pytest.approx(-10.0)
        assert chamber.set("run", 1.0) == 1.0
    with device.dialogue(
        ("04 0000 0001", "04 02 7fff"),
        *READ_INT16[1:3],
        ("04 0001 0001", "04 02 0005"),
        ("02 0000 0001", "02 01 00"),
    ):
        found = chamber.read().extended
    assert found["temperature_c"] is None
    assert (found["alarm_mask"], found["alarm_free"], found["door_closed"]) == (5.0, 0.0, 0.0)
    with device.dialogue(("04 0001 0001", "04 02 0005")):
        assert chamber.alarms() == ["over temperature", "compressor pressure"]
    chamber.close()


def test_a_chamber_of_floats_has_other_telegrams_and_the_same_controls(device: Telegrams) -> None:
    chamber = ClimateChamber(settings("chamber-modbus-float32", device), name="chamber")
    read = (
        ("03 1000 0002", "03 04 6666 41bd"),
        ("03 1100 0002", "03 04 0000 41b8"),
        ("03 1200 0001", "03 02 0000"),
        ("03 1201 0001", "03 02 0000"),
        ("02 0010 0001", "02 01 00"),
    )
    with device.dialogue(
        ("06 1200 0000", "06 1200 0000"),
        ("03 1200 0001", "03 02 0000"),
        ("10 1100 0002 04 0000 41b8", "10 1100 0002"),
        ("03 1100 0002", "03 04 0000 41b8"),
        *read,
    ):
        chamber.open()
    with device.dialogue(*read):
        found = chamber.read().extended
    assert found["temperature_c"] == pytest.approx(23.675)
    assert found["door_closed"] == 1.0
    with device.dialogue(("06 1200 0001", "06 1200 0001"), ("03 1200 0001", "03 02 0001")):
        assert chamber.set("run", 1.0) == 1.0
    with pytest.raises(DeviceRefused, match="set_point_c must be within -20 and 100, not 150"):
        chamber.set("set_point_c", 150.0)
    chamber.close()


def test_down_stops_a_chamber_before_it_touches_the_set_point(device: Telegrams) -> None:
    chamber = ClimateChamber(settings("chamber-modbus-int16", device), name="chamber")
    with device.dialogue(*OPEN_INT16, *READ_INT16, *OPEN_INT16):
        chamber.open()
        chamber.make_safe()
    chamber.close()


# --- couplers ---------------------------------------------------------------------------------------

STATES = ("04 0000 0001", "04 02 0001")
OPEN_COUPLER = (
    *((f"05 000{n} 0000", f"05 000{n} 0000") if part == 0 else (f"01 000{n} 0001", "01 01 00") for n in range(4) for part in (0, 1)),
    ("02 0000 0005", "02 01 1f"),
    STATES,
    ("01 0000 0004", "01 01 00"),
    ("03 1006 0001", "03 02 0000"),
    # The watchdog comes with 10 s: it is stopped, 5 s are written and read back; the trigger goes on from where it stands.
    ("03 1000 0001", "03 02 0064"),
    ("06 1008 aa55", "06 1008 aa55"),
    ("06 1000 0032", "06 1000 0032"),
    ("03 1000 0001", "03 02 0032"),
    ("03 1003 0001", "03 02 0009"),
)  # fmt: skip


def coupler(device: Telegrams, **more: Any) -> IoCoupler:
    made = IoCoupler(settings("modbus-io-coupler", device, **more), name="interlocks")
    with device.dialogue(*OPEN_COUPLER):
        made.open()
    return made


def test_a_coupler_opens_every_output_first_and_arms_its_watchdog_time(device: Telegrams) -> None:
    coupler(device).close()


def test_the_dead_man_output_closes_only_after_the_watchdog_runs(device: Telegrams) -> None:
    made = coupler(device)
    with device.dialogue(
        ("03 1006 0001", "03 02 0000"),
        ("06 1007 0001", "06 1007 0001"),
        ("06 1003 000a", "06 1003 000a"),
        ("03 1006 0001", "03 02 0001"),
        ("05 0000 ff00", "05 0000 ff00"),
        ("01 0000 0001", "01 01 01"),
    ):
        made.set("dead_man", 1.0)
    # Each refresh changes the trigger; nothing is restarted while it runs.
    with device.dialogue(
        ("03 1006 0001", "03 02 0001"),
        ("06 1003 000b", "06 1003 000b"),
        ("03 1006 0001", "03 02 0001"),
        ("05 0000 ff00", "05 0000 ff00"),
        ("01 0000 0001", "01 01 01"),
    ):
        made.set("dead_man", 1.0)
    with device.dialogue(("05 0000 0000", "05 0000 0000"), ("01 0000 0001", "01 01 00")):
        made.set("dead_man", 0.0)
    made.close()


def test_a_watchdog_that_does_not_run_keeps_the_dead_man_output_open(device: Telegrams) -> None:
    made = coupler(device)
    with (
        device.dialogue(
            ("03 1006 0001", "03 02 0002"),
            ("06 1007 0001", "06 1007 0001"),
            ("06 1003 000a", "06 1003 000a"),
            ("03 1006 0001", "03 02 0002"),
        ),
        pytest.raises(DeviceRefused, match="the watchdog does not run, so dead_man stays open"),
    ):
        made.set("dead_man", 1.0)
    made.close()


def test_a_watchdog_time_that_does_not_hold_is_refused_when_opening(device: Telegrams) -> None:
    made = IoCoupler(settings("modbus-io-coupler", device), name="interlocks")
    with (
        device.dialogue(*OPEN_COUPLER[:-2], ("03 1000 0001", "03 02 0064")),
        pytest.raises(DeviceRefused, match=r"holds its watchdog at 10\.0 s instead of 5 s"),
    ):
        made.open()


def test_all_inputs_are_one_exchange_and_an_open_contact_is_zero(device: Telegrams) -> None:
    made = coupler(device)
    with device.dialogue(
        ("02 0000 0005", "02 01 1d"),
        ("04 0000 0001", "04 02 0002"),
        ("01 0000 0004", "01 01 02"),
        ("03 1006 0001", "03 02 0000"),
    ):
        found = made.read().extended
    assert (found["door_closed"], found["smoke_free"], found["estop_released"]) == (1.0, 0.0, 1.0)
    assert (found["isolator"], found["siren"]) == (1.0, 0.0)
    made.close()


def test_a_counter_of_life_that_stands_still_makes_every_input_missing(device: Telegrams) -> None:
    made = coupler(device, life_s=0.0)
    again = (
        ("02 0000 0005", "02 01 1f"),
        STATES,
        ("01 0000 0004", "01 01 00"),
        ("03 1006 0001", "03 02 0000"),
    )
    with device.dialogue(*again):
        found = made.read().extended
    assert found["door_closed"] is None
    assert found["smoke_free"] is None
    assert found["life_count"] == 1.0
    made.close()


def test_a_watchdog_for_an_output_that_is_not_there_is_refused(device: Telegrams) -> None:
    made = IoCoupler(settings("modbus-io-coupler", device, outputs={}))
    with pytest.raises(DeviceRefused, match="guards 'dead_man', which is no output"):
        made.open()
