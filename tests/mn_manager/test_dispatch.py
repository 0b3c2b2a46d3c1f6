"""Commands out, replies in; and which manager does it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from mn_manager import leases as leases_module
from tests.mn_manager.conftest import Bridge, make_bridge
from tests.mn_manager.test_presence import hello
from tests.web_server import factories
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.lab.models import ManagerBeat, Station, Unit
from wire.messages import Reply


def ask(station: Station, kind: str = "detect", **more: object) -> Command:
    return commands.request(kind, more.pop("args", {}), station.unit, station=station, **more)  # type: ignore[arg-type]


def answer(bridge: Bridge, command: Command, outcome: str = "done", **more: object) -> None:
    reply = Reply(command=str(command.uuid), outcome=outcome, **more)  # type: ignore[arg-type]
    bridge.unit_says(command.unit, "replies", reply)
    command.refresh_from_db()


def test_a_command_names_the_present_connection_and_is_never_retained(
    bridge: Bridge, station: Station
) -> None:
    command = ask(station)
    bridge.dispatch.send_new()
    sent = bridge.link.take("/commands")[0]
    assert (sent["id"], sent["connection"], sent["kind"]) == (str(command.uuid), "c1", "detect")
    assert sent["expires_at"] > sent["issued_at"]
    assert bridge.link.retained == []


def test_stops_go_first_and_never_expire(bridge: Bridge, station: Station) -> None:
    ask(station)
    ask(station, "station.stop_all")
    bridge.dispatch.send_new()
    first, _ = bridge.link.take("/commands")
    assert first["kind"] == "station.stop_all"
    assert "expires_at" not in first


def test_an_unanswered_command_goes_out_again_every_2_s(bridge: Bridge, station: Station) -> None:
    command = ask(station)
    bridge.dispatch.send_new()
    bridge.dispatch.send_again()
    assert len(bridge.link.take("/commands")) == 1, "not sooner than after 2 s"
    Command.objects.update(sent_at=timezone.now() - timedelta(seconds=2.1))
    bridge.dispatch.send_again()
    assert [sent["id"] for sent in bridge.link.take("/commands")] == [str(command.uuid)]


def test_a_unit_that_comes_back_gets_it_at_once_for_its_new_connection(
    bridge: Bridge, station: Station
) -> None:
    ask(station)
    bridge.dispatch.send_new()
    bridge.link.sent.clear()
    bridge.unit_says(station.unit, "presence", hello(connection="c9"))
    assert bridge.link.take("/commands")[0]["connection"] == "c9"


def test_an_answer_closes_it_and_it_is_not_sent_again(bridge: Bridge, station: Station) -> None:
    command = ask(station)
    bridge.dispatch.send_new()
    answer(bridge, command, result={"found": 2})
    assert (command.status, command.result) == ("done", {"found": 2})
    Command.objects.update(sent_at=timezone.now() - timedelta(seconds=9))
    bridge.link.sent.clear()
    bridge.dispatch.send_again()
    assert bridge.link.sent == []


def test_a_second_answer_changes_nothing(bridge: Bridge, station: Station) -> None:
    command = ask(station)
    answer(bridge, command)
    answer(bridge, command, "failed", reason="too late")
    assert command.status == "done"


def test_a_unit_cannot_answer_for_another(bridge: Bridge, station: Station) -> None:
    command = ask(station)
    stranger = factories.make_unit("stranger")
    bridge.leases.renew()
    bridge.unit_says(stranger, "replies", Reply(command=str(command.uuid), outcome="done"))
    command.refresh_from_db()
    assert command.status == "queued"
    assert bridge.counters.dropped["foreign"] == 1


def test_nothing_is_taken_for_a_unit_that_is_away(bridge: Bridge, station: Station) -> None:
    command = ask(station)
    Unit.objects.update(online=False)
    bridge.dispatch.look_around()
    bridge.dispatch.send_new()
    command.refresh_from_db()
    assert (command.status, bridge.link.sent) == ("queued", [])


def test_the_outbox_is_asked_every_10_ms_while_somebody_is_active(bridge: Bridge, station: Station) -> None:
    assert bridge.dispatch.period_s == 0.1
    ask(station)
    bridge.dispatch.send_new()
    assert bridge.dispatch.period_s == 0.01


def test_an_idle_question_is_one_query(
    bridge: Bridge, station: Station, django_assert_num_queries: object
) -> None:
    with django_assert_num_queries(1):  # type: ignore[operator]
        bridge.dispatch.send_new()


def test_a_command_is_sent_by_one_of_two_managers(bridge: Bridge, station: Station) -> None:
    other = make_bridge("manager-b")
    other.leases.units, other.leases._trusted_until_s = (
        dict(bridge.leases.units),
        bridge.leases._trusted_until_s,
    )
    other.dispatch.look_around()
    ask(station)
    bridge.dispatch.send_new()
    other.dispatch.send_new()
    assert len(bridge.link.take("/commands")) + len(other.link.take("/commands")) == 1


# --- leases ---------------------------------------------------------------------------------------


def test_a_held_unit_is_not_taken_and_a_lapsed_one_is(bridge: Bridge, station: Station) -> None:
    other = make_bridge("manager-b")
    other.leases.renew()
    assert other.leases.units == {}
    Unit.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    other.leases.renew()
    assert other.leases.owns(str(station.unit.uuid))
    bridge.leases.renew()
    assert bridge.leases.units == {}


def test_a_manager_that_overslept_does_not_act(
    bridge: Bridge, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(station)
    later = leases_module.time.monotonic() + leases_module.LEASE_S
    monkeypatch.setattr(leases_module.time, "monotonic", lambda: later)
    bridge.dispatch.send_new()
    bridge.unit_says(station.unit, "presence", hello())
    assert bridge.link.sent == []
    assert Unit.objects.get().connection == "c1"


def test_units_are_shared_when_a_second_manager_comes(bridge: Bridge) -> None:
    for number in range(4):
        factories.make_unit(f"unit {number}")
    bridge.leases.renew()
    assert len(bridge.leases.units) == 4
    other = make_bridge("manager-b")
    for name in ("manager-a", "manager-b"):
        ManagerBeat.objects.create(manager=name, seen_at=timezone.now())
    for _ in range(3):
        bridge.leases.renew()
        other.leases.renew()
    assert len(bridge.leases.units) == len(other.leases.units) == 2
    assert not set(bridge.leases.units) & set(other.leases.units)


def test_a_clean_stop_lets_the_units_go_at_once(bridge: Bridge, station: Station) -> None:
    bridge.leases.release()
    other = make_bridge("manager-b")
    other.leases.renew()
    assert other.leases.owns(str(station.unit.uuid))
