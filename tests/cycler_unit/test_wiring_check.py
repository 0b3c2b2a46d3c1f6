"""Safety rule 4 at rest, with invented readings."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from cycler_unit.drivers.base import Measured
from cycler_unit.readings import Taken
from cycler_unit.wiring import Expected, WiringCheck
from cycling.contract import Limit
from tests.cycler_unit.bench import CHARGE, limits_of, profile


def check(**more: Any) -> WiringCheck:
    """Return a check of 2 s with a patience of 10 s."""
    values: dict[str, Any] = {
        "envelope": limits_of(profile(CHARGE)), "cells": 1, "expected": None, "steady_s": 2.0, "timeout_s": 10.0,
    }  # fmt: skip
    return WiringCheck(**{**values, **more})


def taken(
    at_s: float,
    voltage_v: float | None,
    others: dict[str, float] | None = None,
    extended: dict[str, float | None] | None = None,
) -> Taken:
    """Return a reading with the output off."""
    other = {
        key: Measured(voltage_v=value, current_a=None, power_w=None, began_s=at_s, time_us=0)
        for key, value in (others or {}).items()
    }
    return Taken(0, at_s, voltage_v, 0.0, None, None, extended or {}, other)


def run(wiring: WiringCheck, voltage_of: Any, seconds: float = 20.0, **more: Any) -> str | None:
    """Feed readings ten times a second; return the verdict."""
    for i in range(int(seconds * 10)):
        verdict = wiring.add(taken(i / 10, voltage_of(i / 10), **more))
        if verdict is not None:
            return verdict
    return None


def test_a_steady_battery_passes_after_the_time_asked_for() -> None:
    wiring = check()
    assert run(wiring, lambda t: 3.7, 1.9) is None
    assert wiring.add(taken(2.05, 3.7)) == ""
    assert wiring.rest_voltage_v == pytest.approx(3.7)


def test_noise_is_not_drift() -> None:
    noise = random.Random(1)
    assert run(check(), lambda t: 3.7 + noise.gauss(0.0, 0.0015)) == ""


def test_a_capacitor_that_empties_is_not_a_battery() -> None:
    verdict = run(check(), lambda t: 3.9 - 0.01 * t)
    assert verdict is not None
    assert "not steady" in verdict


def test_a_battery_that_relaxes_is_waited_for() -> None:
    assert run(check(timeout_s=60.0), lambda t: 3.7 + 0.04 * 2.718 ** (-t / 5.0), 60.0) == ""


@pytest.mark.parametrize("voltage_v", [0.0, -3.7])
def test_reversed_or_missing_leads_are_refused_at_once(voltage_v: float) -> None:
    assert "reversed" in (check().add(taken(0.0, voltage_v)) or "")


def test_a_voltage_that_cannot_be_read_is_refused() -> None:
    wiring = check()
    assert [wiring.add(taken(i / 10, None)) for i in range(3)][:2] == [None, None]
    assert "no voltage" in (check_missing := run(check(), lambda t: None) or "")
    assert check_missing


def test_outside_the_envelope_is_refused() -> None:
    assert "below the limit" in (run(check(), lambda t: 2.5) or "")
    assert "above the limit" in (run(check(), lambda t: 4.4) or "")


def test_far_from_the_record_is_refused_near_is_not() -> None:
    record = Expected(3.70, 3.70, "the record of battery B")
    assert "another battery" in (run(check(expected=record), lambda t: 3.76) or "")
    assert run(check(expected=record), lambda t: 3.74) == ""


def test_the_allowance_grows_with_the_cells() -> None:
    record = Expected(3.70, 3.70, "the record")
    assert run(check(expected=record, cells=2), lambda t: 3.79) == ""


def test_two_devices_that_disagree_are_refused() -> None:
    accuracies = {"": 0.005, "meter": 0.005}
    verdict = run(check(accuracies_v=accuracies), lambda t: 3.7, others={"meter": 3.73})
    assert "disagree" in (verdict or "")
    assert run(check(accuracies_v=accuracies), lambda t: 3.7, others={"meter": 3.715}) == ""
    wide = {"": 0.03, "meter": 0.03}
    assert run(check(accuracies_v=wide), lambda t: 3.7, others={"meter": 3.75}) == ""


def with_cell_limit(**more: Any) -> Any:
    """Return an envelope that a bound monitor's cell 1 may not leave."""
    envelope = limits_of(profile(CHARGE))
    limit = Limit(quantity="vcell1_v", side="max", operating=4.2, trip=4.25, **more)
    return msgspec.structs.replace(envelope, limits=(*envelope.limits, limit))


def test_a_monitor_that_has_not_spoken_yet_is_waited_for() -> None:
    wiring = check(envelope=with_cell_limit())
    late: dict[str, float | None] = {"vcell1_v": None}
    assert run(wiring, lambda t: 3.7, 8.0, extended=late) is None
    assert wiring.add(taken(8.1, 3.7, extended={"vcell1_v": 3.7})) == ""


def test_a_test_that_is_taken_up_again_is_not_judged_before_its_monitor_has_spoken_and_no_longer_than_allowed() -> (
    None
):
    wiring = check(envelope=with_cell_limit())
    assert wiring.awaits(taken(0.0, 3.7, extended={"vcell1_v": None}))
    assert not wiring.awaits(taken(0.0, 3.7, extended={"vcell1_v": 3.7}))
    assert run(wiring, lambda t: 3.7, 8.0, extended={"vcell1_v": None}) is None
    assert wiring.awaits(taken(8.1, 3.7, extended={"vcell1_v": None}))
    assert not wiring.awaits(taken(10.1, 3.7, extended={"vcell1_v": None}))


def test_a_monitor_that_never_speaks_is_refused_in_words() -> None:
    verdict = run(check(envelope=with_cell_limit()), lambda t: 3.7, extended={"vcell1_v": None})
    assert verdict == "voltage of cell 1 could not be read for 10 s, and the test has limits on it"


def test_what_may_be_missing_for_a_while_is_not_waited_for() -> None:
    wiring = check(envelope=with_cell_limit(delay_s=30.0))
    assert run(wiring, lambda t: 3.7, 3.0, extended={"vcell1_v": None}) == ""
