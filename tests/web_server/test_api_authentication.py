"""Who is let in: by token, or by session with CSRF."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone
from rest_framework.test import APIClient

from tests.web_server.api_lab import PASSWORD, client_of, person
from web_server.accounts.models import Token

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_guesses_counted() -> None:
    cache.clear()


@pytest.fixture
def otto():
    return person("otto", "operator", "cells", PASSWORD)


def ask(**body):
    return APIClient().post(
        "/api/v1/token/", {"username": "otto", "password": PASSWORD, **body}, format="json"
    )


def test_name_and_password_give_a_token_that_opens_the_door(otto):
    answer = ask()
    assert answer.status_code == 201
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {answer.json()['token']}")
    assert client.get("/api/v1/me/").json()["username"] == "otto"


def test_only_the_hash_of_a_token_is_kept(otto):
    secret = ask().json()["token"]
    row = Token.objects.get()
    assert secret not in str(vars(row))
    assert row.digest == Token.digest_of(secret)


def test_a_wrong_password_is_a_401_problem(otto):
    answer = ask(password="wrong")
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"] == "Unknown name or wrong password."


def test_a_stranger_is_told_how_to_log_in():
    answer = APIClient().get("/api/v1/batteries/")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Token")


def test_guessing_passwords_is_slowed_down(otto):
    statuses = [ask(password="wrong").status_code for _ in range(11)]
    assert statuses[:10] == [401] * 10
    assert statuses[10] == 429


def test_a_token_never_gives_more_than_its_scope(otto):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {ask(scope='viewer').json()['token']}")
    assert client.get("/api/v1/batteries/").status_code == 200
    answer = client.post("/api/v1/batteries/", {}, format="json")
    assert answer.status_code == 403
    assert "operator" in answer.json()["detail"]


def test_a_scope_above_the_own_role_is_refused(otto):
    answer = ask(scope="manager")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "scope"


def test_a_revoked_token_opens_no_door(otto):
    made = ask().json()
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {made['token']}")
    assert client.delete(f"/api/v1/tokens/{made['id']}/").status_code == 204
    assert client.get("/api/v1/me/").status_code == 401


def test_an_expired_token_opens_no_door(otto):
    client = client_of(otto)
    Token.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get("/api/v1/me/").status_code == 401


def test_a_switched_off_person_has_no_token(otto):
    client = client_of(otto)
    otto.is_active = False
    otto.save()
    assert client.get("/api/v1/me/").status_code == 401
    assert ask().status_code == 401


def test_people_see_their_own_tokens_only(otto):
    other = client_of(person("carla", "viewer", "flow"))
    ask()
    assert [row["person"] for row in other.get("/api/v1/tokens/").json()["results"]] == ["carla"]


def test_a_session_writes_only_with_the_csrf_token(otto):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(otto)
    assert client.get("/api/v1/batteries/").status_code == 200
    assert client.post("/api/v1/batteries/", {}, format="json").status_code == 403


@pytest.mark.parametrize("header", ["Token", "Token a b", "Token \xff", "Token unknown"])
def test_a_strange_header_is_a_401_problem(header):
    answer = APIClient().get("/api/v1/me/", HTTP_AUTHORIZATION=header)
    assert answer.status_code == 401
    assert answer.json()["status"] == 401
