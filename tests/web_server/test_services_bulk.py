"""Many batteries from one table: every line answered, all of them or none."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web_server import factories
from web_server.accounts.models import Person
from web_server.cells import bulk
from web_server.cells import services as cells
from web_server.cells.models import Battery
from web_server.lab.models import Station
from web_server.lib.errors import NotAllowed, Refused

HEAD = (
    "name,technology,capacity_ah,chemistry,cell_voltage_min_v,cell_voltage_max_v,current_min_a,current_max_a"
)
LINE = ",lithium,3.2,NMC,2.5,4.2,-6,3"


@pytest.fixture
def rack(operator: Person) -> list[Station]:
    unit = factories.make_unit()
    return [factories.make_station(unit, f"S{n}", barcode=f"H-{n}") for n in range(1, 4)]


def _errors(by: Person, text: str, **more: Any) -> list[tuple[int, str, str]]:
    table = bulk.take(by, text, dry_run=True, **more)
    return [(row.line, error["field"], error["message"]) for row in table.rows for error in row.errors]


def test_batteries_are_recorded_and_loaded(operator: Person, rack: list[Station]) -> None:
    table = bulk.take(
        operator, f"{HEAD},barcode,station\nC1{LINE},4711,S1\nC2{LINE},4712,H-2\nC3{LINE},4713,\n"
    )
    assert (table.done, table.created, table.loaded) == (True, 3, 2)
    first = Battery.objects.get(name="C1")
    assert (first.capacity_ah, first.current_min_a, first.barcode, first.station) == (
        3.2,
        -6,
        "4711",
        rack[0],
    )
    assert Battery.objects.get(name="C3").station is None


def test_forty_cells_like_one_are_a_list_of_barcodes(operator: Person, db: None) -> None:
    like = factories.make_battery("model", barcode="M", serial_number="1", energy_wh=0.2)
    lines = "\n".join(f"C{n:02},S{n:02}" for n in range(40))
    unit = factories.make_unit()
    for n in range(40):
        factories.make_station(unit, f"S{n:02}")
    table = bulk.take(operator, f"barcode,station\n{lines}", like=like)
    assert (table.created, table.loaded) == (40, 40)
    one = Battery.objects.get(barcode="C07")
    assert (one.name, one.capacity_ah, one.energy_wh, one.serial_number) == ("C07", 0.05, 0.2, None)


def test_those_that_are_recorded_are_only_loaded(operator: Person, rack: list[Station]) -> None:
    battery = factories.make_battery("B1", barcode="4711")
    other = factories.make_battery("B2")
    table = bulk.take(operator, "barcode;name;id;station\n4711;;;S1\n;;" + str(other.uuid) + ";S2")
    assert (table.created, table.loaded) == (0, 2)
    battery.refresh_from_db()
    assert battery.station == rack[0]


def test_a_dry_run_answers_each_line_and_leaves_nothing(operator: Person, rack: list[Station]) -> None:
    text = f"{HEAD},station\nC1{LINE},S1\nC2{LINE},S1\nC3{LINE},nowhere\nC1{LINE},S3"
    errors = _errors(operator, text)
    assert [(line, field) for line, field, _ in errors] == [(3, "station"), (4, "station"), (5, "name")]
    assert "S1 holds C1" in errors[0][2]
    assert "no station 'nowhere'" in errors[1][2]
    assert "already" in errors[2][2]
    assert not Battery.objects.exists()


def test_one_wrong_line_keeps_all_out(operator: Person, rack: list[Station]) -> None:
    with pytest.raises(Refused) as refused:
        bulk.take(operator, f"{HEAD}\nC1{LINE}\nC2,lithium,much,NMC,2.5,4.2,-6,3")
    [error] = refused.value.errors
    assert (error["line"], error["field"]) == (3, "capacity_ah")
    assert "must be a number" in error["message"]
    assert not Battery.objects.exists()


def test_the_line_of_an_open_quotation_mark_is_named(operator: Person, db: None) -> None:
    for text in ('name\nA\nB\n"C\nD', 'name\nA\nB\n"C\nD"\nE'):
        with pytest.raises(Refused) as refused:
            bulk.take(operator, text)
        assert refused.value.errors[0]["line"] == 4


def test_a_spreadsheet_of_the_continent_is_understood(operator: Person, db: None) -> None:
    text = "\ufeff" + f"{HEAD}\nC1{LINE}".replace(",", ";").replace("3.2", "3,2")
    assert bulk.take(operator, text).created == 1
    assert Battery.objects.get().capacity_ah == 3.2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("name,colour\nx,red", "No such column: colour"),
        ("name,name\nx,y", "there twice"),
        ("name\n", "nothing below"),
        ("name\nx,y", "2 cells"),
        ('name,barcode\n"x,1\ny,2\nz,3', "cannot be read"),
        ('name,barcode\n"x,1\ny",2\nz,3', "several lines"),
        ('name\n"x"y', "cannot be read"),
        ("name\n" + "x\n" * 1001, "at most 1000"),
    ],
)
def test_a_table_that_is_none_is_said(operator: Person, text: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        bulk.take(operator, text)


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("id,station\n11111111-1111-1111-1111-111111111111,S1", "id", "no battery with the id"),
        ("id,station\nseven,S1", "id", "no battery with the id"),
        ("name\nnobody", "technology", "Give one: lithium"),
        (f"{HEAD},cells_in_series\nC1{LINE},1.5", "cells_in_series", "whole number"),
    ],
)
def test_a_line_that_is_wrong_is_said(
    operator: Person, rack: list[Station], text: str, field: str, said: str
) -> None:
    [(line, name, message), *_] = _errors(operator, text)
    assert (line, name) == (2, field)
    assert said in message


def test_a_recorded_one_without_a_station_is_said(operator: Person, rack: list[Station]) -> None:
    factories.make_battery("B1")
    [(_, field, message)] = _errors(operator, "name\nB1")
    assert field == "station"
    assert "recorded already" in message


def test_viewers_record_nothing(viewer: Person, db: None) -> None:
    with pytest.raises(NotAllowed):
        bulk.take(viewer, f"{HEAD}\nC1{LINE}", dry_run=True)


def test_a_table_leaves_those_alone_that_it_does_not_name(operator: Person, rack: list[Station]) -> None:
    kept = factories.make_battery("kept")
    cells.load(operator, kept, rack[2])
    bulk.take(operator, f"{HEAD}\nC1{LINE}")
    kept.refresh_from_db()
    assert kept.station == rack[2]
