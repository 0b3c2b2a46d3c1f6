"""The EPC's driver on a simulated EPC over a real bus: echoes, heartbeat, own ends, reboots, units."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cycler_unit.buses import can
from cycler_unit.drivers.base import Measured, Protections, Target
from cycler_unit.drivers.epc import Epc
from cycler_unit.drivers.epc_frames import CV
from cycler_unit.drivers.epc_limits import MARK
from cycler_unit.drivers.epc_readings import FROZEN_READINGS
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused
from cycler_unit.simulators.epc_rules import Point
from tests.stack.waiting import until

from .can_lab import CELL, INTERFACES, CanLab, lab

CHARGE = Target("cc", "charge", current_a=1.0, voltage_max_v=4.2, voltage_min_v=2.8)
DISCHARGE = Target("cc", "discharge", current_a=-1.0, voltage_max_v=4.2, voltage_min_v=2.8)
GUARDS = Protections(
    voltage_max_v=4.3, voltage_min_v=2.7, charge_current_max_a=2.0, discharge_current_max_a=3.0
)


@pytest.fixture
def bench() -> Iterator[CanLab]:
    with lab() as found:
        yield found


@pytest.fixture
def dut(bench: CanLab) -> Any:
    return bench.add("epc", cell=CELL, serial_number=42)


@pytest.fixture
def epc(bench: CanLab, dut: Any) -> Iterator[Epc]:
    # A heartbeat that a stalled test machine does not miss.
    device = Epc({**bench.link, "node": 0x13, "heartbeat_s": 5.0}, name="left")
    device.open()
    yield device
    device.close()


def frames(device: Epc, to: str = "device") -> list[str]:
    return [each.text for each in device.exchanges() if each.to == to]


def commands(device: Epc) -> list[str]:
    return [text for text in frames(device) if not text.startswith("131")]


def reads(device: Epc, wanted: Callable[[Measured], bool], what: str, within_s: float = 10.0) -> Measured:
    """Read as a loop does until a reading is as wanted."""
    last: list[Measured] = []

    def look() -> bool:
        last.append(device.read())
        return wanted(last[-1])

    until(look, within_s, what)
    return last[-1]


def keep_reading(device: Epc) -> None:
    """Read some times, as a loop does until something is raised."""
    for _ in range(50):
        device.read()


def stays_off_with_an_error(bench: CanLab, device: Epc, dut: Any) -> None:
    """Read on until it is told that somebody else switched off; it must not have been switched on again."""
    ordered = len(commands(device))
    with pytest.raises(DeviceFault, match="nobody asked for"):
        keep_reading(device)
    assert len(commands(device)) == ordered
    assert not bench.do(dut.truth)["output"]


@contextmanager
def another_host(bench: CanLab) -> Iterator[can.CanBus]:
    """Lend a place on the bus beside the driver's."""
    other = can.CanBus(bench.link)
    try:
        yield other
    finally:
        other.shut()


def carries(amperes: float) -> Callable[[Measured], bool]:
    return lambda measured: measured.current_a is not None and abs(measured.current_a - amperes) < 0.03


# --- opening ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("interface", INTERFACES)
def test_off_goes_first_and_info_before_anything_is_asked(interface: str) -> None:
    with lab(interface) as bench:
        bench.add("epc", cell=CELL, serial_number=42, node=0x2A)
        device = Epc({**bench.link, "node": "0x2A"})
        identity = device.open()
        assert identity.text == "Wattrex, EPC A, 42, v1"
        sent = frames(device)
        assert sent[:3] == ["2A0 08 00 00 00 00 00 00 00", "2A1 00", "2A7 14 00 14 00 14 00"]
        texts = [(each.to, each.text) for each in device.exchanges()]
        assert [to for to, _ in texts[:4]] == ["device", "host", "device", "host"]
        assert texts[3][1].startswith("2AA")
        device.close()
        device.close()


@pytest.mark.parametrize("node", [0, 0x12, 0x40, "0x7F", "left", None])
def test_nodes_outside_13_to_3f_are_refused(node: object) -> None:
    link = {"interface": "virtual"} | ({} if node is None else {"node": node})
    with pytest.raises(DeviceRefused, match="0x13 to 0x3F"):
        Epc(link)


@pytest.mark.parametrize(("option", "value"), [("limit_byte_order", "middle"), ("heartbeat_s", 60.0)])
def test_a_wrong_option_names_itself(option: str, value: object) -> None:
    with pytest.raises(DeviceRefused, match=option):
        Epc({"interface": "virtual", "node": 0x13, option: value})


def test_a_device_that_calls_itself_another_node_is_refused(bench: CanLab) -> None:
    dut = bench.add("epc", cell=CELL)
    bench.do(lambda: setattr(dut.machine, "_info", bytes.fromhex("5480382A")))
    device = Epc({**bench.link, "node": 0x13})
    with pytest.raises(DeviceRefused, match="calls itself node 0x14"):
        device.open()
    device.close()


def test_it_opens_a_device_whose_holder_is_empty(bench: CanLab) -> None:
    bench.add("epc", cell=None)
    device = Epc({**bench.link, "node": 0x13})
    device.open()
    assert "cell voltage out of limits" in (device.fault() or "")
    assert not device.output_is_on()
    device.make_safe()
    with pytest.raises(DeviceFault, match="cell voltage out of limits"):
        device.apply(CHARGE)
    device.close()


# --- readings ---------------------------------------------------------------------------------------


def test_readings_are_in_si_with_power_computed_and_sensors_by_info(bench: CanLab) -> None:
    bench.add("epc", cell=CELL, sensors=[2, 0, 1], hs_v=12.152)
    device = Epc({**bench.link, "node": 0x13})
    device.open()
    device.apply(CHARGE)
    measured = reads(device, carries(1.0), "1 A flows")
    assert measured.voltage_v is not None
    assert measured.current_a is not None
    assert measured.power_w == pytest.approx(measured.voltage_v * measured.current_a)
    assert 3.6 < measured.voltage_v < 3.9
    assert measured.extended["hs_voltage_v"] == pytest.approx(12.152, abs=0.01)
    assert measured.extended["anode_c"] == pytest.approx(25.0, abs=0.5)
    assert measured.extended["body_c"] is None
    device.make_safe()
    device.close()


def test_old_temperatures_are_missing(epc: Epc, dut: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert epc.read().extended["body_c"] is not None
    monkeypatch.setattr("cycler_unit.drivers.epc_readings.TEMPERATURE_MAX_S", -1.0)
    assert epc.read().extended["body_c"] is None


def test_an_absent_sensor_reads_0_and_is_missing_by_the_catalogue(bench: CanLab, epc: Epc, dut: Any) -> None:
    from wire import kinds

    bench.do(lambda: dut.fault("sensor_off", {}))
    until(lambda: epc.read().extended["anode_c"] == 0.0, 5, "the sensor reads 0")
    rule = next(each for each in kinds.get("epc").measures if each.name == "anode_c")
    assert 0.0 in rule.sentinels


def test_readings_without_one_bit_changed_are_missing_after_a_while(
    bench: CanLab, epc: Epc, dut: Any
) -> None:
    for _ in range(FROZEN_READINGS + 10):
        assert epc.read().voltage_v is not None
    bench.do(lambda: dut.fault("freeze", {}))
    found = [epc.read().voltage_v for _ in range(FROZEN_READINGS + 2)]
    assert found[-1] is None
    bench.do(lambda: dut.mend())
    reads(epc, lambda measured: measured.voltage_v is not None, "it moves again")


def test_a_silent_device_is_lost_and_found_again_off(bench: CanLab, epc: Epc, dut: Any) -> None:
    epc.apply(CHARGE)
    bench.do(lambda: dut.fault("silent", {}))
    with pytest.raises(DeviceLost, match="node 0x13 does not answer"):
        epc.read()
    epc.close()
    with pytest.raises(DeviceLost, match="does not answer IDLE"):
        epc.open()
    assert bench.do(dut.truth)["output"]
    bench.do(dut.mend)
    epc.open()
    assert not bench.do(dut.truth)["output"]


def test_two_cyclers_on_one_bus_do_not_mix(bench: CanLab, epc: Epc, dut: Any) -> None:
    bench.add("epc", name="other", cell={**CELL, "soc": 0.1}, node=0x14, serial_number=43)
    other = Epc({**bench.link, "node": 0x14, "heartbeat_s": 5.0}, name="right")
    other.open()
    other.protect(Protections(voltage_max_v=4.1))
    epc.apply(CHARGE)
    other.apply(DISCHARGE)
    assert carries(1.0)(reads(epc, carries(1.0), "charge"))
    low = reads(other, carries(-1.0), "discharge")
    assert low.voltage_v is not None
    assert low.voltage_v < 3.6
    assert epc.limits.held[2] == (400, 5100)
    other.make_safe()
    assert epc.output_is_on()
    assert not other.output_is_on()
    other.close()


# --- set points and echoes --------------------------------------------------------------------------


def test_the_heartbeat_is_armed_before_the_output_and_reset_just_before(epc: Epc) -> None:
    epc.apply(CHARGE)
    sent = frames(epc)
    place = sent.index("130 15 00 E8 03 68 10 00 00")
    assert sent[place - 2 : place] == ["131 05", "137 D1 07 14 00 14 00"]


def test_a_refused_set_point_is_repeated_once_and_then_refused(
    bench: CanLab, epc: Epc, dut: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cycler_unit.drivers.epc_port.ECHO_S", 0.1)
    bench.do(lambda: dut.fault("refuse", {}))
    with pytest.raises(DeviceRefused, match="did not take CC 1000 mA until 4200 mV: it holds 08"):
        epc.apply(CHARGE)
    assert commands(epc).count("130 15 00 E8 03 68 10 00 00") == 2
    epc.make_safe()
    assert not bench.do(dut.truth)["output"]


def test_a_silent_clamp_is_a_refusal(
    bench: CanLab, epc: Epc, dut: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cycler_unit.drivers.epc_port.ECHO_S", 0.1)
    bench.do(lambda: dut.fault("clamp", {"current_a": 0.5}))
    with pytest.raises(DeviceRefused, match="it holds 15 00 F4 01"):
        epc.apply(CHARGE)


def test_resistance_is_refused(epc: Epc) -> None:
    with pytest.raises(DeviceRefused, match="no mode 'cr'"):
        epc.apply(Target("cr", "discharge", resistance_ohm=2.0, voltage_min_v=2.8))
    assert not epc.output_is_on()


def test_power_is_sent_in_tenths_of_a_watt(epc: Epc) -> None:
    epc.apply(Target("cp", "discharge", power_w=-5.0, voltage_min_v=2.8, discharge_current_max_a=3.0))
    assert "130 17 00 CE FF F0 0A 00 00" in commands(epc)
    measured = reads(epc, lambda m: m.power_w is not None and abs(m.power_w + 5.0) < 0.2, "5 W flow")
    assert measured.current_a is not None
    assert measured.current_a < -1.0


def test_charge_turns_into_discharge_and_off(bench: CanLab, epc: Epc, dut: Any) -> None:
    epc.apply(CHARGE)
    reads(epc, carries(1.0), "charge")
    epc.apply(DISCHARGE)
    reads(epc, carries(-1.0), "discharge")
    epc.apply(Target("off"))
    assert not epc.output_is_on()
    assert not bench.do(dut.truth)["output"]
    # The heartbeat rests with the output: an idle device must not trip.
    assert commands(epc)[-1] == "137 14 00 14 00 14 00"
    assert carries(0.0)(epc.read())


def test_a_stuck_output_still_shows_its_current(bench: CanLab, epc: Epc, dut: Any) -> None:
    epc.apply(CHARGE)
    reads(epc, carries(1.0), "charge")
    bench.do(lambda: dut.fault("stuck_on", {}))
    epc.make_safe()
    assert not epc.output_is_on()
    assert carries(1.0)(epc.read())


# --- its own ends -----------------------------------------------------------------------------------


def near_the_end(bench: CanLab, dut: Any, **cell: Any) -> float:
    """Put a small cell in whose voltage moves within seconds; return its voltage at rest."""
    bench.do(lambda: dut.fault("wrong_cell", {**CELL, "capacity_ah": 0.02, "r0_ohm": 0.1, **cell}))
    bench.do(lambda: setattr(dut.circuit, "speed", 10.0))
    return float(bench.do(dut.truth)["at_rest_v"])


def test_a_charge_to_a_ceiling_goes_on_at_constant_voltage(bench: CanLab, epc: Epc, dut: Any) -> None:
    rest_v = near_the_end(bench, dut, soc=0.5)
    ceiling_v = round(rest_v + 0.12, 3)
    epc.apply(Target("cc", "charge", current_a=0.5, voltage_max_v=ceiling_v, voltage_min_v=2.8))
    seen: list[Measured] = []

    def falls() -> bool:
        seen.append(epc.read())
        current_a = seen[-1].current_a
        return len(seen) > 20 and current_a is not None and current_a < 0.35

    until(falls, 60, "the current falls at the ceiling")
    assert max(each.voltage_v for each in seen if each.voltage_v is not None) <= ceiling_v + 0.004
    # What the loop sees has no hole where the device had ended and got its next command.
    assert min(each.current_a for each in seen[3:] if each.current_a is not None) > 0.2
    assert abs((seen[-1].voltage_v or 0.0) - ceiling_v) < 0.005
    assert epc.output_is_on()
    assert epc.unasked() is None


def test_a_discharge_to_a_floor_goes_on_at_constant_voltage_and_never_below(
    bench: CanLab, epc: Epc, dut: Any
) -> None:
    rest_v = near_the_end(bench, dut, soc=0.5)
    floor_v = round(rest_v - 0.12, 3)
    epc.apply(Target("cc", "discharge", current_a=-0.5, voltage_max_v=4.2, voltage_min_v=floor_v))
    low = reads(epc, lambda m: m.current_a is not None and -0.35 < m.current_a < -0.1, "falling current", 60)
    assert low.voltage_v is not None
    assert abs(low.voltage_v - floor_v) < 0.005


def test_a_cell_that_is_at_its_ceiling_gets_nothing_and_no_error(bench: CanLab, epc: Epc, dut: Any) -> None:
    rest_v = near_the_end(bench, dut, soc=0.6)
    epc.apply(Target("cc", "charge", current_a=0.5, voltage_max_v=round(rest_v - 0.03, 3), voltage_min_v=2.8))
    for _ in range(10):
        assert carries(0.0)(epc.read())
    assert epc.unasked() is None
    assert epc.fault() is None
    truth = bench.do(dut.truth)
    assert truth["charge_in_ah"] < 1e-4
    assert truth["charge_out_ah"] < 1e-5


def test_a_cv_with_compliance_begins_with_that_current(bench: CanLab, epc: Epc, dut: Any) -> None:
    rest_v = near_the_end(bench, dut, soc=0.5)
    wanted_v = round(rest_v + 0.1, 3)
    epc.apply(Target("cv", "charge", voltage_v=wanted_v, charge_current_max_a=0.4))
    seen: list[Measured] = []

    def there() -> bool:
        seen.append(epc.read())
        return abs((seen[-1].voltage_v or 0.0) - wanted_v) < 0.003 and len(seen) > 5

    until(there, 60, "the voltage is there")
    assert max(each.current_a for each in seen if each.current_a is not None) < 0.44


def test_a_cv_command_that_runs_is_not_begun_anew(bench: CanLab, epc: Epc, dut: Any) -> None:
    rest_v = near_the_end(bench, dut, soc=0.5)
    ceiling_v = round(rest_v + 0.1, 3)
    epc.apply(Target("cc", "charge", current_a=0.4, voltage_max_v=ceiling_v, voltage_min_v=2.8))
    reads(epc, lambda m: epc.state.wanted.mode == CV, "the constant voltage", 60)
    epc.apply(Target("cv", "charge", voltage_v=ceiling_v, charge_current_max_a=0.4))
    assert epc.state.wanted.mode == CV
    assert epc.read().current_a != pytest.approx(0.0, abs=0.02)


def test_an_end_that_the_device_came_to_though_nothing_ends_it_is_a_fault(
    bench: CanLab, epc: Epc, dut: Any
) -> None:
    epc.apply(Target("cc", "discharge", current_a=0.0, voltage_max_v=4.2, voltage_min_v=2.8))
    # No frame of another host is heard: only what the device became.
    bench.do(lambda: setattr(dut.machine, "point", Point()))
    with pytest.raises(DeviceFault, match=r"ended CC 0 mA .* by itself"):
        keep_reading(epc)


# --- heartbeat --------------------------------------------------------------------------------------


def test_a_dead_loop_lets_the_device_switch_itself_off(bench: CanLab, dut: Any) -> None:
    device = Epc({**bench.link, "node": 0x13, "heartbeat_s": 0.5})
    device.open()
    device.apply(CHARGE)
    sent = len(frames(device))
    began_s = time.monotonic()
    # Nobody calls the driver any more: no thread of its own keeps the heartbeat up.
    until(lambda: not bench.do(dut.truth)["output"], 5, "the device switches off")
    assert time.monotonic() - began_s > 0.3
    assert len(frames(device)) == sent
    with pytest.raises(DeviceFault, match="went to ERROR: communication"):
        device.read()
    device.make_safe()
    assert device.fault() is None
    assert not bench.do(dut.truth)["output"]
    device.close()


def test_readings_keep_the_heartbeat_up(bench: CanLab, dut: Any) -> None:
    device = Epc({**bench.link, "node": 0x13, "heartbeat_s": 0.5})
    device.open()
    device.apply(CHARGE)
    until_s = time.monotonic() + 1.5
    while time.monotonic() < until_s:
        device.read()
    assert bench.do(dut.truth)["output"]
    renewals = frames(device).count("131 05")
    assert 3 <= renewals <= 30
    device.make_safe()
    device.close()


# --- errors, reboots, other hands ------------------------------------------------------------------


def test_an_error_state_is_a_fault_with_its_flags_in_words_though_it_clears_itself(
    bench: CanLab, epc: Epc, dut: Any
) -> None:
    epc.apply(CHARGE)
    bench.do(lambda: dut.fault("alarm", {"name": "HS"}))
    until(lambda: bench.do(dut.truth)["mode"] == 5, 5, "the device is in ERROR")
    assert "high-side voltage out of limits" in (epc.fault() or "")
    bench.do(dut.mend)
    until(lambda: bench.do(dut.truth)["mode"] == 4, 5, "the device has cleared it")
    with pytest.raises(DeviceFault, match="went to ERROR: high-side voltage out of limits"):
        epc.read()
    epc.make_safe()
    epc.read()
    assert epc.fault() is None


def test_a_hot_body_without_a_flag_is_an_error_all_the_same(bench: CanLab, epc: Epc, dut: Any) -> None:
    bench.do(lambda: setattr(dut.stage, "temperatures", lambda: (900, 250, 250)))
    until(lambda: bench.do(dut.truth)["mode"] == 5, 5, "the device is in ERROR")
    assert "without a flag" in (epc.fault() or "")


def test_a_reboot_while_on_is_a_fault(bench: CanLab, epc: Epc, dut: Any) -> None:
    epc.apply(CHARGE)
    reads(epc, carries(1.0), "charge")
    bench.do(lambda: dut.fault("reboot", {}))
    with pytest.raises(DeviceFault, match="rebooted while its output was on"):
        keep_reading(epc)
    epc.make_safe()
    assert epc.fault() is None


def test_a_reboot_while_off_is_told_once_and_protections_are_written_again(
    bench: CanLab, epc: Epc, dut: Any
) -> None:
    epc.protect(GUARDS)
    bench.do(lambda: dut.fault("reboot", {}))
    with pytest.raises(DeviceFault, match="rebooted with its output off"):
        keep_reading(epc)
    epc.read()
    assert epc.limits.held[6] == MARK
    epc.apply(CHARGE)
    assert bench.do(lambda: dut.machine.limits[2]) == (2700, 4300)


def test_a_reboot_that_nobody_heard_is_found_by_its_mark(bench: CanLab, epc: Epc, dut: Any) -> None:
    epc.apply(CHARGE)
    bench.do(lambda: dut.fault("silent", {}))
    bench.do(lambda: dut.fault("reboot", {}))
    bench.do(dut.step)
    bench.do(dut.mend)
    assert "a reboot?" in (epc.unasked() or "")
    with pytest.raises(DeviceFault, match="rebooted"):
        keep_reading(epc)


def test_lost_mains_are_a_lost_device_and_then_a_reboot(bench: CanLab, epc: Epc, dut: Any) -> None:
    epc.apply(CHARGE)
    bench.do(lambda: dut.fault("mains_lost", {"for_s": 3.0}))
    assert not bench.do(dut.truth)["output"]
    with pytest.raises(DeviceLost):
        epc.read()
    epc.close()
    bench.do(dut.repair)
    until(lambda: bench.do(dut.truth)["boots"] == 1, 5, "mains are back")
    epc.open()
    assert not bench.do(dut.truth)["output"]


@pytest.mark.parametrize(
    ("change", "words"), [({"current_a": 1.4}, "holds CC 1400 mA until 4200 mV instead of CC 1000")]
)
def test_a_set_point_that_another_host_changed_is_noticed(
    bench: CanLab, epc: Epc, dut: Any, change: dict[str, Any], words: str
) -> None:
    epc.apply(CHARGE)
    assert epc.unasked() is None
    bench.do(lambda: dut.fault("panel_change", change))
    assert words in (epc.unasked() or "")
    with pytest.raises(DeviceFault, match="which nobody asked for"):
        keep_reading(epc)


def test_another_hosts_idle_far_from_the_end_is_no_end_of_ours(bench: CanLab, epc: Epc, dut: Any) -> None:
    epc.apply(CHARGE)
    reads(epc, carries(1.0), "it charges")
    bench.do(lambda: dut.fault("panel_change", {"output": False}))
    stays_off_with_an_error(bench, epc, dut)


def test_another_hosts_idle_before_the_first_reading_is_no_end_of_ours(
    bench: CanLab, epc: Epc, dut: Any
) -> None:
    epc.apply(CHARGE)
    bench.do(lambda: dut.fault("panel_change", {"output": False}))
    stays_off_with_an_error(bench, epc, dut)


def test_another_hosts_idle_is_not_overruled_by_the_next_set_point(bench: CanLab, epc: Epc, dut: Any) -> None:
    epc.apply(CHARGE)
    reads(epc, carries(1.0), "it charges")
    bench.do(lambda: dut.fault("panel_change", {"output": False}))
    until(lambda: not bench.do(dut.truth)["output"], 5, "it is off")
    with pytest.raises(DeviceFault, match=r"by another host in CC 1000 mA .*: nobody asked for that"):
        epc.apply(DISCHARGE)
    assert not bench.do(dut.truth)["output"]


def test_another_hosts_idle_near_the_end_is_no_end_of_ours(bench: CanLab, epc: Epc, dut: Any) -> None:
    # A cell with a flat voltage is near its ceiling all the time.
    rest_v = bench.do(dut.truth)["at_rest_v"]
    ceiling_v = round(rest_v + 0.07, 3)
    epc.apply(Target("cc", "charge", current_a=1.0, voltage_max_v=ceiling_v, voltage_min_v=2.8))
    reads(epc, carries(1.0), "it charges")
    bench.do(lambda: dut.fault("panel_change", {"output": False}))
    stays_off_with_an_error(bench, epc, dut)


def test_another_hosts_idle_in_the_constant_voltage_is_no_end_of_ours(
    bench: CanLab, epc: Epc, dut: Any
) -> None:
    rest_v = bench.do(dut.truth)["at_rest_v"]
    epc.apply(Target("cv", "charge", voltage_v=round(rest_v + 0.05, 3), charge_current_max_a=3.0))
    reads(epc, lambda m: epc.state.wanted.mode == CV and (m.current_a or 0.0) > 0.3, "it holds its voltage")
    bench.do(lambda: dut.fault("panel_change", {"output": False}))
    stays_off_with_an_error(bench, epc, dut)


def test_an_idle_that_another_host_sent_where_a_wait_of_1_ms_would_do_is_noticed(
    bench: CanLab, epc: Epc, dut: Any
) -> None:
    # How the original stops an EPC (device sheet 1.4).
    epc.apply(CHARGE)
    with another_host(bench) as other:
        other.send(0x130, bytes.fromhex("0000000001000000"))
        stays_off_with_an_error(bench, epc, dut)


def test_an_output_that_another_host_switched_on_is_noticed(bench: CanLab, epc: Epc, dut: Any) -> None:
    epc.read()
    bench.do(lambda: dut.fault("panel_change", {"output": True, "current_a": 0.5}))
    with pytest.raises(DeviceFault, match=r"holds CC 500 mA .*, which nobody asked for"):
        keep_reading(epc)
    epc.make_safe()
    assert not bench.do(dut.truth)["output"]


def test_a_heartbeat_that_another_host_switched_off_is_noticed(bench: CanLab, epc: Epc, dut: Any) -> None:
    # What the original controller does when it opens an EPC (device sheet 1.6).
    epc.apply(CHARGE)
    epc.read()
    with another_host(bench) as other:
        other.send(0x137, bytes.fromhex("D00733003300"))
        with pytest.raises(DeviceFault, match=r"heartbeat changed to D0 07 .*, which nobody asked for"):
            keep_reading(epc)
    epc.make_safe()
    epc.apply(CHARGE)
    epc.read()


def test_another_host_that_only_asks_makes_nobody_suspicious(bench: CanLab, epc: Epc, dut: Any) -> None:
    rest_v = near_the_end(bench, dut, soc=0.5)
    asking = threading.Event()
    with another_host(bench) as other:

        def ask() -> None:
            while not asking.wait(0.02):
                other.send(0x131, b"\x01")

        poller = threading.Thread(target=ask)
        poller.start()
        try:
            ceiling_v = round(rest_v + 0.12, 3)
            epc.apply(Target("cc", "charge", current_a=0.5, voltage_max_v=ceiling_v, voltage_min_v=2.8))
            reads(epc, lambda m: m.current_a is not None and m.current_a < 0.35, "it holds its voltage", 60)
        finally:
            asking.set()
            poller.join()


def test_a_locked_device_is_lost(bench: CanLab, epc: Epc, dut: Any) -> None:
    epc.apply(CHARGE)
    bench.do(lambda: dut.fault("lock", {}))
    with pytest.raises(DeviceLost):
        epc.read()
    assert not bench.do(dut.truth)["output"]


# --- protections ------------------------------------------------------------------------------------


def test_protections_are_written_big_endian_and_read_back(bench: CanLab, epc: Epc, dut: Any) -> None:
    held = epc.protect(GUARDS)
    assert held == Protections(4.3, 2.7, 2.0, 3.0, 80.0)
    assert commands(epc)[-3:] == ["132 10 CC 0A 8C", "133 07 D0 F4 48", "135 03 20 FC E0"]
    assert bench.do(lambda: dict(dut.machine.limits))[3] == (-3000, 2000)


def test_protections_are_rounded_outwards_and_kept_in_the_hard_range(epc: Epc) -> None:
    held = epc.protect(
        Protections(voltage_max_v=4.2004, voltage_min_v=2.7996, charge_current_max_a=0.0, power_max_w=12.34)
    )
    assert (held.voltage_max_v, held.voltage_min_v, held.power_max_w) == (4.201, 2.799, 12.4)
    # At 0 A its converter shows up to two steps.
    assert held.charge_current_max_a == 0.04
    assert held.discharge_current_max_a == 15.5
    assert epc.protect(Protections(voltage_max_v=9.0)).voltage_max_v == 5.1


def test_the_other_byte_order_is_an_option_and_the_wrong_one_is_refused(
    bench: CanLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cycler_unit.drivers.epc_port.ECHO_S", 0.1)
    bench.add("epc", cell=CELL, node=0x15, limit_byte_order="little")
    fits = Epc({**bench.link, "node": 0x15, "limit_byte_order": "little"})
    fits.open()
    assert fits.protect(GUARDS).voltage_min_v == 2.7
    fits.close()
    wrong = Epc({**bench.link, "node": 0x15})
    wrong.open()
    with pytest.raises(DeviceRefused, match="did not take LsVolt limits 2700 to 4300"):
        wrong.protect(GUARDS)
    wrong.close()


def test_its_own_limits_switch_off_beyond_the_trip(bench: CanLab, epc: Epc, dut: Any) -> None:
    epc.protect(GUARDS)
    epc.apply(DISCHARGE)
    bench.do(lambda: setattr(dut.circuit.cell, "soc", -0.05))
    until(lambda: not bench.do(dut.truth)["output"], 5, "its low limit")


def test_the_whole_voltage_range_comes_back_while_off_and_goes_before_on(
    bench: CanLab, epc: Epc, dut: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cycler_unit.drivers.epc.WIDEN_S", 0.0)
    epc.protect(GUARDS)
    epc.read()
    assert bench.do(lambda: dut.machine.limits[2]) == (400, 5100)
    epc.apply(CHARGE)
    assert bench.do(lambda: dut.machine.limits[2]) == (2700, 4300)
    epc.read()
    assert bench.do(lambda: dut.machine.limits[2]) == (2700, 4300)


# --- what a simulated EPC can suffer ---------------------------------------------------------------


def test_a_drift_of_its_reading_is_seen_and_not_the_cells(bench: CanLab, epc: Epc, dut: Any) -> None:
    before_v = epc.read().voltage_v or 0.0
    bench.do(lambda: dut.fault("drift", {"offset_v": 0.2}))
    assert (epc.read().voltage_v or 0.0) - before_v == pytest.approx(0.2, abs=0.01)
    assert bench.do(dut.truth)["voltage_v"] == pytest.approx(before_v, abs=0.01)


@pytest.mark.parametrize(
    "name", ["noise", "sense_open", "reversed", "capacitor", "capacity_x10", "wrong_cell", "leak"]
)
def test_it_knows_the_faults_of_bench_and_circuit(bench: CanLab, dut: Any, name: str) -> None:
    assert bench.do(lambda: dut.fault(name, {}))
    bench.do(dut.mend)


def test_an_unknown_fault_is_said_to_be_unknown(bench: CanLab, dut: Any) -> None:
    assert not bench.do(lambda: dut.fault("no_such_fault", {}))
