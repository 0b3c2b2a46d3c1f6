"""An experiment's status changes only as the design allows, once, with event, reason and audit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.web_server import factories
from web_server.accounts.models import AuditEntry, Person
from web_server.commands.models import Command
from web_server.experiments import services
from web_server.experiments.models import Experiment, Status
from web_server.lib.errors import NotAllowed, Refused

STOPPED = {"code": "stopped", "text": "stopped by otto"}
ALLOWED = {
    "queued": {"starting", "cancelled"},
    "starting": {"running", "queued", "stopped", "error"},
    "running": {"paused", "finished", "stopped", "error"},
    "paused": {"running", "finished", "stopped", "error"},
}


@pytest.fixture
def experiment(small_lab: SimpleNamespace) -> Experiment:
    return factories.make_experiment(
        small_lab.battery, small_lab.profile, small_lab.station, by=small_lab.operator
    )


@pytest.fixture
def running(experiment: Experiment, small_lab: SimpleNamespace) -> Experiment:
    services.start_next(small_lab.station)
    services.set_status(experiment, "running")
    experiment.refresh_from_db()
    return experiment


@pytest.mark.parametrize("before", Status.values)
def test_only_what_the_design_allows_may_follow(experiment: Experiment, before: str) -> None:
    for to in Status.values:
        Experiment.objects.filter(pk=experiment.pk).update(status=before)
        experiment.refresh_from_db()
        assert services.set_status(experiment, to) == (to in ALLOWED.get(before, set())), f"{before} to {to}"
        experiment.refresh_from_db()
        assert experiment.status == (to if to in ALLOWED.get(before, set()) else before)


def test_an_unknown_status_is_a_mistake(experiment: Experiment) -> None:
    with pytest.raises(services.WrongStatus):
        services.set_status(experiment, "sleeping")


def test_two_who_end_it_at_once_make_one_end(running: Experiment) -> None:
    theirs = Experiment.objects.get(pk=running.pk)
    assert services.set_status(running, "stopped", STOPPED)
    assert not services.set_status(theirs, "error", {"code": "lost", "text": "device lost"})
    theirs.refresh_from_db()
    assert theirs.end_reason == STOPPED


def test_every_end_lets_go_of_station_and_battery(running: Experiment) -> None:
    assert running.active_station is not None
    services.set_status(running, "finished", {"code": "finished", "text": "all steps done"})
    assert (running.active_station, running.active_battery) == (None, None)
    assert running.finished_at is not None
    assert running.percent == 100.0


def test_an_error_keeps_its_words(running: Experiment) -> None:
    services.set_status(running, "error", {"code": "device_lost", "text": "the supply does not answer"})
    assert running.error == "the supply does not answer"
    assert running.events.latest("id").text == "E1: ended by an error: the supply does not answer"


def test_every_change_is_an_event_and_an_audit_entry(running: Experiment) -> None:
    services.set_status(running, "paused")
    services.set_status(running, "running")
    services.set_status(running, "stopped", STOPPED)
    told = [event.detail["status"] for event in running.events.filter(kind="status").order_by("id")]
    assert told == ["queued", "starting", "running", "paused", "running", "stopped"]
    audited = AuditEntry.objects.filter(item_uuid=running.uuid).order_by("id").values_list("act", flat=True)
    assert [act for act in audited if act.startswith("experiment.")][1:] == [
        f"experiment.{status}" for status in told[1:]
    ]


def test_the_units_own_event_takes_the_place_of_ours(running: Experiment) -> None:
    before = running.events.count()
    assert services.set_status(running, "paused", event=False)
    assert running.events.count() == before


def test_it_starts_once_however_often_it_is_resumed(running: Experiment) -> None:
    started = running.started_at
    services.set_status(running, "paused")
    services.set_status(running, "running")
    assert running.started_at == started


def test_back_in_the_queue_it_holds_nothing_and_says_why(
    experiment: Experiment, small_lab: SimpleNamespace
) -> None:
    services.start_next(small_lab.station)
    services.set_status(experiment, "queued", {"code": "expired", "text": "the unit did not take it"})
    assert (experiment.active_station, experiment.queued_because) == (None, "the unit did not take it")
    assert services.start_next(small_lab.station) == experiment


# --- what people ask --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (services.pause, "experiment.pause"),
        (services.resume, "experiment.resume"),
        (services.skip_step, "experiment.skip_step"),
        (services.stop, "experiment.stop"),
    ],
)
def test_asking_is_a_command_that_names_its_experiment_and_person(
    running: Experiment, operator: Person, act: Any, kind: str
) -> None:
    command = act(operator, running)
    assert (command.kind, command.unit, command.experiment) == (kind, running.station.unit, running)
    assert (command.args["experiment"], command.args["person"]) == (str(running.uuid), "otto")
    running.refresh_from_db()
    assert running.status == "running", "only the unit's word changes it"


@pytest.mark.parametrize(
    "act", [services.pause, services.resume, services.skip_step, services.stop, services.cancel]
)
def test_a_viewer_asks_nothing(running: Experiment, viewer: Person, act: Any) -> None:
    with pytest.raises(NotAllowed):
        act(viewer, running)
    assert not Command.objects.exclude(kind="experiment.start").exists()


def test_what_makes_no_sense_is_refused_with_the_status(experiment: Experiment, operator: Person) -> None:
    for act in (services.pause, services.resume, services.skip_step):
        with pytest.raises(Refused, match="it is queued"):
            act(operator, experiment)


def test_stopping_may_finish_first_and_says_why(running: Experiment, operator: Person) -> None:
    command = services.stop(operator, running, how="finish", reason="enough")
    assert command is not None
    assert (command.args["how"], command.args["reason"], command.expires_at) == ("finish", "enough", None)
    with pytest.raises(Refused, match="now or finish"):
        services.stop(operator, running, how="gently")  # type: ignore[arg-type]


def test_stop_never_asks_twice_but_may_be_asked_twice(running: Experiment, operator: Person) -> None:
    assert services.stop(operator, running)
    assert services.stop(operator, running)


def test_stopping_a_queued_one_cancels_it(experiment: Experiment, operator: Person) -> None:
    assert services.stop(operator, experiment) is None
    experiment.refresh_from_db()
    assert experiment.status == "cancelled"


def test_a_start_that_was_never_sent_is_taken_back(
    experiment: Experiment, small_lab: SimpleNamespace, operator: Person
) -> None:
    services.start_next(small_lab.station)
    assert services.stop(operator, experiment, reason="wrong cell") is None
    experiment.refresh_from_db()
    assert (experiment.status, experiment.end_reason["text"]) == ("stopped", "stopped by otto: wrong cell")
    assert Command.objects.get(kind="experiment.start").status == "expired"


def test_a_start_on_its_way_is_stopped_by_the_unit(
    experiment: Experiment, small_lab: SimpleNamespace, operator: Person
) -> None:
    from web_server.commands import services as commands

    services.start_next(small_lab.station)
    commands.claim([small_lab.unit.pk], "m1")
    command = services.stop(operator, experiment)
    assert command is not None
    assert command.kind == "experiment.stop"


def test_what_has_ended_is_not_stopped(running: Experiment, operator: Person) -> None:
    services.set_status(running, "stopped", STOPPED)
    with pytest.raises(Refused, match="stopped already"):
        services.stop(operator, running)


def test_only_a_queued_one_is_cancelled(running: Experiment, operator: Person) -> None:
    with pytest.raises(Refused, match="only a queued one"):
        services.cancel(operator, running)


def test_queueing_again_files_a_copy_that_names_its_origin(running: Experiment, operator: Person) -> None:
    with pytest.raises(Refused, match="not over yet"):
        services.requeue(operator, running)
    services.set_status(running, "stopped", STOPPED)
    copy = services.requeue(operator, running)
    assert (copy.status, copy.origin, copy.battery, copy.station) == (
        "queued",
        running,
        running.battery,
        running.station,
    )
    running.refresh_from_db()
    assert running.status == "stopped"


def test_the_queue_can_be_put_in_another_order(small_lab: SimpleNamespace, operator: Person) -> None:
    filed = [
        factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station, name=name)
        for name in ("a", "b", "c")
    ]
    services.reorder(operator, [filed[2], filed[0], filed[1]])
    assert services.start_next(small_lab.station) == filed[2]
    with pytest.raises(Refused, match="not queued any more"):
        services.reorder(operator, [filed[2]])


def test_descriptions_change_and_the_contract_does_not(running: Experiment, operator: Person) -> None:
    services.change(operator, running, name="Renamed", tags=["x"])
    with pytest.raises(Refused) as refused:
        services.change(operator, running, battery="other", priority=1)
    assert {error["field"] for error in refused.value.errors} == {"battery", "priority"}


def test_a_note_is_an_event_with_its_person(running: Experiment, operator: Person) -> None:
    services.note(operator, running, "smells odd")
    assert running.events.latest("id").detail == {"person": "otto"}


def test_it_is_complete_when_every_sample_to_the_last_is_stored(running: Experiment) -> None:
    services.set_status(running, "finished", {"code": "finished", "text": "done"}, last_seq=3)
    assert not running.is_complete
    running.sample_count = 3
    assert running.is_complete
