"""An alarm of a unit reaches a mailbox and a webhook through the real manager, once, also with two of them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from mn_manager.notices import Notices
from tests.mn_manager.real import Database, PlayedUnit, manager
from tests.mn_manager.test_process import played
from tests.stack.brokers import Broker
from tests.stack.waiting import until
from tests.web_server import factories
from tests.web_server.notice_servers import mail_server, webhook
from web_server.experiments.models import Alarm
from web_server.lab import services as lab
from web_server.lab.models import ManagerBeat, Station, Unit
from web_server.notices import services
from web_server.notices.models import Delivery, Escalation
from wire import messages

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]
# safety.md rule 19.
WITHIN_S = 30.0


@pytest.fixture
def database(tmp_path: Path, django_db_blocker: Any) -> Iterator[Database]:
    """A migrated database that this test and its managers share."""
    own = Database(tmp_path)
    with django_db_blocker.unblock(), own.opened():
        yield own
    own.drop()


@pytest.fixture
def two_managers(tmp_path: Path, database: Database, broker: Broker) -> Iterator[None]:
    """Two managers of one database."""
    running = [manager(tmp_path, database, broker.url(), name).start() for name in ("a", "b")]
    yield
    for each in running:
        each.stop()


@pytest.fixture
def unit(two_managers: None, broker: Broker) -> Iterator[PlayedUnit]:
    """A unit that is online."""
    until(lambda: ManagerBeat.objects.count() == 2, 30, "both managers run")
    with played(broker, lab.issue_enrol_token(None)[1]) as unit:
        yield unit


def _trip(unit: PlayedUnit, station: Station) -> str:
    """Tell of a trip as a unit does, until it is stored; return the alarm's id."""
    alarm = str(uuid.uuid4())
    told = messages.Event(
        at="2026-05-01T12:00:00+00:00",
        kind="alarm",
        text="voltage 4.24 V is above the trip limit of 4.23 V",
        station=str(station.uuid),
        detail={"id": alarm, "code": "limit", "class": "trip", "station": str(station.uuid)},
    )
    unit.happen(1, told)
    until(lambda: unit.repeat() or Alarm.objects.filter(uuid=alarm).exists(), 30, "stored", every_s=0.3)
    return alarm


def test_a_trip_reaches_a_mailbox_and_a_webhook_in_time_and_once(unit: PlayedUnit) -> None:
    station = factories.make_station(Unit.objects.get(uuid=unit.id))
    with mail_server() as (box, mail), webhook() as (got, hook):
        services.add(None, name="night shift", address=mail)
        services.add(None, name="chat", address=hook)
        began_s = time.monotonic()
        alarm = _trip(unit, station)
        until(lambda: box.mails and got, WITHIN_S, "both have heard")
        assert time.monotonic() - began_s < WITHIN_S
        until(lambda: Delivery.objects.filter(state="sent").count() == 2, 20, "both are recorded")
        # Each manager looks every second: a second message would have gone out by now.
        rounds = Delivery.objects.count()
        looked = ManagerBeat.objects.order_by("seen_at").first()
        assert looked is not None
        until(
            lambda: all(beat.seen_at > looked.seen_at for beat in ManagerBeat.objects.all()),
            30,
            "both managers have looked again",
        )
        assert (len(box.mails), len(got), rounds) == (1, 1, 2)
    assert alarm in box.mails[0]["text"]


def test_the_next_one_hears_by_mail_after_fifteen_minutes_and_nobody_after_an_acknowledgement(
    unit: PlayedUnit,
) -> None:
    station = factories.make_station(Unit.objects.get(uuid=unit.id))
    with mail_server() as (night, first), mail_server() as (boss, second):
        services.add(None, name="night shift", address=first, place=1)
        services.add(None, name="head of laboratory", address=second, place=2)
        alarm = Alarm.objects.get(uuid=_trip(unit, station))
        until(lambda: night.mails, WITHIN_S, "the first place has heard")
        row = Escalation.objects.get(alarm=alarm)
        assert row.next_at is not None
        assert 14.0 * 60.0 < (row.next_at - alarm.created_at).total_seconds() < 16.0 * 60.0
        assert not boss.mails
        Escalation.objects.filter(pk=row.pk).update(next_at=row.next_at - services.NEXT_AFTER)
        until(lambda: boss.mails, WITHIN_S, "the second place has heard")
        assert "this is message 2" in boss.mails[0]["text"]
        assert len(night.mails) == 1
        Alarm.objects.filter(pk=alarm.pk).update(acknowledge_asked_at=timezone.now())
        Escalation.objects.filter(pk=row.pk).update(next_at=timezone.now())
        beats = {each.pk: each.seen_at for each in ManagerBeat.objects.all()}
        until(
            lambda: all(each.seen_at > beats[each.pk] for each in ManagerBeat.objects.all()),
            30,
            "looked again",
        )
        assert (len(night.mails), len(boss.mails)) == (1, 1)


def test_the_second_place_hears_within_30_s_when_the_first_cannot_be_reached(unit: PlayedUnit) -> None:
    station = factories.make_station(Unit.objects.get(uuid=unit.id))
    with mail_server() as (box, mail), webhook() as (got, hook):
        box.refuse = True
        services.add(None, name="night shift", address=mail, place=1)
        services.add(None, name="chat", address=hook, place=2)
        began_s = time.monotonic()
        _trip(unit, station)
        until(lambda: got, WITHIN_S, "the second place has heard")
        assert time.monotonic() - began_s < WITHIN_S


def test_a_mail_server_that_comes_back_gets_what_it_missed(unit: PlayedUnit) -> None:
    station = factories.make_station(Unit.objects.get(uuid=unit.id))
    with mail_server() as (box, mail):
        box.refuse = True
        services.add(None, name="night shift", address=mail)
        _trip(unit, station)
        until(lambda: Delivery.objects.filter(attempts=1, state="due").exists(), 30, "the first try failed")
        assert Delivery.objects.get().outcome
        box.refuse = False
        until(lambda: box.mails, 30, "the next try went through")


def test_a_test_is_sent_the_same_way(unit: PlayedUnit) -> None:
    with webhook() as (got, hook):
        sent = services.test(None, services.add(None, name="chat", address=hook))
        until(lambda: got, 20, "the test has arrived")
        until(lambda: Delivery.objects.get(pk=sent.pk).state == "sent", 20, "and is recorded")


def test_the_thread_ends_when_it_is_told(db: None) -> None:
    thread = Notices("m1")
    thread.stop()
    assert not thread.is_alive()
