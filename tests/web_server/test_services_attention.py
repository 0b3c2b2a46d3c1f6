"""What needs a person comes ranked, with since and why, for the same few questions to the database."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from tests.web_server import factories
from web_server.accounts.models import Person
from web_server.cells import quarantine
from web_server.cells import services as cells
from web_server.cells.models import Battery
from web_server.experiments import attention, services
from web_server.experiments.models import Experiment
from web_server.lab.models import Station, Unit
from web_server.notices import services as notices
from web_server.notices.models import Delivery, Target


@pytest.fixture(autouse=True)
def night_shift(db: None) -> Target:
    """Somebody who hears of alarms; nobody is the exception."""
    return Target.objects.create(name="somebody", way="webhook", shown="somewhere")


def _kinds() -> list[str]:
    return [need.kind for need in attention.needs()]


def _one(kind: str) -> attention.Need:
    [found] = [need for need in attention.needs() if need.kind == kind]
    return found


def test_a_quiet_lab_needs_nobody(small_lab: SimpleNamespace) -> None:
    factories.make_running(small_lab)
    assert _kinds() == []


def test_the_order_is_the_designs(administrator: Person, small_lab: SimpleNamespace) -> None:
    lab, unit = small_lab, small_lab.unit
    ago = timezone.now() - timedelta(hours=2)
    factories.make_running(lab, planned_end=ago, started_at=ago - timedelta(hours=1))
    for name, kind in (("U", "unsafe"), ("T", "tripped")):
        station = factories.make_station(unit, name)
        factories.make_alarm(station, severity="unsafe" if kind == "unsafe" else "trip")
        Station.objects.filter(pk=station.pk).update(state=kind)
    for name, columns in (("H", {"status": "paused"}), ("W", {"waiting_for": "operator: fill the tank"})):
        other = SimpleNamespace(
            battery=factories.make_battery(name),
            station=factories.make_station(unit, name),
            profile=lab.profile,
        )
        cells.load(lab.operator, other.battery, other.station)
        factories.make_running(other, **columns)
    done = SimpleNamespace(
        battery=factories.make_battery("F"), station=factories.make_station(unit, "F"), profile=lab.profile
    )
    cells.load(lab.operator, done.battery, done.station)
    services.set_status(factories.make_running(done), "finished")
    wanted = factories.make_battery("L")
    factories.make_experiment(wanted, lab.profile, factories.make_station(unit, "L"), name="waits")
    factories.make_unit("away", online=False)
    assert _kinds() == [
        "unsafe", "tripped", "held", "waiting", "overdue", "stale", "finished", "load",
    ]  # fmt: skip


def test_each_says_since_when_and_why(small_lab: SimpleNamespace) -> None:
    alarm = factories.make_alarm(small_lab.station, severity="trip")
    need = _one("tripped")
    assert need.text == "S1: voltage above its limit"
    assert (need.since, need.level) == (alarm.raised_at, "error")


def test_an_unsafe_station_is_one_line_not_two(small_lab: SimpleNamespace) -> None:
    alarm = factories.make_alarm(small_lab.station, severity="unsafe", code="off_failed")
    Station.objects.filter(pk=small_lab.station.pk).update(state="unsafe", state_detail="still 0.5 A")
    assert _kinds() == ["unsafe"]
    assert _one("unsafe").text == "S1 may still be on: still 0.5 A"
    assert _one("unsafe").since == alarm.raised_at


def test_a_held_test_and_its_alarm_are_one_line(small_lab: SimpleNamespace) -> None:
    run = factories.make_running(small_lab)
    services.set_status(run, "paused", text="E1: held after a crash")
    assert _one("held").text == "E1: held after a crash"
    factories.make_alarm(small_lab.station, code="held", text="the unit was away", experiment=run)
    assert _kinds() == ["held"]
    assert _one("held").text == "S1: the unit was away"


def test_a_station_that_runs_and_says_nothing_is_stale(small_lab: SimpleNamespace) -> None:
    factories.make_running(small_lab)
    old = timezone.now() - timedelta(minutes=1)
    Station.objects.filter(pk=small_lab.station.pk).update(reading_at=old)
    assert _one("stale").since == old
    Unit.objects.update(online=False)
    assert _one("stale").text == "Unit unit 1 is offline."


def test_a_little_late_is_not_overdue(small_lab: SimpleNamespace) -> None:
    now = timezone.now()
    run = factories.make_running(
        small_lab, planned_end=now - timedelta(minutes=9), started_at=now - timedelta(hours=2)
    )
    assert _kinds() == []
    Experiment.objects.filter(pk=run.pk).update(planned_end=now - timedelta(minutes=11))
    assert "should have ended" in _one("overdue").text


def test_a_battery_that_has_more_to_do_is_not_to_be_taken_out(small_lab: SimpleNamespace) -> None:
    services.set_status(factories.make_running(small_lab), "finished")
    Station.objects.update(state="idle")
    need = _one("finished")
    assert need.text == "E1 is finished; B1 is still in S1."
    assert need.item == small_lab.battery
    factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station, name="E2")
    assert _kinds() == []


def test_a_battery_loaded_anew_has_not_finished(small_lab: SimpleNamespace) -> None:
    services.set_status(factories.make_running(small_lab), "finished")
    Battery.objects.update(loaded_at=timezone.now() + timedelta(seconds=1))
    assert _kinds() == []


def test_what_is_finished_is_found_however_many_tests_came_before(small_lab: SimpleNamespace) -> None:
    for n in range(3):
        run = factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station, name=f"R{n}")
        services.set_status(run, "starting")
        if n < 2:
            services.set_status(run, "running")
        services.set_status(run, "error" if n == 2 else "finished", {"code": "x", "text": "x"})
    assert _one("finished").text == "R2 ended with an error; B1 is still in S1."


def test_a_cancelled_test_leaves_nothing_to_take_out(small_lab: SimpleNamespace) -> None:
    run = factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station)
    services.cancel(small_lab.operator, run)
    assert _kinds() == []


def test_a_waiting_step_waits_since_it_began(small_lab: SimpleNamespace) -> None:
    run = factories.make_running(small_lab, waiting_for="operator: fill the tank")
    began = timezone.now() - timedelta(hours=3)
    services.add_event(run, "step", "step 2 began", at=began, step=2)
    Experiment.objects.filter(pk=run.pk).update(percent=40.0, updated_at=timezone.now())
    assert _one("waiting").since == began


@pytest.mark.parametrize(
    "waiting_for",
    ["25 ± 1 °C", "the time 2026-05-01", "flow above 100 for 2 s", "checking the wiring at rest"],
)
def test_what_comes_by_itself_waits_for_nobody(small_lab: SimpleNamespace, waiting_for: str) -> None:
    run = factories.make_running(small_lab, waiting_for=waiting_for)
    assert _kinds() == []
    Experiment.objects.filter(pk=run.pk).update(waiting_for=f"{waiting_for}, operator: open the valve")
    assert _one("waiting").text == "E1 waits for somebody: open the valve"


def test_a_start_waits_for_nobody(small_lab: SimpleNamespace) -> None:
    run = factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station)
    services.set_status(run, "starting", active_station=small_lab.station, active_battery=small_lab.battery)
    Experiment.objects.update(waiting_for="checking the wiring at rest")
    assert _kinds() == []


def test_a_latched_station_whose_alarm_is_still_to_come_is_said(small_lab: SimpleNamespace) -> None:
    latched = {"state": "tripped", "state_detail": "voltage above 4.2 V", "latched_alarm": uuid4()}
    Station.objects.filter(pk=small_lab.station.pk).update(**latched)
    assert _one("tripped").text == "S1 is tripped: voltage above 4.2 V"
    factories.make_alarm(small_lab.station, severity="warning", text="a sensor is silent")
    assert _one("tripped").text == "S1 is tripped: voltage above 4.2 V"
    factories.make_alarm(small_lab.station)
    assert _one("tripped").text == "S1: voltage above its limit"


@pytest.mark.parametrize("severity", ["trip", "unsafe"])
def test_an_unsafe_station_is_so_since_its_alarm(small_lab: SimpleNamespace, severity: str) -> None:
    raised = timezone.now() - timedelta(minutes=20)
    factories.make_alarm(small_lab.station, severity=severity, raised_at=raised)
    Station.objects.filter(pk=small_lab.station.pk).update(state="unsafe")
    assert _one("unsafe").since == raised


# --- to be loaded -------------------------------------------------------------------------------------


def _wants(lab: SimpleNamespace, battery: Battery, station: Station | None, **body: Any) -> Experiment:
    where: dict[str, Any] = {"station": station} if station else {"station_query": {}}
    return services.file(None, name="E9", battery=battery, profile=lab.profile, **where, **body)


def test_a_battery_in_another_station_is_to_be_moved(small_lab: SimpleNamespace) -> None:
    _wants(small_lab, small_lab.battery, factories.make_station(small_lab.unit, "S2"))
    need = _one("load")
    assert (need.text, need.way) == ("E9 starts when B1 is in S2; it is still in S1.", "move")


def test_a_battery_that_is_busy_elsewhere_is_not_to_be_moved_yet(small_lab: SimpleNamespace) -> None:
    _wants(small_lab, small_lab.battery, factories.make_station(small_lab.unit, "S2"))
    factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station)
    assert _kinds() == []


def test_a_station_that_holds_something_idle_is_to_be_emptied(small_lab: SimpleNamespace) -> None:
    _wants(small_lab, factories.make_battery("B2"), small_lab.station)
    need = _one("load")
    assert (need.text, need.way) == ("E9 starts when B2 is in S1, which holds B1.", "swap")
    services.set_status(factories.make_running(small_lab), "finished")
    assert _kinds() == ["finished"]


def test_a_station_that_is_busy_is_not_to_be_emptied(small_lab: SimpleNamespace) -> None:
    _wants(small_lab, factories.make_battery("B2"), small_lab.station)
    factories.make_running(small_lab)
    assert _kinds() == []


def test_a_test_that_takes_any_station_wants_its_battery_in_one(small_lab: SimpleNamespace) -> None:
    _wants(small_lab, factories.make_battery("B2"), None)
    need = _one("load")
    assert (need.text, need.way) == ("E9 starts when B2 is in a station that fits.", "scan")


def test_ten_tests_of_one_battery_want_it_loaded_once(small_lab: SimpleNamespace) -> None:
    battery, station = factories.make_battery("B2"), factories.make_station(small_lab.unit, "S2")
    first, *_ = [_wants(small_lab, battery, station) for _ in range(3)]
    assert _one("load").item == first
    urgent = _wants(small_lab, battery, station, priority=5)
    assert _one("load").item == urgent


def test_a_battery_in_quarantine_waits_for_an_inspection(small_lab: SimpleNamespace) -> None:
    quarantine.put(small_lab.battery, "voltage above its limit.")
    assert "until somebody has looked at it: voltage above its limit." in _one("inspect").text
    quarantine.inspect(small_lab.operator, small_lab.battery, "fine")
    assert _kinds() == []


def test_an_alarm_that_reached_nobody_is_said(
    night_shift: Target, administrator: Person, small_lab: SimpleNamespace
) -> None:
    night_shift.delete()
    notices.add(administrator, name="night shift", address="https://hooks.example.org/x")
    factories.make_alarm(small_lab.station, severity="trip")
    notices.plan()
    Delivery.objects.update(attempts=1, outcome="connection refused")
    assert _kinds() == ["tripped", "unheard"]
    assert _one("unheard").text == "night shift could not be told of S1: connection refused"


def test_a_trip_of_which_nobody_is_told_is_said(night_shift: Target, small_lab: SimpleNamespace) -> None:
    night_shift.delete()
    factories.make_alarm(small_lab.station, severity="warning")
    assert _kinds() == ["warning"]
    factories.make_alarm(small_lab.station, severity="trip")
    assert _kinds() == ["tripped", "unheard", "warning"]
    assert _one("unheard").text == "Nobody is told of this: no address for alarms is set."


def test_many_of_a_kind_are_counted(small_lab: SimpleNamespace) -> None:
    for n in range(25):
        factories.make_alarm(small_lab.station, text=f"number {n}")
    shown, more = attention.listed(attention.needs())
    assert (len(shown), more) == (20, 5)


def test_the_questions_do_not_grow_to_forty_stations(
    small_lab: SimpleNamespace, django_assert_num_queries: Any
) -> None:
    def grow(n: int) -> None:
        lab = SimpleNamespace(
            battery=factories.make_battery(f"M{n}"),
            station=factories.make_station(small_lab.unit, f"M{n}"),
            profile=small_lab.profile,
        )
        cells.load(small_lab.operator, lab.battery, lab.station)
        run = factories.make_running(lab, waiting_for="operator: fill the tank" if n % 3 else "")
        if n % 4 == 0:
            factories.make_alarm(lab.station, experiment=run)
        if n % 2:
            services.set_status(run, "finished")
        _wants(small_lab, factories.make_battery(f"W{n}"), None)

    grow(0)
    grow(1)
    with django_assert_num_queries(14):
        attention.needs()
    for n in range(2, 40):
        grow(n)
    with django_assert_num_queries(14):
        found = attention.needs()
    assert {need.kind for need in found} == {"tripped", "waiting", "finished", "load"}


@pytest.mark.parametrize("kind", attention.ORDER)
def test_every_kind_has_its_place_and_its_level(kind: str) -> None:
    need = attention.Need(kind, "", None)
    assert need.level in ("error", "warning", "info")
