"""One station of a CAN cycler with cell monitor, meter, flow meter, relays, lamp and chamber, as a user makes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.kit import acknowledged, alarms, break_, compose, mend, truth
from tests.end_to_end.steps import current, rest, run
from tests.stack.cellyard import Cellyard
from tests.stack.waiting import free_port, until

CELL = {"chemistry": "NMC", "capacity_ah": 0.05, "r0_ohm": 0.1, "soc": 0.5}
ROLES = {
    "epc": "power",
    "bms-plak": "bms",
    "bk-2831e": "meter",
    "arduino-flow-meter": "flow",
    "esp32-relay-board": "isolator",
    "esp32-pwm-lamp": "auxiliary",
    "chamber-modbus-int16": "auxiliary",
}
MEASURES = [
    {"device": "epc", "measure": "anode_c", "name": "temperature_c"},
    {"device": "epc", "measure": "hs_voltage_v", "name": "hs_voltage_v"},
    {"device": "bms-plak", "measure": "vcell1_v", "name": "vcell1_v"},
    {"device": "bms-plak", "measure": "temp1_c", "name": "temp1_c"},
    {"device": "arduino-flow-meter", "measure": "flow_main_ml_min", "name": "flow_ml_min"},
    {"device": "chamber-modbus-int16", "measure": "temperature_c", "name": "ambient_c"},
    {"device": "esp32-relay-board", "measure": "relay_1", "name": "pump_on"},
]
OUTPUTS = [
    {"name": "isolator", "device": "esp32-relay-board", "control": "relay_0"},
    {"name": "pump", "device": "esp32-relay-board", "control": "relay_1",
     "safe": 0, "on_trip": 1, "on_finish": 0},
    {"name": "lamp", "device": "esp32-pwm-lamp", "control": "duty_0_pct",
     "minimum": 0, "maximum": 80, "safe": 0, "on_trip": 0, "on_finish": 10},
]  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cellyard]:
    """A lab with one device of each kind on one cell."""
    bus = {"interface": "udp_multicast", "channel": "239.74.163.2", "port": free_port()}
    devices = [
        {"name": "epc", "model": "epc", "node": 0x13, "serial_number": 42, "circuit": "holder", **bus},
        {"name": "bms", "model": "bms-plak", "unit": 1, "period_s": 0.5, "spread_mv": 0,
         "circuit": "holder", **bus},
        {"name": "meter", "model": "bk-2831e", "circuit": "holder", "port": free_port()},
        {"name": "flow", "model": "arduino-flow-meter", "port": free_port()},
        {"name": "relays", "model": "esp32-relay-board", "circuit": "holder", "isolators": ["ch0"],
         "port": free_port()},
        {"name": "lamp", "model": "esp32-pwm-lamp", "port": free_port()},
        {"name": "chamber", "model": "chamber-modbus-int16", "circuit": "holder", "tau_s": 2.0,
         "port": free_port()},
    ]  # fmt: skip
    circuits = [{"name": "holder", "cell": CELL}]
    folder = tmp_path_factory.mktemp("lab")
    with Cellyard(folder, devices=devices, circuits=circuits) as running:
        yield running


@pytest.fixture(scope="module")
def bench(lab: Cellyard) -> dict[str, str]:
    """The station of all of them, with a battery in it."""
    # An EPC cannot bring its terminals to the voltage of a cell that it does not see.
    station = compose(lab, "rig", ROLES, measures=MEASURES, outputs=OUTPUTS, limits={"isolator_max_v": 5.0})
    battery = lab.battery("B", station["id"])
    return {"station1": station["id"], "battery1": battery["id"]}


@pytest.fixture
def calm(lab: Cellyard) -> Iterator[None]:
    yield
    for name in ("epc", "bms", "meter", "flow", "relays", "lamp", "chamber"):
        mend(lab, name)
    acknowledged(lab)


def outputs(lab: Cellyard, station: str) -> dict[str, float]:
    values: dict[str, float] = lab.api.get(f"stations/{station}/")["output_values"]
    return values


def test_the_station_says_what_it_is_made_of(lab: Cellyard, bench: dict[str, str]) -> None:
    station = lab.api.get(f"stations/{bench['station1']}/")
    assert {each["role"] for each in station["devices"]} == set(ROLES.values())
    assert {each["name"] for each in station["measures"]} == {each["name"] for each in MEASURES}
    assert [each["name"] for each in station["outputs"]] == ["isolator", "pump", "lamp"]


def test_steps_switch_outputs_and_set_the_chamber_and_every_measure_is_recorded(
    lab: Cellyard, bench: dict[str, Any], calm: None
) -> None:
    experiment = run(
        lab,
        bench,
        [
            rest(1.0, outputs={"pump": 1, "lamp": 40}),
            current(0.1, 5.0, temperature_c=31.0),
            rest(3.0, isolate=True),
            current(-0.1, 2.0, outputs={"lamp": 55}),
        ],
    )
    lab.experiment_is(experiment, "running")
    until(lambda: truth(lab, "relays")["channels"][1] == 1, 20, "the pump runs")
    until(lambda: truth(lab, "lamp")["channels"][0] == 40, 20, "the lamp shines")
    until(lambda: truth(lab, "chamber")["set_point_c"] == pytest.approx(31.0), 20, "the chamber is set")
    until(lambda: not truth(lab, "relays")["channels"][0], 30, "the isolator opens in the rest")
    until(lambda: truth(lab, "lamp")["channels"][0] == 55, 30, "the lamp shines more")
    lab.experiment_is(experiment, "finished")
    columns = lab.complete(experiment)
    for name in ("vcell1_v", "temp1_c", "flow_ml_min", "ambient_c", "hs_voltage_v", "pump_on"):
        assert any(value is not None for value in columns[name]), (name, columns[name][:10])
    assert max(value for value in columns["flow_ml_min"] if value is not None) == pytest.approx(4250, rel=0.1)
    assert max(value for value in columns["ambient_c"] if value is not None) > 25.0
    assert 1.0 in columns["pump_on"]
    assert all(20 < value < 45 for value in columns["temperature_c"] if value is not None)
    # What the profile says shall be after its end, at the devices and on the site.
    until(lambda: truth(lab, "relays")["channels"][1] == 0, 20, "the pump stands")
    until(lambda: truth(lab, "lamp")["channels"][0] == 10, 20, "the lamp is dimmed")
    until(lambda: outputs(lab, bench["station1"]).get("lamp") == 10.0, 20, "the site shows it")


def test_a_trip_of_a_cell_voltage_leaves_the_trip_values(
    lab: Cellyard, bench: dict[str, Any], calm: None
) -> None:
    experiment = run(lab, bench, [current(0.1, 60.0, outputs={"lamp": 60})])
    lab.experiment_is(experiment, "running")
    until(lambda: truth(lab, "lamp")["channels"][0] == 60, 20, "the lamp shines")
    break_(lab, "bms", "drift", cell="vcell1", offset_v=0.9)
    ended = lab.experiment_is(experiment, "error")
    assert "voltage of cell 1" in ended["end_reason"]["text"]
    assert not truth(lab, "epc")["output"]
    until(lambda: truth(lab, "relays")["channels"][1] == 1, 20, "the pump takes its trip value")
    until(lambda: truth(lab, "lamp")["channels"][0] == 0, 20, "the lamp is dark")
    lab.station_is(bench["station1"], "tripped")
    until(
        lambda: [each for each in alarms(lab, state="raised") if each["severity"] == "trip"], 20, "an alarm"
    )


def test_an_output_outside_its_range_is_refused_by_name(lab: Cellyard, bench: dict[str, Any]) -> None:
    profile = {"name": "too bright", "steps": [rest(1.0, outputs={"lamp": 90})]}
    answer = lab.api.post("profiles/check/", battery=bench["battery1"], station=bench["station1"], **profile)
    assert any("lamp" in each["message"] and "80" in each["message"] for each in answer["errors"]), answer
