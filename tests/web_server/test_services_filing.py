"""Filing says everything that can be known to be wrong; what is filed fits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.web_server import factories
from web_server.accounts.models import AuditEntry, Person
from web_server.cells import services as cells
from web_server.experiments import services
from web_server.experiments.models import Experiment
from web_server.lab import services as lab
from web_server.lib.errors import NotAllowed, Refused
from web_server.profiles import services as profiles


def _file(small_lab: SimpleNamespace, **body: Any) -> Experiment:
    given: dict[str, Any] = {"name": "E1", "battery": small_lab.battery, "profile": small_lab.profile}
    if "station_query" not in body:
        given["station"] = small_lab.station
    return services.file(small_lab.operator, **{**given, **body})


def _errors(small_lab: SimpleNamespace, **body: Any) -> dict[str, str]:
    with pytest.raises(Refused) as refused:
        _file(small_lab, **body)
    return {error["field"]: error["message"] for error in refused.value.errors}


def test_a_filed_experiment_waits_with_all_its_parts(small_lab: SimpleNamespace) -> None:
    filed = _file(small_lab, priority=3, project="Ageing", tags=["a"], initial_soc_percent=50.0)
    assert (filed.status, filed.owner, filed.priority) == ("queued", small_lab.operator, 3)
    assert filed.profile == small_lab.profile
    assert filed.capacity_ah == 0.05
    assert filed.events.get().detail == {"status": "queued"}
    assert AuditEntry.objects.filter(
        act="experiment.file", item_uuid=filed.uuid, person=small_lab.operator
    ).exists()


def test_uuids_name_battery_profile_and_station(small_lab: SimpleNamespace) -> None:
    filed = _file(
        small_lab,
        battery=str(small_lab.battery.uuid),
        profile=str(small_lab.profile.uuid),
        station=str(small_lab.station.uuid),
    )
    assert (filed.battery, filed.station) == (small_lab.battery, small_lab.station)


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"name": ""}, "name", "name"),
        ({"battery": None}, "battery", "Choose a battery"),
        ({"battery": "nonsense"}, "battery", "There is no battery"),
        ({"profile": "8c9a62d2-8e2b-4c6e-9c62-2f2c1a1d7a11"}, "profile", "There is no profile"),
        ({"station": None}, "station", "Choose a station"),
        ({"station_query": {}, "station": "x"}, "station", "not both"),
        ({"station_query": {"colour": 1}}, "station_query.colour", "no field"),
        ({"station_query": {}, "load": True}, "load", "Only with a station"),
        ({"contact_policy": "panic"}, "contact_policy", "continue, finish_step, off"),
        ({"contact_policy": "off"}, "off_after_s", "after how many seconds"),
        ({"contact_policy": "finish_step"}, "off_after_s", "after how many seconds"),
        ({"resume_policy": "maybe"}, "resume_policy", "hold, resume"),
        ({"initial_soc_percent": 120}, "initial_soc_percent", "0 to 100"),
        ({"priority": "high"}, "priority", "whole number"),
        ({"record": {"every": 1}}, "record.every", "no field"),
        ({"record": {"every_s": 0}}, "record.every_s", "above 0 s"),
        ({"record": 7}, "record", "record"),
        ({"electrolyte": {"volume_ml": 100}}, "electrolyte", "it has none"),
        ({"profile_version": 9}, "profile_version", "no version 9"),
        ({"resume_within_s": -1}, "resume_within_s", "above 0"),
        ({"colour": "red"}, "colour", "no field"),
    ],
)
def test_what_is_wrong_is_named(
    small_lab: SimpleNamespace, body: dict[str, Any], field: str, said: str
) -> None:
    assert said in _errors(small_lab, **body)[field]
    assert not Experiment.objects.exists()


def test_a_profile_that_leaves_the_limits_is_refused_with_step_and_limit(small_lab: SimpleNamespace) -> None:
    strong = factories.profile_body("strong")
    strong["steps"][0]["current_a"] = 1.5
    profile = profiles.save(None, **strong)
    with pytest.raises(Refused) as refused:
        _file(small_lab, profile=profile)
    error = refused.value.errors[0]
    assert (error["step"], error["label"]) == (1, "charge")
    assert "1" in error["message"]


@pytest.mark.parametrize("sets", [{"outputs": {"pump": 1}}, {"temperature_c": 30}])
def test_an_output_that_the_station_does_not_have_is_refused(
    small_lab: SimpleNamespace, sets: dict[str, Any]
) -> None:
    body = factories.profile_body("pumped")
    body["steps"][0] |= sets
    with pytest.raises(Refused) as refused:
        _file(small_lab, profile=profiles.save(None, **body))
    assert {(error["step"], error["label"]) for error in refused.value.errors} == {(1, "charge")}


def test_crossed_limits_are_named(small_lab: SimpleNamespace, manager: Person) -> None:
    lab.compose_station(manager, station=small_lab.station, limits={"voltage_max_v": 2.9})
    message = _errors(small_lab)["envelope"]
    assert "voltage" in message
    assert "the station's highest voltage" in message


def test_a_trip_later_than_two_seconds_is_the_managers_to_allow(
    small_lab: SimpleNamespace, manager: Person
) -> None:
    body = factories.profile_body("slow", safety={"delay_s": 5.0})
    profile = profiles.save(manager, **body)
    with pytest.raises(Refused, match="2 s"):
        _file(small_lab, profile=profile)
    services.file(manager, name="E1", battery=small_lab.battery, profile=profile, station=small_lab.station)


def test_putting_the_battery_in_can_be_said_when_filing(small_lab: SimpleNamespace) -> None:
    cells.eject(small_lab.operator, small_lab.battery)
    filed = _file(small_lab, load=True)
    filed.battery.refresh_from_db()
    assert filed.battery.station == small_lab.station


def test_a_refused_filing_leaves_the_battery_where_it_was(small_lab: SimpleNamespace) -> None:
    cells.eject(small_lab.operator, small_lab.battery)
    occupied = factories.make_battery("B2")
    cells.load(small_lab.operator, occupied, small_lab.station)
    assert "S1 holds B2" in _errors(small_lab, load=True)["station"]
    small_lab.battery.refresh_from_db()
    assert small_lab.battery.station is None


def test_a_query_needs_one_station_that_fits(small_lab: SimpleNamespace, manager: Person) -> None:
    filed = _file(small_lab, station_query={"location": ""})
    assert filed.station is None
    assert "No station" in _errors(small_lab, station_query={"location": "Mars"})["station_query"]
    lab.compose_station(manager, station=small_lab.station, limits={"current_max_a": 0.1})
    with pytest.raises(Refused) as refused:
        _file(small_lab, station_query={})
    assert all(error["message"].startswith("S1: ") for error in refused.value.errors)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"current_max_a": 5.0}, True),
        ({"current_max_a": 6.0}, False),
        ({"current_min_a": -5.0, "voltage_max_v": 10.0}, True),
        ({"voltage_max_v": 11.0}, False),
        ({"tags": ["hot"]}, False),
        ({"measures": ["temperature_c"]}, False),
        ({"unit": "unit 1", "sensing": 4}, True),
        ({"sensing": 2}, False),
    ],
)
def test_a_query_describes_stations(small_lab: SimpleNamespace, query: dict[str, Any], found: bool) -> None:
    from web_server.experiments import stations

    assert bool(stations.meant(query)) == found


def test_an_experiment_too_large_for_the_broker_is_refused_with_its_size(small_lab: SimpleNamespace) -> None:
    points = [[t * 0.1, 0.001 * (t % 100)] for t in range(70_000)]
    drive = {"kind": "drive", "of": "current", "points": points, "end": []}
    profile = profiles.save(None, name="huge", steps=[drive])
    message = _errors(small_lab, profile=profile)["profile"]
    assert "bytes" in message
    assert "900,000" in message


def test_a_redox_stack_brings_its_electrolyte(small_lab: SimpleNamespace) -> None:
    body = factories.battery_body("Stack")
    body.pop("lithium")
    body |= {"technology": "redox_stack", "redox_stack": {"electrode_size_cm2": 25.0}, "energy_wh": 5.0}
    stack = cells.add(None, **body)
    electrolyte = {
        "polarity": "positive",
        "volume_ml": 100.0,
        "flow_min_ml_min": 10.0,
        "flow_max_ml_min": 50.0,
    }
    profile = factories.make_profile("bounded", safety={"q_abs_max_ah": 1.0})
    filed = _file(small_lab, battery=stack, profile=profile, electrolyte=electrolyte)
    assert filed.electrolyte == electrolyte
    wrong = _errors(small_lab, battery=stack, electrolyte={**electrolyte, "flow_min_ml_min": 60.0})
    assert "must be at or below" in wrong["electrolyte.flow_min_ml_min"]


def test_retired_things_are_not_used(small_lab: SimpleNamespace) -> None:
    profiles.retire(small_lab.operator, small_lab.profile)
    assert "retired" in _errors(small_lab)["profile"]


def test_a_viewer_files_nothing(small_lab: SimpleNamespace, viewer: Person) -> None:
    with pytest.raises(NotAllowed):
        services.file(
            viewer, name="E", battery=small_lab.battery, profile=small_lab.profile, station=small_lab.station
        )
