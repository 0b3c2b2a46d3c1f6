"""The simulated cell obeys its own equations and a real cell's measurements."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from cycling.cell import Cell
from cycling.chemistry import TABLES


@pytest.mark.parametrize("chemistry", TABLES)
def test_the_open_circuit_voltage_rises_with_the_charge(chemistry: str) -> None:
    table = TABLES[chemistry]
    assert all(after > before for before, after in pairwise(table))


@pytest.mark.parametrize(
    ("chemistry", "empty_v", "full_v"),
    [("NMC", 2.5, 4.2), ("LFP", 2.45, 3.45), ("lead-acid", 1.95, 2.13)],
)
def test_it_rests_where_cells_of_its_chemistry_rest(chemistry: str, empty_v: float, full_v: float) -> None:
    assert Cell(chemistry, 5.0, soc=0.0).at_rest_v == pytest.approx(empty_v, abs=0.03)
    assert Cell(chemistry, 5.0, soc=1.0).at_rest_v == pytest.approx(full_v, abs=0.06)


def test_cells_in_series_add_their_voltages() -> None:
    assert Cell("lead-acid", 7.0, soc=0.5, cells_in_series=6).at_rest_v == pytest.approx(
        6 * Cell("lead-acid", 7.0, soc=0.5).at_rest_v
    )


def test_the_current_for_a_voltage_gives_that_voltage() -> None:
    cell = Cell("NMC", 5.0, 0.02, 0.5)
    cell.advance_current(cell.current_for_voltage(3.9), 0.0)
    assert cell.voltage_v == pytest.approx(3.9)


def test_the_current_for_a_power_gives_that_power() -> None:
    cell = Cell("NMC", 5.0, 0.02, 0.5)
    for power_w in (20.0, -20.0):
        current_a = cell.current_for_power(power_w)
        assert cell.advance_current(current_a, 0.0) * current_a == pytest.approx(power_w)


def test_more_power_than_the_cell_has_gives_its_best() -> None:
    cell = Cell("NMC", 5.0, 0.02, 0.5)
    assert cell.current_for_power(-1e6) == pytest.approx(-cell.at_rest_v / 0.04)


def test_the_current_for_a_resistance_obeys_ohm_both_ways() -> None:
    cell = Cell("NMC", 5.0, 0.02, 0.5)
    discharge_a = cell.current_for_resistance(2.0)
    assert cell.advance_current(discharge_a, 0.0) == pytest.approx(-discharge_a * 2.0)
    charge_a = cell.current_for_resistance(2.0, direction="charge")
    assert cell.advance_current(charge_a, 0.0) == pytest.approx(charge_a * 2.0)


def test_bounds_on_the_current_hold() -> None:
    cell = Cell("NMC", 5.0, 0.02, 0.5)
    assert cell.current_for_voltage(4.2, -1.0, 2.0) == 2.0
    assert cell.current_for_power(-100.0, -1.0, 2.0) == -1.0


def test_one_long_interval_relaxes_like_many_short_ones() -> None:
    short, long = Cell("LFP", 100.0, 0.01, 0.5), Cell("LFP", 100.0, 0.01, 0.5)
    for _ in range(1000):
        short.advance_current(-10.0, 0.1)
    long.advance_current(-10.0, 100.0)
    assert long.voltage_v == pytest.approx(short.voltage_v, abs=1e-9)
    assert long.soc == pytest.approx(short.soc)


def test_a_pair_decays_with_its_time_constant() -> None:
    cell = Cell("NMC", 1e9, 0.02, 0.5, pairs=((1.0, 10.0), (1e-12, 1.0)))
    cell.advance_current(5.0, 1e6)
    before_v = cell.voltage_v - cell.at_rest_v - 5.0 * 0.02
    cell.advance_current(0.0, 10.0)
    assert cell.voltage_v - cell.at_rest_v == pytest.approx(before_v / math.e, rel=1e-6)


def test_charge_is_counted_exactly() -> None:
    cell = Cell("NMC", 5.0, 0.02, 0.2)
    for _ in range(3600):
        cell.advance_current(2.0, 1.0)
    assert cell.charge_ah == pytest.approx(2.0)
    assert cell.soc == pytest.approx(0.6)


def test_current_warms_it_and_rest_cools_it_to_ambient() -> None:
    cell = Cell("NMC", 5.0, 0.02, 0.9)
    for _ in range(600):
        cell.advance_current(-5.0, 1.0)
    warm_c = cell.temperature_c
    assert 28.0 < warm_c < 60.0
    for _ in range(100):
        cell.advance_current(0.0, 600.0)
    assert cell.temperature_c == pytest.approx(25.0, abs=1e-3)


def test_leads_change_what_a_two_wire_device_sees() -> None:
    cell = Cell("NMC", 5.0, 0.02, 0.5, lead_ohm=0.1)
    cell.advance_current(2.0, 1.0)
    assert cell.at_device_v - cell.voltage_v == pytest.approx(0.2)


def test_a_device_at_its_bounds_holds_the_voltage() -> None:
    cell = Cell("NMC", 0.05, 0.2, 0.95)
    for _ in range(600):
        assert cell.step(1.0, "cc", 0.5, v_max=4.2) <= 4.2 + 2e-3
    assert cell.voltage_v == pytest.approx(4.2, abs=1e-3)
    assert cell.current_a < 0.05


def test_fade_takes_capacity_with_each_full_cycle() -> None:
    cell = Cell("NMC", 5.0, 0.02, 0.0, fade_per_cycle=0.01)
    cell.advance_current(5.0, 3600.0)
    cell.advance_current(-5.0, 3600.0)
    assert cell.capacity_ah == pytest.approx(4.95)


def test_over_discharge_leaves_the_limits_at_once() -> None:
    assert Cell("NMC", 5.0, soc=-0.01).at_rest_v < 2.4
    assert Cell("NMC", 5.0, soc=1.01).at_rest_v > 4.3


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown chemistry"):
        Cell("unobtainium")
    with pytest.raises(ValueError, match="positive"):
        Cell("NMC", 0.0)
