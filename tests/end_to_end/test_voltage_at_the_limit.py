"""Constant voltage at the operating limit with a noisy converter must never trip."""

from __future__ import annotations

import pytest

from tests.end_to_end.steps import current, run, voltage
from tests.stack.cellyard import Cellyard
from tests.stack.simulated import supply


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Return a Cellyard whose supply has 1.5 mV of noise and a nearly full cell."""
    noisy = supply("psb1", {"soc": 0.96}, noise_v=0.0015)
    with Cellyard(tmp_path_factory.mktemp("noisy"), [noisy]) as running:
        yield running


@pytest.fixture(scope="module")
def bench(lab):
    station = lab.station("S1")
    return {"station1": station["id"], "battery1": lab.battery("B1", station["id"])["id"]}


def test_constant_voltage_at_the_limit_never_trips(lab, bench):
    limit = 4.2
    steps = [
        current(0.2, 60, {"quantity": "voltage_v", "op": "above", "value": limit}),
        voltage(limit, 110, 0.2),
    ]
    experiment = run(lab, bench, steps, record={"every_s": 0.1})
    ended = lab.experiment_is(experiment, "finished", timeout_s=240)
    assert ended["end_reason"]["code"]
    assert lab.api.get("alarms/")["count"] == 0
    columns = lab.complete(experiment)
    at_limit = [v for v, mode in zip(columns["voltage_v"], columns["mode"], strict=True) if mode == "cv"]
    assert len(at_limit) > 1000
    # The noise did reach over the limit: what is shown is that it is not mistaken for a fault.
    assert max(at_limit) > limit + 0.002
