"""Parts that lose each other for a while: nothing is lost, nothing comes twice, nothing stops."""

from __future__ import annotations

import time

import pytest

from tests.end_to_end.steps import current, run, statuses
from tests.stack.waiting import until

pytestmark = pytest.mark.usefixtures("tidy")


def no_hole(columns):
    return columns["seq"] == list(range(1, len(columns["seq"]) + 1))


def test_a_unit_cut_from_the_broker_for_half_a_minute_goes_on_and_loses_nothing(lab, bench):
    experiment = run(lab, bench, [current(0.1, 45)])
    lab.experiment_is(experiment, "running")
    until(lambda: lab.samples(experiment).get("seq"), 15, "samples arrive")
    lab.network.cut()
    cut_at = time.monotonic()
    until(lambda: not lab.api.get("units/")["results"][0]["online"], 30, "the site sees that it is gone")
    stored = len(lab.samples(experiment)["seq"])
    # The time is the thing under test here.
    time.sleep(max(0.0, 30 - (time.monotonic() - cut_at)))
    assert lab.simulators.ask(device="psb1", query="truth")["output"] is True
    assert len(lab.samples(experiment)["seq"]) == stored
    lab.network.mend()
    lab.wait_for_unit()
    ended = lab.experiment_is(experiment, "finished", timeout_s=90)
    columns = lab.complete(experiment)
    assert no_hole(columns)
    gaps = [b - a for a, b in zip(columns["elapsed_s"], columns["elapsed_s"][1:], strict=False)]
    assert max(gaps) < 0.5
    assert ended["end_reason"]["code"] != "error"
    assert statuses(lab, experiment) == ["queued", "starting", "running", "finished"]


def test_a_test_that_ends_while_the_unit_is_cut_off_is_finished_afterwards(lab, bench):
    experiment = run(lab, bench, [current(-0.1, 8)])
    lab.experiment_is(experiment, "running")
    lab.network.freeze()
    until(lambda: not lab.simulators.ask(device="psb1", query="truth")["output"], 30, "it ended by itself")
    lab.network.cut()
    lab.network.mend()
    lab.experiment_is(experiment, "finished", timeout_s=90)
    assert no_hole(lab.complete(experiment))


def test_a_killed_broker_manager_or_site_costs_nothing(lab, bench):
    experiment = run(lab, bench, [current(0.1, 25)])
    lab.experiment_is(experiment, "running")
    for part in (lab.manager, lab.web):
        part.kill()
        part.start()
    lab.broker.kill()
    lab.broker.start()
    lab.wait_for_site()
    lab.experiment_is(experiment, "finished", timeout_s=90)
    assert no_hole(lab.complete(experiment))
    assert statuses(lab, experiment) == ["queued", "starting", "running", "finished"]
