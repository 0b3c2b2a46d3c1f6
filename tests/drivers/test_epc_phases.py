"""Which commands make up a target: pure, so every row of the driver's table is one case."""

from __future__ import annotations

import pytest

from cycler_unit.drivers.base import Target
from cycler_unit.drivers.epc_frames import CC, CP, CURRENT, CV, TIME, VOLTAGE, SetPoint
from cycler_unit.drivers.epc_phases import FOREVER_MS, charges, first, phases
from cycler_unit.drivers.errors import DeviceRefused

HOLD_4200 = SetPoint(1, CV, CURRENT, 4200, 0)
HOLD_2800 = SetPoint(1, CV, CURRENT, 2800, 0)
WINDOW = {"voltage_max_v": 4.2, "voltage_min_v": 2.8}


def target(mode: str, direction: str = "both", **more: float) -> Target:
    return Target(mode, direction, **{**WINDOW, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "steps"),
    [
        (target("cc", "charge", current_a=1.0), [SetPoint(1, CC, VOLTAGE, 1000, 4200), HOLD_4200]),
        (target("cc", "discharge", current_a=-1.5), [SetPoint(1, CC, VOLTAGE, -1500, 2800), HOLD_2800]),
        (
            target("cv", "charge", voltage_v=4.2, charge_current_max_a=1.0),
            [SetPoint(1, CC, VOLTAGE, 1000, 4200), HOLD_4200],
        ),
        (
            target("cv", "discharge", voltage_v=2.8, discharge_current_max_a=2.0),
            [SetPoint(1, CC, VOLTAGE, -2000, 2800), HOLD_2800],
        ),
        (
            target("cv", voltage_v=4.0, charge_current_max_a=1.0, discharge_current_max_a=2.0),
            [SetPoint(1, CC, VOLTAGE, 1000, 4000), SetPoint(1, CV, TIME, 4000, FOREVER_MS)],
        ),
        (
            target("cv", voltage_v=3.0, charge_current_max_a=1.0, discharge_current_max_a=2.0),
            [SetPoint(1, CC, VOLTAGE, -2000, 3000), SetPoint(1, CV, TIME, 3000, FOREVER_MS)],
        ),
        (
            target("cp", "charge", power_w=20.0, charge_current_max_a=6.0),
            [SetPoint(1, CC, VOLTAGE, 6000, 3334), SetPoint(1, CP, VOLTAGE, 200, 4200), HOLD_4200],
        ),
        (
            # More power than the current bound allows anywhere: the bound alone.
            target("cp", "charge", power_w=20.0, charge_current_max_a=2.0),
            [SetPoint(1, CC, VOLTAGE, 2000, 4200), HOLD_4200],
        ),
        (
            target("cp", "discharge", power_w=-19.6, discharge_current_max_a=6.0),
            [SetPoint(1, CP, VOLTAGE, -196, 3267), SetPoint(1, CC, VOLTAGE, -6000, 2800), HOLD_2800],
        ),
        (
            target("cp", "discharge", power_w=-19.6, discharge_current_max_a=10.0),
            [SetPoint(1, CP, VOLTAGE, -196, 2800), HOLD_2800],
        ),
        (target("cc", "both", current_a=0.0), [SetPoint(1, CC, VOLTAGE, 0, 4200), HOLD_4200]),
        (target("cc", "discharge", current_a=0.0), [SetPoint(1, CC, TIME, 0, FOREVER_MS)]),
        (target("cp", "both", power_w=0.0), [SetPoint(1, CC, VOLTAGE, 0, 4200), HOLD_4200]),
    ],
)
def test_a_target_is_this_list_of_commands(wanted: Target, steps: list[SetPoint]) -> None:
    assert phases(wanted, 3.7) == steps


def test_bounds_are_rounded_to_the_safe_side_and_set_points_to_the_nearest() -> None:
    up = phases(target("cc", "charge", current_a=0.12345, voltage_max_v=4.19999), 3.7)[0]
    assert (up.ref, up.limit_ref) == (123, 4199)
    down = phases(target("cc", "discharge", current_a=-0.1236, voltage_min_v=2.80001), 3.7)[0]
    assert (down.ref, down.limit_ref) == (-124, 2801)
    # A decimal number that binary cannot hold is no millivolt less.
    assert phases(target("cc", "charge", current_a=1.1, voltage_max_v=4.1), 3.7)[0] == SetPoint(
        1, CC, VOLTAGE, 1100, 4100
    )


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (target("cr", resistance_ohm=1.0), "no mode 'cr'"),
        (Target("cc", "charge", current_a=1.0), "needs a voltage ceiling"),
        (Target("cc", "discharge", current_a=-1.0, voltage_max_v=4.2), "needs a voltage floor"),
        (target("cc"), "has no current"),
        (target("cv", "charge", voltage_v=4.2), "needs a compliance current"),
        (target("cp", "charge", power_w=5.0), "needs a charge current"),
        (target("cp", "discharge", power_w=-5.0), "needs a discharge current"),
    ],
)
def test_a_target_that_is_not_bounded_or_not_possible_is_refused(wanted: Target, why: str) -> None:
    with pytest.raises(DeviceRefused, match=why):
        phases(wanted, 3.7)


def test_every_charge_carries_a_ceiling_and_every_discharge_a_floor() -> None:
    for mode, number in (("cc", "current_a"), ("cp", "power_w")):
        for sign in (1.0, -1.0):
            wanted = target(
                mode, "both", **{number: 2.0 * sign}, charge_current_max_a=5.0, discharge_current_max_a=5.0
            )
            for step in phases(wanted, 3.7):
                assert step.limit == VOLTAGE or (step.mode, step.limit) == (CV, CURRENT)
                bound = step.ref if step.mode == CV else step.limit_ref
                assert bound <= 4200 if sign > 0 else bound >= 2800


def test_it_begins_with_the_first_command_whose_end_is_not_there_yet() -> None:
    up = phases(target("cp", "charge", power_w=20.0, charge_current_max_a=6.0), 3.0)
    assert [first(up, cell_mv, charges(up)) for cell_mv in (3000, 3334, 4199, 4200)] == [0, 1, 1, 2]
    down = phases(target("cc", "discharge", current_a=-1.0), 3.0)
    assert [first(down, cell_mv, charges(down)) for cell_mv in (4000, 2801, 2800)] == [0, 0, 1]
