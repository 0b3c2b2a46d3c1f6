"""Everything but samples is in the admin, searchable and filtered; it changes descriptions only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from tests.web_server import factories
from web_server.accounts import services as accounts
from web_server.accounts.models import AuditEntry, Person
from web_server.experiments.models import Alarm
from web_server.lab.models import Station, Unit

OWN = [model for model in apps.get_models() if model.__module__.startswith("web_server.")]
# Their keys are composite, which the admin cannot show.
NOT_THERE = {"Sample", "Rollup"}
REGISTERED = [model for model in OWN if model.__name__ not in NOT_THERE]


@pytest.fixture
def client_of(client: Client) -> Any:
    def log_in(person: Person) -> Client:
        client.force_login(person)
        return client

    return log_in


def _url(model: type, page: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_every_model_is_there_with_search_and_filters(
    model: type, small_lab: SimpleNamespace, administrator: Person, client_of: Any
) -> None:
    registered = admin.site._registry[model]
    assert registered.search_fields
    assert registered.list_filter
    browser = client_of(administrator)
    # The question's words must be valid for every column that is searched.
    assert browser.get(_url(model, "changelist"), {"q": "S1"}).status_code == 200


def test_samples_are_not_there() -> None:
    assert {model.__name__ for model in OWN if model not in admin.site._registry} == NOT_THERE


def test_every_row_of_a_small_lab_opens(
    small_lab: SimpleNamespace, administrator: Person, client_of: Any
) -> None:
    factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station)
    Alarm.objects.create(station=small_lab.station, code="voltage", text="4.3 V")
    accounts.issue_token(administrator)
    browser, opened = client_of(administrator), 0
    for model in REGISTERED:
        row = model._default_manager.first()  # type: ignore[attr-defined]
        if row is not None:
            assert browser.get(_url(model, "change", row.pk)).status_code == 200, model
            opened += 1
    assert opened > 10


def test_a_limit_is_not_changed_here_but_a_description_is_and_is_audited(
    small_lab: SimpleNamespace, administrator: Person, client_of: Any
) -> None:
    page = _url(type(small_lab.battery), "change", small_lab.battery.pk)
    browser = client_of(administrator)
    shown = browser.get(page).content.decode()
    assert 'name="voltage_max_v"' not in shown
    inlines = {
        f"{part}-{key}": number
        for part in ("lithium", "lead_acid", "redox_stack")
        for key, number in (("TOTAL_FORMS", 0), ("INITIAL_FORMS", 0))
    }
    answer = browser.post(
        page,
        {
            "description": "from the third batch",
            "project": "Ageing",
            "tags": "[]",
            "voltage_max_v": 99,
            **inlines,
        },
    )
    assert answer.status_code == 302
    small_lab.battery.refresh_from_db()
    assert (small_lab.battery.description, small_lab.battery.voltage_max_v) == ("from the third batch", None)
    entry = AuditEntry.objects.filter(act="battery.admin").get()
    assert (entry.person, entry.way) == (administrator, "admin")


def test_a_status_is_changed_by_the_services_alone(
    small_lab: SimpleNamespace, administrator: Person, client_of: Any
) -> None:
    experiment = factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station)
    page = _url(type(experiment), "changelist")
    client_of(administrator).post(page, {"action": "cancel", "_selected_action": [experiment.pk]})
    experiment.refresh_from_db()
    assert experiment.status == "cancelled"
    assert experiment.end_reason["person"] == "ada"


def test_a_refused_action_says_why(small_lab: SimpleNamespace, administrator: Person, client_of: Any) -> None:
    page = _url(type(small_lab.battery), "changelist")
    chosen = {"action": "retire", "_selected_action": [small_lab.battery.pk]}
    answer = client_of(administrator).post(page, chosen, follow=True)
    assert "B1 is loaded in S1; eject it first." in answer.content.decode()


def test_managers_approve_units_here_and_operators_stay_outside(
    manager: Person, operator: Person, client_of: Any
) -> None:
    unit = factories.make_unit(approved=False)
    page, chosen = _url(Unit, "changelist"), {"action": "approve", "_selected_action": [unit.pk]}
    assert client_of(operator).post(page, chosen).status_code == 302
    unit.refresh_from_db()
    assert not unit.approved
    client_of(manager).post(page, chosen)
    unit.refresh_from_db()
    assert unit.approved_by == manager


def test_a_manager_reads_all_but_changes_no_people(manager: Person, operator: Person, client_of: Any) -> None:
    browser = client_of(manager)
    assert browser.get(_url(Person, "changelist")).status_code == 200
    assert browser.post(_url(Person, "change", operator.pk), {"role": "administrator"}).status_code == 403
    assert browser.get(_url(Person, "add")).status_code == 403


def test_nothing_is_deleted_here(small_lab: SimpleNamespace, administrator: Person, client_of: Any) -> None:
    browser = client_of(administrator)
    for model in REGISTERED:
        row = model._default_manager.first()  # type: ignore[attr-defined]
        if row is not None:
            assert browser.post(_url(model, "delete", row.pk), {"post": "yes"}).status_code == 403, model
    assert Station.objects.exists()


def test_an_administrator_adds_people_here(administrator: Person, client_of: Any) -> None:
    body = {"username": "nina", "role": "operator", "usable_password": "true"}
    body |= {"password1": "correct horse battery", "password2": "correct horse battery"}
    assert client_of(administrator).post(_url(Person, "add"), body).status_code == 302
    added = Person.objects.get(username="nina")
    assert (added.role, added.is_staff) == ("operator", False)
    assert AuditEntry.objects.filter(act="person.add", item_uuid=added.uuid).exists()
