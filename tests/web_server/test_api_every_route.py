"""What is true of every address of the API."""

from __future__ import annotations

from io import StringIO

import pytest
import yaml
from django.core.management import call_command
from django.test import Client

from tests.web_server.api_lab import build, client_of, person
from web_server.accounts.roles import Role
from web_server.api.urls import router
from web_server.experiments.models import Alarm
from web_server.lab import services
from web_server.notices import services as notices

pytestmark = pytest.mark.django_db

LISTS = [f"/api/v1/{prefix}/" for prefix, _, _ in router.registry]
LATER = ["rpc/", "experiments/{experiment}/report/"]


@pytest.fixture(scope="module")
def schema():
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
    return yaml.safe_load(out.getvalue())


@pytest.fixture
def lab():
    return build()


def writes(schema):
    for address, methods in schema["paths"].items():
        for method, operation in methods.items():
            if method in ("post", "put", "patch"):
                yield method, address, operation


def test_the_schema_is_valid_and_without_warnings(schema):
    assert schema["openapi"].startswith("3.1")
    assert "/api/v1/experiments/{id}/samples/" in schema["paths"]


def test_the_step_model_is_part_of_the_schema(schema):
    assert {"CC", "CCCV", "Group", "End", "AnyStep"} <= set(schema["components"]["schemas"])


def test_every_operation_has_a_summary_and_names_its_problem(schema):
    for address, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary") or operation.get("description"), (method, address)
            assert "application/problem+json" in operation["responses"]["default"]["content"], (
                method,
                address,
            )


@pytest.mark.parametrize("address", LISTS)
def test_every_list_answers_in_pages(lab, address):
    client = client_of(lab.manager)
    answer = client.get(address, {"page_size": 1})
    assert answer.status_code == 200, answer.content
    assert set(answer.json()) == {"count", "next", "previous", "results"}
    assert len(answer.json()["results"]) <= 1


@pytest.mark.parametrize("prefix_and_view", router.registry, ids=[entry[0] for entry in router.registry])
def test_every_list_sorts_by_every_column_it_offers(lab, prefix_and_view):
    prefix, view, _ = prefix_and_view
    client = client_of(lab.manager)
    for column in view.ordering_fields:
        assert client.get(f"/api/v1/{prefix}/", {"ordering": f"-{column}"}).status_code == 200, column
    refused = client.get(f"/api/v1/{prefix}/", {"ordering": "nonsense"})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == "ordering"


@pytest.mark.parametrize("prefix_and_view", router.registry, ids=[entry[0] for entry in router.registry])
def test_every_list_searches_in_every_field_it_names(lab, prefix_and_view):
    prefix, _, _ = prefix_and_view
    assert client_of(lab.manager).get(f"/api/v1/{prefix}/", {"search": "zzz"}).json()["count"] == 0


@pytest.mark.parametrize("address", LISTS)
def test_a_mistyped_filter_is_refused_and_not_ignored(lab, address):
    answer = client_of(lab.manager).get(address, {"sttaus": "running"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "sttaus"


def test_every_unknown_field_is_refused(lab, schema):
    """Walk the schema: whatever takes a body refuses a field that it does not know, by name."""
    experiment = lab.file()
    alarm = Alarm.objects.create(code="x", text="x")
    target = notices.add(None, name="x", address="https://hooks.example.org/x")
    ids = {
        "devices": lab.devices[0],
        "zones": services.save_zone(lab.manager, name="Room", unit=lab.unit),
        "alarms": alarm,
        "batteries": lab.battery,
        "experiments": experiment,
        "notice-targets": target,
        "profiles": lab.profile,
        "stations": lab.stations[0],
        "units": lab.unit,
    }
    client = client_of(person("ada", Role.ADMINISTRATOR, "cells"))
    walked = 0
    for method, address, _ in writes(schema):
        item = ids.get(address.split("/")[3])
        filled = address.replace("{id}", str(item.uuid) if item else "")
        answer = getattr(client, method)(filled, {"no_such_field": 1}, format="json")
        assert answer.status_code == 400, (method, address, answer.content)
        assert "no_such_field" in [error["field"] for error in answer.json()["errors"]], (method, address)
        walked += 1
    assert walked >= 35


def test_an_error_is_a_problem_with_its_fields(lab):
    answer = client_of(lab.operator).post(
        "/api/v1/batteries/",
        {"name": "", "technology": "steam", "lithium": {"capacity_ah": "much"}},
        format="json",
    )
    assert answer["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 400
    assert {"type", "title", "status", "detail", "errors"} == set(problem)
    assert {"name", "technology", "lithium.capacity_ah"} <= {error["field"] for error in problem["errors"]}


def test_a_body_that_is_no_json_is_a_problem(lab):
    answer = client_of(lab.operator).post("/api/v1/batteries/", "{", content_type="application/json")
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("body", ["[]", "1", '"x"', "null"])
def test_a_body_that_is_no_object_is_a_problem(lab, body):
    client = client_of(lab.operator)
    for address in ("batteries/", "profiles/", "profiles/check/", "experiments/", "profiles/import/"):
        answer = client.post(f"/api/v1/{address}", body, content_type="application/json")
        assert answer.status_code == 400, (address, answer.content)


@pytest.mark.parametrize("address", LATER)
def test_what_comes_later_does_not_pretend_to_exist(lab, address):
    filled = address.replace("{experiment}", str(lab.file().uuid))
    client = client_of(lab.manager)
    assert client.get(f"/api/v1/{filled}").status_code == 404
    assert client.post(f"/api/v1/{filled}", {}, format="json").status_code in (404, 405)


def test_a_change_at_an_unknown_address_is_a_404_problem_without_any_csrf_token():
    answer = Client(enforce_csrf_checks=True).post("/api/v1/people/", {}, content_type="application/json")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert "/api/v1/people/" in answer.json()["detail"]


def test_an_unknown_address_is_a_404_problem_also_for_strangers():
    answer = client_of(None).get("/api/v1/nothing/")
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("There is nothing at /api/v1/nothing/")
    assert Client().get("/api/v1/a%0Ab").headers["Content-Type"] == "application/problem+json"


def test_an_address_without_its_last_slash_leads_to_it_with_the_same_method(lab):
    answer = client_of(lab.operator).post("/api/v1/batteries?x=1", {}, format="json")
    assert answer.status_code == 308
    assert answer["Location"] == "/api/v1/batteries/?x=1"


def test_an_id_of_nothing_is_404_and_no_uuid_too(lab):
    client = client_of(lab.operator)
    assert client.get("/api/v1/batteries/11111111-1111-1111-1111-111111111111/").status_code == 404
    assert client.get("/api/v1/batteries/seven/").status_code == 404


@pytest.mark.parametrize("page", ["docs", "redoc"])
def test_the_documentation_pages_bring_everything_themselves(client, page):
    answer = client.get(f"/api/{page}/")
    assert answer.status_code == 200
    html = answer.content.decode()
    assert "http://" not in html
    assert "https://" not in html
    assert "<script>" not in html
    assert "script-src 'unsafe" not in answer["Content-Security-Policy"]


def test_times_are_iso_8601_in_utc(lab):
    shown = client_of(lab.operator).get(f"/api/v1/batteries/{lab.battery.uuid}/").json()
    assert shown["loaded_at"].endswith("Z")
