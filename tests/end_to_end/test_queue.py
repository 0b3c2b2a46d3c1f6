"""Who runs when: order of the queue, the battery that must be loaded, the station that fits."""

from __future__ import annotations

import pytest

from tests.end_to_end.steps import current, rest, run, statuses
from tests.stack.waiting import until

pytestmark = pytest.mark.usefixtures("tidy")


def test_two_experiments_of_one_battery_run_in_order_on_one_station(lab, bench):
    first = run(lab, bench, [rest(3)])
    second = run(lab, bench, [rest(1)])
    lab.experiment_is(first, "running")
    assert lab.api.get(f"experiments/{second}/")["status"] == "queued"
    ended_first = lab.experiment_is(first, "finished")
    ended_second = lab.experiment_is(second, "finished")
    assert ended_first["finished_at"] <= ended_second["started_at"]


def test_the_higher_priority_goes_first(lab, bench):
    running = run(lab, bench, [rest(4)])
    lab.experiment_is(running, "running")
    low, high = run(lab, bench, [rest(1)]), run(lab, bench, [rest(1)], priority=5)
    ended_high, ended_low = lab.experiment_is(high, "finished"), lab.experiment_is(low, "finished")
    assert ended_high["started_at"] < ended_low["started_at"]


def test_another_battery_waits_for_loading_and_says_so(lab, bench):
    other = lab.battery("B3")
    waiting = run(lab, {"battery1": other["id"], "station1": bench["station1"]}, [rest(1)])

    def because():
        return lab.api.get(f"experiments/{waiting}/")["queued_because"]

    until(lambda: because() == "load B3 into S1", 20, "it says what it waits for")
    # It holds up nobody whose battery is there.
    ready = run(lab, bench, [rest(1)])
    lab.experiment_is(ready, "finished")
    assert lab.api.get(f"experiments/{waiting}/")["status"] == "queued"
    lab.api.post(f"batteries/{bench['battery1']}/eject/")
    lab.api.post(f"batteries/{other['id']}/load/", station=bench["station1"])
    lab.experiment_is(waiting, "finished")
    assert statuses(lab, waiting) == ["queued", "starting", "running", "finished"]
    lab.api.post(f"batteries/{other['id']}/eject/")
    lab.api.post(f"batteries/{bench['battery1']}/load/", station=bench["station1"])


def test_two_stations_run_side_by_side(lab, bench):
    experiments = [run(lab, bench, [current(0.1, 6)], place=place) for place in (1, 2)]

    def both():
        return all(lab.api.get(f"experiments/{each}/")["status"] == "running" for each in experiments)

    until(both, 20, "both run at once")
    for experiment in experiments:
        lab.experiment_is(experiment, "finished")


def test_any_station_that_fits_takes_an_experiment_without_one(lab, bench):
    profile = lab.profile([rest(1)], name="anywhere")
    filed = lab.api.post(
        "experiments/",
        name="anywhere",
        battery=bench["battery2"],
        profile=profile["id"],
        station_query={},
    )
    ended = lab.experiment_is(filed["id"], "finished")
    assert ended["station"] == bench["station2"]
