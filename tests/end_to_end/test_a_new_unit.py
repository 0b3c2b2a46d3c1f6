"""A unit that nobody announced waits until somebody approves it."""

from __future__ import annotations

import pytest

from tests.stack.cellyard import Cellyard
from tests.stack.waiting import until


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Cellyard(tmp_path_factory.mktemp("pending"), token=False) as running:
        yield running


def test_it_waits_as_pending_and_works_after_its_approval(lab):
    unit = until(lambda: lab.api.get("units/")["results"], 20, "the unit is known")[0]
    assert unit["status"] == "pending"
    assert lab.api.get("devices/")["count"] == 0
    lab.api.post(f"units/{unit['id']}/approve/")
    assert lab.wait_for_unit()["id"] == unit["id"]
    path = f"stations/{lab.station()['id']}/"
    # Idle means confirmed off; the first reading comes with the heartbeat after it.
    reading = until(lambda: lab.api.get(path)["reading"], 20, "the station shows a reading")
    assert reading["voltage_v"] == pytest.approx(3.7, abs=0.2)


def test_it_keeps_its_identity_over_a_restart(lab):
    before = lab.wait_for_unit()["id"]
    lab.unit.kill()
    until(lambda: not lab.api.get("units/")["results"][0]["online"], 30, "it is seen to be gone")
    lab.unit.start()
    assert lab.wait_for_unit()["id"] == before
    assert lab.api.get("units/")["count"] == 1
