"""Profiles are checked with step, label or line, and kept as versions."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from django.test.utils import CaptureQueriesContext

from tests.web_server import factories
from web_server.accounts.models import Person
from web_server.lib.errors import NotAllowed, Refused
from web_server.profiles import queries, services

TEXT = "WAIT, 60\nCC, 0.5, VOLTAGE, 4.1\nCV, 4.1, CURRENT, 0.05"


def test_a_sound_profile_is_valid_and_summed_up(db: None) -> None:
    found = services.check(factories.profile_body())
    assert found["valid"], found["errors"]
    assert found["summary"]["voltage_max_v"] == 4.1
    assert found["summary"]["duration_max_s"] == 70


def test_an_error_names_its_step_and_label(db: None) -> None:
    body = factories.profile_body()
    body["steps"][0]["end"] = []
    found = services.check(body)
    [error] = [error for error in found["errors"] if error["step"] == 1]
    assert not found["valid"]
    assert error["label"] == "charge"


def test_an_error_in_the_text_form_names_its_line(db: None) -> None:
    found = services.check({"name": "P", "text": "WAIT, 60\nCC, lots, VOLTAGE, 4.1"})
    assert [error["line"] for error in found["errors"]] == [2]


def test_an_unknown_field_is_refused(db: None) -> None:
    assert not services.check(factories.profile_body(colour="red"))["valid"]


def test_nonsense_is_an_error_and_never_a_traceback(db: None) -> None:
    for steps in (None, 7, "x", [1], [{}], [{"kind": "dance"}]):
        assert not services.check({"name": "P", "steps": steps})["valid"]
    assert not services.check({"name": "P", "text": 7})["valid"]
    assert not services.check({"text": TEXT, "name": None})["valid"]


def test_a_battery_and_a_station_narrow_the_check(small_lab: SimpleNamespace) -> None:
    strong = factories.profile_body()
    strong["steps"][0]["current_a"] = 3.0
    assert services.check(strong)["valid"]
    assert services.check(strong, station=small_lab.station)["valid"]
    found = services.check(strong, battery=small_lab.battery)
    assert not found["valid"]
    assert found["errors"][0]["step"] == 1
    assert "current" in found["errors"][0]["message"]


def test_rates_need_no_capacity_until_a_battery_is_chosen(small_lab: SimpleNamespace) -> None:
    body = factories.profile_body()
    body["steps"][0].pop("current_a")
    body["steps"][0]["rate"] = "C/5"
    for known in ({}, {"station": small_lab.station}, {"battery": small_lab.battery}):
        assert services.check(body, **known)["valid"], known


def test_saving_again_with_a_change_makes_the_next_version(operator: Person) -> None:
    profile = services.save(operator, **factories.profile_body())
    first = profile.latest
    changed = factories.profile_body()
    changed["steps"][1]["end"][0]["value"] = 20
    services.save(operator, profile=profile, **changed)
    profile.refresh_from_db()
    assert profile.version == 2
    assert json.loads(profile.latest.body)["steps"][1]["end"][0]["value"] == 20
    first.refresh_from_db()
    assert json.loads(first.body)["steps"][1]["end"][0]["value"] == 10
    assert profile.latest.made_by == operator


def test_saving_the_same_again_makes_no_version(operator: Person) -> None:
    profile = services.save(operator, **factories.profile_body())
    services.save(operator, profile=profile, **factories.profile_body())
    services.save(operator, profile=profile, project="Ageing")
    profile.refresh_from_db()
    assert (profile.version, profile.project) == (1, "Ageing")


def test_the_text_form_is_kept_as_typed(operator: Person) -> None:
    profile = services.save(operator, name="Typed", text=TEXT)
    assert profile.latest.text == TEXT
    assert [step["kind"] for step in profile.latest.definition["steps"]] == ["rest", "cc", "cv"]
    services.save(operator, profile=profile, text="WAIT, 10")
    profile.refresh_from_db()
    assert [step["kind"] for step in profile.latest.definition["steps"]] == ["rest"]


def test_steps_take_the_place_of_a_text(operator: Person) -> None:
    profile = services.save(operator, name="Typed", text=TEXT)
    services.save(operator, profile=profile, steps=factories.profile_body()["steps"])
    profile.refresh_from_db()
    assert profile.latest.text == ""


def test_a_number_comes_back_as_it_was_written(operator: Person) -> None:
    profile = services.save(operator, name="Typed", text="CC, 0.123456789, TIME, 60")
    assert profile.latest.definition["steps"][0]["current_a"] == 0.123456789


def test_a_name_is_taken_once_and_a_viewer_saves_nothing(operator: Person, viewer: Person) -> None:
    services.save(operator, **factories.profile_body())
    with pytest.raises(Refused, match="There is a profile 'P1' already"):
        services.save(operator, **factories.profile_body())
    with pytest.raises(NotAllowed):
        services.save(viewer, **factories.profile_body("P2"))


def test_a_check_needs_no_name(db: None) -> None:
    steps = factories.profile_body("any")["steps"]
    assert services.check({"steps": steps})["errors"] == []
    assert services.check({"text": "WAIT, 5"})["valid"]


def test_what_does_not_check_is_not_saved(operator: Person) -> None:
    body = factories.profile_body(name="")
    body["steps"][0]["end"] = []
    with pytest.raises(Refused) as refused:
        services.save(operator, **body)
    assert {error["field"] for error in refused.value.errors} >= {"name"}


def test_profiles_that_fit_are_offered_first_and_the_others_say_why_not(small_lab: SimpleNamespace) -> None:
    strong = factories.profile_body("A too strong")
    strong["steps"][0]["current_a"] = 3.0
    services.save(None, **strong)
    fitting, other = queries.offers(small_lab.battery, small_lab.station)
    assert (fitting.profile.name, fitting.fits) == ("P1", True)
    assert not other.fits
    assert other.why_not[0].startswith("Step 1 (charge): ")


def test_retired_profiles_are_not_offered(small_lab: SimpleNamespace) -> None:
    services.retire(small_lab.operator, small_lab.profile)
    assert queries.offers(small_lab.battery, small_lab.station) == []


def test_offering_ten_more_profiles_asks_the_database_no_more(
    small_lab: SimpleNamespace, django_assert_max_num_queries
) -> None:
    from django.db import connection

    with CaptureQueriesContext(connection) as one:
        queries.offers(small_lab.battery, None)
    for number in range(10):
        factories.make_profile(f"more {number}")
    small_lab.battery.refresh_from_db()
    with django_assert_max_num_queries(len(one) + 1):
        assert len(queries.offers(small_lab.battery, None)) == 11
