"""The same request sent twice, by a double click or after a lost answer, files nothing twice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from tests.web_server import factories
from tests.web_server.api_lab import build, client_of
from web_server.accounts.models import Person
from web_server.cells import services as cells
from web_server.cells.models import Battery
from web_server.experiments import filing, services
from web_server.experiments.models import Experiment
from web_server.lab.models import Station


def _body(lab: SimpleNamespace, **more: Any) -> dict[str, Any]:
    given = {"name": "E1", "battery": lab.battery, "profile": lab.profile, "station": lab.station}
    return {**given, **more}


def test_the_same_request_files_one_experiment(small_lab: SimpleNamespace) -> None:
    once = uuid4()
    first = services.file(small_lab.operator, request_id=once, **_body(small_lab))
    assert services.file(small_lab.operator, request_id=once, **_body(small_lab)) == first
    assert services.file(small_lab.operator, request_id=uuid4(), **_body(small_lab)) != first
    assert services.file(small_lab.operator, **_body(small_lab)) != first
    assert Experiment.objects.count() == 3


def test_two_at_the_same_moment_file_one(small_lab: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    once = uuid4()
    first = services.file(small_lab.operator, request_id=once, **_body(small_lab))
    looks = iter([None, first])
    monkeypatch.setattr(filing, "filed_before", lambda *_: next(looks))
    assert services.file(small_lab.operator, request_id=once, **_body(small_lab)) == first
    assert Experiment.objects.count() == 1


def test_the_database_itself_keeps_a_request_single(small_lab: SimpleNamespace) -> None:
    runs = [factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station) for _ in "ab"]
    with pytest.raises(IntegrityError), transaction.atomic():
        Experiment.objects.filter(pk__in=[run.pk for run in runs]).update(request_id=uuid4())


def test_a_batch_sent_twice_files_each_once_though_its_stations_are_busy_by_now(
    small_lab: SimpleNamespace,
) -> None:
    other = factories.make_station(small_lab.unit, "S2")
    cells.load(small_lab.operator, factories.make_battery("B2"), other)
    batteries = list(Battery.objects.select_related("station__unit"))
    given: dict[str, Any] = {"batteries": batteries, "profile": small_lab.profile, "request_id": uuid4()}
    first = services.file_many(small_lab.operator, **given)
    Station.objects.update(state="tripped")
    second = services.file_many(small_lab.operator, **given)
    assert [entry.experiment for entry in second] == [entry.experiment for entry in first]
    assert [entry.before for entry in first + second] == [False, False, True, True]
    assert Experiment.objects.count() == 2


def test_a_copy_does_not_carry_the_request_of_its_origin(small_lab: SimpleNamespace) -> None:
    first = services.file(small_lab.operator, request_id=uuid4(), **_body(small_lab))
    once = uuid4()
    again = services.repeat(small_lab.operator, first, request_id=once)
    assert again != first
    assert services.repeat(small_lab.operator, first, request_id=once) == again
    assert services.repeat(small_lab.operator, first) not in (first, again)


def test_a_program_repeats_its_request_safely(db: None) -> None:
    lab = build()
    client = client_of(lab.operator)
    body = {"name": "E1", "battery": str(lab.battery.uuid), "profile": str(lab.profile.uuid)}
    body |= {"station": str(lab.stations[0].uuid), "request_id": str(uuid4())}
    first, second = (client.post("/api/v1/experiments/", body, format="json") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201), first.content
    assert first.json()["id"] == second.json()["id"]
    many = {"batteries": [body["battery"]], "profile": body["profile"], "request_id": str(uuid4())}
    for _ in range(2):
        assert client.post("/api/v1/experiments/batch/", many, format="json").json()["filed"] == 1
    wrong = client.post("/api/v1/experiments/", {**body, "request_id": "seven"}, format="json")
    assert wrong.json()["errors"][0]["field"] == "request_id"


def test_the_pages_send_a_number_with_every_filing(
    small_lab: SimpleNamespace, administrator: Person, client: Client
) -> None:
    client.force_login(administrator)
    pages = {
        "/experiments/new/": {
            "battery": small_lab.battery.uuid,
            "station": small_lab.station.uuid,
            "profile": "new",
            "profile_name": "written here",
            "definition": '{"steps": [{"kind": "rest", "end": [{"quantity": "time_s", "value": 5}]}]}',
        },
        "/experiments/batch/": {
            "batteries": [small_lab.battery.uuid],
            "profile": small_lab.profile.uuid,
            "name_template": "{battery}",
            "act": "start",
        },
        f"/experiments/{_filed(small_lab).uuid}/repeat/": {"battery": small_lab.battery.uuid},
    }
    for address, typed in pages.items():
        before = Experiment.objects.count()
        shown = client.get(address).content.decode()
        number = shown.partition('name="request_id" value="')[2].partition('"')[0]
        for _ in range(2):
            answer = client.post(address, {**typed, "request_id": number})
            assert answer.status_code == 302, address
        assert Experiment.objects.count() == before + 1, address


def _filed(lab: SimpleNamespace) -> Experiment:
    return factories.make_experiment(lab.battery, lab.profile, lab.station)
