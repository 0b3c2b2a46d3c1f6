"""Samples by number, as few points that keep every spike, and as a file."""

from __future__ import annotations

import csv
import io
import time

import pytest
from asgiref.sync import async_to_sync

from tests.web_server.api_lab import build, client_of
from web_server.experiments import services as experiments
from web_server.measurements import charts
from web_server.measurements.models import Rollup, Sample

pytestmark = pytest.mark.django_db


@pytest.fixture
def lab():
    return build()


@pytest.fixture
def get(lab):
    client = client_of(lab.colleague)
    return lambda experiment, **query: client.get(f"/api/v1/experiments/{experiment.uuid}/samples/", query)


# --- by number ------------------------------------------------------------------------------------


def test_raw_columns_come_after_a_number_and_say_where_to_go_on(lab, get):
    experiment = lab.running()
    lab.measure(experiment, 1, 10)
    first = get(experiment, after=0, limit=4).json()
    assert first["columns"]["seq"] == [1, 2, 3, 4]
    assert set(charts.COLUMNS) <= set(first["columns"])
    second = get(experiment, after=first["next_after"]).json()
    assert second["columns"]["seq"] == [5, 6, 7, 8, 9, 10]
    assert get(experiment, after=10).json() == {
        "experiment": str(experiment.uuid),
        "columns": {name: [] for name in charts.COLUMNS},
        "next_after": 10,
        "complete": False,
    }


def test_missing_is_null_and_extended_measures_are_columns(lab, get):
    experiment = lab.running()
    lab.measure(experiment, 1, 2, pump_l_min=[1.5, None])
    lab.measure(experiment, 3, 1)
    columns = get(experiment).json()["columns"]
    assert columns["temperature_c"] == [None, None, None]
    assert columns["pump_l_min"] == [1.5, None, None]


def test_it_is_complete_only_when_final_and_every_row_is_there(lab, get):
    experiment = lab.running()
    lab.measure(experiment, 1, 5)
    experiments.set_status(experiment, "finished", {"code": "done", "text": "done"}, last_seq=6)
    assert get(experiment).json()["complete"] is False
    lab.measure(experiment, 6, 1)
    assert get(experiment).json()["complete"] is True


def test_rows_behind_a_young_hole_wait_until_it_is_filled(lab, get):
    experiment = lab.running()
    now_us = time.time_ns() // 1000
    lab.measure(experiment, 1, 2)
    lab.measure(experiment, 4, 2, time_us=[now_us, now_us + 1])
    assert get(experiment).json()["columns"]["seq"] == [1, 2]
    lab.measure(experiment, 3, 1)
    assert get(experiment, after=2).json()["columns"]["seq"] == [3, 4, 5]


def test_an_old_hole_stops_nobody(lab, get):
    experiment = lab.running()
    lab.measure(experiment, 1, 2)
    lab.measure(experiment, 4, 2)
    assert get(experiment).json()["columns"]["seq"] == [1, 2, 4, 5]


@pytest.mark.parametrize(
    "query",
    [
        {"after": "x"},
        {"after": "-1"},
        {"limit": "0"},
        {"limit": "100000"},
        {"points": "1"},
        {"from": "yesterday"},
        {"from": "nan"},
        {"points": "10", "after": "5"},
    ],
)
def test_a_wrong_query_is_refused_with_its_name(lab, get, query):
    answer = get(lab.running(), **query)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] in query


# --- few points -----------------------------------------------------------------------------------


def spiky(lab, count):
    """Store ``count`` samples with one high spike and one low one; return the experiment."""
    experiment = lab.running()
    volts = [3.5 + (seq % 7) * 1e-3 for seq in range(1, count + 1)]
    volts[count // 3], volts[count // 2] = 4.4, 2.1
    for at in range(0, count, 500):
        lab.measure(experiment, at + 1, min(500, count - at), voltage_v=volts[at : at + 500])
    return experiment


def test_few_samples_come_as_they_are(lab, get):
    experiment = lab.running()
    lab.measure(experiment, 1, 20)
    got = get(experiment, points=100).json()
    assert got["downsampled"] is False
    assert got["columns"]["seq"] == list(range(1, 21))


@pytest.mark.parametrize("points", [50, 200, 1000])
def test_downsampling_keeps_minima_and_maxima(lab, get, points):
    """With 50 points coarse rollups are read, with 200 fine ones, with 1000 the samples themselves."""
    got = get(spiky(lab, 5000), points=points).json()
    volts = [volt for volt in got["columns"]["voltage_v"] if volt is not None]
    assert got["downsampled"] is True
    assert max(volts) == 4.4
    assert min(volts) == 2.1
    assert len(volts) <= points + 2
    elapsed = got["columns"]["elapsed_s"]
    assert elapsed == sorted(elapsed)
    assert {len(column) for column in got["columns"].values()} == {len(volts)}


def test_a_large_range_reads_rollups_and_no_samples(lab, get, django_assert_max_num_queries, monkeypatch):
    experiment = spiky(lab, 5000)
    monkeypatch.setattr(charts, "_atoms_of_samples", lambda *_: pytest.fail("read the samples"))
    assert Rollup.objects.filter(experiment_id=experiment.pk).exists()
    with django_assert_max_num_queries(12):
        get(experiment, points=100)


def test_a_window_is_given_in_seconds_or_as_times(lab, get):
    experiment = lab.running()
    lab.measure(experiment, 1, 100)
    by_seconds = get(experiment, **{"from": "10", "to": "19.5", "points": "50"}).json()
    assert by_seconds["columns"]["seq"] == list(range(10, 20))
    first = Sample.objects.get(pk=(experiment.pk, 10)).time_us
    start = f"2025-06-15T15:06:{(first // 1_000_000) % 60:02d}Z"
    by_time = get(experiment, **{"from": start, "to": "19.5", "points": "50"}).json()
    assert by_time["columns"]["seq"] == list(range(10, 20))


def test_a_gap_is_a_row_of_nulls_and_not_a_line(lab, get):
    experiment = lab.running()
    lab.measure(experiment, 1, 300)
    lab.measure(experiment, 301, 300, elapsed_s=[float(seq) + 7200 for seq in range(301, 601)])
    columns = get(experiment, points=100).json()["columns"]
    gap = columns["seq"].index(None)
    assert columns["voltage_v"][gap] is None
    assert 300 < columns["elapsed_s"][gap] < 7501


def test_a_window_without_samples_is_empty(lab, get):
    assert get(lab.running(), points=10).json()["columns"]["seq"] == []


# --- as a file ------------------------------------------------------------------------------------


def export(lab, experiment, **query):
    return client_of(lab.colleague).get(f"/api/v1/experiments/{experiment.uuid}/export/", query)


def test_the_csv_has_every_sample_and_units_in_its_header(lab):
    experiment = lab.running(name="Früh & spät / 1")
    lab.measure(experiment, 1, 3, pump_flow=[1.25, None, 1.5])
    answer = export(lab, experiment, format="csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert f'filename="Fr_h_sp_t_1_{str(experiment.uuid)[:8]}.csv"' in answer["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert [row["seq"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["time_utc"] == "2025-06-15T15:06:41.000000Z"
    assert {"elapsed_s", "voltage_v", "current_a", "charge_in_ah", "energy_out_wh"} <= set(rows[0])
    assert [row["pump_flow"] for row in rows] == ["1.25", "", "1.5"]
    assert rows[0]["temperature_c"] == ""
    assert float(rows[0]["voltage_v"]) == 3.5 + 1e-5


def test_the_csv_is_streamed_in_pieces(lab, monkeypatch):
    monkeypatch.setattr("web_server.measurements.export.CHUNK", 100)
    experiment = lab.running()
    lab.measure(experiment, 1, 250)
    pieces = list(export(lab, experiment).streaming_content)
    assert len(pieces) == 4
    assert b"".join(pieces).count(b"\r\n") == 251


def test_the_csv_is_streamed_under_asgi_too(lab, async_client):
    experiment = lab.running()
    lab.measure(experiment, 1, 3)
    async_client.force_login(lab.operator)

    async def read():
        answer = await async_client.get(f"/api/v1/experiments/{experiment.uuid}/export/")
        assert answer.is_async
        return b"".join([piece async for piece in answer.streaming_content])

    assert async_to_sync(read)().count(b"\r\n") == 4


@pytest.mark.parametrize("form", ["bdf.csv", "parquet", "seed.csv", ""])
def test_forms_that_come_later_are_refused_by_name(lab, form):
    answer = export(lab, lab.running(), format=form)
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"field": "format", "message": "one of csv"}]
