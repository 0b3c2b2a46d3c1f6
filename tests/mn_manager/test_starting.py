"""``starting``: the unit's reply or heartbeat decides, and nothing ever starts twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.mn_manager.conftest import Bridge, beat, event
from web_server.commands.models import Command
from web_server.experiments import services as experiments
from web_server.experiments.models import Event, Experiment, Status
from wire import messages

Make = Callable[..., messages.EventBatch]


def reply(bridge: Bridge, experiment: Experiment, outcome: str, **more: Any) -> None:
    """Let the unit answer the newest command of the experiment."""
    command = Command.objects.filter(experiment=experiment).latest("id")
    answer = messages.Reply(command=str(command.uuid), outcome=outcome, **more)  # type: ignore[arg-type]
    bridge.unit_says(experiment.station.unit, "replies", answer)


def status(experiment: Experiment) -> str:
    return Experiment.objects.get(pk=experiment.pk).status


def beats(bridge: Bridge, experiment: Experiment, over_s: float, *, runs: bool = False, **more: Any) -> None:
    """Let heartbeats come every 2 s over some time; ``runs``: they name the experiment as running."""
    now = datetime.now(UTC)
    if runs:
        more |= {"experiment": experiment, "state": "running"}
    for second in range(0, int(over_s) + 1, 2):
        at = now + timedelta(seconds=second)
        bridge.unit_says(experiment.station.unit, "heartbeat", beat(experiment.station, **more), at=at)


def expire_start(experiment: Experiment) -> None:
    Command.objects.filter(experiment=experiment).update(status="expired", closed_at=datetime.now(UTC))


def test_the_reply_done_makes_it_running(bridge: Bridge, experiment: Experiment) -> None:
    reply(bridge, experiment, "done")
    assert status(experiment) == Status.RUNNING


def test_a_heartbeat_with_a_step_makes_it_running_though_the_reply_was_lost(
    bridge: Bridge, experiment: Experiment
) -> None:
    beats(bridge, experiment, 0, runs=True, detail="checking the wiring at rest")
    assert status(experiment) == Status.STARTING, "the wiring is still being checked"
    beats(bridge, experiment, 0, runs=True, step=1)
    assert status(experiment) == Status.RUNNING


def test_a_refusal_by_a_safety_rule_is_an_error(bridge: Bridge, experiment: Experiment) -> None:
    reply(bridge, experiment, "refused", reason="wrong polarity", result={"rule": 4, "code": "wiring"})
    experiment.refresh_from_db()
    assert (experiment.status, experiment.error) == (Status.ERROR, "wrong polarity")
    assert experiment.end_reason["code"] == "wiring"


def test_an_expired_start_stays_starting_until_the_unit_is_heard(
    bridge: Bridge, experiment: Experiment
) -> None:
    expire_start(experiment)
    assert status(experiment) == Status.STARTING


def test_an_expired_start_goes_back_to_the_queue_when_heartbeats_name_no_experiment(
    bridge: Bridge, experiment: Experiment
) -> None:
    expire_start(experiment)
    beats(bridge, experiment, 8)
    assert status(experiment) == Status.QUEUED
    assert Event.objects.filter(experiment=experiment, detail__status="queued").exists()


def test_it_does_not_go_back_while_the_units_spool_may_hold_its_story(
    bridge: Bridge, experiment: Experiment
) -> None:
    expire_start(experiment)
    beats(bridge, experiment, 30, spool=1)
    assert status(experiment) == Status.STARTING


def test_it_does_not_go_back_while_the_command_is_open(bridge: Bridge, experiment: Experiment) -> None:
    beats(bridge, experiment, 30)
    assert status(experiment) == Status.STARTING


def test_one_that_runs_after_all_is_taken_back_from_the_queue(
    bridge: Bridge, experiment: Experiment, events: Make
) -> None:
    expire_start(experiment)
    beats(bridge, experiment, 8)
    bridge.unit_says(experiment.station.unit, "events", events(event("status", experiment, status="running")))
    assert status(experiment) == Status.RUNNING


def test_three_refusals_are_an_error_with_the_units_words(bridge: Bridge, experiment: Experiment) -> None:
    for _ in range(3):
        reply(bridge, experiment, "refused", reason="no such contact policy")
        assert status(experiment) == Status.STARTING
        beats(bridge, experiment, 8)
        experiments.start_next(experiment.station)
    experiment.refresh_from_db()
    assert (experiment.status, experiment.error) == (Status.ERROR, "no such contact policy")


def test_a_stop_of_a_start_that_never_arrived_stops_it(bridge: Bridge, experiment: Experiment) -> None:
    Command.objects.filter(experiment=experiment).update(status="sent")
    person = experiment.owner
    experiments.stop(person, experiment, reason="wrong cell")
    Command.objects.filter(experiment=experiment, kind="experiment.start").update(status="expired")
    reply(bridge, experiment, "refused", reason="this experiment does not run on this station")
    beats(bridge, experiment, 8)
    assert status(experiment) == Status.STOPPED


def test_a_unit_that_forgot_a_running_experiment_ends_it_as_lost_but_not_at_once(
    bridge: Bridge, experiment: Experiment
) -> None:
    reply(bridge, experiment, "done")
    beats(bridge, experiment, 18)
    assert status(experiment) == Status.RUNNING
    beats(bridge, experiment, 0, runs=True, step=1)
    beats(bridge, experiment, 22)
    experiment.refresh_from_db()
    assert (experiment.status, experiment.end_reason["code"]) == (Status.ERROR, "lost")


def test_the_heartbeat_brings_expected_end_and_what_is_waited_for(
    bridge: Bridge, experiment: Experiment
) -> None:
    reply(bridge, experiment, "done")
    beats(bridge, experiment, 0, runs=True, step=1, detail="close the box", remaining_s=90.0)
    experiment.refresh_from_db()
    assert experiment.waiting_for == "close the box"
    assert experiment.expected_end is not None
    assert (experiment.expected_end - datetime.now(UTC)).total_seconds() == pytest.approx(90, abs=5)
