"""Which fault can be asked of which simulated device: each that makes sense for it, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cycler_unit.buses.local import LocalBuses
from cycler_unit.drivers.base import Device
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused
from tests.stack.simulated import Simulators
from tests.stack.waiting import free_port, until
from wire import kinds

LINK = {"drop_link", "silent", "reboot", "mains_lost"}
SENSOR = {"freeze", "drift", "noise"}
CELL = {"wrong_cell", "capacity_x10", "capacitor", "reversed"}
TAKEN = {"refuse", "panel_change"}
POWER = LINK | SENSOR | CELL | TAKEN | {"stuck_on", "clamp", "sense_open", "sensor_off"}
EVERY = POWER

# A cell monitor takes nothing and has no panel; a relay has no half way; a coupler measures nothing. Nobody can
# switch a meter's output on. High voltage and air hang on no cell.
TABLE: dict[str, set[str]] = {
    "psb": POWER,
    "source": POWER,
    "load": POWER,
    "kel": POWER,
    "epc": POWER,
    "bms": LINK | SENSOR | CELL | {"sensor_off", "sense_open"},
    "meter": LINK | SENSOR | CELL | TAKEN | {"sensor_off", "sense_open"},
    "flow": LINK | SENSOR | {"sensor_off"},
    "gas": LINK | SENSOR | TAKEN | {"sensor_off", "stuck_on"},
    "hv": LINK | SENSOR | TAKEN | {"stuck_on", "clamp"},
    "node": LINK | SENSOR | TAKEN | {"stuck_on", "sensor_off"},
    "relays": LINK | SENSOR | TAKEN | {"stuck_on", "sensor_off"},
    "lamp": LINK | SENSOR | TAKEN | {"stuck_on", "sensor_off", "clamp"},
    "chamber": LINK | SENSOR | TAKEN | {"stuck_on", "sensor_off", "clamp"},
    "io": LINK | TAKEN | {"freeze", "stuck_on"},
}
MODELS = {
    "psb": "ea-psb-10060-60", "source": "ea-ps-2084-05-b", "load": "ea-el-9080-170-b", "kel": "rs-pro-kel103",
    "epc": "epc", "bms": "bms-plak", "meter": "bk-2831e", "flow": "arduino-flow-meter", "gas": "pp-sba-5",
    "hv": "caen-v6533", "node": "esphome-node", "relays": "esp32-relay-board", "lamp": "esp32-pwm-lamp",
    "chamber": "chamber-modbus-int16", "io": "modbus-io-coupler",
}  # fmt: skip
ON_A_CELL = ("psb", "source", "load", "kel", "epc", "bms", "meter")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    can = {"interface": "udp_multicast", "channel": "239.74.163.2", "port": free_port()}
    devices = []
    for name, model in MODELS.items():
        more: dict[str, Any] = {"circuit": f"of {name}"} if name in ON_A_CELL else {}
        more |= can if name in ("epc", "bms") else {"port": free_port()}
        devices.append({"name": name, "model": model, **more, **({"period_s": 0.1} if name == "bms" else {})})
    circuits = [
        {"name": f"of {name}", "cell": {"chemistry": "NMC", "capacity_ah": 2.5}} for name in ON_A_CELL
    ]
    found = Simulators(tmp_path_factory.mktemp("table"), [], devices=devices, circuits=circuits).start()
    yield found
    found.stop()


def opened(running: Simulators, name: str, **more: Any) -> Device:
    link = {"timeout_s": 0.5, **running.links_of(name)[0], **more}
    device = LocalBuses().device(kinds.get(link.get("model", MODELS[name])), link, name)
    device.open()
    return device


@pytest.mark.parametrize("name", TABLE)
def test_each_fault_that_makes_sense_is_there_and_is_mended(running: Simulators, name: str) -> None:
    there = set()
    for fault in sorted(EVERY):
        answer = running.ask(device=name, fault=fault)
        if answer["ok"]:
            there.add(fault)
        else:
            assert answer["error"] == f"no fault {fault!r} for {name}"
        assert running.ask(device=name, clear=True)["ok"]
    assert there == TABLE[name]


@pytest.mark.parametrize("name", ["meter", "flow", "gas", "hv"])
@pytest.mark.parametrize("fault", ["silent", "mains_lost"])
def test_a_text_device_that_is_gone_is_lost_and_comes_back(
    running: Simulators, name: str, fault: str
) -> None:
    more = {"open_wait_s": 0.0, "retry_s": 0.5} if name == "flow" else {}
    device = opened(running, name, **more)
    running.ask(device=name, fault=fault)
    with pytest.raises(DeviceLost):
        device.read()
    device.close()
    running.ask(device=name, clear=True)
    opened(running, name, **more).close()


def test_a_meter_notices_its_panel_and_is_refused_settings(
    running: Simulators, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cycler_unit.drivers.bk.LOOK_S", 0.0)
    meter = opened(running, "meter")
    running.ask(device="meter", fault="panel_change")
    with pytest.raises(DeviceFault, match="measures CURR:DC"):
        meter.read()
    meter.close()
    meter = opened(running, "meter")
    running.ask(device="meter", fault="refuse")
    with pytest.raises(DeviceRefused):
        meter.set("range_v", 200.0)
    running.ask(device="meter", clear=True)
    running.ask(device="meter", fault="sense_open")
    assert meter.read().voltage_v == pytest.approx(0.0, abs=0.01)
    meter.close()
    running.ask(device="meter", clear=True)


@pytest.mark.parametrize(
    ("name", "measure", "offset"),
    [
        ("chamber", "temperature_c", 8.0),
        ("node", "temperature_c", 8.0),
        ("relays", "ext_temperature_c", 8.0),
        ("gas", "co2_ppm", 300.0),
        ("flow", "flow_main_ml_min", 2000.0),
    ],
)
def test_a_drifting_sensor_shows_something_else(
    running: Simulators, name: str, measure: str, offset: float
) -> None:
    more = {"open_wait_s": 0.0} if name == "flow" else {}
    device = opened(running, name, **more)
    before = device.read().extended[measure]
    assert before is not None
    running.ask(device=name, fault="drift", offset=offset)
    assert device.read().extended[measure] == pytest.approx(before + offset, rel=0.2)
    device.close()
    running.ask(device=name, clear=True)


@pytest.mark.parametrize(
    ("name", "control", "value"),
    [("chamber", "set_point_c", 60.0), ("lamp", "duty_1_pct", 90.0), ("hv", "vset_v", 900.0)],
)
def test_a_silent_clamp_is_a_refusal(running: Simulators, name: str, control: str, value: float) -> None:
    device = opened(running, name)
    running.ask(device=name, fault="clamp")
    with pytest.raises(DeviceRefused):
        device.set(control, value)
    device.close()
    running.ask(device=name, clear=True)


def test_a_setting_of_the_gas_analyser_without_its_ok_is_a_refusal_or_a_loss(running: Simulators) -> None:
    gas = opened(running, "gas")
    running.ask(device="gas", fault="refuse")
    with pytest.raises((DeviceRefused, DeviceLost)):
        gas.set("pump", 0.0)
    gas.close()
    running.ask(device="gas", clear=True)


def test_a_monitor_without_supply_or_with_a_lead_off_says_so(running: Simulators) -> None:
    monitor = opened(running, "bms", unit=0, period_s=0.1)

    def cell_1() -> float | None:
        return monitor.read().extended["vcell1_v"]

    until(lambda: (cell_1() or 0.0) > 2.0, 10, "a snapshot")
    running.ask(device="bms", fault="sense_open", cell="vcell1")
    until(lambda: cell_1() == 0.0, 10, "a cell that is not there")
    assert 0.0 in next(each for each in kinds.get("bms-plak").measures if each.name == "vcell1_v").sentinels
    began_s = monitor.read().began_s
    running.ask(device="bms", fault="mains_lost", for_s=0.3)
    until(lambda: monitor.read().began_s > began_s + 0.3, 10, "it speaks again")
    monitor.close()
    running.ask(device="bms", clear=True)
