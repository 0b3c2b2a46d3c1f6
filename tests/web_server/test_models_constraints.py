"""The database itself refuses what must never be, on every backend."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, models, transaction

from tests.web_server import factories
from web_server.cells.models import Battery
from web_server.experiments.models import Event, Experiment
from web_server.lab.models import Device
from web_server.measurements.models import Sample

OWN = [model for model in apps.get_models() if model.__module__.startswith("web_server")]


def _refused(write) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        write()


def test_a_station_holds_one_battery(small_lab: SimpleNamespace) -> None:
    other = factories.make_battery("B2")
    _refused(lambda: Battery.objects.filter(pk=other.pk).update(station=small_lab.station))


def test_many_batteries_are_nowhere(db: None) -> None:
    factories.make_battery("B1")
    factories.make_battery("B2")
    assert Battery.objects.filter(station=None).count() == 2


@pytest.mark.parametrize("hold", ["active_station", "active_battery"])
def test_a_station_and_a_battery_are_in_one_experiment(small_lab: SimpleNamespace, hold: str) -> None:
    first = factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station)
    second = factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station, name="E2")
    held = {"active_station": small_lab.station, "active_battery": small_lab.battery}[hold]
    Experiment.objects.filter(pk=first.pk).update(**{hold: held})
    _refused(lambda: Experiment.objects.filter(pk=second.pk).update(**{hold: held}))


def test_batteries_are_unique_by_maker_model_and_serial_number(db: None) -> None:
    factories.make_battery("B1", manufacturer="LG", model="M50T", serial_number="7")
    _refused(
        lambda: Battery.objects.create(
            name="B2",
            technology="lithium",
            manufacturer="LG",
            model="M50T",
            serial_number="7",
            current_min_a=-1,
            current_max_a=1,
        )
    )


def test_batteries_without_a_serial_number_do_not_collide(db: None) -> None:
    factories.make_battery("B1", manufacturer="LG", model="M50T")
    factories.make_battery("B2", manufacturer="LG", model="M50T", serial_number="")
    assert Battery.objects.filter(serial_number=None).count() == 2


def test_a_unit_reports_a_device_once(db: None) -> None:
    unit = factories.make_unit()
    factories.make_device(unit, "1")
    _refused(lambda: factories.make_device(unit, "1"))
    assert Device.objects.count() == 1


def test_an_event_of_a_spool_is_stored_once_and_events_of_the_site_are_free(
    small_lab: SimpleNamespace,
) -> None:
    spool = "8c9a62d2-8e2b-4c6e-9c62-2f2c1a1d7a11"
    Event.objects.create(unit=small_lab.unit, spool=spool, spool_seq=1, kind="note", text="a")
    _refused(
        lambda: Event.objects.create(unit=small_lab.unit, spool=spool, spool_seq=1, kind="note", text="a")
    )
    Event.objects.create(unit=small_lab.unit, kind="note", text="b")
    Event.objects.create(unit=small_lab.unit, kind="note", text="b")


def test_a_sample_is_stored_once_and_needs_no_parent_row(db: None) -> None:
    columns = {
        "time_us": 1,
        "elapsed_s": 0.0,
        "step": 1,
        "step_count": 1,
        "cycle": 0,
        "mode": "cc",
        "charge_in_ah": 0.0,
        "charge_out_ah": 0.0,
        "energy_in_wh": 0.0,
        "energy_out_wh": 0.0,
    }
    Sample.objects.create(experiment_id=99, seq=1, **columns)
    _refused(lambda: Sample(experiment_id=99, seq=1, **columns).save(force_insert=True))


def test_no_constraint_is_conditional_because_mysql_would_leave_it_out() -> None:
    for model in OWN:
        for constraint in model._meta.constraints:
            assert getattr(constraint, "condition", None) is None or isinstance(
                constraint, models.CheckConstraint
            ), constraint.name


def test_every_entity_has_a_bigint_key_and_a_unique_uuid() -> None:
    entities = [model for model in OWN if any(field.name == "uuid" for field in model._meta.fields)]
    assert {model.__name__ for model in entities} >= {
        "Battery",
        "Station",
        "Unit",
        "Experiment",
        "Alarm",
        "Command",
    }
    for model in entities:
        assert isinstance(model._meta.pk, models.BigAutoField)
        assert model._meta.get_field("uuid").unique


def test_every_constraint_and_index_has_a_name_of_its_own() -> None:
    names = [item.name for model in OWN for item in (*model._meta.constraints, *model._meta.indexes)]
    assert len(names) == len(set(names))
    assert all("%" not in name for name in names)


def test_no_migration_is_missing(db: None) -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
