"""The real process: what it survives, and that nothing is lost or doubled on the way."""

from __future__ import annotations

import os
import random
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connection

from tests.mn_manager.conftest import batch, event
from tests.mn_manager.real import PREFIX, Database, PlayedUnit, manager
from tests.stack.brokers import Broker
from tests.stack.process import Process
from tests.stack.waiting import free_port, until
from tests.web_server import factories
from web_server.cells import services as cells
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.experiments import services as experiments
from web_server.experiments.models import Event, Experiment
from web_server.lab import services as lab
from web_server.lab.models import ManagerBeat, Unit
from web_server.measurements.models import CycleRow, Rollup, Sample
from wire import topics

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]


@pytest.fixture
def database(tmp_path: Path, django_db_blocker: Any) -> Iterator[Database]:
    """A migrated database that this test and its manager share."""
    own = Database(tmp_path)
    with django_db_blocker.unblock(), own.opened():
        yield own
    own.drop()


@pytest.fixture
def process(tmp_path: Path, database: Database, broker: Broker) -> Iterator[Process]:
    """A running manager."""
    running = manager(tmp_path, database, broker.url()).start()
    yield running
    running.stop()


@pytest.fixture
def unit(process: Process, broker: Broker) -> Iterator[PlayedUnit]:
    """A unit that registered with a one-time token and is online."""
    with played(broker, lab.issue_enrol_token(None)[1]) as unit:
        yield unit


@contextmanager
def played(broker: Broker, token: str) -> Iterator[PlayedUnit]:
    # Of the broker's users the manager's may speak everywhere, which a played unit must.
    unit = PlayedUnit(broker.url(), token=token)
    until(lambda: unit.ask("request") or unit.id, 30, "the unit is acknowledged", every_s=0.3)
    unit.appear()
    until(lambda: Unit.objects.filter(uuid=unit.id, online=True).exists(), 20, "the unit is online")
    yield unit
    unit.stop()


def hear(unit: PlayedUnit) -> None:
    """Send heartbeats until one is answered from now on."""
    unit.contacts.clear()
    until(lambda: unit.beat() or unit.contacts, 40, "a heartbeat is answered", every_s=0.3)


def running_experiment(unit: PlayedUnit) -> Experiment:
    """File an experiment, and play the unit until it runs."""
    station = factories.make_station(Unit.objects.get(uuid=unit.id))
    battery = factories.make_battery()
    cells.load(None, battery, station)
    experiment = experiments.file(
        None, name="E1", battery=battery, profile=factories.make_profile(), station=station
    )
    start = until(lambda: next((each for each in unit.commands if each.kind == "experiment.start"), None), 20)
    unit.reply(start)
    until(lambda: Experiment.objects.get(pk=experiment.pk).status == "running", 20, "it runs")
    return Experiment.objects.get(pk=experiment.pk)


def test_it_registers_a_unit_and_answers_its_heartbeats(unit: PlayedUnit) -> None:
    hear(unit)
    assert unit.contacts[0].heard_sent_at is not None


def test_a_command_goes_out_and_its_answer_comes_back(unit: PlayedUnit) -> None:
    command = commands.request("detect", {}, Unit.objects.get(uuid=unit.id))
    sent = until(lambda: unit.commands and unit.commands[0], 10)
    assert (sent.id, sent.connection) == (str(command.uuid), unit.connection)
    unit.reply(sent, result={"found": 3})
    until(lambda: Command.objects.get(pk=command.pk).status == "done", 10)


def test_an_unanswered_command_comes_again_until_it_is_answered(unit: PlayedUnit) -> None:
    command = commands.request("detect", {}, Unit.objects.get(uuid=unit.id))
    until(lambda: len(unit.commands) >= 2, 10, "it comes a second time")
    unit.reply(unit.commands[-1])
    until(lambda: Command.objects.get(pk=command.pk).status == "done", 10)


def test_it_starts_the_queued_experiment_of_an_idle_station(unit: PlayedUnit) -> None:
    assert running_experiment(unit).envelope_sha256


def test_killed_again_and_again_it_loses_and_doubles_nothing(unit: PlayedUnit, process: Process) -> None:
    experiment, rng = running_experiment(unit), random.Random(11)
    for number in range(60):
        unit.measure(batch(experiment, 1 + number * 20, 20))
        unit.happen(number + 1, event("note", experiment, f"note {number + 1}"))
        unit.repeat()
        if number % 12 == 5:
            # In the middle of whatever it does with what it has just got.
            os.kill(process.pid, signal.SIGKILL)
            process.kill()
            process.start()
        if rng.random() < 0.2:
            unit.repeat()
    until(lambda: unit.repeat() or not (unit.waiting or unit.events), 60, "all is acknowledged", every_s=0.5)
    assert list(Sample.objects.order_by("seq").values_list("seq", flat=True)) == list(range(1, 1201))
    experiment.refresh_from_db()
    assert experiment.sample_count == 1200
    assert sum(Rollup.objects.filter(level=0).values_list("count", flat=True)) == 1200
    assert CycleRow.objects.get().charge_in_ah == pytest.approx(1200 * 0.5 / 3600)
    notes = Event.objects.filter(kind="note").exclude(spool=None).values_list("spool_seq", flat=True)
    assert list(notes) == list(range(1, 61))


def test_a_broker_that_comes_late_and_goes_away_ends_nothing(
    tmp_path: Path, database: Database, broker: Broker
) -> None:
    token = lab.issue_enrol_token(None)[1]
    broker.stop()
    process = manager(tmp_path, database, broker.url()).start()
    try:
        process.says("event=broker_away")
        broker.start()
        with played(broker, token) as unit:
            hear(unit)
            broker.kill()
            process.says("connection lost")
            broker.start()
            hear(unit)
        assert process.output().count("Traceback") == 0
        assert process.output().count("event=broker_away") == 2, "one line each time"
    finally:
        process.stop()


def test_a_database_that_comes_late_is_waited_for_with_one_line(
    tmp_path: Path, broker: Broker, django_db_blocker: Any
) -> None:
    cold = Database(tmp_path, migrated=False)
    process = manager(tmp_path, cold, broker.url()).start()
    try:
        process.says("event=database_away")
        cold.migrate()
        process.says("event=database_back")
        assert process.output().count("event=database_away") == 1
        assert "Traceback" not in process.output()
        with (
            django_db_blocker.unblock(),
            cold.opened(),
            played(broker, lab.issue_enrol_token(None)[1]) as unit,
        ):
            hear(unit)
    finally:
        process.stop()
        cold.drop()


def test_a_database_that_goes_away_in_the_middle_loses_nothing(unit: PlayedUnit, process: Process) -> None:
    experiment = running_experiment(unit)
    # Without this table nothing works, as without the server; and it can be brought back.
    rename = "ALTER TABLE {} RENAME TO {}"
    table = Unit._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(rename.format(table, "elsewhere"))
    unit.measure(batch(experiment, 1, 50))
    unit.repeat()
    process.says("event=database_away")
    with connection.cursor() as cursor:
        cursor.execute(rename.format("elsewhere", table))
    process.says("event=database_back")
    until(lambda: unit.repeat() or not unit.waiting, 30, "acknowledged", every_s=0.5)
    assert Sample.objects.count() == 50
    assert "Traceback" not in process.output()


def test_hostile_input_is_counted_and_the_process_goes_on(unit: PlayedUnit, process: Process) -> None:
    experiment, rng = running_experiment(unit), random.Random(5)
    own = [unit.topic(leaf) for leaf in ("presence", "heartbeat", "devices", "replies", "samples", "events")]
    for topic in [*own, topics.enrol_ask(PREFIX, "hw-x"), topics.enrol_ask(PREFIX, "hw-1")]:
        for payload in hostile(rng):
            until(lambda topic=topic, payload=payload: unit.link.publish(topic, payload), 10)
    # The right type on the wrong topic, and another version of the whole protocol.
    good = batch(experiment, 1, 5)
    unit.say("events", good)
    unit.link.publish(unit.topic("samples").replace("/v1/", "/v2/"), b"{}")
    unit.link.publish(topics.unit(PREFIX, str(uuid.uuid4()), "samples"), b"{}")
    unit.measure(good)
    until(lambda: unit.repeat() or not unit.waiting, 30, "true samples still get through", every_s=0.5)
    unit.appear()
    hear(unit)
    assert process.running
    assert "event=fault" not in process.output()
    assert "event=message_dropped" in process.output()
    shown = until(dropped_much, 10, "operators see what was dropped")
    assert set(shown.counters["last_drop"]) == {"at", "why", "topic", "reason"}
    assert Sample.objects.count() == 5


def dropped_much() -> ManagerBeat | None:
    row = ManagerBeat.objects.get()
    return row if row.counters["dropped"].get("malformed", 0) >= 40 else None


def hostile(rng: random.Random) -> Iterator[bytes]:
    """Yield payloads that nobody should send."""
    yield b""
    yield rng.randbytes(500)
    yield b"\x80\x04\x95" + rng.randbytes(50)
    yield b"[" * 100_000
    yield b'{"a":' * 50_000 + b"1" + b"}" * 50_000
    yield b'{"experiment": 5, "spool": [], "hardware_id": {}, "online": "yes", "stations": 7}'
    yield b'{"experiment": "e", "first_seq": -1, "count": 99999999, "columns": {}}'
    yield b'{"spool": "s", "first_seq": 1e300, "events": [[]]}'
    yield b'"' + b"x" * 1_000_000 + b'"'


def test_another_manager_takes_over_when_one_dies(
    tmp_path: Path, database: Database, broker: Broker, process: Process, unit: PlayedUnit
) -> None:
    until(lambda: Unit.objects.get().manager, 10)
    second = manager(tmp_path, database, broker.url(), "second").start()
    try:
        until(lambda: ManagerBeat.objects.count() == 2, 20, "both are there")
        process.kill()
        Unit.objects.update(lease_until=None)
        until(lambda: Unit.objects.get().manager == "second", 20, "the second owns the unit")
        hear(unit)
    finally:
        second.stop()


def test_two_managers_on_one_computer_take_two_names(
    tmp_path: Path, database: Database, broker: Broker, process: Process
) -> None:
    second = manager(tmp_path / "b", database, broker.url()).start()
    try:
        until(lambda: ManagerBeat.objects.count() == 2, 20, "two names")
    finally:
        second.stop()


def test_it_ends_on_sigterm_and_lets_its_units_go(unit: PlayedUnit, process: Process) -> None:
    until(lambda: Unit.objects.get().manager, 10)
    assert process.stop() == 0
    assert Unit.objects.get().manager == ""
    assert "event=stopped" in process.output()


def test_health_and_metrics_have_their_own_port(tmp_path: Path, database: Database, broker: Broker) -> None:
    port = free_port()
    process = manager(tmp_path, database, broker.url(), CELLYARD_MANAGER_PORT=str(port)).start()
    try:
        until(lambda: httpx.get(f"http://127.0.0.1:{port}/healthz").text == "ok\n", 20)
        until(
            lambda: "cellyard_manager_database_up 1" in httpx.get(f"http://127.0.0.1:{port}/metrics").text, 10
        )
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert "cellyard_manager_broker_up 1" in text
        assert httpx.get(f"http://127.0.0.1:{port}/else").status_code == 404
    finally:
        process.stop()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("CELLYARD_MQTT_URL", ""),
        ("CELLYARD_MQTT_URL", "http://h"),
        ("CELLYARD_MQTT_PREFIX", "a/#"),
        ("CELLYARD_MANAGER_PORT", "many"),
        ("CELLYARD_MQTT_CA", "/no/such/file"),
        ("CELLYARD_MQTT_USERS", "magic"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_its_name(tmp_path: Path, setting: str, value: str) -> None:
    process = manager(tmp_path, Database(tmp_path, migrated=False), "mqtt://127.0.0.1:1")
    process.env[setting] = value
    process.start()
    until(lambda: not process.running, 20)
    assert process.stop() == 1
    assert setting in process.output()
    assert "Traceback" not in process.output()
