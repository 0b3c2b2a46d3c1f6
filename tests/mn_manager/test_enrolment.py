"""Registration: discover → offer, request → ack or pending; the row decides who answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mn_manager.leases import LEASE_S
from tests.mn_manager.conftest import Bridge, make_bridge
from web_server.accounts.models import AuditEntry
from web_server.lab import enrolment, services
from web_server.lab.models import EnrolToken, Unit
from wire.messages import RegisterAsk


def ask(bridge: Bridge, kind: str, hardware_id: str = "hw-1", **more: Any) -> list[dict[str, Any]]:
    """Ask as a unit would; return what is answered."""
    question = RegisterAsk(kind=kind, hardware_id=hardware_id, hostname="bench-pi", **more)  # type: ignore[arg-type]
    bridge.hear(f"enrol/{hardware_id}/ask", question)
    return bridge.link.take(f"enrol/{hardware_id}/answer")


@pytest.fixture
def bridge(db: None) -> Bridge:
    return make_bridge()


def test_a_new_unit_is_offered_a_uuid_that_stays_its_own(bridge: Bridge) -> None:
    first, second = ask(bridge, "discover")[0], ask(bridge, "discover")[0]
    assert first["kind"] == "offer"
    assert first["unit"] == second["unit"] == str(Unit.objects.get().uuid)


def test_without_a_token_it_is_pending_until_somebody_approves_it(bridge: Bridge) -> None:
    ask(bridge, "discover")
    assert ask(bridge, "request", version="0.1.0")[0]["kind"] == "pending"
    unit = Unit.objects.get()
    assert (unit.status, unit.name, unit.version) == ("pending", "bench-pi", "0.1.0")
    services.approve(None, unit)
    assert ask(bridge, "request")[0] == {"kind": "ack", "unit": str(unit.uuid)}
    assert bridge.leases.owns(str(unit.uuid))


def test_a_one_time_token_approves_once_and_only_once(bridge: Bridge) -> None:
    _, secret = services.issue_enrol_token(None, note="bench")
    assert ask(bridge, "request", token=secret)[0]["kind"] == "ack"
    # Its own answer may have got lost: the same unit asks again and is known now.
    assert ask(bridge, "request", token=secret)[0]["kind"] == "ack"
    assert ask(bridge, "request", "hw-2", token=secret)[0]["kind"] == "pending"
    assert EnrolToken.objects.get().unit == Unit.objects.get(hardware_id="hw-1")
    assert AuditEntry.objects.filter(act="unit.approve").count() == 1


def test_a_token_that_is_too_old_or_wrong_opens_nothing(bridge: Bridge) -> None:
    _, secret = services.issue_enrol_token(None)
    EnrolToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert ask(bridge, "request", token=secret)[0]["kind"] == "pending"
    assert "unknown, used or too old" in ask(bridge, "request", token="guessed")[0]["reason"]


def test_an_answer_never_carries_a_secret(bridge: Bridge) -> None:
    _, secret = services.issue_enrol_token(None)
    answers = ask(bridge, "request", token=secret, password="the unit's own")
    assert secret not in str(answers)
    assert "the unit's own" not in str(answers)


def test_a_retired_unit_is_refused_with_the_reason(bridge: Bridge) -> None:
    ask(bridge, "discover")
    services.retire_unit(None, Unit.objects.get())
    answer = ask(bridge, "request")[0]
    assert (answer["kind"], answer["reason"]) == ("refused", "this unit is retired")


def test_two_units_of_one_host_name_get_two_names(bridge: Bridge) -> None:
    ask(bridge, "discover", "hw-1")
    ask(bridge, "discover", "hw-2")
    assert sorted(Unit.objects.values_list("name", flat=True)) == ["bench-pi", "bench-pi 2"]


def test_of_two_managers_only_the_one_with_the_lease_answers(bridge: Bridge) -> None:
    other = make_bridge("manager-b")
    assert ask(bridge, "discover")
    assert ask(other, "discover") == []
    Unit.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert ask(other, "discover"), "a lapsed lease is taken"
    assert LEASE_S == 15.0


def test_a_stranger_cannot_fill_the_table(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolment, "PENDING_MAX", 3)
    for number in range(5):
        ask(bridge, "discover", f"hw-{number}")
    assert Unit.objects.count() == 3
    assert ask(bridge, "discover", "hw-9")[0]["kind"] == "refused"


def test_a_question_in_the_name_of_another_hardware_is_dropped(bridge: Bridge) -> None:
    question = RegisterAsk(kind="discover", hardware_id="hw-1", hostname="x")
    bridge.hear("enrol/hw-2/ask", question)
    assert bridge.link.sent == []
    assert bridge.counters.dropped["malformed"] == 1
    assert not Unit.objects.exists()


class RememberedUsers:
    """A broker whose users a test can look at."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str | None, bool]] = []

    def ensure(self, unit: str, password: str | None, *, replace: bool) -> None:
        self.made.append((unit, password, replace))


def test_a_known_units_password_changes_only_by_a_token(bridge: Bridge) -> None:
    users = RememberedUsers()
    bridge.receive.enrol.users = users
    _, secret = services.issue_enrol_token(None)
    ask(bridge, "request", token=secret, password="own")
    ask(bridge, "request", password="a stranger's")
    unit = str(Unit.objects.get().uuid)
    assert users.made == [(unit, "own", True), (unit, "a stranger's", False)]
