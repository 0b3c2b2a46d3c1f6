"""`prepare` makes a site ready, again and again; a bench is set up when its unit comes."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.management import call_command

from cycling import dry_run
from cycling.cell import Cell
from tests.web_server import factories
from web_server.accounts.models import AuditEntry, Person
from web_server.cells.models import Battery
from web_server.experiments import contract, start
from web_server.experiments import services as experiments
from web_server.experiments.models import Experiment
from web_server.lab import bench, services
from web_server.lab.models import DeviceModel, EnrolToken, Station, Unit
from web_server.profiles.models import Profile


@pytest.fixture
def state(db: None, settings: Any, tmp_path: Path) -> Path:
    settings.CELLYARD = msgspec.structs.replace(settings.CELLYARD, state_dir=tmp_path, admin_password="")
    return tmp_path


def _enrol(state: Path) -> Unit:
    unit = factories.make_unit("fresh", approved=False)
    assert services.redeem_enrol_token((state / "enrol-token").read_text().strip(), unit)
    return unit


def test_the_first_administrator_gets_a_password_that_only_they_can_read(state: Path) -> None:
    call_command("prepare", verbosity=0)
    kept = state / "admin-password"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    admin = Person.objects.get()
    assert (admin.username, admin.role) == ("admin", "administrator")
    assert admin.check_password(kept.read_text().strip())


def test_a_given_password_is_taken_and_written_nowhere(state: Path, settings: Any) -> None:
    settings.CELLYARD = msgspec.structs.replace(settings.CELLYARD, admin_password="given by hand")
    call_command("prepare", verbosity=0)
    assert Person.objects.get().check_password("given by hand")
    assert not (state / "admin-password").exists()


def test_preparing_again_changes_nothing(state: Path) -> None:
    call_command("prepare", "--demo", verbosity=0)
    token, password = (state / "enrol-token").read_text(), Person.objects.get().password
    call_command("prepare", "--demo", verbosity=0)
    assert (state / "enrol-token").read_text() == token
    assert Person.objects.get().password == password
    assert (Battery.objects.count(), Profile.objects.count(), EnrolToken.objects.count()) == (2, 1, 1)


def test_without_the_demo_there_is_nothing_in_the_lab(state: Path) -> None:
    call_command("prepare", "--enrol-token", verbosity=0)
    assert stat.S_IMODE((state / "enrol-token").stat().st_mode) == 0o600
    assert not Battery.objects.exists()
    assert bench.apply_bench_plan(_enrol(state)) == []
    assert DeviceModel.objects.exists()


def test_the_bench_is_set_up_once_its_devices_are_there(state: Path) -> None:
    call_command("prepare", "--demo", verbosity=0)
    unit = _enrol(state)
    assert bench.apply_bench_plan(unit) == []
    factories.make_device(unit, "1")
    assert bench.apply_bench_plan(unit) == []
    factories.make_device(unit, "2")
    made = bench.apply_bench_plan(unit)
    assert [station.name for station in made] == ["bench 1", "bench 2"]
    unit.refresh_from_db()
    assert (unit.name, unit.status) == ("bench", "online")
    assert [station.loaded_battery.name for station in made] == ["Demo cell 1", "Demo cell 2"]
    filed = Experiment.objects.get()
    assert (filed.name, filed.status, filed.station, filed.profile.name) == (
        "First run",
        "queued",
        made[0],
        "Demo CC-CV",
    )


def test_the_demo_stands_on_its_simulated_supplies_whatever_else_is_there(state: Path) -> None:
    call_command("prepare", "--demo", verbosity=0)
    unit = _enrol(state)
    factories.make_device(unit, "0000", model="rs-pro-kel103")
    factories.make_device(unit, "0001", model="epc")
    assert bench.apply_bench_plan(unit) == []
    for number in range(2, 4):
        factories.make_device(unit, f"{number:04}")
    made = bench.apply_bench_plan(unit)
    on = {each.model.key for station in made for each in station.used_devices.all()}
    assert on == {factories.SUPPLY}


def test_the_bench_is_set_up_once_only(state: Path) -> None:
    call_command("prepare", "--demo", verbosity=0)
    unit = _enrol(state)
    for number in range(4):
        factories.make_device(unit, str(number))
    bench.apply_bench_plan(unit)
    assert bench.apply_bench_plan(unit) == []
    assert (Station.objects.count(), Experiment.objects.count()) == (2, 1)


def test_a_unit_that_came_another_way_gets_no_bench(state: Path) -> None:
    call_command("prepare", "--demo", verbosity=0)
    unit = factories.make_unit("other")
    for number in range(2):
        factories.make_device(unit, str(number))
    assert bench.apply_bench_plan(unit) == []


def test_a_plan_that_cannot_be_applied_leaves_nothing_half_done(state: Path, caplog: Any) -> None:
    call_command("prepare", "--demo", verbosity=0)
    unit = _enrol(state)
    for number in range(3):
        factories.make_device(unit, str(number))
    other = factories.make_unit("in the way")
    factories.make_station(other, "bench 2")
    assert bench.apply_bench_plan(unit) == []
    assert "not applied: There is a station 'bench 2' already" in caplog.text
    assert not Station.objects.filter(unit=unit).exists()
    assert not Battery.objects.exclude(station=None).exists()


def test_the_first_run_starts_as_soon_as_the_unit_has_its_stations(state: Path) -> None:
    call_command("prepare", "--demo", verbosity=0)
    unit = _enrol(state)
    for number in range(2):
        factories.make_device(unit, str(number))
    first, second = bench.apply_bench_plan(unit)
    assert experiments.start_next(first) is None
    started = experiments.start_next(factories.make_idle(first))
    assert started is not None
    assert started.name == "First run"
    assert experiments.start_next(factories.make_idle(second)) is None


def test_what_the_bench_did_is_in_the_audit_under_the_administrators_name(state: Path) -> None:
    call_command("prepare", "--demo", verbosity=0)
    unit = _enrol(state)
    for number in range(2):
        factories.make_device(unit, str(number))
    bench.apply_bench_plan(unit)
    acts = AuditEntry.objects.filter(person_name="admin").values_list("act", flat=True)
    assert {"station.compose", "battery.load", "experiment.file", "unit.approve"} <= set(acts)


def test_the_demo_runs_three_cycles_in_about_two_minutes_within_the_cells_limits(state: Path) -> None:
    call_command("prepare", "--demo", verbosity=0)
    unit = _enrol(state)
    for number in range(2):
        factories.make_device(unit, str(number))
    station = bench.apply_bench_plan(unit)[0]
    experiment = Experiment.objects.get()
    profile = start.definition(experiment)
    made = contract.draw_up(experiment.battery, station, profile)
    cell = Cell(chemistry="NMC", capacity_ah=0.05, r0_ohm=0.2, soc=0.5)
    assert made.envelope is not None
    ran = dry_run.run(profile, made.envelope, made.capacity_ah, cell, period=0.1)
    assert (ran.action, ran.cycle) == ("finished", 3)
    assert 90 <= ran.elapsed_s <= 135
