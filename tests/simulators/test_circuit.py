"""Several devices on one simulated cell, and what a person can do to it, on an invented clock."""

from __future__ import annotations

import pytest

from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.regulator import Regulator, SetPoints, Trips
from cycling.cell import Cell


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    return Circuit(Cell("NMC", 2.5, 0.03, 0.5), clock=clock)


def stage(circuit: Circuit, clock: Clock) -> Regulator:
    trips = Trips(voltage_v=11.0, source_a=5.5, source_w=55.0, sink_a=5.5, sink_w=55.0)
    return Regulator(circuit, SetPoints(source_w=50.0, sink_w=50.0), trips, clock=clock)


def run(circuit: Circuit, clock: Clock, seconds: float) -> None:
    clock.now_s += seconds
    circuit.advance()


def charge(made: Regulator, amps: float, volts: float = 4.2) -> Regulator:
    made.points.voltage_v, made.points.source_a = volts, amps
    made.switch(True)
    return made


def test_currents_of_two_devices_add_up_and_time_passes_once(circuit: Circuit, clock: Clock) -> None:
    source, load = stage(circuit, clock), stage(circuit, clock)
    charge(source, 1.0)
    load.points.voltage_v, load.points.sink_a = 2.5, 0.4
    load.switch(True)
    run(circuit, clock, 60.0)
    assert (source.current_a, load.current_a) == (1.0, -0.4)
    assert circuit.current_a == pytest.approx(0.6)
    source.advance()
    load.advance()
    assert circuit.truth()["charge_ah"] == pytest.approx(0.6 / 60.0)
    assert source.truth()["charge_in_ah"] == pytest.approx(1.0 / 60.0)
    assert load.truth()["charge_out_ah"] == pytest.approx(0.4 / 60.0)


def test_a_source_at_its_voltage_carries_the_load_beside_it(circuit: Circuit, clock: Clock) -> None:
    source, load = stage(circuit, clock), stage(circuit, clock)
    charge(source, 3.0, volts=circuit.terminal_v())
    load.points.voltage_v, load.points.sink_a = 2.5, 1.0
    load.switch(True)
    run(circuit, clock, 1.0)
    assert source.current_a == pytest.approx(1.0, abs=0.01)
    assert abs(circuit.current_a) < 0.01


def test_an_open_isolator_stops_the_current_and_hides_the_cell(circuit: Circuit, clock: Clock) -> None:
    source = charge(stage(circuit, clock), 1.0)
    run(circuit, clock, 1.0)
    circuit.isolate("k1", True)
    before_ah = circuit.truth()["charge_ah"]
    run(circuit, clock, 60.0)
    assert source.current_a == 0.0
    assert circuit.truth()["charge_ah"] == before_ah
    assert circuit.terminal_v() == 4.2
    source.switch(False)
    assert circuit.terminal_v() == 0.0
    circuit.isolate("k1", False)
    assert circuit.terminal_v() > 3.0


def test_the_ambient_of_a_chamber_warms_the_cell(circuit: Circuit, clock: Clock) -> None:
    circuit.ambient_c = 45.0
    run(circuit, clock, 36000.0)
    assert circuit.truth()["temperature_c"] == pytest.approx(45.0, abs=0.1)
    circuit.fault("wrong_cell", {})
    assert circuit.truth()["ambient_c"] == 45.0


def test_reversed_leads_read_negative_and_a_charge_discharges(circuit: Circuit, clock: Clock) -> None:
    source = charge(stage(circuit, clock), 1.0)
    source.switch(False)
    circuit.fault("reversed", {})
    assert circuit.terminal_v() < -3.0
    source.switch(True)
    run(circuit, clock, 1.0)
    assert source.current_a == 1.0
    assert circuit.current_a == -1.0


def test_a_charged_capacitor_gives_way_to_the_smallest_pulse(circuit: Circuit, clock: Clock) -> None:
    source = stage(circuit, clock)
    right_v = circuit.terminal_v()
    circuit.fault("capacitor", {})
    assert circuit.terminal_v() == pytest.approx(right_v)
    charge(source, 0.1, volts=10.0)
    run(circuit, clock, 0.05)
    assert circuit.terminal_v() > right_v + 0.3


def test_a_cell_of_ten_times_its_label_stays_behind(circuit: Circuit, clock: Clock) -> None:
    circuit.fault("capacity_x10", {})
    charge(stage(circuit, clock), 2.5)
    run(circuit, clock, 3600.0)
    assert circuit.truth()["soc"] == pytest.approx(0.6)
    circuit.mend()
    assert circuit.cell is not None
    assert circuit.cell.capacity_ah == pytest.approx(2.5)


def test_a_leak_drains_a_resting_cell(circuit: Circuit, clock: Clock) -> None:
    circuit.fault("leak", {"current_a": 0.1})
    run(circuit, clock, 3600.0)
    assert circuit.truth()["charge_ah"] == pytest.approx(-0.1)


def test_an_open_sense_wire_keeps_charging_above_the_ceiling(circuit: Circuit, clock: Clock) -> None:
    source = charge(stage(circuit, clock), 2.5, volts=3.8)
    source.faults.sense_share = 0.0
    run(circuit, clock, 3600.0)
    assert source.measure()[0] == 0.0
    assert circuit.terminal_v() > 3.9


def test_what_is_broken_is_mended_together(circuit: Circuit) -> None:
    first_v = circuit.terminal_v()
    for name in ("wrong_cell", "reversed", "leak", "isolator"):
        assert circuit.fault(name, {})
    assert not circuit.fault("weather", {})
    circuit.mend()
    assert circuit.terminal_v() == pytest.approx(first_v)
