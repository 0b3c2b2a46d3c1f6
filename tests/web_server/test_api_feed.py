"""What the event stream tells: state as it stands, events and samples once each, in order."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from tests.web_server.api_lab import build
from web_server.api.feed import Cursor, Feed, Wants
from web_server.commands import services as commands
from web_server.experiments import services as experiments
from web_server.experiments.models import Alarm
from web_server.lab import services as laboratory

pytestmark = pytest.mark.django_db


@pytest.fixture
def lab():
    return build()


@pytest.fixture
def feed():
    return Feed()


def of(experiment):
    return Wants(experiments=frozenset([str(experiment.uuid)]))


def told(messages, kind, wants=None):
    return [json.loads(m.body) for m in messages if m.kind == kind and (wants is None or wants.match(m))]


def seqs(messages, wants):
    return [seq for body in told(messages, "sample", wants) for seq in body["columns"]["seq"]]


def test_a_new_stream_learns_how_every_station_stands(lab, feed):
    messages, _ = feed.begin(Wants(), Cursor())
    stations = {body["name"]: body for body in told(messages, "station")}
    assert stations["Station 1"]["battery_name"] == "Cell 1"
    assert stations["Station 2"]["battery"] is None


def test_samples_come_once_each_and_in_order(lab, feed):
    experiment = lab.running()
    lab.measure(experiment, 1, 3)
    wants = of(experiment)
    first, begin = feed.begin(wants, Cursor())
    assert seqs(first, wants) == []
    assert begin.samples == {str(experiment.uuid): 3}
    lab.measure(experiment, 4, 2)
    assert seqs(feed.poll([wants]), wants) == [4, 5]
    assert seqs(feed.poll([wants]), wants) == []


def test_a_resumed_stream_gets_the_samples_it_missed(lab, feed):
    experiment = lab.running()
    lab.measure(experiment, 1, 10)
    wants = of(experiment)
    feed.begin(wants, Cursor())
    lab.measure(experiment, 11, 2)
    missed, _ = feed.begin(wants, Cursor(samples={str(experiment.uuid): 7}))
    later = feed.poll([wants])
    assert seqs(missed, wants) + seqs(later, wants) == [8, 9, 10, 11, 12]


def test_a_stream_by_station_gets_the_samples_of_what_runs_there(lab, feed):
    wants = Wants(stations=frozenset([str(lab.stations[0].uuid)]))
    feed.begin(wants, Cursor())
    experiment = lab.running()
    lab.measure(experiment, 1, 2)
    assert seqs(feed.poll([wants]), wants) == [1, 2]


def test_a_stream_without_filter_gets_only_the_newest_sample(lab, feed):
    experiment = lab.running()
    feed.begin(Wants(), Cursor())
    lab.measure(experiment, 1, 50)
    messages = feed.poll([Wants()])
    assert seqs(messages, Wants()) == [50]
    assert seqs(feed.poll([Wants()]), Wants()) == []


def test_who_opens_an_old_experiment_again_is_not_flooded(lab, feed, monkeypatch):
    experiment = lab.running()
    lab.measure(experiment, 1, 5)
    wants = of(experiment)
    feed.begin(wants, Cursor())
    monkeypatch.setattr("web_server.api.feed.LATE_S", -1.0)
    feed.poll([])
    lab.measure(experiment, 6, 5)
    feed.begin(wants, Cursor())
    assert seqs(feed.poll([wants]), wants) == []


def test_events_come_once_and_a_resumed_stream_gets_those_it_missed(lab, feed):
    experiment = lab.file()
    wants = of(experiment)
    _, begin = feed.begin(wants, Cursor())
    feed.poll([wants])
    experiments.note(lab.operator, experiment, "first")
    assert [body["text"] for body in told(feed.poll([wants]), "event")] == ["first"]
    assert told(feed.poll([wants]), "event") == []
    experiments.note(lab.operator, experiment, "second")
    missed, _ = Feed().begin(wants, begin)
    assert [body["text"] for body in told(missed, "event")] == ["first", "second"]


def test_a_status_change_moves_the_station_and_its_alarm_comes(lab, feed):
    wants = Wants(stations=frozenset([str(lab.stations[0].uuid)]))
    feed.begin(wants, Cursor())
    feed.poll([wants])
    experiment = lab.running()
    Alarm.objects.create(station=lab.stations[0], code="v_max", text="too high", limit=4.2, measured=4.3)
    messages = feed.poll([wants])
    assert told(messages, "station", wants)[-1]["experiment"] == str(experiment.uuid)
    assert [body["limit"] for body in told(messages, "alarm", wants)] == [4.2]
    other = Wants(stations=frozenset([str(lab.stations[1].uuid)]))
    assert told(messages, "alarm", other) == []


def test_a_command_is_told_when_it_is_issued_and_when_it_is_closed(lab, feed):
    feed.poll([Wants()])
    command = commands.request("detect", {}, lab.unit, station=lab.stations[0], by=lab.operator)
    wants = Wants(commands=frozenset([str(command.uuid)]))
    assert [body["status"] for body in told(feed.poll([wants]), "command", wants)] == ["queued"]
    commands.close(command.uuid, "done", {"voltage_v": 3.7})
    assert [body["result"] for body in told(feed.poll([wants]), "command", wants)] == [{"voltage_v": 3.7}]
    closed, _ = feed.begin(wants, Cursor())
    assert [body["status"] for body in told(closed, "command", wants)] == ["done"]


def test_an_idle_poll_takes_few_queries(lab, feed, django_assert_max_num_queries):
    experiment = lab.running()
    wants = [of(experiment), Wants()]
    feed.begin(wants[0], Cursor())
    feed.poll(wants)
    with django_assert_max_num_queries(9):
        feed.poll(wants)


@pytest.mark.parametrize(
    "cursor", [Cursor(), Cursor(17), Cursor(17, {"a-b": 4, "c": 12}), Cursor(None, {"a-b": 4})]
)
def test_a_cursor_is_read_as_it_was_written(cursor):
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize("text", ["x", "17;y", "17;:z", "1e3", ";;a:b", "🙂"])
def test_a_strange_last_event_id_means_from_now_on(text):
    assert Cursor.parse(text) == Cursor()


def test_after_a_database_error_the_next_look_makes_a_new_connection(lab, feed, monkeypatch):
    closed = []
    monkeypatch.setattr(
        "web_server.api.feed.connection",
        SimpleNamespace(in_atomic_block=False, close=lambda: closed.append(1)),
    )
    monkeypatch.setattr(feed, "_new_events", lambda: (_ for _ in ()).throw(OperationalError("gone away")))
    with pytest.raises(OperationalError):
        feed.poll([Wants()])
    assert closed == [1]


def test_a_stop_of_the_whole_lab_is_told_to_the_page_of_each_station(lab, feed):
    wants = Wants(stations=frozenset([str(lab.stations[1].uuid)]))
    feed.begin(wants, Cursor())
    stops = laboratory.stop_all(lab.operator)
    assert [body["kind"] for body in told(feed.poll([wants]), "command", wants)] == ["station.stop_all"]
    commands.close(stops[0].uuid, "done")
    assert [body["status"] for body in told(feed.poll([wants]), "command", wants)] == ["done"]
