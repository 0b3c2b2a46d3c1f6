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
from web_server.lib.errors import Refused


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


def test_what_the_faster_one_did_does_not_stop_the_slower_one(
    small_lab: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells.eject(small_lab.operator, small_lab.battery)
    given = {"request_id": uuid4(), "load": True, **_body(small_lab)}
    first = services.file(small_lab.operator, **given)
    looks = iter([None, first])
    monkeypatch.setattr(filing, "filed_before", lambda *_: next(looks))
    assert services.file(small_lab.operator, **given) == first


@pytest.mark.parametrize("change", ["profile", "station", "off_after_s", "station_query"])
def test_another_filing_with_the_same_number_is_refused_not_swallowed(
    small_lab: SimpleNamespace, change: str
) -> None:
    given = {"request_id": uuid4(), **_body(small_lab)}
    services.file(small_lab.operator, **given)
    match change:
        case "profile":
            given["profile"] = factories.make_profile("another")
        case "station":
            given["station"] = factories.make_station(small_lab.unit, "S2")
        case "off_after_s":
            given |= {"contact_policy": "off", "off_after_s": 60.0}
        case "station_query":
            given |= {"station": None, "station_query": {}}
    with pytest.raises(Refused) as refused:
        services.file(small_lab.operator, **given)
    assert [error["field"] for error in refused.value.errors] == ["request_id"]
    assert "filed E1 already" in str(refused.value)
    assert Experiment.objects.count() == 1


def test_a_wrong_battery_is_named_beside_everything_else_that_is_wrong(small_lab: SimpleNamespace) -> None:
    with pytest.raises(Refused) as refused:
        services.file(small_lab.operator, request_id=uuid4(), name="", battery="no such", profile=None)
    assert {error["field"] for error in refused.value.errors} >= {"name", "profile", "station"}


def test_a_batch_with_another_profile_is_not_taken_for_the_one_before(small_lab: SimpleNamespace) -> None:
    batteries = list(Battery.objects.select_related("station__unit"))
    given: dict[str, Any] = {"batteries": batteries, "request_id": uuid4()}
    services.file_many(small_lab.operator, profile=small_lab.profile, **given)
    with pytest.raises(Refused, match="another profile"):
        services.file_many(small_lab.operator, profile=factories.make_profile("another"), **given)


def test_run_again_sent_twice_files_one_copy(small_lab: SimpleNamespace) -> None:
    ended, once = _filed(small_lab, status="finished"), uuid4()
    copy = services.requeue(small_lab.operator, ended, request_id=once)
    assert services.requeue(small_lab.operator, ended, request_id=once) == copy
    assert services.requeue(small_lab.operator, ended) not in (ended, copy)
    client = client_of(small_lab.operator)
    address, body = f"/api/v1/experiments/{ended.uuid}/requeue/", {"request_id": str(uuid4())}
    told = [client.post(address, body, format="json").json()["id"] for _ in range(2)]
    assert told[0] == told[1]
    assert Experiment.objects.filter(origin=ended).count() == 3


def test_the_run_again_buttons_file_once_and_say_so(
    small_lab: SimpleNamespace, administrator: Person, client: Client
) -> None:
    client.force_login(administrator)
    ended, other = _filed(small_lab, status="finished"), _filed(small_lab, status="stopped")
    number = _number(client, f"/experiments/{ended.uuid}/")
    for _ in range(2):
        told = client.post(f"/experiments/{ended.uuid}/requeue/", {"request_id": number}, follow=True)
    assert "it was sent twice and is there once" in told.content.decode()
    assert Experiment.objects.filter(origin=ended).count() == 1
    many = {
        "request_id": _number(client, "/experiments/"),
        "act": "requeue",
        "pick": [ended.uuid, other.uuid],
    }
    for _ in range(2):
        client.post("/experiments/bulk/", many)
    assert [Experiment.objects.filter(origin=run).count() for run in (ended, other)] == [2, 1]


def test_a_form_that_is_changed_and_sent_again_is_told_so_and_files_at_the_next_try(
    small_lab: SimpleNamespace, administrator: Person, client: Client
) -> None:
    client.force_login(administrator)
    typed = {
        "battery": small_lab.battery.uuid,
        "station": small_lab.station.uuid,
        "profile": small_lab.profile.uuid,
        "request_id": _number(client, "/experiments/new/"),
    }
    assert client.post("/experiments/new/", typed).status_code == 302
    typed["profile"] = factories.make_profile("another").uuid
    told = client.post("/experiments/new/", typed)
    assert told.status_code == 422
    assert "send it as a new request" in told.content.decode()
    typed["request_id"] = _read(told.content.decode())
    assert client.post("/experiments/new/", typed).status_code == 302
    assert Experiment.objects.count() == 2


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
        number = _number(client, address)
        for _ in range(2):
            answer = client.post(address, {**typed, "request_id": number})
            assert answer.status_code == 302, address
        assert "is there once" in client.get(answer["Location"]).content.decode(), address
        assert Experiment.objects.count() == before + 1, address


def _filed(lab: SimpleNamespace, status: str = "queued") -> Experiment:
    run = factories.make_experiment(lab.battery, lab.profile, lab.station)
    Experiment.objects.filter(pk=run.pk).update(status=status)
    run.refresh_from_db()
    return run


def _number(client: Client, address: str) -> str:
    return _read(client.get(address).content.decode())


def _read(shown: str) -> str:
    return shown.partition('name="request_id" value="')[2].partition('"')[0]
