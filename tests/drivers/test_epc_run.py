"""Which command follows when an EPC has ended one, without a device."""

from __future__ import annotations

import pytest

from cycler_unit.drivers.base import Target
from cycler_unit.drivers.epc_phases import phases
from cycler_unit.drivers.epc_readings import Cell
from cycler_unit.drivers.epc_run import AGAIN_S, FAR_MV, NEAR_MV, EpcRun, begin
from cycler_unit.drivers.errors import DeviceFault

CEILING_MV = 4200
CHARGE = phases(Target("cc", "charge", current_a=1.0, voltage_max_v=4.2, voltage_min_v=2.8), 3.7)


def charging(left_mv: int | None) -> EpcRun:
    """Return a charge seen ``left_mv`` before its ceiling under its current, None for not seen."""
    run = EpcRun(CHARGE, 0, 0.0)
    if left_mv is not None:
        run.see(Cell(0.0, CEILING_MV - left_mv, 1000))
    return run


def test_near_its_end_the_constant_voltage_follows() -> None:
    run = charging(NEAR_MV)
    assert run.after_end(CEILING_MV - 60, 1.0) == CHARGE[1]
    assert run.step == CHARGE[1]


def test_an_end_that_was_not_seen_is_repeated_once_and_then_believed() -> None:
    run = charging(None)
    assert run.after_end(4100, 1.0) == CHARGE[0]
    assert run.after_end(4100, 1.1) == CHARGE[1]


def test_an_end_far_from_where_it_was_seen_is_an_error_also_after_a_repetition() -> None:
    run = charging(FAR_MV)
    assert run.after_end(3900, 1.0) == CHARGE[0]
    run.see(Cell(1.1, CEILING_MV - FAR_MV - 1, 1000))
    for _ in range(2):
        with pytest.raises(DeviceFault, match=r"went to IDLE 251 mV before the end .* nobody asked for"):
            run.after_end(3900, 1.2)


def test_a_voltage_without_current_says_nothing_of_an_end() -> None:
    run = charging(None)
    run.see(Cell(0.5, 3000, 4))
    assert run.after_end(3000, 1.0) == CHARGE[0]


def test_an_ended_hold_waits_for_time_and_voltage() -> None:
    run = EpcRun(CHARGE, 1, 0.0)
    assert run.after_end(CEILING_MV - 10, AGAIN_S / 2) is None
    assert run.after_end(CEILING_MV, AGAIN_S) is None
    assert run.after_end(CEILING_MV - 10, AGAIN_S) == CHARGE[1]
    assert run.after_end(CEILING_MV - 10, AGAIN_S * 1.5) is None


def test_a_constant_voltage_never_begins_from_the_wrong_side() -> None:
    run = charging(10)
    assert run.after_end(CEILING_MV + 5, 1.0) is None
    assert run.after_end(CEILING_MV, 1.1) == CHARGE[1]
    assert begin(CHARGE, Cell(0.0, CEILING_MV + 5, 4), None, 0.0).step == CHARGE[0]
    assert begin(CHARGE, Cell(0.0, CEILING_MV, 4), None, 0.0).step == CHARGE[1]


def test_what_the_device_does_already_goes_on_unless_its_current_is_too_large() -> None:
    assert begin(CHARGE, Cell(0.0, 4198, 900), CHARGE[1], 0.0).step == CHARGE[1]
    assert begin(CHARGE, Cell(0.0, 4198, 2000), CHARGE[1], 0.0).step == CHARGE[0]
