"""Safety rule 16: how fast and how far a battery warms up, and sensors that disagree."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from cycling.check import check
from cycling.contract import canonical
from cycling.envelope import StationLimits, energy_wh, needs_temperature_waiver
from cycling.interpreter import Interpreter
from cycling.judge import Watch
from cycling.limits import find
from cycling.reading import Decision
from tests.cycling.invented import CELL, SUPPLY, envelope, feed, profile, reading, rest, running

LONG = profile(rest(1e6))


def warm(
    degrees: list[float | None],
    period_s: float = 10.0,
    measures: tuple[str, ...] = ("temperature_c",),
    **more: Any,
) -> list[Decision]:
    """Feed temperatures of the cell; return the decisions."""
    limits = envelope(measures=measures)
    readings = [
        reading(place * period_s, temperature_c=c, on=False, **more)
        for place, c in enumerate(degrees)
        if place
    ]
    interpreter = Interpreter(LONG, limits, 5.0)
    interpreter.advance(reading(0.0, temperature_c=degrees[0], on=False, **more))
    return feed(interpreter, readings)


def slowly(from_c: float, to_c: float) -> list[float | None]:
    """Return temperatures that rise by 0.5 K/min, read every 10 s."""
    steps = round((to_c - from_c) / 0.5 * 6)
    return [from_c + (to_c - from_c) * place / steps for place in range(steps + 1)]


def why(decisions: list[Decision]) -> str | None:
    """Return the quantity that tripped."""
    reason = decisions[-1].end_reason
    return reason.quantity if decisions[-1].action == "violation" and reason is not None else None


def test_twenty_kelvin_over_the_start_trip_and_nineteen_do_not() -> None:
    assert why(warm([*slowly(25.0, 44.0), 44.0, 44.0, 44.0])) is None
    decisions = warm([*slowly(25.0, 46.0), 46.0, 46.0, 46.0])
    assert why(decisions) == "temperature_rise_k"
    assert "temperature over ambient" in (decisions[-1].end_reason.text if decisions[-1].end_reason else "")


def test_a_bound_ambient_sensor_is_what_the_rise_is_counted_from() -> None:
    measures = ("temperature_c", "ambient_c")
    assert why(warm(slowly(35.0, 44.0), measures=measures, ambient_c=25.0)) is None
    assert (
        why(warm([*slowly(35.0, 46.0), 46.0, 46.0], measures=measures, ambient_c=25.0))
        == "temperature_rise_k"
    )
    assert why(warm([30.0] * 5, measures=measures, ambient_c=None)) == "temperature_rise_k"


def test_one_and_a_half_kelvin_a_minute_for_half_a_minute_trip() -> None:
    rising: list[float | None] = [25.0 + 1.5 * place / 6 for place in range(30)]
    decisions = warm(rising)
    assert why(decisions) == "temperature_slope_k_min"
    assert 3 <= len(decisions) <= 7
    assert why(warm([25.0 + 0.8 * place / 6 for place in range(60)])) is None


def test_one_step_of_a_coarse_sensor_is_no_slope() -> None:
    coarse = msgspec.structs.replace(SUPPLY, temperature_resolution_c=1.0)
    limits = envelope(measures=("temperature_c",), device=coarse)
    readings = [reading(place * 1.0, temperature_c=25.0 + (place > 60), on=False) for place in range(1, 200)]
    assert feed(running(LONG, limits), readings)[-1].action == "keep"


def test_a_cell_that_its_chamber_warms_or_cools_does_not_trip() -> None:
    chamber = profile(
        {"kind": "rest", "outputs": {"chamber_c": 45.0}, "end": [{"quantity": "time_s", "value": 1200.0}]},
        {"kind": "rest", "outputs": {"chamber_c": 25.0}, "end": [{"quantity": "time_s", "value": 9000.0}]},
    )
    limits = envelope(measures=("temperature_c",))
    interpreter = Interpreter(chamber, limits, 5.0)
    now_s, cell_c, last = 0.0, 25.0, None
    while now_s < 3000.0:
        around_c = 45.0 if now_s < 1200.0 else 25.0
        cell_c += (around_c - cell_c) * 10.0 / 120.0
        last = interpreter.advance(reading(now_s, temperature_c=cell_c, on=False))
        now_s += 10.0
    assert last is not None
    assert last.action == "keep"
    # Soaked to 25 °C again, it warms up by itself: that is judged from there.
    hot = feed(
        interpreter, [reading(now_s + 10.0 * n, temperature_c=cell_c + 0.1 * n, on=False) for n in range(250)]
    )
    assert why(hot) == "temperature_rise_k"


def test_two_sensors_ten_kelvin_apart_warn_once_and_trip_nothing() -> None:
    measures = ("temperature_c", "temp1_c")
    decisions = warm([25.0] * 20, measures=measures, temp1_c=36.0)
    assert decisions[-1].action == "keep"
    said = [event for d in decisions for event in d.events if "warning" in event.detail]
    assert [event.detail["warning"] for event in said] == ["temperature_spread_k"]
    assert not [
        e
        for d in warm([25.0] * 20, measures=measures, temp1_c=34.0)
        for e in d.events
        if "warning" in e.detail
    ]


def test_each_sensor_of_a_bms_has_the_batterys_limits_apart_for_charging() -> None:
    hot = msgspec.structs.replace(CELL, temperature_max_c=60.0, charge_temperature_max_c=45.0)
    limits = envelope(battery=hot, measures=("temp1_c", "temp2_c", "flow"))
    assert {(one.quantity, one.when) for one in limits.limits if one.quantity.startswith("temp")} >= {
        ("temp1_c", "always"),
        ("temp1_c", "charge"),
        ("temp2_c", "always"),
        ("temp2_c", "charge"),
    }
    assert find(limits, "flow", "max") is None
    warm_cells = {"temp1_c": 50.0, "temp2_c": 50.0}
    charging = [reading(float(n), current_a=1.0, **warm_cells) for n in range(1, 5)]
    assert why(feed(running(LONG, limits), charging)) is not None
    resting = [reading(float(n), on=False, **warm_cells) for n in range(1, 5)]
    assert why(feed(running(LONG, limits), resting)) is None


def test_the_contract_carries_the_heating_limits() -> None:
    text = canonical(envelope(measures=("temperature_c", "temp1_c")))
    for word in ("temperature_rise_k", "temperature_slope_k_min", "temperature_spread_k", '"acts":"warn"'):
        assert word in text
    assert "temperature_rise_k" not in canonical(envelope())


def test_saving_and_restoring_keeps_start_and_slope() -> None:
    limits = envelope(measures=("temperature_c",))
    plain = Interpreter(LONG, limits, 5.0)
    saved = Interpreter(LONG, limits, 5.0)
    for place in range(12):
        seen = reading(10.0 * place, temperature_c=25.0 + 1.5 * place / 6, on=False)
        one, other = plain.advance(seen), saved.advance(seen)
        assert one == other
        saved = Interpreter.restore(LONG, limits, 5.0, json.loads(json.dumps(saved.save())))
        if one.action == "violation":
            return
    pytest.fail("it never tripped")


def test_a_watched_battery_is_judged_without_an_experiment() -> None:
    watch = Watch(envelope(measures=("temperature_c", "temp1_c")))
    for place in range(5):
        assert watch.judge(reading(float(place), temperature_c=25.0, on=False, temp1_c=36.0)) is None
    assert len(watch.warnings) == 1
    found = [watch.judge(reading(10.0 + n, temperature_c=57.0, on=False, temp1_c=57.0)) for n in range(3)]
    assert found[-1] is not None
    assert found[-1].quantity == "temperature_rise_k"
    low = Watch(envelope())
    assert [low.judge(reading(float(n), 2.2, on=False)) is None for n in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    ("more", "measures", "needed"),
    [
        ({"energy_wh": 25.0}, (), True),
        ({"energy_wh": 19.0}, (), False),
        ({"energy_wh": 25.0}, ("temperature_c",), False),
        ({"energy_wh": 25.0}, ("vcell1_v", "temp1_c"), False),
        ({"energy_wh": 25.0}, ("temp_body_c", "ambient_c"), True),
        ({"capacity_ah": 5.0}, (), True),
        ({"capacity_ah": 4.0}, (), False),
        ({"capacity_ah": None}, (), True),
    ],
)
def test_a_battery_above_20_wh_needs_a_sensor_or_a_waiver(
    more: dict[str, float | None], measures: tuple[str, ...], needed: bool
) -> None:
    battery = msgspec.structs.replace(CELL, **more)
    assert needs_temperature_waiver(battery, StationLimits(measures=measures)) is needed


def test_the_energy_follows_from_the_capacity_where_nobody_recorded_it() -> None:
    assert energy_wh(CELL) == pytest.approx(21.0)
    assert energy_wh(msgspec.structs.replace(CELL, cells_in_series=4, voltage_max_v=16.0)) == pytest.approx(
        80.0
    )
    assert check(LONG, envelope(), 5.0).errors == []
