"""`make up` in real processes: start, second start, busy ports, deaths, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from tests.stack.api import Api
from tests.stack.up import NAMES, Up
from tests.stack.waiting import until

pytestmark = pytest.mark.stack


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Return a `make up` that is not started yet."""
    made = Up(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Return a running `make up`, shared by tests that leave it as it was."""
    made = Up(tmp_path_factory.mktemp("up"))
    made.start()
    yield made
    made.end()


def test_it_goes_from_nothing_to_a_first_sample_within_a_minute(running):
    experiment = running.first_sample(60)
    assert experiment["name"] == "First run"
    assert running.api.get("units/")["results"][0]["approved"]


def test_it_prints_the_address_the_name_and_the_password(running):
    text = running.process.output()
    assert running.address in text
    assert "admin" in text
    assert (running.state / "admin-password").read_text().strip() in text
    assert httpx.get(running.address, follow_redirects=True).status_code == 200


def test_each_line_names_its_process(running):
    for name in ("broker", "simulators", "web", "manager", "unit"):
        until(lambda name=name: f"{name:<10} | " in running.process.output(), 10, name)


def test_what_is_secret_is_readable_by_its_owner_only(running):
    secret = ["admin-password", "secret-key", "unit.yaml", "broker/rumqttd.toml", "secrets/mqtt-manager"]
    for name in secret:
        assert stat.S_IMODE((running.state / name).stat().st_mode) == 0o600, name


def test_the_unit_and_the_site_get_no_more_than_they_may_know(running):
    unit = psutil.Process(running.pid("unit")).environ()
    assert not any(
        name.startswith(("CELLYARD_DATABASE", "CELLYARD_SECRET", "CELLYARD_ADMIN")) for name in unit
    )
    assert "CELLYARD_MQTT_URL" not in psutil.Process(running.pid("web")).environ()


def test_a_second_start_prints_the_address_and_succeeds(running):
    second = running.another().start()
    until(lambda: not second.running, 20, "the second ended")
    assert second.stop() == 0
    assert second.output().strip() == f"Cellyard is running already: {running.address}"


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_process_is_started_again_within_two_seconds(running, name):
    until(lambda: running.pid(name), 5, "it runs")
    before = running.pid(name)
    os.kill(before, signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: running.pid(name) not in (0, before), 5, f"{name} runs again", every_s=0.01)
    assert time.monotonic() - killed < 2.0
    lines = [line for line in running.process.output().splitlines() if f"{name} was started again" in line]
    assert len(lines) == 1


def test_everything_works_again_after_all_that(running):
    def online() -> bool:
        return running.api.get("units/")["results"][0]["online"]

    until(online, 40, "the unit is online again")


def test_a_restart_of_the_simulators_keeps_what_the_cells_hold(running):
    kept = running.state / "run" / "bench.yaml"

    def ask(**request: Any) -> dict[str, Any]:
        with socket.create_connection(
            ("127.0.0.1", yaml.safe_load(kept.read_text())["control_port"])
        ) as line:
            line.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(line.makefile().readline())

    def remembered() -> float:
        return yaml.safe_load(kept.read_text())["supplies"][1]["cell"]["soc"]

    # The second cell, on which nothing runs: another charge appears in it.
    ask(device="supply2", fault="wrong_cell", soc=0.8)
    until(lambda: abs(remembered() - 0.8) < 0.01, 15, "the charge is remembered")
    before = running.pid("simulators")
    os.kill(before, signal.SIGKILL)
    until(lambda: running.pid("simulators") not in (0, before), 5, "the simulators run again")
    truth = until(lambda: ask(device="supply2", query="truth"), 10, "they answer")
    assert truth["soc"] == pytest.approx(0.8, abs=0.01)


def test_ctrl_c_ends_everything_and_the_data_stays(up):
    up.start()
    os.kill(up.process.pid, signal.SIGINT)
    until(lambda: not up.process.running, 20, "the supervisor ended")
    assert up.process.stop() == 0
    assert up.survivors() == []
    assert list((up.state / "run").glob("*.pid")) == []
    password = (up.state / "admin-password").read_text()
    up.process = up.another()
    began = time.monotonic()
    up.start()
    until(
        lambda: up.api.get("stations/")["results"][0]["reading"], 20, "a reading is on the page", every_s=0.1
    )
    assert time.monotonic() - began < 10
    assert (up.state / "admin-password").read_text() == password


def test_what_a_killed_supervisor_left_is_ended_by_the_next(up):
    up.start()
    left = up.pid("web")
    os.kill(up.process.pid, signal.SIGKILL)
    up.process.popen.wait(5)
    assert psutil.pid_exists(left)
    up.process = up.another()
    up.start()
    assert "ended web, left running by an earlier start" in up.process.output()
    assert up.pid("web") != left


@pytest.mark.parametrize("setting", ["CELLYARD_WEB_PORT", "CELLYARD_MQTT_PORT"])
def test_a_busy_port_is_one_sentence_with_its_setting(up, setting):
    with socket.create_server(("127.0.0.1", int(up.env[setting]))):
        up.process.start()
        until(lambda: not up.process.running, 20, "it gave up")
    assert up.process.stop() == 1
    port = up.env[setting]
    assert up.process.output().splitlines() == [
        f"Port {port} of 127.0.0.1 is in use by another program: set {setting} to a free one."
    ]


def test_a_wrong_setting_is_one_sentence(up):
    process = up.another(CELLYARD_WEB_PORT="eighty").start()
    until(lambda: not process.running, 20, "it gave up")
    assert process.stop() == 1
    assert process.output().splitlines() == [
        "CELLYARD_WEB_PORT is 'eighty'; it must be a port, a number from 1 to 65535"
    ]


def test_an_outside_broker_is_used_instead_of_the_embedded_one(up, broker):
    up.env["CELLYARD_MQTT_URL"] = broker.url("manager")
    up.process = up.another()
    up.process.start()
    up.process.says("password:", 60)
    until(lambda: up.pid("unit") and up.pid("manager"), 20, "the others run")
    assert not up.pid("broker")
    until(lambda: up.api.get("units/")["results"][0]["online"], 30, "the unit is online by it")


def test_a_password_that_was_chosen_is_the_administrators(up):
    up.env["CELLYARD_ADMIN_PASSWORD"] = "chosen by a person"
    up.process = up.another()
    up.start()
    assert "chosen by a person" in up.process.output()
    assert Api(up.address, "admin", "chosen by a person").get("me/")["username"] == "admin"
