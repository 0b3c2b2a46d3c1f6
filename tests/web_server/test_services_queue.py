"""What starts, when, and what the others are told."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest

from cycling import envelope
from tests.web_server import factories
from web_server.accounts.models import Person
from web_server.cells import quarantine
from web_server.cells import services as cells
from web_server.commands.models import Command
from web_server.experiments import services
from web_server.experiments.models import Alarm, Experiment
from web_server.lab import services as lab
from web_server.lab.models import Station, Unit
from web_server.profiles.services import definition_of


def _file(small_lab: SimpleNamespace, name: str = "E1", **body: Any) -> Experiment:
    body.setdefault("battery", small_lab.battery)
    if "station_query" not in body:
        body.setdefault("station", small_lab.station)
    return services.file(small_lab.operator, name=name, profile=small_lab.profile, **body)


def _because(experiment: Experiment) -> str:
    experiment.refresh_from_db()
    return experiment.queued_because


def test_an_idle_station_with_its_battery_starts_the_next(small_lab: SimpleNamespace) -> None:
    filed = _file(small_lab)
    started = services.start_next(small_lab.station)
    assert started == filed
    started.refresh_from_db()
    assert (started.status, started.active_station, started.active_battery) == (
        "starting",
        small_lab.station,
        small_lab.battery,
    )
    assert started.station_version == 1


def test_the_command_carries_everything_the_unit_needs(small_lab: SimpleNamespace) -> None:
    filed = _file(small_lab, record={"every_s": 0.2}, resume_policy="resume")
    services.start_next(small_lab.station)
    filed.refresh_from_db()
    command = Command.objects.get(experiment=filed)
    args = command.args
    assert (command.kind, command.status, command.unit) == ("experiment.start", "queued", small_lab.unit)
    assert args["envelope"] == filed.envelope
    assert args["envelope_sha256"] == hashlib.sha256(args["envelope"].encode()).hexdigest()
    assert (args["station_version"], args["capacity_ah"]) == (1, 0.05)
    assert args["profile"]["record"] == {"every_s": 0.2}
    assert args["resume_policy"] == "resume"
    assert args["battery"]["battery"] == str(small_lab.battery.uuid)


def test_the_contract_is_the_very_text_and_can_be_read_back(small_lab: SimpleNamespace) -> None:
    filed = _file(small_lab)
    services.start_next(small_lab.station)
    filed.refresh_from_db()
    made = envelope.parse(filed.envelope)
    assert envelope.canonical(made) == filed.envelope
    [high] = [limit for limit in made.limits if (limit.quantity, limit.side) == ("voltage_v", "max")]
    assert (high.operating, high.trip) == (4.2, 4.21)


def test_the_contract_is_computed_anew_when_it_starts(small_lab: SimpleNamespace) -> None:
    filed = _file(small_lab)
    cells.change(small_lab.operator, small_lab.battery, cell_voltage_max_v=4.15)
    services.start_next(small_lab.station)
    filed.refresh_from_db()
    limits = envelope.parse(filed.envelope).limits
    assert [limit.operating for limit in limits if (limit.quantity, limit.side) == ("voltage_v", "max")] == [
        4.15
    ]


def test_what_does_not_fit_any_more_waits_and_says_why(small_lab: SimpleNamespace) -> None:
    filed = _file(small_lab)
    cells.change(small_lab.operator, small_lab.battery, cell_voltage_max_v=4.0)
    assert services.start_next(small_lab.station) is None
    assert _because(filed).startswith("does not fit any more: ")


def test_priority_goes_before_age(small_lab: SimpleNamespace) -> None:
    first, urgent = _file(small_lab, "first"), _file(small_lab, "urgent", priority=5)
    assert services.start_next(small_lab.station) == urgent
    assert _because(first) == "waits for urgent on S1"


def test_two_of_one_battery_run_in_order(small_lab: SimpleNamespace) -> None:
    first, second = _file(small_lab, "first"), _file(small_lab, "second")
    assert services.start_next(small_lab.station) == first
    assert services.start_next(small_lab.station) is None
    assert _because(second) == "waits for first on S1"
    services.set_status(first, "running")
    services.set_status(first, "finished", {"code": "finished", "text": "all steps done"})
    assert services.start_next(small_lab.station) == second


def test_another_battery_waits_for_loading_and_stands_in_nobodys_way(small_lab: SimpleNamespace) -> None:
    other = _file(small_lab, "other", battery=factories.make_battery("B2"), priority=9)
    mine = _file(small_lab, "mine")
    assert services.start_next(small_lab.station) == mine
    assert _because(other) in ("load B2 into S1", "waits for mine on S1")
    services.set_status(mine, "stopped", {"code": "stopped", "text": "stopped"})
    assert services.start_next(small_lab.station) is None
    assert _because(other) == "load B2 into S1"
    cells.eject(small_lab.operator, small_lab.battery)
    cells.load(small_lab.operator, other.battery, small_lab.station)
    assert services.start_next(small_lab.station) == other


@pytest.mark.parametrize(
    ("columns", "units", "why"),
    [
        ({"state": "offline"}, {}, "S1 is offline"),
        ({}, {"online": False}, "S1 is offline"),
        ({"state": "tripped"}, {}, "S1 is tripped: acknowledge its alarm"),
        ({"state": "unsafe"}, {}, "S1 is unsafe: acknowledge its alarm"),
        ({"state": "manual"}, {}, "S1 is manual"),
        ({"unit_version": 0}, {}, "S1 is being configured (version 1)"),
        ({"unit_version": None}, {}, "S1 is being configured (version 1)"),
    ],
)
def test_a_station_that_cannot_start_says_why(
    small_lab: SimpleNamespace, columns: dict[str, Any], units: dict[str, Any], why: str
) -> None:
    filed = _file(small_lab)
    if columns:
        Station.objects.filter(pk=small_lab.station.pk).update(**columns)
    if units:
        Unit.objects.filter(pk=small_lab.unit.pk).update(**units)
    fresh = Station.objects.select_related("unit").get(pk=small_lab.station.pk)
    assert services.start_next(fresh) is None
    assert _because(filed) == why
    assert not Command.objects.exists()


def test_a_latched_station_starts_nothing(small_lab: SimpleNamespace) -> None:
    alarm = Alarm.objects.create(station=small_lab.station, code="voltage", text="4.3 V")
    _file(small_lab)
    Station.objects.filter(pk=small_lab.station.pk).update(latched_alarm=alarm.uuid)
    assert services.start_next(small_lab.station) is None


def test_a_quarantined_battery_is_not_started(small_lab: SimpleNamespace) -> None:
    filed = _file(small_lab)
    quarantine.put(small_lab.battery, "over voltage")
    assert services.start_next(small_lab.station) is None
    assert _because(filed) == "B1 is in quarantine (over voltage): record an inspection of it first."


def test_an_unfit_station_is_passed_over_by_a_query(small_lab: SimpleNamespace, manager: Person) -> None:
    second = factories.make_station(small_lab.unit, "S2", limits={"current_max_a": 0.1})
    filed = _file(small_lab, station_query={})
    cells.eject(small_lab.operator, small_lab.battery)
    cells.load(small_lab.operator, small_lab.battery, second)
    assert services.start_next(second) is None
    assert _because(filed).startswith("does not fit any more")


def test_a_query_runs_where_the_battery_is(small_lab: SimpleNamespace) -> None:
    second = factories.make_station(small_lab.unit, "S2")
    filed = _file(small_lab, station_query={})
    assert services.start_next(second) is None
    assert _because(filed) == "load B1 into S2"
    started = services.start_next(small_lab.station)
    assert started == filed
    started.refresh_from_db()
    assert started.station == small_lab.station


def test_an_empty_queue_costs_one_query(small_lab: SimpleNamespace, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert services.start_next(small_lab.station) is None


def test_a_reason_is_written_only_when_it_is_new(small_lab: SimpleNamespace) -> None:
    filed = _file(small_lab, battery=factories.make_battery("B2"))
    services.start_next(small_lab.station)
    filed.refresh_from_db()
    seen = filed.updated_at
    services.start_next(small_lab.station)
    filed.refresh_from_db()
    assert filed.updated_at == seen


def test_a_station_held_by_another_experiment_is_not_taken(small_lab: SimpleNamespace) -> None:
    first, second = _file(small_lab, "first"), _file(small_lab, "second")
    Experiment.objects.filter(pk=first.pk).update(active_battery=small_lab.battery)
    taken = services.set_status(
        second, "starting", active_station=small_lab.station, active_battery=small_lab.battery
    )
    assert not taken
    second.refresh_from_db()
    assert second.status == "queued"


def test_changing_the_station_after_filing_starts_with_the_new_version(
    small_lab: SimpleNamespace, manager: Person
) -> None:
    filed = _file(small_lab)
    changed = lab.compose_station(manager, station=small_lab.station, limits={"current_max_a": 0.7})
    assert services.start_next(changed) is None
    assert services.start_next(factories.make_idle(changed)) == filed
    filed.refresh_from_db()
    assert filed.station_version == 2


def test_a_query_that_went_back_may_start_elsewhere(small_lab: SimpleNamespace) -> None:
    second = factories.make_station(small_lab.unit, "S2")
    filed = _file(small_lab, station_query={})
    services.start_next(small_lab.station)
    services.set_status(filed, "queued", {"code": "expired", "text": "the unit did not take it"})
    cells.eject(small_lab.operator, small_lab.battery)
    cells.load(small_lab.operator, small_lab.battery, second)
    assert services.start_next(second) == filed


def test_a_temperature_limit_that_nothing_measures_is_a_warning(small_lab: SimpleNamespace) -> None:
    cells.change(small_lab.operator, small_lab.battery, temperature_max_c=60.0)
    definition = definition_of(small_lab.profile.latest)
    made = services.draw_up(small_lab.battery, small_lab.station, definition)
    assert made.fits
    assert [warning["field"] for warning in made.warnings] == ["temperature_max_c", "temperature_c"]
    assert "no sensor at the cell" in made.warnings[1]["message"]
