"""Simulated relay boards, lamps, chambers, couplers and high voltage: their faults, and what they do to a cell."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from cycler_unit.buses.local import LocalBuses
from cycler_unit.drivers.base import Device
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused
from cycler_unit.simulators import bench
from cycler_unit.simulators.program import build
from tests.stack.simulated import Simulators
from tests.stack.waiting import until
from wire import kinds

CELL = {"chemistry": "NMC", "capacity_ah": 2.5, "soc": 0.5}
DEVICES: list[dict[str, Any]] = [
    {"name": "node", "model": "esphome-node", "user": "lab", "password": "s3cret", "circuit": "a", "isolators": ["relay_3"]},
    {"name": "relays", "model": "esp32-relay-board"},
    {"name": "lamp", "model": "esp32-pwm-lamp"},
    {"name": "chamber", "model": "chamber-modbus-int16", "circuit": "b", "tau_s": 0.5},
    {"name": "floats", "model": "chamber-modbus-float32", "tau_s": 0.5},
    {"name": "io", "model": "modbus-io-coupler", "circuit": "b"},
    {"name": "hv", "model": "caen-v6533", "ramp": 20},
]  # fmt: skip


@pytest.fixture(scope="module")
def bench_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    folder = tmp_path_factory.mktemp("switched")
    (folder / "password").write_text("s3cret\n")
    circuits = [{"name": name, "cell": CELL} for name in "ab"]
    running = Simulators(folder, [], devices=DEVICES, circuits=circuits).start()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def mended(bench_: Simulators) -> Iterator[None]:
    yield
    for device in DEVICES:
        bench_.ask(device=device["name"], clear=True)
        bench_.ask(device=device["name"], fault="reboot")


@contextlib.contextmanager
def opened(bench_: Simulators, name: str, number: int = 0, **more: Any) -> Iterator[Device]:
    link = bench_.links_of(name)[number]
    if name == "node":
        more = {"user": "lab", "password_file": str(bench_.file.parent / "password"), **more}
    device = LocalBuses().device(kinds.get(link["model"]), {"timeout_s": 1.0, **link, **more}, name)
    device.open()
    try:
        yield device
    finally:
        device.close()


def truth(bench_: Simulators, name: str) -> dict[str, Any]:
    return bench_.ask(device=name, query="truth")


# --- faults that all have -------------------------------------------------------------------------


@pytest.mark.parametrize("name", [device["name"] for device in DEVICES])
def test_a_silent_device_is_lost(bench_: Simulators, name: str) -> None:
    with opened(bench_, name, timeout_s=0.2) as device:
        assert bench_.ask(device=name, fault="silent")["ok"]
        with pytest.raises(DeviceLost):
            device.read()


@pytest.mark.parametrize("name", [device["name"] for device in DEVICES])
def test_an_unknown_fault_is_refused(bench_: Simulators, name: str) -> None:
    answer = bench_.ask(device=name, fault="no such fault")
    assert answer == {"ok": False, "error": f"no fault 'no such fault' for {name}"}


@pytest.mark.parametrize("name", ["node", "relays", "lamp", "chamber", "io"])
def test_mains_lost_is_off_gone_and_back(bench_: Simulators, name: str) -> None:
    with opened(bench_, name) as device:
        switch = next(
            each for each in kinds.get(bench_.links_of(name)[0]["model"]).controls if each.safe == 0.0
        )
        device.set(switch.name, 1.0)
        bench_.ask(device=name, fault="mains_lost")
        with pytest.raises(DeviceLost):
            device.read()
        bench_.ask(device=name, clear=True)
    with opened(bench_, name) as device:
        assert device.held()[switch.name] == 0.0


def test_a_bench_file_that_is_wrong_is_said() -> None:
    def refusal(**entry: Any) -> str:
        with pytest.raises(bench.BenchError) as refused:
            build(bench.parse({"devices": [{"name": "x", **entry}]}))
        return str(refused.value)

    assert "unknown field `colour`" in refusal(model="esp32-pwm-lamp", colour="red")
    assert "no circuit 'z'" in refusal(model="chamber-modbus-int16", circuits=["z"])
    assert "no circuit 'z'" in refusal(model="chamber-modbus-int16", circuit="z")


# --- boards with a web server -----------------------------------------------------------------------


def test_without_the_password_the_node_says_nothing(bench_: Simulators) -> None:
    with pytest.raises(DeviceRefused, match="refuses the user or password"), opened(bench_, "node", user=""):
        pass


def test_a_sensor_that_is_gone_is_missing(bench_: Simulators) -> None:
    bench_.ask(device="node", fault="sensor_off", sensor="internal_humidity")
    bench_.ask(device="relays", fault="sensor_off", sensor="ext_temp")
    with opened(bench_, "node") as node, opened(bench_, "relays") as relays:
        found = node.read().extended
        assert found["humidity_pct"] is None
        assert found["temperature_c"] == pytest.approx(26.3, abs=0.5)
        assert relays.read().extended["ext_temperature_c"] is None


def test_a_relay_may_be_an_isolator_of_a_cell(bench_: Simulators) -> None:
    with opened(bench_, "node") as node:
        assert truth(bench_, "node")["connected"] is False
        node.set("valve_out", 1.0)
        assert truth(bench_, "node")["connected"] is True
        bench_.ask(device="node", fault="panel_change", relay="relay_3", state=False)
        assert node.held()["valve_out"] == 0.0
        assert truth(bench_, "node")["connected"] is False


def test_a_relay_that_sticks_refuses_to_go_off(bench_: Simulators) -> None:
    with opened(bench_, "relays") as relays:
        relays.set("relay_2", 1.0)
        relays.set("relay_3", 1.0)
        bench_.ask(device="relays", fault="stuck_on", channel=2)
        with pytest.raises(DeviceRefused, match="holds relay_2 at 1 instead of 0"):
            relays.make_safe()
        # One that sticks keeps none of the others on.
        assert relays.held() == {"relay_0": 0.0, "relay_1": 0.0, "relay_2": 1.0, "relay_3": 0.0}


def test_the_relay_board_speaks_its_very_words(bench_: Simulators) -> None:
    url = bench_.links_of("relays")[0]["url"]

    def post(path: str, body: str) -> str:
        with urllib.request.urlopen(f"{url}{path}", body.encode(), timeout=5) as answer:
            assert answer.status == 200
            return str(answer.read().decode())

    assert post("/relay", '{"channel":1,"state":1}') == "RESULT: SUCCESS\n Relay: 1, set to state: 1\n"
    assert post("/relay", "{") == "RESULT: ERROR Failed to parse JSON"
    assert post("/relay", '{"channel":"1","state":1}') == "RESULT: ERROR Invalid channel type"
    assert post("/relay", '{"channel":1,"state":"1"}') == "RESULT: ERROR Invalid state type"
    assert post("/relay", '{"channel":4,"state":1}') == "RESULT: ERROR invalid params!"
    with urllib.request.urlopen(f"{url}/roots_temp", timeout=5) as answer:
        assert len(answer.read().decode().partition(".")[2]) == 6
    assert post("/reset", "please") == "User have sent incorrect reset command, so no rebooting"
    assert post("/reset", "force_reset") == "User have sent force reset command, so rebooting"
    with urllib.request.urlopen(f"{url}/info", timeout=5) as answer:
        page = json.load(answer)
    assert (page["ch1"], page["uptime"]) == (0, 0)


# --- chambers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chamber", "floats"])
def test_a_chambers_air_follows_its_set_point_and_the_cell_follows_the_air(
    bench_: Simulators, name: str
) -> None:
    with opened(bench_, name) as chamber:
        now_c = chamber.read().extended["temperature_c"]
        wanted_c = 45.0 if now_c is None or now_c < 35.0 else 10.0
        chamber.set("set_point_c", wanted_c)
        chamber.set("run", 1.0)
        until(lambda: abs((chamber.read().extended["temperature_c"] or 0.0) - wanted_c) < 2.0, 20, "the air")
        if name == "chamber":
            assert abs(truth(bench_, name)["ambient_c"] - wanted_c) < 3.0


def test_an_alarm_stops_conditioning_and_is_seen(bench_: Simulators) -> None:
    with opened(bench_, "chamber") as chamber:
        chamber.set("run", 1.0)
        bench_.ask(device="chamber", fault="alarm", bit=0)
        found = chamber.read().extended
        assert (found["alarm_free"], found["alarm_mask"]) == (0.0, 1.0)
        assert truth(bench_, "chamber")["conditions"] is False


@pytest.mark.parametrize("name", ["chamber", "floats"])
def test_an_open_door_and_a_broken_sensor_are_seen(bench_: Simulators, name: str) -> None:
    with opened(bench_, name) as chamber:
        assert chamber.read().extended["door_closed"] == 1.0
        bench_.ask(device=name, fault="door")
        bench_.ask(device=name, fault="sensor_off")
        found = chamber.read().extended
        assert found["door_closed"] == 0.0
        assert found["temperature_c"] is None


def test_somebody_at_the_chambers_panel_is_seen(bench_: Simulators) -> None:
    with opened(bench_, "chamber") as chamber:
        bench_.ask(device="chamber", fault="panel_change", set_point_c=80.0, run=True)
        assert chamber.held() == pytest.approx({"run": 1.0, "set_point_c": 80.0})


# --- couplers -----------------------------------------------------------------------------------------


def test_an_open_contact_is_zero(bench_: Simulators) -> None:
    with opened(bench_, "io") as io:
        assert io.read().extended["smoke_free"] == 1.0
        bench_.ask(device="io", fault="input_open", input="smoke_free")
        found = io.read().extended
        assert (found["smoke_free"], found["door_closed"]) == (0.0, 1.0)


def test_a_frozen_coupler_loses_its_inputs(bench_: Simulators) -> None:
    with opened(bench_, "io", life_s=0.3) as io:
        io.read()
        bench_.ask(device="io", fault="freeze")
        until(lambda: io.read().extended["door_closed"] is None, 10, "the counter of life stands still")


def test_the_dead_man_output_opens_by_itself_when_nobody_refreshes_it(bench_: Simulators) -> None:
    dog = {**kinds.get("modbus-io-coupler").settings["watchdog"], "time_s": 3.0}
    with opened(bench_, "io", watchdog=dog) as io:
        io.set("isolator", 1.0)
        io.set("dead_man", 1.0)
        assert truth(bench_, "io")["connected"] is True
        # Reading is no sign of life: only the trigger register is.
        until(lambda: io.read().extended["dead_man"] == 0.0, 10, "the watchdog expires")
        assert truth(bench_, "io")["connected"] is False
        assert io.read().extended["isolator"] == 1.0
        io.set("dead_man", 1.0)
        assert truth(bench_, "io")["connected"] is True


# --- high voltage ---------------------------------------------------------------------------------------


def test_a_channel_ramps_up_and_down_by_its_ramps(bench_: Simulators) -> None:
    with opened(bench_, "hv", 3) as hv:
        hv.set("rup_v_s", 10.0)
        hv.set("vset_v", 100.0)
        hv.set("power", 1.0)
        seen = until(
            lambda: (v := hv.read().extended["vmon_v"] or 0.0) > 1.0 and v, 10, "a voltage", every_s=0.01
        )
        assert seen < 103.0
        until(lambda: hv.read().extended["status_mask"] == 1.0, 20, "the ramp ends")
        assert abs(truth(bench_, "hv")["voltage_v"][3] - 100.0) < 0.1
        assert all(volts == 0.0 for n, volts in enumerate(truth(bench_, "hv")["voltage_v"]) if n != 3)
        hv.make_safe()
        until(lambda: truth(bench_, "hv")["voltage_v"][3] == 0.0, 20, "the ramp down")


def test_the_interlock_takes_all_channels_of_the_board_down(bench_: Simulators) -> None:
    with opened(bench_, "hv", 0) as first, opened(bench_, "hv", 1) as second:
        for hv in (first, second):
            hv.set("vset_v", 50.0)
            hv.set("power", 1.0)
        bench_.ask(device="hv", fault="interlock")
        with pytest.raises(DeviceFault, match="interlock open"):
            first.read()
        found = truth(bench_, "hv")
        assert [found["set"][n]["Pw"] for n in (0, 1)] == [0.0, 0.0]
        assert [found["set"][n]["VSet"] for n in (0, 1)] == [0.0, 0.0]


def test_more_than_the_current_limit_trips_the_channel(bench_: Simulators) -> None:
    with opened(bench_, "hv", 2) as hv:
        hv.set("vset_v", 50.0)
        hv.set("power", 1.0)
        bench_.ask(device="hv", fault="over_current", channel=2, current_a=1e-3)

        def tripped() -> bool:
            with pytest.raises(DeviceFault, match=r"over current|tripped|allowed"):
                hv.read()
            return bool(truth(bench_, "hv")["set"][2]["Pw"] == 0.0)

        until(tripped, 10, "the trip")


def test_a_voltage_above_the_software_ceiling_is_refused_by_the_board(bench_: Simulators) -> None:
    with opened(bench_, "hv", 4) as hv:
        hv.set("svmax_v", 60.0)
        with pytest.raises(DeviceRefused, match="OUTOFRANGE"):
            hv.set("vset_v", 61.0)


# --- detection ------------------------------------------------------------------------------------------


def test_a_scan_finds_each_channel_of_a_board_and_switches_nothing(bench_: Simulators) -> None:
    link = bench_.links_of("hv")[0]
    with opened(bench_, "hv", 5) as hv:
        hv.set("vset_v", 33.0)
        bare = {key: link[key] for key in ("kind", "address", "library")}
        seen = LocalBuses().scan(bare, lambda done, of, text: None, [])
        assert [each.serial_number for each in seen] == [f"128-ch{n}" for n in range(6)]
        assert {each.kind for each in seen} == {"caen-v6533"}
        assert truth(bench_, "hv")["set"][5]["VSet"] == 33.0


@pytest.mark.parametrize(("name", "kind"), [("relays", "esp32-relay-board"), ("lamp", "esp32-pwm-lamp")])
def test_a_scan_tells_the_boards_apart_and_switches_nothing(bench_: Simulators, name: str, kind: str) -> None:
    link = bench_.links_of(name)[0]
    with opened(bench_, name) as board:
        control = next(iter(board.held()))
        board.set(control, 1.0)
        seen = LocalBuses().scan({"kind": "http", "url": link["url"]}, lambda done, of, text: None, [])
        assert [each.kind for each in seen] == [kind]
        assert board.held()[control] == 1.0


@pytest.mark.parametrize("name", ["node", "chamber", "io"])
def test_a_detection_of_a_link_that_names_its_model_switches_nothing(bench_: Simulators, name: str) -> None:
    with opened(bench_, name) as device:
        control = next(control for control, value in device.held().items() if value == 0.0)
        device.set(control, 1.0)
        link = {
            **device.link,
            "kind": bench_.links_of(name)[0]["kind"],
            "model": bench_.links_of(name)[0]["model"],
        }
        seen = LocalBuses().scan(link, lambda done, of, text: None, [])
        assert [each.kind for each in seen] == [link["model"]]
        assert device.held()[control] == 1.0
