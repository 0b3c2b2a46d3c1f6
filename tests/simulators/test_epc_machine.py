"""The simulated EPC against the device sheet's own exchanges: bytes, times, refusals, locks."""

from __future__ import annotations

import pytest

from cycler_unit.simulators.epc_rules import Point
from cycler_unit.simulators.epc_stage import amperes, body, millivolts
from tests.drivers.can_wire import ON_EVERY_INTERFACE, Bench, Ear, two_ends

BOOT = ["0.4 130 08 00 00 00 00 00 00 00"]


@pytest.fixture
def epc() -> Bench:
    bench = Bench()
    assert bench.until(10.0) == BOOT
    bench.until(20.0)
    return bench


# --- the golden exchanges (1.9) ------------------------------------------------------------------


def test_cc_until_voltage_is_the_golden_exchange() -> None:
    epc = Bench(node=0)
    sent = epc.until(30.0)
    epc.host("000 15 00 E8 03 68 10 00 00", 30.0)
    sent += epc.until(365.0)
    epc.plant.mv = 4200
    sent += epc.until(400.0)
    assert sent == [
        "0.4 000 08 00 00 00 00 00 00 00",
        "30.1 000 15 00 E8 03 68 10 00 00",
        "30.4 000 15 00 E8 03 68 10 00 00",
        "370.4 000 08 00 00 00 00 00 00 00",
    ]


def test_an_over_voltage_is_the_golden_exchange() -> None:
    epc = Bench(node=0)
    epc.until(30.0)
    epc.host("000 05 00 E8 03 10 27 00 00", 30.0)
    sent = epc.until(65.0)
    epc.plant.mv = 5200
    sent += epc.until(115.0)
    epc.plant.mv = 3700
    sent += epc.until(150.0)
    assert sent == [
        "30.1 000 05 00 E8 03 10 27 00 00",
        "30.4 000 05 00 E8 03 10 27 00 00",
        "70.2 00B 02 00 50 14",
        "70.4 000 0A 00 00 00 00 00 00 00",
        "120.2 00B 00 00 50 14",
        "120.4 000 08 00 00 00 00 00 00 00",
    ]
    assert epc.plant.driven is None


@ON_EVERY_INTERFACE
def test_the_golden_exchange_crosses_every_interface(interface: str) -> None:
    with two_ends(interface) as (host, device):
        epc = Bench()
        ear = Ear(host)
        device.subscribe(epc.machine.hears, lambda frame_id, payload: commands.append((frame_id, payload)))
        commands: list[tuple[int, bytes]] = []
        answers = Ear(device)

        def send(lines: list[str]) -> None:
            for line in lines:
                _, frame_id, payload = line.split(" ", 2)
                device.send(int(frame_id, 16), bytes.fromhex(payload), paced=False)

        send(epc.until(30.0))
        host.send(0x130, bytes.fromhex("1500E80368100000"))
        answers.hears(1)
        epc.machine.handle(*commands[0], 30.0)
        send(epc.until(365.0))
        epc.plant.mv = 4200
        send(epc.until(400.0))
        command, idle = bytes.fromhex("1500E80368100000"), bytes.fromhex("0800000000000000")
        assert ear.hears(4) == [(0x130, idle), (0x130, command), (0x130, command), (0x130, idle)]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("131 00", "13A 53 80 38 2A"),
        ("131 01", "130 08 00 00 00 00 00 00 00"),
        ("131 02", "13B 00 00 00 00"),
        ("131 03", "13C 74 0E E8 03 78 2F"),
        ("131 04", "13D 2C 01 18 01 FA 00"),
        ("131 06", "132 EC 13 90 01"),
        ("131 07", "133 8C 3C 74 C3"),
        ("131 08", "134 14 37 B4 14"),
        ("131 09", "135 F4 01 0C FE"),
        ("131 0A", "136 94 02 60 FF"),
        ("132 12 5C 03 E8", "132 5C 12 E8 03"),
        ("133 11 94 E2 B4", "133 94 11 B4 E2"),
        ("134 27 10 16 44", "134 10 27 44 16"),
        ("135 01 90 FC E0", "135 90 01 E0 FC"),
        ("136 01 C2 FF 9C", "136 C2 01 9C FF"),
        ("137 D0 07 33 00 33 00", "137 D0 07 33 00 33 00"),
        ("137 14 00 14 00 14 00", "137 14 00 14 00 14 00"),
        # A period below 10 counts is refused: the configuration in force comes back.
        ("137 14 00 13 00 14 00", "137 14 00 14 00 14 00"),
        # The original host's little-endian limits are far outside: refused silently.
        ("132 5C 12 E8 03", "132 EC 13 90 01"),
    ],
)
def test_the_worked_examples_are_answered(asked: str, answer: str) -> None:
    epc = Bench(serial_number=42)
    epc.plant.mv, epc.plant.ma, epc.plant.hs_mv = 3700, 1000, 12152
    epc.plant.body, epc.plant.anode, epc.plant.ambient = 300, 280, 250
    epc.until(20.0)
    assert epc.answer(asked)[0] == answer


@pytest.mark.parametrize(
    "command",
    [
        "15 00 E8 03 68 10 00 00", "15 00 24 FA C4 09 00 00", "05 00 E8 03 B8 0B 00 00", "35 00 E8 03 90 01 00 00",
        "23 00 68 10 64 00 00 00", "23 00 B8 0B 9C FF FF FF", "33 00 A0 0F 38 FF FF FF", "27 00 3C FF F0 D8 FF FF",
        "17 00 C8 00 68 10 00 00", "00 00 00 00 88 13 00 00",
    ],
)  # fmt: skip
def test_a_command_is_echoed_and_notified_once_and_a_repeated_one_echoed_only(
    epc: Bench, command: str
) -> None:
    assert epc.answer(f"130 {command}") == [f"130 {command}"] * 2
    assert epc.answer(f"130 {command}") == [f"130 {command}"]


# --- refusals (1.4) --------------------------------------------------------------------------------

IDLE = "130 08 00 00 00 00 00 00 00"


@pytest.mark.parametrize(
    "command",
    [
        "13 00 A0 0F 88 13 00 00",  # CV with a limit on voltage
        "05 00 20 4E B8 0B 00 00",  # 20 A
        "0B 00 00 00 00 00 00 00",  # ERROR
        "0D 00 00 00 00 00 00 00",  # mode 6
        "45 00 E8 03 00 00 00 00",  # limit type 4
        "15 00 E8 03 FF 13 00 00",  # until 5119 mV, outside the limits
        "01 00 00 00 88 13 00 00",  # WAIT with the output on
        "07 00 F5 01 00 00 00 00",  # 50.1 W, more than after a start
    ],
)
def test_a_refused_command_is_answered_by_what_is_held(epc: Bench, command: str) -> None:
    assert epc.answer(f"130 {command}") == [IDLE]
    assert epc.plant.driven is None


def test_a_wait_with_another_limit_passes_and_never_ends(epc: Bench) -> None:
    assert epc.answer("130 20 00 00 00 E8 03 00 00")[0] == "130 20 00 00 00 E8 03 00 00"
    assert epc.until(60_000.0) == []


def test_a_refused_mode_poisons_the_rest_of_its_round_only(epc: Bench) -> None:
    bad, good = "130 05 00 20 4E B8 0B 00 00", "130 05 00 E8 03 B8 0B 00 00"
    assert epc.answer(bad, good) == [IDLE, IDLE]
    assert epc.answer(good) == [good, good]


def test_commands_are_refused_in_error_and_taken_when_it_has_gone(epc: Bench) -> None:
    epc.plant.hs_mv = 5000
    good = "130 05 00 E8 03 B8 0B 00 00"
    held = "130 0A 00 00 00 00 00 00 00"
    assert epc.answer(good) == [held, "13B 01 00 88 13", held]
    assert epc.answer("132 12 5C 03 E8") == ["132 EC 13 90 01"]
    epc.plant.hs_mv = 12000
    epc.until(epc.now_ms + 20)
    assert epc.answer(good) == [good, good]


def test_negative_limits_are_never_checked_for_order(epc: Bench) -> None:
    # Maximum is compared unsigned: -5 A above -1 A passes, 1 A above 5 A does not.
    assert epc.answer("135 00 0A 00 64") == ["135 F4 01 0C FE"]
    assert epc.answer("133 EC 78 FC 18")[0] == "133 78 EC 18 FC"


def test_limits_of_a_little_endian_firmware_are_an_option() -> None:
    epc = Bench(limit_byte_order="little")
    epc.until(20.0)
    assert epc.answer("132 5C 12 E8 03") == ["132 5C 12 E8 03"]


def test_a_limit_frame_of_a_wrong_length_is_ignored(epc: Bench) -> None:
    assert epc.answer("132 12 5C 03") == []
    assert epc.answer("131 01") == [IDLE]


def test_requests_that_nobody_knows_are_ignored(epc: Bench) -> None:
    assert epc.answer("131 05", "131 0B", "131 FF") == []


# --- locks (1.8) -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame", ["130 08", "131", "131 00 00", "137 14 00", "138 00", "13F 00", "13A 00 00 00 00"]
)
def test_a_wrong_frame_locks_it_until_its_power_is_cycled(epc: Bench, frame: str) -> None:
    epc.answer("130 05 00 E8 03 10 27 00 00")
    assert epc.answer(frame) == ["13B 28 00 01 00"]
    assert epc.answer("131 00", IDLE) == []
    assert epc.plant.driven is None
    epc.machine.boot(epc.now_ms)
    assert epc.answer("131 01")[-1] == IDLE


def test_idle_with_the_output_on_locks_it_after_its_echo(epc: Bench) -> None:
    assert epc.answer("130 09 00 00 00 00 00 00 00") == ["130 09 00 00 00 00 00 00 00", "13B 20 00 00 00"]
    assert epc.answer("131 00") == []


def test_a_cell_above_the_store_locks_it_when_the_output_goes_on() -> None:
    epc = Bench()
    epc.plant.mv, epc.plant.hs_mv = 5000, 4900
    epc.machine.limits[0x4] = (4000, 14100)
    epc.until(20.0)
    assert epc.answer("130 05 00 E8 03 10 27 00 00") == ["13B 20 00 00 00"]
    assert epc.answer("131 00") == []


# --- node 0, filter, mailbox -----------------------------------------------------------------------


def test_the_mode_of_node_0_is_obeyed_by_everybody(epc: Bench) -> None:
    command = "05 00 E8 03 10 27 00 00"
    assert epc.answer(f"000 {command}") == [f"130 {command}"] * 2
    # Other messages of node 0 and other nodes are not.
    assert epc.answer("001 00", "141 00") == []


def test_the_fourth_frame_of_a_round_is_lost(epc: Bench) -> None:
    assert len(epc.answer("131 00", "131 01", "131 02", "131 03")) == 3


def test_answers_come_within_10_ms_before_periodic_frames_and_notifications(epc: Bench) -> None:
    epc.answer("137 14 00 15 00 15 00")
    epc.until(90.0)
    epc.host("130 05 00 E8 03 10 27 00 00", 93.0)
    lines = epc.until(105.0)
    at_ms = [float(line.split()[0]) for line in lines]
    assert [line.split()[1] for line in lines] == ["130", "13C", "13D", "130"]
    assert at_ms[0] - 93.0 < 10.0
    assert [round(each % 10, 1) for each in at_ms] == [0.1, 0.2, 0.2, 0.4]


def test_periodic_frames_come_every_period_and_stop(epc: Bench) -> None:
    epc.answer("137 14 00 33 00 14 00")
    lines = epc.until(epc.now_ms + 1000.0)
    assert [line.split()[1] for line in lines] == ["13C"] * 4
    assert epc.answer("137 14 00 14 00 14 00")[-1] == "137 14 00 14 00 14 00"
    assert epc.until(epc.now_ms + 1000.0) == []


# --- ends ------------------------------------------------------------------------------------------


def test_a_wait_of_0_is_echoed_and_never_notified(epc: Bench) -> None:
    assert epc.answer("130 00 00 00 00 00 00 00 00") == ["130 00 00 00 00 00 00 00 00"]
    assert epc.answer("131 01") == [IDLE]


def test_a_limit_that_is_there_already_ends_without_any_notification(epc: Bench) -> None:
    epc.plant.mv = 4300
    command = "130 15 00 E8 03 68 10 00 00"
    assert epc.answer(command) == [command]
    assert epc.answer("131 01") == [IDLE]


def test_time_ends_and_a_repeated_command_does_not_start_it_anew(epc: Bench) -> None:
    command = "130 05 00 E8 03 C8 00 00 00"
    epc.answer(command)
    began_ms = epc.now_ms - 20.0
    epc.until(began_ms + 150.0)
    epc.host(command)
    lines = epc.until(began_ms + 400.0)
    assert lines[-1].split(" ", 1)[1] == IDLE
    assert float(lines[-1].split()[0]) - began_ms <= 215.0


def test_a_negative_time_is_49_days(epc: Bench) -> None:
    epc.answer("130 05 00 E8 03 FF FF FF FF")
    assert epc.until(60_000.0) == []


@pytest.mark.parametrize(
    ("command", "runs", "ended"),
    [
        ("23 00 68 10 64 00 00 00", {"ma": 500}, {"ma": 96}),  # CV up until 100 mA
        ("23 00 B8 0B 9C FF FF FF", {"ma": -500}, {"ma": -96}),  # CV down until -100 mA
        ("35 00 E8 03 90 01 00 00", {"ma": 1000}, {"ma": 10_900}),  # CC until 40 W
        ("27 00 3C FF F0 D8 FF FF", {"ma": -5000}, {"ma": -4000}),  # CP down: I >= limit would end it
    ],
)
def test_limits_on_current_and_power_count_after_100_ms(
    epc: Bench, command: str, runs: dict[str, int], ended: dict[str, int]
) -> None:
    vars(epc.plant).update(ended if "27" not in command[:2] else {"ma": -11_000})
    epc.answer(f"130 {command}")
    assert epc.until(epc.now_ms + 60.0) == []
    vars(epc.plant).update(runs if "27" not in command[:2] else {"ma": -11_000})
    assert epc.until(epc.now_ms + 300.0) == []
    vars(epc.plant).update(ended)
    assert [line.split(" ", 1)[1] for line in epc.until(epc.now_ms + 30.0)] == [IDLE]


def test_a_discharge_ends_below_its_voltage(epc: Bench) -> None:
    epc.answer("130 15 00 24 FA C4 09 00 00")
    epc.plant.mv = 2500
    assert [line.split(" ", 1)[1] for line in epc.until(epc.now_ms + 20.0)] == [IDLE]


# --- heartbeat and errors --------------------------------------------------------------------------


def test_a_heartbeat_of_20_trips_100_ms_after_the_last_reset(epc: Bench) -> None:
    epc.until(1000.0)
    epc.answer("131 05", "137 29 00 14 00 14 00")
    epc.host("130 05 00 E8 03 10 27 00 00")
    epc.host("131 05")
    reset_ms = epc.now_ms
    lines = epc.until(reset_ms + 300.0)
    assert lines[-2:] == [
        f"{reset_ms + 100.2:.1f} 13B 08 00 14 00",
        f"{reset_ms + 100.4:.1f} 130 0A 00 00 00 00 00 00 00",
    ]
    assert epc.plant.driven is None


def test_a_heartbeat_that_was_meant_lasts_twice_as_long() -> None:
    epc = Bench(heartbeat_step=1)
    epc.until(20.0)
    epc.answer("131 05", "137 29 00 14 00 14 00")
    lines = epc.until(epc.now_ms + 400.0)
    assert float(lines[0].split()[0]) - epc.now_ms <= -400.0 + 200.0


def test_enabling_without_a_reset_trips_at_once_because_the_counter_runs_from_boot(epc: Bench) -> None:
    epc.until(2000.0)
    assert epc.answer("137 29 00 14 00 14 00")[1].startswith("13B 08")


def test_any_accepted_frame_ends_a_communication_error(epc: Bench) -> None:
    epc.answer("131 05", "137 29 00 14 00 14 00")
    epc.until(epc.now_ms + 200.0)
    assert epc.machine.point.mode == 5
    command = "130 05 00 E8 03 10 27 00 00"
    assert command in epc.answer(command)


def test_a_factory_image_calls_itself_node_0_without_sensors() -> None:
    epc = Bench(node=0, sensors=(0, 0, 0), connector=0)
    epc.until(20.0)
    assert "00A 40 00 00 01" in epc.answer("001 00")


def test_temperatures_are_measured_once_a_second(epc: Bench) -> None:
    before = epc.answer("131 04")
    epc.plant.body += 10
    epc.until(epc.now_ms + 500.0)
    assert epc.answer("131 04") == before
    epc.until(epc.now_ms + 600.0)
    assert epc.answer("131 04") != before


def test_a_hot_body_is_an_error_whose_flag_the_ambient_check_overwrites(epc: Bench) -> None:
    epc.plant.body = 700
    assert [line.split(" ", 1)[1] for line in epc.until(epc.now_ms + 1000.0)] == [
        "130 0A 00 00 00 00 00 00 00"
    ]
    assert epc.answer("131 02") == ["13B 00 00 00 00"]
    epc.plant.ambient = 700
    assert epc.until(epc.now_ms + 1000.0)[0].split(" ", 1)[1].startswith("13B 10")


def test_an_absent_sensor_is_no_cold_one(epc: Bench) -> None:
    epc.plant.body = epc.plant.anode = epc.plant.ambient = 0
    epc.until(epc.now_ms + 1000.0)
    assert epc.answer("131 01") == [IDLE]


# --- converters (1.3) ------------------------------------------------------------------------------


def test_converters_show_12_bits() -> None:
    shown = {millivolts(number / 10_000, 6000) for number in range(36_900, 37_100)}
    assert shown <= {adc * 6000 // 4095 for adc in range(4096)}
    assert len(shown) in (14, 15)
    assert {amperes(0.0), amperes(0.005)} == {-4, 4}
    assert amperes(1.0) - amperes(0.992) in (8, 9)
    assert millivolts(12.0, 15000) in (11996, 11999, 12000)
    assert abs(body(25.0) - 250) <= 1


def test_a_point_is_the_same_in_both_codecs() -> None:
    from cycler_unit import dbc

    point = Point(1, 2, 1, -1500, 2500)
    assert point.encode() == bytes.fromhex("150024FAC4090000")
    assert Point.decode(point.encode()) == point
    assert dbc.read("EPC_MODE", point.encode())["ModeRef"] == -1500
