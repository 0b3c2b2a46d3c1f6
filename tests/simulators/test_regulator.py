"""The simulated power stage with its cell, in both quadrants, on an invented clock."""

from __future__ import annotations

import pytest

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
def stage(clock: Clock) -> Regulator:
    trips = Trips(voltage_v=11.0, source_a=5.5, source_w=55.0, sink_a=5.5, sink_w=55.0)
    return Regulator(Cell("NMC", 2.5, 0.03, 0.5), SetPoints(source_w=50.0, sink_w=50.0), trips, clock=clock)


def run(stage: Regulator, clock: Clock, seconds: float) -> None:
    clock.now_s += seconds
    stage.advance()


def test_nothing_flows_while_off(stage: Regulator, clock: Clock) -> None:
    stage.points.voltage_v, stage.points.source_a = 4.2, 1.0
    run(stage, clock, 3600.0)
    assert stage.truth()["charge_ah"] == 0.0
    assert stage.regulation == "off"


def test_constant_current_moves_exactly_its_charge(stage: Regulator, clock: Clock) -> None:
    stage.points.voltage_v, stage.points.source_a = 4.2, 1.0
    stage.switch(True)
    for _ in range(7):
        run(stage, clock, 60.0 / 7)
    stage.switch(False)
    run(stage, clock, 100.0)
    assert stage.truth()["charge_in_ah"] == pytest.approx(1.0 / 60.0, rel=1e-9)


def test_the_voltage_holds_a_charge_below_its_ceiling(stage: Regulator, clock: Clock) -> None:
    stage.points.voltage_v, stage.points.source_a = 3.8, 1.0
    stage.switch(True)
    seen = []
    for _ in range(400):
        run(stage, clock, 10.0)
        seen.append((stage.terminal_v(), stage.current_a))
    assert max(volts for volts, _ in seen) <= 3.8 + 1e-6
    assert stage.regulation == "cv"
    assert 0.0 < stage.current_a < 0.5


def test_the_voltage_holds_a_discharge_above_its_floor(stage: Regulator, clock: Clock) -> None:
    stage.points.voltage_v, stage.points.sink_a = 3.6, 1.0
    stage.switch(True)
    run(stage, clock, 0.1)
    assert stage.current_a == -1.0
    run(stage, clock, 3600.0)
    assert stage.terminal_v() == pytest.approx(3.6, abs=1e-6)
    assert -1.0 < stage.current_a < 0.0


def test_power_bounds_both_directions(stage: Regulator, clock: Clock) -> None:
    stage.points.voltage_v, stage.points.source_a, stage.points.source_w = 4.2, 5.0, 6.0
    stage.switch(True)
    run(stage, clock, 5.0)
    assert stage.current_a * stage.terminal_v() == pytest.approx(6.0, rel=1e-3)
    assert stage.regulation == "cp"
    stage.points.voltage_v, stage.points.sink_a, stage.points.sink_w = 2.5, 5.0, 4.0
    run(stage, clock, 5.0)
    assert stage.current_a * stage.terminal_v() == pytest.approx(-4.0, rel=1e-3)


def test_resistance_bounds_the_sink(stage: Regulator, clock: Clock) -> None:
    stage.points.voltage_v, stage.points.sink_a, stage.points.sink_ohm = 2.5, 5.0, 10.0
    stage.switch(True)
    run(stage, clock, 5.0)
    assert stage.terminal_v() / -stage.current_a == pytest.approx(10.0, rel=1e-3)
    assert stage.regulation == "cr"


def test_speed_lets_the_cell_live_faster(stage: Regulator, clock: Clock) -> None:
    stage.speed = 60.0
    stage.points.voltage_v, stage.points.source_a = 4.2, 1.0
    stage.switch(True)
    run(stage, clock, 1.0)
    assert stage.truth()["charge_in_ah"] == pytest.approx(1.0 / 60.0, rel=1e-9)


@pytest.mark.parametrize(
    ("trips", "points", "name"),
    [
        ({"voltage_v": 3.75}, {"voltage_v": 4.2, "source_a": 3.0}, "OVP"),
        ({"source_a": 0.9}, {"voltage_v": 4.2, "source_a": 1.0}, "OCP"),
        ({"sink_a": 0.9}, {"voltage_v": 2.5, "sink_a": 1.0}, "OCP"),
        ({"source_w": 3.0}, {"voltage_v": 4.2, "source_a": 1.0}, "OPP"),
        ({"sink_w": 3.0}, {"voltage_v": 2.5, "sink_a": 1.0}, "OPP"),
    ],
)
def test_its_own_protections_switch_off(
    stage: Regulator, clock: Clock, trips: dict[str, float], points: dict[str, float], name: str
) -> None:
    tripped: list[str] = []
    stage.on_trip = tripped.append
    for field, value in trips.items():
        setattr(stage.trips, field, value)
    for field, value in points.items():
        setattr(stage.points, field, value)
    stage.switch(True)
    run(stage, clock, 5.0)
    assert tripped == [name]
    assert not stage.output
    assert stage.current_a == 0.0


def test_noise_is_around_the_truth_and_repeatable(clock: Clock) -> None:
    def readings() -> list[float]:
        trips = Trips(voltage_v=11, source_a=6, source_w=60, sink_a=6, sink_w=60)
        made = Regulator(Cell(), SetPoints(), trips, clock=clock, noise_v=0.0015, noise_a=0.001, seed=7)
        return [made.measure()[0] for _ in range(2000)]

    first, second = readings(), readings()
    mean = sum(first) / len(first)
    assert first == second
    assert mean == pytest.approx(Cell().at_rest_v, abs=2e-4)
    spread = (sum((value - mean) ** 2 for value in first) / len(first)) ** 0.5
    assert spread == pytest.approx(0.0015, rel=0.1)


def test_frozen_readings_stay_while_the_cell_moves(stage: Regulator, clock: Clock) -> None:
    stage.points.voltage_v, stage.points.source_a = 4.2, 1.0
    stage.switch(True)
    stage.faults.frozen = stage.measure()
    run(stage, clock, 60.0)
    assert stage.measure() == stage.faults.frozen
    assert stage.truth()["charge_in_ah"] > 0.01


def test_a_drift_is_in_the_reading_not_in_the_cell(stage: Regulator, clock: Clock) -> None:
    stage.faults.drift_since_s, stage.faults.drift_v_s = clock.now_s, 0.1
    clock.now_s += 5.0
    assert stage.measure()[0] == pytest.approx(stage.terminal_v() + 0.5)


def test_a_stuck_output_goes_on_at_its_last_set_points(stage: Regulator, clock: Clock) -> None:
    stage.points.voltage_v, stage.points.source_a = 4.2, 1.0
    stage.switch(True)
    stage.faults.stuck_on = True
    stage.switch(False)
    stage.points.source_a = 0.0
    run(stage, clock, 1.0)
    assert stage.current_a == 1.0
    stage.release()
    run(stage, clock, 1.0)
    assert stage.current_a == 0.0


def test_an_empty_holder_reads_nothing(stage: Regulator, clock: Clock) -> None:
    stage.swap(None)
    run(stage, clock, 1.0)
    assert stage.measure() == (0.0, 0.0, 0.0)
    assert stage.truth()["soc"] is None


def test_history_tells_charge_at_every_change(stage: Regulator, clock: Clock) -> None:
    stage.points.voltage_v, stage.points.source_a = 4.2, 1.0
    stage.switch(True)
    run(stage, clock, 36.0)
    stage.switch(False)
    on, off = stage.history
    assert (on["what"], off["what"]) == ("on", "off")
    assert off["charge_in_ah"] - on["charge_in_ah"] == pytest.approx(0.01)
    assert off["at_s"] - on["at_s"] == pytest.approx(36.0)
