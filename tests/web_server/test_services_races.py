"""Two at once: the database decides, once. Real threads with connections of their own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections

from tests.web_server import factories
from web_server.cells import services as cells
from web_server.cells.models import Battery
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.experiments import services
from web_server.experiments.models import Alarm, Experiment
from web_server.lab import catalogue
from web_server.lab.models import Station
from web_server.lib.errors import Refused
from web_server.lib.transactions import atomic
from web_server.notices import services as notices
from web_server.notices.models import Delivery

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        os.environ.get("CELLYARD_TEST_BACKEND") != "lab",
        reason="SQLite in memory has one writer at a time; the lab backend runs this",
    ),
]


def _together(*acts: Callable[[], Any]) -> list[Any]:
    """Run all acts at the same moment; return what each returned or raised."""
    barrier = Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait(10)
            return act()
        except Refused as refused:
            return refused
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


@pytest.fixture
def lab() -> Station:
    # Each of these tests empties the tables afterwards, the catalogue among them.
    catalogue.seed()
    station = factories.make_station(factories.make_unit())
    cells.load(None, factories.make_battery(), station)
    return station


def _queued(station: Station, count: int) -> list[Experiment]:
    battery, profile = Battery.objects.get(), factories.make_profile()
    return [factories.make_experiment(battery, profile, station, name=f"E{n}") for n in range(count)]


@pytest.mark.parametrize("attempt", range(3))
def test_two_managers_start_one_experiment(lab: Station, attempt: int) -> None:
    _queued(lab, 2)
    started = _together(*[lambda: services.start_next(Station.objects.get(pk=lab.pk)) for _ in range(4)])
    assert len([experiment for experiment in started if experiment is not None]) == 1
    assert Experiment.objects.exclude(active_station=None).count() == 1
    assert Command.objects.filter(kind="experiment.start").count() == 1


@pytest.mark.parametrize("attempt", range(3))
def test_a_battery_taken_out_while_it_is_started_is_either_or(lab: Station, attempt: int) -> None:
    [experiment] = _queued(lab, 1)
    battery = Battery.objects.get()
    _together(
        lambda: services.start_next(Station.objects.get(pk=lab.pk)),
        lambda: cells.eject(None, battery),
    )
    experiment.refresh_from_db()
    battery.refresh_from_db()
    assert (experiment.status == "starting") == (battery.station_id == lab.pk)


def test_two_batteries_never_share_a_station(lab: Station) -> None:
    cells.eject(None, Battery.objects.get())
    found = [Battery.objects.get(), factories.make_battery("B2"), factories.make_battery("B3")]
    said = _together(*[lambda battery=battery: cells.load(None, battery, lab) for battery in found])
    assert len([answer for answer in said if isinstance(answer, Refused)]) == 2
    assert Battery.objects.filter(station=lab).count() == 1


def test_a_command_is_taken_by_one_of_many_managers(lab: Station) -> None:
    for _ in range(5):
        commands.request("detect", {}, lab.unit)
    taken = _together(*[lambda n=n: commands.claim([lab.unit_id], f"m{n}") for n in range(4)])
    ids = [command.pk for some in taken for command in some]
    assert len(ids) == len(set(ids)) == 5


def test_an_experiment_ends_once(lab: Station) -> None:
    [experiment] = _queued(lab, 1)
    services.start_next(lab)
    services.set_status(experiment, "running")
    ends = [("stopped", "a"), ("error", "b"), ("finished", "c")]
    said = _together(
        *[
            lambda to=to, code=code: services.set_status(
                Experiment.objects.get(pk=experiment.pk), to, {"code": code, "text": code}
            )
            for to, code in ends
        ]
    )
    assert sorted(said) == [False, False, True]
    experiment.refresh_from_db()
    assert (experiment.status, experiment.end_reason["code"]) == ends[said.index(True)]
    assert (
        experiment.events.filter(kind="status", detail__status__in=["stopped", "error", "finished"]).count()
        == 1
    )


def test_two_managers_tell_of_an_alarm_once(lab: Station) -> None:
    notices.add(None, name="night shift", address="https://hooks.example.org/x")
    Alarm.objects.create(station=lab, unit=lab.unit, code="limit", text="too high")
    _together(notices.plan, notices.plan, notices.plan)
    assert Delivery.objects.count() == 1
    taken = _together(*[lambda name=name: notices.take(name, 5) for name in ("a", "b", "c")])
    assert sum(len(rows) for rows in taken) == 1


def test_one_holder_gets_one_of_two_scanned_cells(lab: Station) -> None:
    free = factories.make_station(lab.unit, "S2")
    pair = [factories.make_battery("B2"), factories.make_battery("B3")]
    came = _together(*[lambda battery=battery: cells.load(None, battery, free) for battery in pair])
    assert sum(isinstance(each, Refused) for each in came) == 1
    assert Battery.objects.filter(station=free).count() == 1


@pytest.mark.parametrize("put_in", [False, True])
@pytest.mark.parametrize("attempt", range(3))
def test_one_request_sent_twice_at_once_files_one_experiment(
    lab: Station, attempt: int, put_in: bool
) -> None:
    battery, profile, once = Battery.objects.get(), factories.make_profile(), uuid4()
    if put_in:
        cells.eject(None, battery)

    def send() -> Experiment:
        given: dict[str, Any] = {"name": "E1", "battery": battery.uuid, "profile": profile.uuid}
        return services.file(None, **given, station=lab.uuid, load=put_in, request_id=once)

    first, second = _together(send, send)
    assert first == second == Experiment.objects.get()
    assert first.events.count() == 1


def test_two_that_lock_each_other_out_are_both_done(lab: Station) -> None:
    met, tries = Barrier(2), Counter[str]()
    rows: dict[str, Any] = {"station": Station.objects.filter(pk=lab.pk), "battery": Battery.objects.all()}

    def crossing(first: str, second: str) -> Callable[[], str]:
        @atomic
        def act() -> str:
            tries[first] += 1
            rows[first].select_for_update().get()
            if tries[first] == 1:
                met.wait(10)
            rows[second].select_for_update().get()
            return first

        return act

    done = _together(crossing("station", "battery"), crossing("battery", "station"))
    assert done == ["station", "battery"]
    assert tries.total() == 3, "the database chose one of them, and it began again"
