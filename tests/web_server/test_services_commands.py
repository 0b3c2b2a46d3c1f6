"""The outbox: taken once, repeated until answered, closed once; stops first and never expiring."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.web_server import factories
from web_server.accounts.models import AuditEntry, Person
from web_server.commands import services
from web_server.commands.models import Command
from web_server.experiments.models import Alarm
from web_server.lab.models import Station
from web_server.lib.errors import NotAllowed, Refused

EXPERIMENT = {"experiment": "8c9a62d2-8e2b-4c6e-9c62-2f2c1a1d7a11"}


def _late(command: Command, seconds: float = 60) -> None:
    Command.objects.filter(pk=command.pk).update(expires_at=timezone.now() - timedelta(seconds=seconds))


def test_a_request_is_a_row_with_expiry_and_who_asked(station: Station, operator: Person) -> None:
    command = services.request("experiment.pause", EXPERIMENT, station.unit, station=station, by=operator)
    assert (command.status, command.issued_by_name) == ("queued", "otto")
    assert 29 < (command.expires_at - timezone.now()).total_seconds() <= 30
    assert command.args == EXPERIMENT
    assert AuditEntry.objects.filter(act="command.experiment.pause", person=operator).exists()


def test_two_managers_never_both_take_a_command(station: Station) -> None:
    services.request("detect", {}, station.unit)
    assert len(services.claim([station.unit_id], "m1")) == 1
    assert services.claim([station.unit_id], "m2") == []


def test_a_manager_takes_only_what_is_for_its_units(station: Station) -> None:
    other = factories.make_unit("unit 2")
    services.request("detect", {}, other)
    assert services.claim([station.unit_id], "m1") == []
    assert [command.unit for command in services.claim([other.pk], "m1")] == [other]


def test_stops_jump_the_queue_and_never_expire(station: Station, operator: Person) -> None:
    services.request("detect", {}, station.unit)
    stop = services.request("experiment.stop", EXPERIMENT, station.unit, by=operator, expires_s=5)
    assert stop.expires_at is None
    assert [command.kind for command in services.claim([station.unit_id], "m1")] == [
        "experiment.stop",
        "detect",
    ]
    assert services.expire_due() == []


def test_an_expired_command_is_not_sent_any_more(station: Station) -> None:
    command = services.request("detect", {}, station.unit)
    _late(command)
    assert services.claim([station.unit_id], "m1") == []
    assert services.expire_due() == [command]
    command.refresh_from_db()
    assert (command.status, command.reason) == ("expired", "The unit did not answer in time.")
    assert services.expire_due() == []


def test_what_is_not_answered_is_due_again_after_two_seconds(station: Station) -> None:
    services.request("detect", {}, station.unit)
    [command] = services.claim([station.unit_id], "m1")
    assert services.unanswered([station.unit_id]) == []
    Command.objects.update(sent_at=timezone.now() - timedelta(seconds=3))
    assert services.unanswered([station.unit_id]) == [command]
    assert services.mark_sent(command)
    assert services.unanswered([station.unit_id]) == []


def test_an_answer_closes_it_once(station: Station) -> None:
    command = services.request("detect", {}, station.unit)
    services.claim([station.unit_id], "m1")
    closed = services.close(str(command.uuid), "done", {"found": 2})
    assert closed is not None
    assert (closed.status, closed.outcome, closed.result) == ("done", "done", {"found": 2})
    assert services.close(str(command.uuid), "failed") is None
    assert not services.mark_sent(command)


def test_an_answer_after_the_expiry_is_still_the_truth(station: Station) -> None:
    command = services.request("detect", {}, station.unit)
    _late(command)
    services.expire_due()
    closed = services.close(command.uuid, "done")
    assert closed is not None
    assert closed.status == "done"


def test_an_answer_to_nothing_is_ignored(station: Station) -> None:
    assert services.close("8c9a62d2-8e2b-4c6e-9c62-2f2c1a1d7a11", "done") is None


@pytest.mark.parametrize(
    ("kind", "args", "said"),
    [
        ("experiment.explode", {}, "Unknown command"),
        ("experiment.pause", {}, "experiment"),
        ("experiment.stop", {**EXPERIMENT, "how": "gently"}, "how"),
        ("scpi.query", {"text": float("nan")}, "args|Wrong"),
    ],
)
def test_wrong_requests_are_refused(station: Station, kind: str, args: dict, said: str) -> None:
    with pytest.raises(Refused, match=said):
        services.request(kind, args, station.unit)
    assert not Command.objects.exists()


def test_roles_decide_what_may_be_sent(
    station: Station, viewer: Person, operator: Person, manager: Person
) -> None:
    with pytest.raises(NotAllowed):
        services.request("experiment.stop", EXPERIMENT, station.unit, by=viewer)
    with pytest.raises(NotAllowed):
        services.request("scpi.write", {"text": "OUTP ON"}, station.unit, by=operator)
    services.request("scpi.write", {"link": "psb1", "text": "OUTP OFF"}, station.unit, by=manager)


def test_a_unit_that_nobody_approved_takes_no_commands(db: None) -> None:
    with pytest.raises(Refused, match="pending"):
        services.request("detect", {}, factories.make_unit(approved=False))


def test_an_alarm_is_acknowledged_only_when_the_unit_said_so(station: Station, operator: Person) -> None:
    from web_server.lab import services as lab

    alarm = Alarm.objects.create(station=station, unit=station.unit, code="voltage", text="4.3 V")
    Station.objects.filter(pk=station.pk).update(latched_alarm=alarm.uuid, state="tripped")
    command = lab.acknowledge(operator, alarm)
    alarm.refresh_from_db()
    assert command is not None
    assert alarm.state == "raised"
    assert alarm.acknowledge_asked_at is not None
    services.close(command.uuid, "done")
    alarm.refresh_from_db()
    station.refresh_from_db()
    assert (alarm.state, alarm.acknowledged_by) == ("acknowledged", operator)
    assert station.latched_alarm is None


def test_a_refused_acknowledgement_leaves_the_alarm_raised_and_says_why(
    station: Station, operator: Person
) -> None:
    from web_server.lab import services as lab

    alarm = Alarm.objects.create(station=station, unit=station.unit, code="off_failed", text="still 1 A")
    command = lab.acknowledge(operator, alarm)
    assert command is not None
    services.close(command.uuid, "refused", reason="the output is still on.")
    alarm.refresh_from_db()
    assert (alarm.state, alarm.acknowledge_refused) == ("raised", "the output is still on")
    # Whoever hears of alarms is told again: a request that came to nothing answers none.
    assert alarm.acknowledge_asked_at is None
    again = lab.acknowledge(operator, alarm)
    alarm.refresh_from_db()
    assert again is not None
    assert alarm.acknowledge_refused == ""
    services.close(again.uuid, "done")
    alarm.refresh_from_db()
    assert alarm.state == "acknowledged"
