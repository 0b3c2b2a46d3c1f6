"""Roles, tokens and the audit trail."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import RequestFactory
from django.utils import timezone

from web_server.accounts import audit, roles, services
from web_server.accounts.middleware import OriginMiddleware
from web_server.accounts.models import AuditEntry, Person, Token
from web_server.lib.errors import NotAllowed, Refused


def test_each_role_may_what_the_ones_before_it_may() -> None:
    order = roles.Role.values
    for rank, role in enumerate(order):
        assert [roles.at_least(role, needed) for needed in order] == [n <= rank for n in range(4)]


def test_a_refusal_names_the_role_that_is_needed(viewer: Person) -> None:
    with pytest.raises(NotAllowed, match="role operator; you have viewer"):
        roles.require(viewer, "operator", "load a battery")


def test_a_switched_off_account_may_nothing(operator: Person, administrator: Person) -> None:
    services.switch(administrator, operator, active=False)
    with pytest.raises(NotAllowed):
        roles.require(operator, "viewer", "look")


def test_who_enters_the_admin_follows_the_role(administrator: Person, operator: Person) -> None:
    assert administrator.is_staff
    assert administrator.is_superuser
    assert not operator.is_staff
    services.change_role(administrator, operator, "manager")
    operator.refresh_from_db()
    assert operator.is_staff
    assert not operator.is_superuser


def test_the_last_administrator_stays(administrator: Person) -> None:
    with pytest.raises(Refused, match="last administrator"):
        services.change_role(administrator, administrator, "viewer")
    with pytest.raises(Refused, match="last administrator"):
        services.switch(administrator, administrator, active=False)


def test_only_administrators_add_people(manager: Person, administrator: Person) -> None:
    with pytest.raises(NotAllowed):
        services.add_person(manager, username="new", password="correct horse battery")
    added = services.add_person(
        administrator, username="new", password="correct horse battery", role="operator"
    )
    assert added.check_password("correct horse battery")


def test_a_weak_password_and_a_taken_name_are_refused(administrator: Person, operator: Person) -> None:
    with pytest.raises(Refused) as weak:
        services.add_person(administrator, username="new", password="123")
    assert weak.value.errors[0]["field"] == "password"
    with pytest.raises(Refused) as taken:
        services.add_person(administrator, username=operator.username, password="correct horse battery")
    assert taken.value.errors[0]["field"] == "username"


def test_a_token_opens_the_door_and_only_its_hash_is_kept(operator: Person) -> None:
    token, secret = services.issue_token(operator, name="notebook")
    assert secret not in str(Token.objects.filter(pk=token.pk).values().get())
    assert services.authenticate(secret) == operator
    assert services.authenticate(secret + "x") is None


def test_a_token_gives_no_more_than_its_scope(manager: Person) -> None:
    _, secret = services.issue_token(manager, scope="viewer")
    by_token = services.authenticate(secret)
    assert by_token is not None
    assert by_token.role == "manager"
    assert by_token.effective_role == "viewer"
    with pytest.raises(NotAllowed):
        roles.require(by_token, "operator", "load a battery")


def test_a_token_of_a_degraded_person_shrinks_with_them(manager: Person, administrator: Person) -> None:
    _, secret = services.issue_token(manager, scope="manager")
    services.change_role(administrator, manager, "viewer")
    by_token = services.authenticate(secret)
    assert by_token is not None
    assert by_token.effective_role == "viewer"


def test_a_token_above_ones_role_is_refused(operator: Person) -> None:
    with pytest.raises(Refused, match="above your role"):
        services.issue_token(operator, scope="administrator")


def test_revoked_and_expired_tokens_open_nothing(operator: Person) -> None:
    token, secret = services.issue_token(operator)
    services.revoke_token(operator, token)
    assert services.authenticate(secret) is None
    old, secret = services.issue_token(operator)
    Token.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert services.authenticate(secret) is None


def test_a_stranger_cannot_revoke_my_token(operator: Person, manager: Person) -> None:
    token, secret = services.issue_token(operator)
    with pytest.raises(NotAllowed):
        services.revoke_token(manager, token)
    assert services.authenticate(secret) == operator


def test_the_audit_says_who_when_what_and_from_where(operator: Person, administrator: Person) -> None:
    def view(request: object) -> str:
        audit.record(operator, "battery.load", operator, station="S1")
        return "served"

    request = RequestFactory().post("/api/v1/batteries/", REMOTE_ADDR="10.1.2.3")
    assert OriginMiddleware(view)(request) == "served"  # type: ignore[arg-type]
    entry = AuditEntry.objects.latest("id")
    assert (entry.person, entry.act, entry.way, entry.address) == (
        operator,
        "battery.load",
        "api",
        "10.1.2.3",
    )
    assert entry.detail == {"station": "S1"}
    assert timezone.now() - entry.at < timedelta(seconds=10)


def test_what_cellyard_does_by_itself_is_audited_as_such(operator: Person) -> None:
    entry = audit.record(None, "experiment.running", operator)
    assert (entry.person_name, entry.way) == ("Cellyard", "system")


def test_preferences_are_kept_with_the_person(operator: Person) -> None:
    services.remember(operator, columns=["name"])
    services.remember(operator, density="small")
    operator.refresh_from_db()
    assert operator.preferences == {"columns": ["name"], "density": "small"}
