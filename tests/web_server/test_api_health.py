"""What watchers of the web server are told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from rest_framework.test import APIClient

from tests.web_server.api_lab import build, client_of
from web_server.lab.models import ManagerBeat

pytestmark = pytest.mark.django_db


def test_healthz_answers_without_the_database(client, monkeypatch):
    monkeypatch.setattr(connection, "ensure_connection", lambda: pytest.fail("asked the database"))
    assert client.get("/healthz").content == b"ok\n"


def test_readyz_tells_the_age_of_the_newest_manager(client):
    ManagerBeat.objects.create(manager="old", seen_at=timezone.now() - timedelta(hours=1))
    ManagerBeat.objects.create(manager="new", seen_at=timezone.now() - timedelta(seconds=2))
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert 2 <= answer.json()["manager_age_s"] < 4


@pytest.mark.parametrize("age_s", [None, 60])
def test_readyz_is_503_without_a_living_manager(client, age_s):
    if age_s:
        ManagerBeat.objects.create(manager="old", seen_at=timezone.now() - timedelta(seconds=age_s))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["database"] == "ok"


def test_readyz_is_503_without_a_database(client, monkeypatch):
    def away():
        raise OperationalError("gone away")

    monkeypatch.setattr(connection, "ensure_connection", away)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "gone away" in answer.json()["database"]


def test_metrics_count_the_lab_in_prometheus_text(client):
    lab = build()
    lab.running()
    text = client.get("/metrics").content.decode()
    assert 'cellyard_experiments{status="running"} 1.0' in text
    assert 'cellyard_stations{state="idle"} 2.0' in text
    assert 'cellyard_units{online="true"} 1.0' in text
    assert "process_resident_memory_bytes" in text


def test_a_missing_database_is_a_503_problem_and_no_traceback(monkeypatch):
    client = client_of(build().operator)

    def away(*_args, **_kwargs):
        raise OperationalError("gone away")

    monkeypatch.setattr("web_server.cells.api.BatteryViewSet.get_queryset", away)
    answer = client.get("/api/v1/batteries/")
    assert answer.status_code == 503
    assert answer["Retry-After"] == "2"


def test_a_defect_of_ours_is_a_500_problem_without_details(monkeypatch):
    client: APIClient = client_of(build().operator)

    def broken(*_args, **_kwargs):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("web_server.cells.api.BatteryViewSet.get_queryset", broken)
    answer = client.get("/api/v1/batteries/")
    assert answer.status_code == 500
    assert b"secret" not in answer.content
