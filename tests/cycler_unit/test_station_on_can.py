"""A station of an EPC and a cell monitor on one CAN bus: tests run, trips are measured off on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cycler_unit.buses import can_scan
from cycler_unit.buses.local import LocalBuses
from cycler_unit.mail import Ask
from cycler_unit.parts import BadStation, Parts
from cycling.envelope import BatteryLimits
from tests.cycler_unit.bench import Answered
from tests.cycler_unit.lab import LIMITS, Lab, cc, key_of
from tests.stack.simulated import Simulators
from tests.stack.waiting import free_port, until
from wire.messages import ExperimentStop, StationDevice, StationMeasure

WHERE = {"epc": {"node": 0x13}, "bms": {"unit": 1}}
MEASURES = [
    StationMeasure(device=key_of("epc"), measure="anode_c", name="temperature_c"),
    StationMeasure(device=key_of("epc"), measure="hs_voltage_v", name="hs_voltage_v"),
    StationMeasure(device=key_of("bms"), measure="vcell1_v", name="vcell1_v"),
    StationMeasure(device=key_of("bms"), measure="temp1_c", name="temp1_c"),
    StationMeasure(device=key_of("bms"), measure="status", name="bms_status"),
]
# A cell whose voltage moves within seconds, and its limits.
CELL = {"capacity_ah": 0.05, "r0_ohm": 0.05, "soc": 0.5}
SMALL = BatteryLimits(
    voltage_min_v=2.8, voltage_max_v=4.3, current_min_a=-1.0, current_max_a=1.0, capacity_ah=0.05,
    temperature_slope_max_k_min=100.0,
)  # fmt: skip


class OnCan(Lab):
    """A station whose devices are found on their bus by node and unit."""

    def device(self, name: str, role: str) -> StationDevice:
        """Return a device with its place on the bus, which a scan adds to the bus's link."""
        found = next(each for each in self.simulators.ask(query="devices")["devices"] if each["name"] == name)
        link = {**found["links"][0], **WHERE[name]}
        return StationDevice(
            device=key_of(name), role=role, model=found["model"], serial_number=found["serial_number"],
            link=link, name=name,
        )  # fmt: skip


@pytest.fixture(scope="module")
def bus_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    """The simulator program with a cycler and a monitor on one cell, on a free port of the multicast group."""
    place = {"interface": "udp_multicast", "channel": "239.74.163.2", "port": free_port(), "circuit": "cell"}
    running = Simulators(
        tmp_path_factory.mktemp("bench"),
        [],
        circuits=[{"name": "cell", "cell": CELL, "speed": 4.0}],
        devices=[
            {"name": "epc", "model": "epc", "node": 0x13, "serial_number": 42, **place},
            {"name": "bms", "model": "bms-plak", "unit": 1, "period_s": 0.2, "spread_mv": 0, **place},
        ],
    ).start()
    yield running
    running.stop()


@pytest.fixture
def station(tmp_path: Path, bus_of: Simulators) -> Iterator[OnCan]:
    for name in WHERE:
        bus_of.ask(device=name, clear=True)
    bus_of.ask(circuit="cell", fault="wrong_cell", **CELL)
    lab = OnCan(tmp_path / "unit", bus_of, {"epc": "power", "bms": "bms"}, measures=MEASURES)
    lab.idle()
    until(lambda: measured(lab, "vcell1_v") is not None, 10, "the monitor's first snapshot")
    yield lab
    for name in WHERE:
        bus_of.ask(device=name, clear=True)
    lab.stop()


def measured(station: OnCan, name: str) -> float | None:
    """Return an extended measure of the last reading."""
    taken = station.live.taken
    return None if taken is None else taken.extended.get(name)


def text_of(station: OnCan) -> str:
    """Return the text of the station's first latch."""
    return station.live.kept.latches[0].text


def start(station: OnCan, *steps: dict[str, Any]) -> None:
    station.go(*steps, limits=SMALL)


def test_a_scan_of_the_bus_finds_both_with_serial_numbers(bus_of: Simulators) -> None:
    buses = LocalBuses()
    link = bus_of.links_of("epc")[0]
    assert "node" not in link
    found = buses.scan(link, lambda done, of, text: None, [])
    assert [
        (each.kind, each.serial_number, each.link.get("node"), each.link.get("unit")) for each in found
    ] == [
        ("epc", "42", 0x13, None),
        ("bms-plak", "257", None, 1),
    ]
    # A device in use is neither asked nor touched.
    before = bus_of.ask(device="epc", query="exchanges")["exchanges"]
    can_scan.scan(link, lambda done, of, text: None, [{**link, "node": 0x13}], listen_s=0.5)
    assert bus_of.ask(device="epc", query="exchanges")["exchanges"] == before
    buses.stop()


def test_a_charge_runs_to_its_voltage_and_a_discharge_to_its_own(station: OnCan) -> None:
    rest_v = station.of("epc")["at_rest_v"]
    up, down = round(rest_v + 0.05, 3), round(rest_v - 0.05, 3)
    start(
        station,
        {"kind": "cccv", "current_a": 0.5, "voltage_v": up,
         "end": [{"quantity": "current_abs_a", "op": "below", "value": 0.4}, {"quantity": "time_s", "value": 120.0}]},
        cc(-0.5, end=[{"quantity": "voltage_v", "value": down}, {"quantity": "time_s", "value": 120.0}]),
    )  # fmt: skip
    until(lambda: station.live.conductor.run is None, 120, "the test ends by itself")
    rows = [each["detail"]["row"] for each in station.events("step") if "row" in each["detail"]]
    assert [row["end_reason"]["quantity"] for row in rows] == ["current_abs_a", "voltage_v"]
    truth = station.of("epc")
    assert truth["charge_in_ah"] > 0.0005
    assert truth["charge_out_ah"] > 0.0005
    assert not truth["output"]


def test_readings_carry_what_both_devices_measure(station: OnCan) -> None:
    until(
        lambda: (station.live.taken is not None) and station.live.taken.extended.get("vcell1_v"),
        10,
        "a snapshot",
    )
    taken = station.live.taken
    assert taken is not None
    assert taken.voltage_v == pytest.approx(taken.extended["vcell1_v"], abs=0.01)
    assert taken.temperature_c == pytest.approx(25.0, abs=1.0)
    assert taken.extended["hs_voltage_v"] == pytest.approx(12.0, abs=0.05)
    assert taken.extended["bms_status"] == 0.0


def test_a_cell_that_the_monitor_sees_too_high_trips_the_station(station: OnCan) -> None:
    start(station, cc(0.3))
    station.flows(0.25)
    station.break_("bms", "drift", cell="vcell1", offset_v=0.8)
    until(lambda: station.live.latched, 20, "the station trips")
    assert not station.of("epc")["output"]
    assert "cell 1" in text_of(station)


def test_a_temperature_that_the_monitor_alone_sees_too_high_trips_the_station(station: OnCan) -> None:
    start(station, cc(0.3))
    station.flows(0.25)
    station.break_("bms", "drift", cell="temp1", offset_c=60.0)
    until(lambda: station.live.latched, 20, "the station trips")
    assert not station.of("epc")["output"]
    assert "temperature" in text_of(station)
    assert station.of("epc")["mode"] == 4, "the cycler itself had nothing to complain about"


def test_a_silent_monitor_is_missing_and_trips(station: OnCan) -> None:
    start(station, cc(0.3))
    station.flows(0.25)
    station.break_("bms", "silent")
    until(lambda: station.live.latched, 30, "the station trips")
    assert not station.of("epc")["output"]


@pytest.mark.parametrize(
    ("fault", "options", "words"),
    [
        ("alarm", {}, "temperature out of limits"),
        ("reboot", {}, "rebooted while its output was on"),
        ("panel_change", {"current_a": 0.9}, "which nobody asked for"),
    ],
)
def test_what_the_device_does_by_itself_ends_the_test_with_its_cause(
    station: OnCan, fault: str, options: dict[str, Any], words: str
) -> None:
    start(station, cc(0.3))
    station.flows(0.25)
    station.break_("epc", fault, **options)
    until(lambda: station.live.latched, 20, "the station is latched")
    until(lambda: not station.of("epc")["output"], 10, "the output is off")
    assert words in text_of(station)


def test_a_silent_cycler_is_unsafe_until_it_is_confirmed_off_and_lets_go_by_its_heartbeat(
    station: OnCan,
) -> None:
    start(station, cc(0.3))
    station.flows(0.25)
    station.break_("epc", "silent")
    until(lambda: station.live.unsafe is not None, 20, "the station is unsafe")
    assert "may still be on" in (station.live.unsafe or "")
    # No byte reaches it any more: its own heartbeat switches it off.
    until(lambda: not station.of("epc")["output"], 10, "the heartbeat lapses")
    assert station.live.unsafe is not None
    station.simulators.ask(device="epc", clear=True)
    until(lambda: station.live.unsafe is None, 20, "confirmed off")


def test_a_stuck_output_is_never_shown_as_off(station: OnCan) -> None:
    start(station, cc(0.3))
    station.flows(0.25)
    station.break_("epc", "stuck_on")
    run = station.live.conductor.run
    assert run is not None
    station.ask("stop", ExperimentStop(experiment=run.id), urgent=True)
    until(lambda: station.live.unsafe is not None, 20, "the station is unsafe")
    assert "still flows" in (station.live.unsafe or "")
    assert "off_failed" in [each.code for each in station.live.kept.latches]
    station.simulators.ask(device="epc", clear=True)
    until(lambda: station.live.unsafe is None, 20, "confirmed off")


def test_a_stop_is_off_on_the_wire(station: OnCan) -> None:
    start(station, cc(-0.3))
    until(lambda: station.of("epc")["device_current_a"] < -0.25, 10, "it discharges")
    run = station.live.conductor.run
    assert run is not None
    assert station.ask("stop", ExperimentStop(experiment=run.id), urgent=True).outcome == "done"
    until(lambda: station.live.conductor.run is None, 10, "the test has ended")
    assert not station.of("epc")["output"]
    sent = [line for line in station.wire("epc") if line.startswith("130")]
    assert sent[-1] == "130 08 00 00 00 00 00 00 00"


def test_an_empty_holder_refuses_the_start(station: OnCan) -> None:
    station.simulators.ask(circuit="cell", fault="wrong_cell", absent=True)
    answered = station.ask("start", station.message(cc(0.3), limits=LIMITS), 60.0)
    assert answered.outcome == "refused"


def test_a_start_before_the_monitors_first_snapshot_waits_for_it(station: OnCan) -> None:
    station.break_("bms", "silent")
    until(lambda: measured(station, "vcell1_v") is None, 20, "the monitor's values are too old")
    answered = Answered()
    station.live.mail.put(Ask("start", station.message(cc(0.3), limits=SMALL), answered, False))
    wake = station.live.conductor.wake
    until(lambda: wake.check is not None and wake.check.rest_voltage_v, 20, "only the monitor is missing")
    assert answered.outcome is None
    station.simulators.ask(device="bms", clear=True)
    until(lambda: answered.outcome is not None, 60, "the start is answered")
    assert answered.outcome == "done", answered.reason
    station.flows(0.25)
    assert not station.live.latched


def test_a_loop_too_slow_for_the_heartbeat_is_refused_by_name(station: OnCan) -> None:
    with pytest.raises(
        BadStation, match=r"not read for 2 s: a control loop every 1.5 s is too slow for it, at most 1 s"
    ):
        Parts(station.configure, station.hub, 1.5)
