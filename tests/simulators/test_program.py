"""The simulator as a program, and the EA driver against it: TCP, pseudo-terminal, each fault."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from cycler_unit import drivers
from cycler_unit.buses import visa
from cycler_unit.drivers.base import PowerDevice, Protections, Target
from cycler_unit.drivers.errors import DeviceLost, DeviceRefused
from tests.stack.simulated import Simulators
from tests.stack.waiting import free_port, until
from wire import kinds

MODEL = "ea-psb-10010-05-sim"
CELL = {"chemistry": "NMC", "capacity_ah": 2.5, "r0_ohm": 0.03, "soc": 0.5}
CHARGE = Target("cc", "charge", current_a=1.0, voltage_max_v=4.2, voltage_min_v=2.5)
DISCHARGE = Target("cc", "discharge", current_a=-1.0, voltage_max_v=4.2, voltage_min_v=2.5)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    folder = tmp_path_factory.mktemp("bench")
    supplies: list[dict[str, Any]] = [
        {"name": "psb", "model": MODEL, "port": free_port(), "pty": str(folder / "psb"), "cell": CELL},
        {"name": "idle", "model": "ea-psb-10060-60", "port": free_port(), "cell": CELL},
    ]
    simulators = Simulators(folder, supplies).start()
    yield simulators
    simulators.stop()


def driver(link: dict[str, Any]) -> PowerDevice:
    kind = kinds.get(MODEL)
    made: PowerDevice = drivers.load(kind.driver)(
        {**kind.link_settings, "timeout_s": 0.5, **link}, name="psb"
    )
    return made


@pytest.fixture
def psb(running: Simulators) -> Iterator[PowerDevice]:
    device = driver(running.links()[0])
    device.open()
    yield device
    running.ask(device="psb", clear=True)
    device.close()
    device.open()
    device.make_safe()
    device.close()


def truth(running: Simulators) -> dict[str, Any]:
    return running.ask(device="psb", query="truth")


def test_over_tcp_each_mode_does_what_it_says(running: Simulators, psb: PowerDevice) -> None:
    def reads(quantity: str, value: float, within: float) -> None:
        until(lambda: abs(getattr(psb.read(), quantity) - value) < within, 5, f"{quantity} {value}")

    psb.apply(CHARGE)
    reads("current_a", 1.0, 0.002)
    psb.apply(DISCHARGE)
    reads("current_a", -1.0, 0.002)
    psb.apply(Target("cp", power_w=-2.0, voltage_min_v=2.5, discharge_current_max_a=2.0))
    reads("power_w", -2.0, 0.01)
    psb.apply(Target("cr", "discharge", resistance_ohm=10.0, voltage_min_v=2.5, discharge_current_max_a=2.0))
    until(lambda: abs((m := psb.read()).voltage_v / m.current_a + 10.0) < 0.05, 5, "10 Ohm")
    psb.apply(Target("cv", voltage_v=3.71, charge_current_max_a=1.0, discharge_current_max_a=1.0))
    reads("voltage_v", 3.71, 0.002)
    psb.make_safe()
    reads("current_a", 0.0, 0.002)
    assert not truth(running)["output"]


def test_over_a_pseudo_terminal_it_is_the_same_device(running: Simulators, psb: PowerDevice) -> None:
    psb.close()
    serial = driver(
        {"resource": f"ASRL{running.supplies[0]['pty']}::INSTR", "parity": "odd", "spacing_s": 0.005}
    )
    assert serial.open().model == "PSB 10010-05 SIM"
    serial.apply(CHARGE)
    until(lambda: abs(serial.read().current_a - 1.0) < 0.002, 5, "1 A")
    serial.make_safe()
    assert not serial.output_is_on()
    serial.close()


def test_what_the_driver_reads_is_what_the_cell_does(running: Simulators, psb: PowerDevice) -> None:
    before = truth(running)
    psb.apply(CHARGE)
    began = time.monotonic()
    readings = []
    until(lambda: readings.append(psb.read().current_a) or len(readings) >= 40, 10, "40 readings")
    psb.make_safe()
    seconds = time.monotonic() - began
    moved_ah = truth(running)["charge_ah"] - before["charge_ah"]
    mean_a = sum(readings) / len(readings)
    assert mean_a == pytest.approx(1.0, abs=5e-4)
    assert moved_ah == pytest.approx(seconds / 3600.0, abs=0.02 / 3600.0)


def test_a_dropped_link_is_lost_at_once_and_the_output_goes_on(running: Simulators, psb: PowerDevice) -> None:
    psb.apply(CHARGE)
    running.ask(device="psb", fault="drop_link")
    began = time.monotonic()
    with pytest.raises(DeviceLost):
        psb.read()
    assert time.monotonic() - began < 0.4
    with pytest.raises(DeviceLost):
        psb.open()
    assert truth(running)["output"]
    running.ask(device="psb", clear=True)
    psb.open()
    assert not truth(running)["output"]


def test_a_silent_link_is_lost_after_its_timeout_and_mends_by_itself(
    running: Simulators, psb: PowerDevice
) -> None:
    running.ask(device="psb", fault="drop_link", how="silent", for_s=1.0)
    with pytest.raises(DeviceLost, match=r"within 0\.5 s"):
        psb.read()

    def reopened() -> bool:
        psb.open()
        return True

    until(reopened, 5, "the link mends")
    assert psb.read().voltage_v is not None


def test_a_pulled_serial_plug_comes_back_under_its_name(running: Simulators, psb: PowerDevice) -> None:
    psb.close()
    serial = driver({"resource": f"ASRL{running.supplies[0]['pty']}::INSTR"})
    serial.open()
    running.ask(device="psb", fault="drop_link")
    with pytest.raises(DeviceLost):
        serial.read()
    with pytest.raises(DeviceLost):
        serial.open()
    running.ask(device="psb", clear=True)

    def reopened() -> bool:
        serial.open()
        return True

    until(reopened, 5, "the plug is back")
    serial.close()


def test_frozen_readings_are_bit_identical(running: Simulators, psb: PowerDevice) -> None:
    running.ask(device="psb", fault="freeze")
    assert len({psb.read().voltage_v for _ in range(20)}) == 1
    running.ask(device="psb", clear=True)
    assert len({psb.read().voltage_v for _ in range(20)}) > 1


def test_a_drift_passes_a_limit_while_the_cell_is_well(running: Simulators, psb: PowerDevice) -> None:
    running.ask(device="psb", fault="drift", rate_v_s=2.0)
    until(lambda: psb.read().voltage_v > 4.3, 5, "drifted over 4.3 V")
    assert truth(running)["voltage_v"] < 3.9


def test_a_stuck_output_says_off_and_flows_on(running: Simulators, psb: PowerDevice) -> None:
    psb.apply(CHARGE)
    running.ask(device="psb", fault="stuck_on")
    psb.make_safe()
    assert not psb.output_is_on()
    assert abs(psb.read().current_a - 1.0) < 0.002


def test_a_stuck_output_that_says_so_is_refused(running: Simulators, psb: PowerDevice) -> None:
    psb.apply(CHARGE)
    running.ask(device="psb", fault="stuck_on", answers="ON")
    with pytest.raises(DeviceRefused, match="does not switch its output off"):
        psb.make_safe()


def test_a_wrong_cell_shows_another_voltage(running: Simulators, psb: PowerDevice) -> None:
    right_v = psb.read().voltage_v
    running.ask(device="psb", fault="wrong_cell")
    assert abs(psb.read().voltage_v - right_v) > 0.05
    running.ask(device="psb", fault="wrong_cell", chemistry="LFP", soc=0.5)
    assert psb.read().voltage_v < 3.4
    running.ask(device="psb", fault="wrong_cell", absent=True)
    assert abs(psb.read().voltage_v) < 0.01
    running.ask(device="psb", clear=True)
    assert psb.read().voltage_v == pytest.approx(right_v, abs=0.01)


def test_its_own_protection_trips_and_names_itself(running: Simulators, psb: PowerDevice) -> None:
    psb.protect(Protections(voltage_max_v=4.25, charge_current_max_a=1.5))
    psb.apply(CHARGE)
    running.ask(device="psb", fault="drift", offset_v=1.0)
    until(lambda: not psb.output_is_on(), 5, "OVP")
    text = psb.fault() or ""
    assert "OVP" in text
    assert "though it was ordered on" in text


def test_an_alarm_of_its_own_is_a_fault(running: Simulators, psb: PowerDevice) -> None:
    assert psb.fault() is None
    running.ask(device="psb", fault="alarm", name="OT")
    assert "over-temperature" in (psb.fault() or "")


def test_control_taken_at_the_front_panel_is_a_fault_and_refuses_set_points(
    running: Simulators, psb: PowerDevice
) -> None:
    running.ask(device="psb", fault="local")
    assert "remote control was taken away" in (psb.fault() or "")
    with pytest.raises(DeviceRefused, match="Invalid while in local"):
        psb.apply(CHARGE)


def test_a_clamped_set_point_is_refused(running: Simulators, psb: PowerDevice) -> None:
    running.ask(device="psb", fault="clamp", current_a=0.5)
    with pytest.raises(DeviceRefused, match=r"CURR at 0\.5000 A instead of 1"):
        psb.apply(CHARGE)
    assert not truth(running)["output"]


def test_after_a_reboot_the_output_is_off_and_set_points_are_refused(
    running: Simulators, psb: PowerDevice
) -> None:
    psb.apply(CHARGE)
    running.ask(device="psb", fault="reboot")
    assert not psb.output_is_on()
    assert "though it was ordered on" in (psb.fault() or "")


def test_the_log_of_messages_and_the_history_can_be_asked(running: Simulators, psb: PowerDevice) -> None:
    psb.apply(CHARGE)
    psb.make_safe()
    exchanges = running.ask(device="psb", query="exchanges")["exchanges"]
    assert [each["text"] for each in exchanges[-3:]] == ["OUTP OFF", "OUTP?;:SYST:LOCK:OWN?", "OFF;REMOTE"]
    history = running.ask(device="psb", query="history")["history"]
    assert [each["what"] for each in history[-2:]] == ["on", "off"]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"device": "nobody", "query": "truth"}, "no device 'nobody'; there are psb, idle"),
        ({"device": "psb", "fault": "explode"}, "no fault 'explode'"),
        ({"device": "psb", "query": "weather"}, "no query 'weather'"),
        ({"device": "psb", "fault": "wrong_cell", "chemistry": "Unobtainium"}, "unknown chemistry"),
        ({"device": "psb", "fault": "alarm", "name": "XX"}, "no alarm 'XX'"),
        ({"device": "psb", "fault": "drop_link", "how": "gently"}, "close or silent"),
        ({"device": "psb", "fault": "drift", "rate_v_s": "fast"}, "could not convert"),
    ],
)
def test_a_wrong_control_line_is_answered_with_a_sentence(
    running: Simulators, asked: dict[str, Any], why: str
) -> None:
    answer = running.ask(**asked)
    assert answer["ok"] is False
    assert why in answer["error"]


def test_identify_asks_only_who_it_is(running: Simulators, psb: PowerDevice) -> None:
    psb.apply(CHARGE)
    identity = visa.identify(running.links()[0])
    assert identity.serial_number == "1000000001"
    assert truth(running)["output"]
    exchanges = running.ask(device="psb", query="exchanges")["exchanges"]
    assert [each["text"] for each in exchanges if each["to"] == "device"][-1] == "*IDN?"


def test_two_idle_supplies_need_next_to_no_processor(running: Simulators) -> None:
    process = psutil.Process(running.process.pid)
    before = sum(process.cpu_times()[:2])
    began = time.monotonic()
    # The one wait for a time: it is a share of time that is measured.
    time.sleep(2.0)
    share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
    assert share < 0.02


def started(config: Any, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "bench.yaml"
    file.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    command = [sys.executable, "-m", "cycler_unit.simulators", "--config", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_busy_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = started({"supplies": [{"name": "a", "model": MODEL, "port": port}]}, tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"simulators: a: port {port} cannot be used: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"supplies": [{"name": "a", "model": "nonsense", "port": 0}]}, "a: unknown device model 'nonsense'"),
        ({"supplies": [{"name": "a", "model": MODEL}]}, "a: give a port, a pty or both"),
        ({"supplies": [{"name": "a", "model": MODEL, "prot": 1}]}, "unknown field `prot`"),
        (
            {"supplies": [{"name": "a", "model": MODEL, "port": 0, "cell": {"chemistry": "tin"}}]},
            "unknown chemistry 'tin'",
        ),
        ({"supplies": [{"name": "a", "model": MODEL, "port": 0}] * 2}, "'a' is used twice"),
        ("supplies: [", "no YAML"),
        ("", "wrong"),
    ],
)
def test_a_wrong_bench_file_is_one_sentence_naming_the_key(tmp_path: Path, config: Any, why: str) -> None:
    ended = started(config, tmp_path)
    assert ended.returncode == 1
    assert why in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_bench_file_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cycler_unit.simulators", "--config", str(tmp_path / "none.yaml")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "cannot be read" in ended.stderr


def test_it_ends_on_sigterm_and_removes_its_terminal(tmp_path: Path) -> None:
    pty = tmp_path / "left"
    simulators = Simulators(tmp_path, [{"name": "a", "model": MODEL, "pty": str(pty)}]).start()
    assert pty.is_symlink()
    assert simulators.process.stop() == 0
    assert not pty.exists()
