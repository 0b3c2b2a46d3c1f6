"""The ten protocols that laboratories run daily: they load, check, and end by the intended cause."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cycling.cell import Cell
from cycling.check import check, load
from cycling.dry_run import Bench, Outcome, growing, run
from cycling.envelope import BatteryLimits, Envelope, StationLimits, compute
from cycling.interpreter import CannotRun, Interpreter
from cycling.steps import Profile
from tests.cycling.invented import SUPPLY

PROTOCOLS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "data" / "ten_protocols.json").read_text()
)
MEASURES = ("temperature_c", "flow_main", "pressure_pos_kpa")
OUTPUTS = ("chamber_c", "pump_pos", "pump_neg")
LITHIUM = BatteryLimits(
    cell_voltage_min_v=2.4,
    cell_voltage_max_v=4.25,
    current_min_a=-20.0,
    current_max_a=10.0,
    temperature_min_c=-20.0,
    temperature_max_c=60.0,
    capacity_ah=5.0,
    # A cell for high rates: its owner lets it warm up by more than safety.md rule 16 does by itself.
    temperature_rise_max_k=40.0,
    temperature_slope_max_k_min=10.0,
)
FLOW_CELL = BatteryLimits(
    cell_voltage_min_v=0.6,
    cell_voltage_max_v=1.75,
    current_min_a=-10.0,
    current_max_a=10.0,
    capacity_ah=6.0,
)


def loaded(name: str) -> Profile:
    """Return a protocol by the number that its name begins with."""
    (key,) = [key for key in PROTOCOLS if key.split()[0] == name]
    profile, problems = load(PROTOCOLS[key])
    assert problems == []
    assert profile is not None
    return profile


def limits(name: str) -> Envelope:
    """Return the envelope of a protocol on the invented supply."""
    battery = FLOW_CELL if name == "10" else LITHIUM
    return compute(battery, [SUPPLY], StationLimits(measures=MEASURES), loaded(name).safety)


def capacity_ah(name: str) -> float:
    """Return the capacity that the protocol's rates refer to."""
    return 6.0 if name == "10" else 5.0


def rehearse(name: str, *, most_s: float = 60.0, **cell: Any) -> Outcome:
    """Run a protocol on a simulated cell, with intervals that grow while nothing changes."""
    chemistry = "VRFB" if name == "10" else "NMC"
    battery = Cell(chemistry, capacity_ah(name), cell.pop("r0_ohm", 0.014), 0.5, **cell)
    bench = Bench(battery, extended={"flow_main": 120.0, "pressure_pos_kpa": 20.0})
    period = growing(0.5, most_s, rest_most_s=3600.0)
    return run(loaded(name), limits(name), capacity_ah(name), bench, period=period)


def ends(outcome: Outcome, number: int) -> Counter[str | None]:
    """Count by what the step of this number ended."""
    return Counter(row.end_reason.quantity for row in outcome.steps if row.step == number)


NAMES = [key.split()[0] for key in PROTOCOLS]


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_and_checks(name: str) -> None:
    checked = check(
        loaded(name), limits(name), capacity_ah(name), measures=MEASURES, outputs=OUTPUTS, isolator=True
    )
    if name == "9":
        assert [str(p) for p in checked.errors] == [
            "step 3: A drive table cannot be run, not yet: take it out of the profile."
        ]
        with pytest.raises(CannotRun, match="step 3: drive cannot be run yet"):
            Interpreter(loaded(name), limits(name), 5.0)
    else:
        assert checked.errors == []
    assert checked.summary.duration_max_s > 0


@pytest.mark.parametrize("name", NAMES)
def test_it_checks_before_anything_is_known_of_its_station(name: str) -> None:
    assert len(check(loaded(name)).errors) == (1 if name == "9" else 0)


def finished(outcome: Outcome, code: str = "completed") -> None:
    """Assert a normal end by ``code``."""
    assert outcome.end_reason is not None
    assert (outcome.action, outcome.end_reason.code) == ("finished", code), outcome.end_reason.text


def test_1_formation_ends_at_30_percent() -> None:
    outcome = rehearse("1")
    finished(outcome)
    assert ends(outcome, 4) == {"rate_abs": 2}
    assert ends(outcome, 6) == {"voltage_v": 2}
    assert ends(outcome, 8) == {"charge_rel": 1}
    assert outcome.steps[-1].charge_in_ah == pytest.approx(1.5, rel=0.02)
    assert outcome.cycle == 2


def test_2_cycling_stops_at_80_percent_of_the_first_cycle() -> None:
    outcome = rehearse("2", fade_per_cycle=0.01)
    finished(outcome, "stop_rule")
    assert 15 < outcome.cycle < 30
    assert ends(outcome, 2) == {"rate_abs": outcome.cycle}
    assert ends(outcome, 4) == {"voltage_v": outcome.cycle}


def test_3_the_rate_test_gives_less_at_higher_rates() -> None:
    outcome = rehearse("3", most_s=10.0, r0_ohm=0.006)
    finished(outcome)
    assert outcome.cycle == 21
    given = {row.label: row.charge_out_ah for row in outcome.steps if row.label}
    assert given["3C"] < given["2C"] < given["1C"] < given["C/2"] < given["C/5"]


def test_3_the_rate_test_of_a_cell_that_gets_too_warm_trips() -> None:
    outcome = rehearse("3")
    assert outcome.end_reason is not None
    assert (outcome.action, outcome.end_reason.quantity) == ("violation", "temperature_c")


def test_4_gitt_relaxes_by_its_slope_and_leaves_when_empty() -> None:
    outcome = rehearse("4", most_s=20.0)
    finished(outcome)
    assert ends(outcome, 4)["voltage_v"] == 1
    assert ends(outcome, 4)["time_s"] > 50
    assert set(ends(outcome, 5)) == {"dv_dt_v_s"}
    assert outcome.steps[-1].label == "last rest"


def test_5_hppc_takes_steps_of_ten_percent_until_the_cell_is_empty() -> None:
    """Nine steps and the pulses between them are more than the cell holds: the ninth goes to "done"."""
    outcome = rehearse("5", most_s=5.0)
    finished(outcome)
    assert ends(outcome, 8) == {"charge_rel": 8, "voltage_v": 1}
    reference = next(row for row in outcome.steps if row.label == "capacity").charge_out_ah
    steps = [row.charge_out_ah for row in outcome.steps if row.step == 8][:8]
    assert steps == pytest.approx([0.1 * reference] * 8, rel=0.01)
    pulses = [row for row in outcome.steps if row.label == "discharge pulse"]
    assert len(pulses) == 8
    assert all(len(row.dcir) == 4 for row in pulses)
    assert outcome.steps[-1].label == "done"


def test_6_dcir_measures_a_resistance() -> None:
    outcome = rehearse("6", most_s=5.0)
    finished(outcome)
    pulse = next(row for row in outcome.steps if row.label == "I2")
    assert [point["at_s"] for point in pulse.dcir] == [1, 10]
    assert all(0.014 < point["ohm"] < 0.03 for point in pulse.dcir)


def test_7_ageing_stops_by_its_reference_tests() -> None:
    outcome = rehearse("7", most_s=30.0, fade_per_cycle=0.002)
    finished(outcome, "stop_rule")
    last = [row for row in outcome.steps if row.cycle == outcome.cycle]
    assert {row.step for row in last} <= {3, 4, 5, 6, 17}
    # A reference test every 50 cycles of ageing, and after the stop the charge for storage.
    assert (outcome.cycle - 1) % 51 == 0
    assert outcome.steps[-1].step == 17
    assert outcome.steps[-1].end_reason.quantity == "voltage_v"


def test_8_calendar_ageing_waits_for_the_chamber_each_month() -> None:
    outcome = rehearse("8")
    finished(outcome)
    assert outcome.cycle == 12
    assert ends(outcome, 2) == {None: 12}
    assert ends(outcome, 10) == {None: 12}
    assert ends(outcome, 9) == {"charge_rel": 12}
    assert ends(outcome, 11) == {"time_s": 12}


def test_10_the_flow_battery_cycles_while_its_pumps_run() -> None:
    outcome = rehearse("10", r0_ohm=0.02)
    finished(outcome)
    assert outcome.cycle == 20
    assert ends(outcome, 3) == {"voltage_v": 20}
    assert ends(outcome, 5) == {"voltage_v": 20}
    assert outcome.decision is not None
    assert outcome.decision.set_point is not None
    assert outcome.decision.set_point.outputs == {"pump_pos": 0.0, "pump_neg": 0.0}
