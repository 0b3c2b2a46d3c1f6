"""One profile on many batteries: each answered before anything starts, then started one after the other."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from tests.web_server import factories
from web_server.accounts.models import Person
from web_server.cells import services as cells
from web_server.cells.models import Battery
from web_server.experiments import services
from web_server.experiments.models import Experiment
from web_server.lab.models import Station, Unit
from web_server.lib.errors import NotAllowed, Refused


@pytest.fixture
def rack(operator: Person) -> SimpleNamespace:
    """Three stations of one unit, each with a battery; a fourth battery lies on the bench."""
    unit = factories.make_unit()
    stations = [factories.make_station(unit, f"S{n}") for n in (1, 2, 3)]
    batteries = [factories.make_battery(f"B{n}") for n in (1, 2, 3)]
    for battery, station in zip(batteries, stations, strict=True):
        cells.load(operator, battery, station)
    return SimpleNamespace(
        unit=unit,
        stations=stations,
        batteries=_fresh(batteries),
        free=factories.make_battery("B4"),
        profile=factories.make_profile(),
        operator=operator,
    )


def _fresh(batteries: list[Battery]) -> list[Battery]:
    rows = Battery.objects.select_related("station__unit").in_bulk([battery.pk for battery in batteries])
    return [rows[battery.pk] for battery in batteries]


def _file(rack: SimpleNamespace, **body: Any) -> Any:
    given = {"batteries": _fresh(rack.batteries), "profile": rack.profile}
    return services.file_many(rack.operator, **{**given, **body})


def test_each_battery_gets_its_experiment_in_the_station_that_holds_it(rack: SimpleNamespace) -> None:
    entries = _file(rack, name_template="{n}: {profile} on {battery} in {station}")
    assert [entry.experiment.name for entry in entries] == [f"{n}: P1 on B{n} in S{n}" for n in (1, 2, 3)]
    assert [entry.experiment.station for entry in entries] == rack.stations


def test_a_dry_run_answers_each_and_leaves_nothing(rack: SimpleNamespace) -> None:
    entries = _file(rack, batteries=[*_fresh(rack.batteries), rack.free], dry_run=True)
    assert [entry.ok for entry in entries] == [True, True, True, False]
    assert entries[3].errors[0]["message"] == "B4 is in no station: load it first."
    assert all(entry.experiment is None for entry in entries)
    assert not Experiment.objects.exists()


def test_one_that_does_not_fit_stops_all_of_them(rack: SimpleNamespace) -> None:
    with pytest.raises(Refused) as refused:
        _file(rack, batteries=[*_fresh(rack.batteries), rack.free])
    assert refused.value.errors[0]["field"] == "batteries.3"
    assert not Experiment.objects.exists()


def test_those_that_fit_may_be_filed_alone(rack: SimpleNamespace) -> None:
    entries = _file(rack, batteries=[rack.free, *_fresh(rack.batteries)], only_fitting=True)
    assert [entry.experiment is not None for entry in entries] == [False, True, True, True]
    assert Experiment.objects.count() == 3


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"state": "tripped"}, "acknowledge its alarm"),
        ({"state": "offline"}, "offline"),
        ({"state": "manual"}, "by hand"),
    ],
)
def test_a_station_that_cannot_start_is_said_before(
    rack: SimpleNamespace, columns: dict[str, Any], said: str
) -> None:
    Station.objects.filter(pk=rack.stations[1].pk).update(**columns)
    entries = _file(rack, dry_run=True)
    assert [entry.ok for entry in entries] == [True, False, True]
    assert said in entries[1].errors[0]["message"]


def test_a_unit_that_is_not_heard_is_said_before(rack: SimpleNamespace) -> None:
    Unit.objects.filter(pk=rack.unit.pk).update(online=False)
    assert not any(entry.ok for entry in _file(rack, dry_run=True))


def test_what_a_profile_breaks_is_said_with_its_step(rack: SimpleNamespace) -> None:
    cells.change(rack.operator, rack.batteries[0], current_max_a=0.1)
    entries = _file(rack, dry_run=True)
    assert [entry.ok for entry in entries] == [False, True, True]
    assert entries[0].errors[0]["step"] == 1


def test_a_stagger_starts_one_after_the_other(rack: SimpleNamespace) -> None:
    began = timezone.now()
    entries = _file(rack, stagger_s=60)
    waits = [(entry.not_before - began).total_seconds() for entry in entries]
    assert waits == pytest.approx([0, 60, 120], abs=5)
    assert services.start_next(rack.stations[0]) == entries[0].experiment
    assert services.start_next(rack.stations[1]) is None
    entries[1].experiment.refresh_from_db()
    assert "starts at" in entries[1].experiment.queued_because
    past = timezone.now() - timedelta(seconds=1)
    Experiment.objects.filter(pk=entries[1].experiment.pk).update(not_before=past)
    assert services.start_next(rack.stations[1]) == entries[1].experiment


def test_one_that_is_stopped_takes_no_place_in_the_stagger(rack: SimpleNamespace) -> None:
    entries = _file(rack, batteries=[rack.free, *_fresh(rack.batteries)], stagger_s=60, only_fitting=True)
    assert (entries[2].not_before - entries[1].not_before).total_seconds() == 60
    assert entries[1].not_before <= timezone.now()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"batteries": []}, "batteries"),
        ({"stagger_s": -1}, "stagger_s"),
        ({"stagger_s": 1e6}, "stagger_s"),
        ({"name_template": "{cell}"}, "name_template"),
        ({"name_template": " "}, "name_template"),
    ],
)
def test_what_is_wrong_with_the_batch_is_named(
    rack: SimpleNamespace, body: dict[str, Any], field: str
) -> None:
    with pytest.raises(Refused) as refused:
        _file(rack, **body)
    assert refused.value.errors[0]["field"] == field


def test_a_battery_twice_is_refused(rack: SimpleNamespace) -> None:
    with pytest.raises(Refused, match="twice"):
        _file(rack, batteries=[*_fresh(rack.batteries), rack.batteries[0]])


def test_viewers_file_nothing(rack: SimpleNamespace, viewer: Person) -> None:
    with pytest.raises(NotAllowed):
        services.file_many(viewer, batteries=rack.batteries, profile=rack.profile, dry_run=True)


def test_a_run_is_repeated_on_another_battery_where_that_one_is(rack: SimpleNamespace) -> None:
    first = _file(rack, rest_voltage_confirmed=True)[0].experiment
    again = services.repeat(rack.operator, first, battery=_fresh(rack.batteries)[1])
    assert (again.battery.name, again.station.name, again.origin) == ("B2", "S2", first)
    assert again.rest_voltage_confirmed is False
    same = services.repeat(rack.operator, first)
    assert (same.battery, same.station, same.rest_voltage_confirmed) == (first.battery, first.station, True)


def test_forty_cells_are_filed_in_one_act(rack: SimpleNamespace) -> None:
    stations = [factories.make_station(rack.unit, f"R{n:02}") for n in range(40)]
    batteries = [factories.make_battery(f"C{n:02}") for n in range(40)]
    for battery, station in zip(batteries, stations, strict=True):
        cells.load(rack.operator, battery, station)
    entries = _file(rack, batteries=_fresh(batteries))
    assert all(entry.experiment is not None for entry in entries)
    assert Experiment.objects.count() == 40
