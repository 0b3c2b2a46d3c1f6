"""Each process of `make up` is killed in the middle of a run, and the supervisor starts it again."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from tests.faults import whole
from tests.stack.api import Api
from tests.stack.up import Up
from tests.stack.waiting import until


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Run `make up`; its first experiment is stopped to make place."""
    made = Up(tmp_path_factory.mktemp("up"))
    made.start()
    first = made.first_sample(60)
    made.api.post(f"experiments/{first['id']}/stop/?wait=10", how="now")
    whole.ended(made.api, first["id"], "stopped")
    yield made
    made.end()


def kill(up: Up, name: str) -> None:
    """Kill one process and wait until the supervisor has started it again and its partners hear it."""
    before = up.pid(name)
    os.kill(before, signal.SIGKILL)
    until(lambda: up.pid(name) not in (0, before), 10, f"{name} runs again")
    until(lambda: httpx.get(f"{up.address}/healthz").is_success, 20, "the site answers")
    until(lambda: online(up.api), 40, f"the unit is online after {name} was killed")


def online(api: Api) -> bool:
    """Tell whether the unit is heard and its manager alive."""
    return bool(api.get("units/")["results"][0]["online"])


def run(up: Up, name: str, seconds: float, **more: Any) -> str:
    """File a charge on the first station and wait until its samples are stored."""
    api = up.api
    station = next(each for each in api.all("stations/") if each["name"] == "bench 1")
    steps = [
        {"kind": "rest", "end": [{"quantity": "time_s", "value": 1}]},
        {"kind": "cc", "current_a": 0.1, "end": [{"quantity": "time_s", "value": seconds}]},
    ]
    profile = api.post("profiles/", name=name, steps=steps, record={"every_s": 0.2})
    body = {"battery": station["battery"], "profile": profile["id"], "station": station["id"]}
    experiment = str(api.post("experiments/", name=name, **body, **more)["id"])
    until(lambda: api.get(f"experiments/{experiment}/")["status"] == "running", 40, "it runs")
    until(lambda: truth(up)["output"], 20, "current flows")
    whole.grows(api, experiment)
    return experiment


def truth(up: Up) -> dict[str, Any]:
    """Return what the first supply really does."""
    bench = yaml.safe_load((up.state / "bench.yaml").read_text())
    with socket.create_connection((bench["host"], bench["control_port"]), timeout=5) as line:
        line.sendall(json.dumps({"device": bench["supplies"][0]["name"], "query": "truth"}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(line.makefile().readline())
    return answer


def test_killed_servers_cost_a_running_test_nothing(up: Up) -> None:
    experiment = run(up, "servers", 18)
    for name in ("manager", "broker", "web"):
        kill(up, name)
        whole.grows(up.api, experiment)
        assert truth(up)["output"], "the test itself runs on"
    whole.ended(up.api, experiment, "finished")
    assert whole.statuses(up.api, experiment) == ["queued", "starting", "running", "finished"]
    columns = whole.samples(up.api, experiment)
    gaps = [b - a for a, b in zip(columns["elapsed_s"], columns["elapsed_s"][1:], strict=False)]
    assert max(gaps) < 1.0, "not even a pause in the recording"


def test_a_killed_unit_switches_off_and_resumes_where_that_is_allowed(up: Up) -> None:
    experiment = run(up, "unit resumes", 12, resume_policy="resume")
    kill(up, "unit")
    whole.ended(up.api, experiment, "finished")
    told = whole.statuses(up.api, experiment)
    assert told[:3] == ["queued", "starting", "running"]
    assert told[-1] == "finished"
    flags = whole.samples(up.api, experiment)["flags"]
    assert any(flags), "the gap is flagged"
    assert not truth(up)["output"]


def test_a_killed_unit_holds_its_test_for_a_person(up: Up) -> None:
    experiment = run(up, "unit holds", 8)
    kill(up, "unit")
    until(lambda: not truth(up)["output"], 20, "off")
    until(lambda: up.api.get(f"experiments/{experiment}/")["status"] == "paused", 30, "it is held")
    acknowledge(up.api)
    resumed = up.api.post(f"experiments/{experiment}/resume/?wait=30")
    assert resumed["command"]["status"] == "done", resumed["command"]
    whole.ended(up.api, experiment, "finished")
    told = whole.statuses(up.api, experiment)
    assert told == ["queued", "starting", "running", "paused", "running", "finished"]


def acknowledge(api: Api) -> None:
    """Release every latch."""
    for alarm in api.all("alarms/", state="raised"):
        api.post(f"alarms/{alarm['id']}/acknowledge/?wait=10")
    until(lambda: not api.all("alarms/", state="raised"), 20, "all alarms are acknowledged")


def test_killed_simulators_are_a_lost_device_and_an_error_with_its_cause(up: Up) -> None:
    experiment = run(up, "simulators", 60)
    kill(up, "simulators")
    ended = whole.ended(up.api, experiment, "error")
    assert ended["end_reason"]["code"] == "device_lost"
    alarm = next(each for each in up.api.all("alarms/", state="raised") if each["experiment"] == experiment)
    assert alarm["code"] == "device_lost"
    # Found again it is confirmed off, and stays latched until a person has looked.
    station = f"stations/{ended['station']}/"
    until(lambda: up.api.get(station)["state"] == "tripped", 30, "off again, and latched")
    acknowledge(up.api)
    until(lambda: up.api.get(station)["state"] == "idle", 20, "idle")
    again = run(up, "after the simulators", 4)
    whole.ended(up.api, again, "finished")


def test_everything_killed_one_after_the_other_without_waiting(up: Up) -> None:
    experiment = run(up, "all", 10)
    for name in ("broker", "manager", "web", "unit", "manager", "broker"):
        pid = until(lambda name=name: up.pid(name), 10, f"{name} runs")
        os.kill(pid, signal.SIGKILL)
    until(lambda: not truth(up)["output"], 30, "off")
    until(lambda: httpx.get(f"{up.address}/healthz").is_success, 30, "the site answers")
    until(lambda: up.api.get(f"experiments/{experiment}/")["status"] == "paused", 60, "it is held")
    until(lambda: online(up.api), 60, "the unit is online")
    stopped = up.api.post(f"experiments/{experiment}/stop/?wait=20", how="now", reason="enough")
    assert stopped["command"]["status"] == "done", stopped["command"]
    whole.ended(up.api, experiment, "stopped")
    acknowledge(up.api)
    assert "Traceback" not in up.process.output()
