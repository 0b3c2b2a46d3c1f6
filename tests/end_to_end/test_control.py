"""Pause, resume, stop and skip, through every part down to the device."""

from __future__ import annotations

import pytest

from tests.end_to_end.steps import current, rest, run, statuses
from tests.stack.api import Problem
from tests.stack.waiting import until

pytestmark = pytest.mark.usefixtures("tidy")


def running(lab, bench, steps, **more):
    experiment = run(lab, bench, steps, **more)
    lab.experiment_is(experiment, "running")
    until(lambda: truth(lab)["output"], 10, "current flows")
    return experiment


def truth(lab):
    return lab.simulators.ask(device="psb1", query="truth")


def act(lab, experiment, what, **body):
    answer = lab.api.client.post(f"experiments/{experiment}/{what}/", params={"wait": 5}, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["command"]["outcome"] == "done", answer.text
    return answer.json()


def test_pause_switches_off_and_resume_goes_on_in_the_same_step(lab, bench):
    experiment = running(lab, bench, [current(0.1, 20)])
    act(lab, experiment, "pause")
    lab.experiment_is(experiment, "paused")
    assert truth(lab)["output"] is False
    held = truth(lab)["charge_ah"]
    columns = lab.samples(experiment)
    until(
        lambda: lab.samples(experiment)["seq"][-1] > columns["seq"][-1], 20, "a paused test goes on recording"
    )
    assert truth(lab)["charge_ah"] == held
    act(lab, experiment, "resume")
    lab.experiment_is(experiment, "running")
    until(lambda: truth(lab)["output"], 15, "current flows again")
    ended = lab.experiment_is(experiment, "finished")
    rows = lab.api.all(f"experiments/{ended['id']}/steps/")
    assert len(rows) == 1
    assert rows[0]["duration_s"] == pytest.approx(20, abs=0.5)
    assert "off" in lab.complete(experiment)["mode"]
    assert statuses(lab, experiment) == ["queued", "starting", "running", "paused", "running", "finished"]


def test_stop_now_switches_off_and_names_the_person_and_the_reason(lab, bench):
    experiment = running(lab, bench, [current(0.1, 120)], finish=[rest(1)])
    act(lab, experiment, "stop", how="now", reason="smells of solvent")
    ended = lab.experiment_is(experiment, "stopped")
    assert truth(lab)["output"] is False
    assert ended["end_reason"]["person"] == "admin"
    assert "smells of solvent" in ended["end_reason"]["text"]
    assert statuses(lab, experiment)[-1] == "stopped"


def test_stop_with_finish_runs_the_finish_steps_first(lab, bench):
    experiment = running(lab, bench, [current(0.1, 120)], finish=[rest(2, label="cool down")])
    act(lab, experiment, "stop", how="finish", reason="enough")
    lab.experiment_is(experiment, "stopped")
    rows = lab.api.all(f"experiments/{experiment}/steps/")
    assert [row["label"] for row in rows][-1] == "cool down"
    assert rows[-1]["duration_s"] == pytest.approx(2, abs=0.5)


def test_skip_ends_the_running_step_and_goes_to_the_next(lab, bench):
    experiment = running(lab, bench, [current(0.1, 120, label="long"), rest(1, label="after")])
    act(lab, experiment, "skip-step")
    lab.experiment_is(experiment, "finished")
    rows = lab.api.all(f"experiments/{experiment}/steps/")
    assert [row["label"] for row in rows] == ["long", "after"]
    assert rows[0]["duration_s"] < 60
    assert rows[0]["end_reason"]["person"] == "admin"


def test_a_queued_experiment_is_cancelled_without_a_unit(lab, bench):
    first = running(lab, bench, [current(0.1, 120)])
    second = run(lab, bench, [rest(1)])
    lab.api.post(f"experiments/{second}/cancel/")
    lab.experiment_is(second, "cancelled")
    assert statuses(lab, second) == ["queued", "cancelled"]
    assert lab.api.get(f"experiments/{first}/")["status"] == "running"


def test_an_ended_experiment_cannot_be_resumed(lab, bench):
    experiment = run(lab, bench, [rest(1)])
    lab.experiment_is(experiment, "finished")
    with pytest.raises(Problem) as refused:
        lab.api.post(f"experiments/{experiment}/resume/")
    assert refused.value.status in (400, 409)


def test_stop_all_ends_everything_that_runs(lab, bench):
    experiments = [run(lab, bench, [current(0.1, 120)], place=place) for place in (1, 2)]
    for experiment in experiments:
        lab.experiment_is(experiment, "running")
    lab.api.post("stations/stop-all/")
    for experiment in experiments:
        lab.experiment_is(experiment, "stopped")
    for name in ("psb1", "psb2"):
        assert lab.simulators.ask(device=name, query="truth")["output"] is False
