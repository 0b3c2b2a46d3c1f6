"""Every trip and every unsafe station reaches a person, once per round, or somebody sees that it did not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.web_server import factories
from tests.web_server.notice_servers import mail_server, webhook
from web_server.accounts.models import AuditEntry, Person
from web_server.experiments.models import Alarm
from web_server.lab.models import Station
from web_server.lib.errors import NotAllowed, Refused
from web_server.notices import addresses, queries, sending, services, words
from web_server.notices.models import Delivery, Escalation, Target
from web_server.notices.sending import Outcome

HOOK = "https://hooks.example.org/very/secret?token=hush-hush"
MAIL = "mailtos://otto:open-sesame@mail.example.org:587?from=lab@example.org&to=night@example.org"


def _target(by: Person, name: str = "night shift", address: str = HOOK, **body: Any) -> Target:
    return services.add(by, name=name, address=address, **body)


def _alarm(station: Station, **columns: Any) -> Alarm:
    given = {"text": "E1: voltage 4.24 V is above the trip limit of 4.23 V", **columns}
    return factories.make_alarm(station, **given)


def _send(manager: str = "m1") -> list[Outcome]:
    """Do what the manager's thread does, once."""
    services.plan()
    came = []
    for row in services.take(manager, 10):
        assert row.target is not None
        outcome = sending.send_to(row.target, *words.of(row))
        assert services.finish(row, outcome)
        came.append(outcome)
    return came


# --- the way out ------------------------------------------------------------------------------------


def test_a_trip_reaches_a_mailbox(administrator: Person, station: Station) -> None:
    with mail_server() as (box, address):
        _target(administrator, address=address)
        _alarm(station, severity="trip", quantity="voltage_v", limit=4.23, measured=4.24)
        assert _send() == [Outcome(True)]
    [mail] = box.mails
    assert mail["to"] == ["night@example.org"]
    assert mail["subject"] == "Cellyard: S1 tripped"
    assert "voltage 4.24 V is above the trip limit" in mail["text"]
    row = Delivery.objects.get()
    assert (row.state, row.attempts, row.outcome) == ("sent", 1, "")
    assert row.sent_at is not None


def test_an_unsafe_station_reaches_a_webhook_with_its_last_line_of_defence(
    administrator: Person, station: Station
) -> None:
    Station.objects.filter(pk=station.pk).update(last_defence="red button at the door")
    with webhook() as (got, address):
        _target(administrator, address=address)
        alarm = _alarm(station, severity="unsafe", code="off_failed", text="may still be on")
        assert _send() == [Outcome(True)]
    [body] = got
    assert body["title"] == "Cellyard: S1 MAY STILL BE ON"
    assert "red button at the door" in body["message"]
    assert f"/alarms/{alarm.uuid}/" in body["message"]
    assert body["path"].startswith("/hooks/secret-part")
    assert "token=hush-hush" in body["path"]


def test_what_fails_is_said_in_words_without_its_secrets_and_tried_again(
    administrator: Person, station: Station
) -> None:
    with webhook() as (_, address):
        broken = address.replace("/hooks/", "/broken/")
        _target(administrator, address=broken)
        _alarm(station)
        [outcome] = _send()
    assert not outcome.sent
    assert "500" in outcome.text
    assert "secret-part" not in outcome.text
    row = Delivery.objects.get()
    assert (row.state, row.attempts) == ("due", 1)
    assert row.next_try_at > timezone.now()
    assert [late.target_name for late in queries.undelivered()] == ["night shift"]
    assert services.take("m1", 10) == []
    for _ in services.AGAIN_S:
        Delivery.objects.update(next_try_at=timezone.now())
        [row] = services.take("m1", 10)
        services.finish(row, Outcome(False, "still broken"))
    row.refresh_from_db()
    assert (row.state, row.attempts, row.outcome) == ("failed", 6, "still broken")
    assert queries.undelivered()


def test_a_mail_server_that_is_not_there_is_said_in_words(administrator: Person) -> None:
    outcome = sending.send(
        "mailto://otto:open-sesame@127.0.0.1:1?from=a@b.org&to=c@d.org&mode=insecure", "t", "b"
    )
    assert not outcome.sent
    assert "refused" in outcome.text.lower()
    assert "open-sesame" not in outcome.text


def test_a_mail_server_that_takes_nothing_is_a_failure() -> None:
    with mail_server() as (box, address):
        box.refuse = True
        assert not sending.send(address, "t", "b").sent


# --- who, when --------------------------------------------------------------------------------------


def test_warnings_wake_nobody(administrator: Person, station: Station) -> None:
    _target(administrator)
    _alarm(station, severity="warning")
    assert services.plan() == 0
    assert not Delivery.objects.exists()


def test_the_next_one_hears_after_fifteen_minutes_without_an_acknowledgement(
    administrator: Person, station: Station
) -> None:
    _target(administrator, "first", place=1)
    _target(administrator, "second", place=2)
    alarm = _alarm(station)
    services.plan()
    assert _told() == ["first"]
    services.plan()
    assert _told() == ["first"]
    _minutes_pass(15)
    services.plan()
    assert _told() == ["first", "second"]
    _minutes_pass(15)
    services.plan()
    assert _told() == ["first", "second", "first", "second"]
    assert "message 3" in words.text(alarm, 3)


def test_the_next_place_hears_at_once_when_the_first_cannot_be_reached(
    administrator: Person, station: Station
) -> None:
    with mail_server() as (first, address), webhook() as (got, hook):
        first.refuse = True
        _target(administrator, "first", address=address, place=1)
        _target(administrator, "second", address=hook, place=2)
        _target(administrator, "third", place=3)
        _alarm(station)
        services.plan()
        _send()
        assert not got, "the first place had its chance first"
        services.plan()
        assert _told() == ["first", "second"]
        _send()
        assert len(got) == 1
        services.plan()
        assert _told() == ["first", "second"], "somebody has heard: the third waits its 15 minutes"


def test_one_that_was_reached_is_enough_for_its_place(administrator: Person, station: Station) -> None:
    with mail_server() as (broken, address), webhook() as (got, hook):
        broken.refuse = True
        _target(administrator, "mail", address=address, place=1)
        _target(administrator, "hook", address=hook, place=1)
        _target(administrator, "second", place=2)
        _alarm(station)
        services.plan()
        _send()
        assert len(got) == 1
        services.plan()
        assert sorted(_told()) == ["hook", "mail"]


def test_when_nobody_at_all_can_be_reached_reminders_keep_their_time(
    administrator: Person, station: Station
) -> None:
    with mail_server() as (broken, address):
        broken.refuse = True
        _target(administrator, "only", address=address)
        _alarm(station)
        services.plan()
        _send()
        services.plan()
        assert _told() == ["only"]
        assert Delivery.objects.get().state == "due", "and it is tried again"


def test_whoever_acknowledges_ends_it(administrator: Person, station: Station) -> None:
    _target(administrator)
    alarm = _alarm(station)
    services.plan()
    Alarm.objects.filter(pk=alarm.pk).update(acknowledge_asked_at=timezone.now())
    _minutes_pass(15)
    assert services.plan() == 0
    assert len(_told()) == 1


def test_what_was_acknowledged_before_it_went_out_does_not_go(
    administrator: Person, station: Station
) -> None:
    _target(administrator)
    alarm = _alarm(station)
    services.plan()
    Alarm.objects.filter(pk=alarm.pk).update(state="acknowledged")
    assert services.take("m1", 10) == []
    assert "acknowledged before" in Delivery.objects.get().outcome


def test_reminders_end_after_a_day(administrator: Person, station: Station) -> None:
    _target(administrator)
    alarm = _alarm(station)
    services.plan()
    Alarm.objects.filter(pk=alarm.pk).update(created_at=timezone.now() - timedelta(hours=25))
    _minutes_pass(15)
    assert services.plan() == 0
    assert Escalation.objects.get().next_at is None


def test_an_alarm_that_a_cut_off_unit_tells_late_goes_on_to_the_next_place(
    administrator: Person, station: Station
) -> None:
    _target(administrator, "first", place=1)
    _target(administrator, "second", place=2)
    _alarm(station, raised_at=timezone.now() - timedelta(days=3))
    services.plan()
    _minutes_pass(15)
    services.plan()
    assert _told() == ["first", "second"]


def test_an_address_that_is_off_hears_nothing(administrator: Person, station: Station) -> None:
    _target(administrator, active=False)
    _alarm(station)
    assert services.plan() == 0


def _told() -> list[str]:
    return list(Delivery.objects.order_by("id").values_list("target_name", flat=True))


def _minutes_pass(minutes: int) -> None:
    for row in Escalation.objects.exclude(next_at=None):
        Escalation.objects.filter(pk=row.pk).update(next_at=row.next_at - timedelta(minutes=minutes))


# --- two managers -----------------------------------------------------------------------------------


def test_two_managers_begin_a_round_once(administrator: Person, station: Station) -> None:
    _target(administrator)
    _alarm(station)
    services.plan()
    [row] = Escalation.objects.all()
    row.round, row.next_at = 0, row.next_at - services.NEXT_AFTER
    assert services._round(row, list(Target.objects.all()), timezone.now()) is False
    assert len(_told()) == 1


def test_two_managers_never_take_the_same(administrator: Person, station: Station) -> None:
    _target(administrator)
    _alarm(station)
    services.plan()
    seen = Delivery.objects.select_related("target", "alarm").get()
    assert len(services.take("m1", 10)) == 1
    assert services.take("m2", 10) == []
    # The second had read the row before the first took it.
    assert services._take(seen, "m2", timezone.now()) is False


def test_what_a_dead_manager_took_is_taken_over(administrator: Person, station: Station) -> None:
    _target(administrator)
    _alarm(station)
    services.plan()
    [dead] = services.take("m1", 10)
    Delivery.objects.update(taken_at=timezone.now() - services.LAPSED_AFTER - timedelta(seconds=1))
    [mine] = services.take("m2", 10)
    assert services.finish(dead, Outcome(True)) is False
    assert services.finish(mine, Outcome(True)) is True


# --- addresses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "way", "shown"),
    [
        (HOOK, "webhook", "https://hooks.example.org/…"),
        ("http://127.0.0.1:9000/", "webhook", "http://127.0.0.1:9000"),
        (MAIL, "mail", "mailtos://mail.example.org:587 to night@example.org"),
        ("slack://TokenAAAA/TokenBBBBB/TokenCCCCCCCCCCCCCCC/#lab", "webhook", "slack://…"),
    ],
)
def test_an_address_is_shown_without_its_secrets(text: str, way: str, shown: str) -> None:
    found = addresses.parse(text)
    assert (found.way, found.shown) == (way, shown)


@pytest.mark.parametrize(
    "text", ["", "night@example.org", "syslog://", "exec://rm", "file:///etc/passwd", "mailto://", "https://"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        addresses.parse(text)


def test_the_address_is_shown_nowhere_again(administrator: Person, client: Any) -> None:
    target = _target(administrator, address=MAIL)
    client.force_login(administrator)
    page = client.get("/notices/")
    assert page.status_code == 200
    shown = page.content.decode()
    shown += client.get(f"/api/v1/notice-targets/{target.uuid}/").content.decode()
    shown += client.get("/system/").content.decode() + client.get("/admin/").content.decode()
    page = client.get(f"/admin/notices/target/{target.pk}/change/")
    assert page.status_code == 200
    shown += page.content.decode()
    assert "open-sesame" not in shown
    assert "open-sesame" not in str(list(AuditEntry.objects.values_list("detail", flat=True)))


# --- roles ----------------------------------------------------------------------------------------------


def test_only_administrators_say_who_hears(manager: Person, administrator: Person) -> None:
    target = _target(administrator)
    for do in (
        lambda: _target(manager, "other"),
        lambda: services.change(manager, target, place=2),
        lambda: services.remove(manager, target),
        lambda: services.test(manager, target),
    ):
        with pytest.raises(NotAllowed):
            do()


def test_an_address_left_out_of_a_change_stays(administrator: Person) -> None:
    target = _target(administrator)
    before = target.address
    assert services.change(administrator, target, name="day shift", place=3).address == before
    with pytest.raises(Refused, match="1 to 99"):
        services.change(administrator, target, place=0)
    _target(administrator, "other")
    with pytest.raises(Refused, match="already"):
        services.change(administrator, target, name="other")


def test_a_test_is_tried_once_and_says_what_came_of_it(administrator: Person) -> None:
    with webhook() as (got, address):
        sent = services.test(administrator, _target(administrator, address=address))
        assert _send() == [Outcome(True)]
        assert got[0]["title"] == "Cellyard: a test"
    sent.refresh_from_db()
    assert sent.state == "sent"
    failed = services.test(administrator, Target.objects.get())
    [outcome] = _send()
    failed.refresh_from_db()
    assert (failed.state, failed.outcome) == ("failed", outcome.text)


def test_what_was_sent_stays_when_the_address_goes(administrator: Person, station: Station) -> None:
    target = _target(administrator)
    _alarm(station)
    services.plan()
    services.remove(administrator, target)
    assert services.take("m1", 10) == []
    row = Delivery.objects.get()
    assert (row.target, row.target_name, row.state) == (None, "night shift", "failed")


def test_many_alarms_ask_the_database_a_few_questions(
    administrator: Person, django_assert_max_num_queries: Any
) -> None:
    unit = factories.make_unit()
    station = factories.make_station(unit)
    with django_assert_max_num_queries(1):
        services.plan()
    _target(administrator)
    _alarm(station)
    services.plan()
    with django_assert_max_num_queries(3):
        services.plan()
