"""Rule 3: everything is dead, and the cell stays inside its trip limits for 24 simulated hours.

Or the dead-man output has opened, where a device does not bound a direction by itself.
"""

from __future__ import annotations

import pytest

from cycling.limits import find
from tests.faults.safety.rigs import ACTING, CURRENT_A, Way
from tests.faults.safety.unit import SafetyLab, cc
from tests.stack.waiting import until

DAY_S = 86400.0


@pytest.mark.parametrize(("lab", "way"), ACTING, indirect=["lab"])
def test_a_day_after_everything_died_the_cell_is_inside_its_trip_limits(lab: SafetyLab, way: Way) -> None:
    started = lab.run(way)
    lab.strike_all()
    went = lab.forward(DAY_S)
    limits = lab.limits(started.profile, lab.station)
    low, high = find(limits, "voltage_v", "min"), find(limits, "voltage_v", "max")
    assert low is not None
    assert high is not None
    assert low.trip <= went["voltage_v_min"]
    assert went["voltage_v_max"] <= high.trip
    # It is no test of anything if nothing flowed when they died.
    assert max(abs(went["current_a_min"]), abs(went["current_a_max"])) > 0.4
    most = find(limits, "current_a", "max" if way == "charge" else "min")
    assert most is not None
    assert max(abs(went["current_a_min"]), abs(went["current_a_max"])) <= abs(most.trip)
    if lab.rig.dead_man:
        assert not went["connected"], "the dead-man output is still closed"


@pytest.mark.parametrize(("lab", "way"), ACTING, indirect=["lab"])
def test_the_unit_that_starts_again_switches_off_and_holds(lab: SafetyLab, way: Way) -> None:
    started = lab.run(way, cc(CURRENT_A[way], 3000.0))
    lab.strike_all()
    lab.unit.start()
    lab.goes_off(40)
    until(lambda: lab.state() == "tripped", 60, "the station is latched")
    until(lambda: "paused" in lab.manager.statuses(started.experiment), 30, "the test is held")
    assert lab.is_off()
    reply = lab.ask_start(lab.message(cc(CURRENT_A[way])))
    assert reply.outcome != "done"
    lab.stop_test(started)
    lab.complete(started.experiment)
