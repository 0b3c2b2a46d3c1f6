"""Contact policies by drill and by a broker that is really gone; kill -9 of the unit's processes (rules 8 to 10)."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import msgspec
import psutil
import pytest

from cycler_unit.owner.leftovers import Kept
from tests.end_to_end.kit import acknowledged, mend, truth
from tests.end_to_end.steps import current, rest, run, statuses
from tests.faults.whole import ended
from tests.stack.cellyard import Cellyard
from tests.stack.waiting import until


@pytest.fixture
def calm(lab: Cellyard) -> Iterator[None]:
    """Leave idle stations behind, whatever a test did."""
    yield
    for name in ("psb1", "psb2"):
        mend(lab, name)
    for experiment in lab.api.all("experiments/", status="queued,starting,running,paused"):
        lab.api.client.post(f"experiments/{experiment['id']}/stop/", json={"how": "now"})
    until(lambda: not lab.api.all("experiments/", status="queued,starting,running,paused"), 60, "all ended")
    acknowledged(lab)


def charging(
    lab: Cellyard, bench: dict[str, Any], *steps: dict[str, Any], place: int = 1, **more: Any
) -> str:
    """Start a long charge; return the experiment when current flows."""
    experiment = run(lab, bench, list(steps) or [current(0.05, 600)], place=place, **more)
    lab.experiment_is(experiment, "running")
    until(lambda: truth(lab, f"psb{place}")["output"], 20, "current flows")
    return experiment


def drill(lab: Cellyard, experiment: str, seconds: float) -> None:
    answer = lab.api.client.post(
        f"experiments/{experiment}/drill/", params={"wait": 10}, json={"seconds": seconds}
    )
    assert answer.is_success, answer.text


def notes(lab: Cellyard, experiment: str) -> list[dict[str, Any]]:
    """Return what was noted of drills among an experiment's events."""
    events = lab.api.all(f"experiments/{experiment}/events/", kind="note")
    return [each["detail"]["drill"] for each in events if "drill" in (each["detail"] or {})]


def test_a_drill_ends_a_test_that_asks_to_be_off_and_says_so(
    lab: Cellyard, bench: dict[str, Any], calm: None
) -> None:
    experiment = charging(lab, bench, contact_policy="off", off_after_s=2)
    drill(lab, experiment, 20)
    seen = lab.experiment_is(experiment, "stopped")
    assert seen["end_reason"]["code"] == "contact"
    assert not truth(lab, "psb1")["output"]
    told = until(lambda: notes(lab, experiment), 30, "the drill's outcome is noted")
    assert told[-1]["policy"] == "off"
    assert told[-1]["acted"]


def test_a_drill_lets_a_step_finish_and_ends_the_test_there(
    lab: Cellyard, bench: dict[str, Any], calm: None
) -> None:
    steps = [current(0.05, 25, label="first"), rest(600, label="second")]
    experiment = charging(lab, bench, *steps, contact_policy="finish_step", off_after_s=60)
    # Found away after 15 s, 10 s before the step ends.
    drill(lab, experiment, 120)
    seen = lab.experiment_is(experiment, "stopped", timeout_s=90)
    assert seen["end_reason"]["code"] == "contact"
    rows = until(lambda: lab.api.all(f"experiments/{experiment}/steps/"), 20, "its steps")
    assert rows[0]["label"] == "first"
    assert rows[0]["duration_s"] == pytest.approx(25, abs=1)


def test_without_the_broker_a_test_goes_off_in_its_time_and_another_goes_on(
    lab: Cellyard, bench: dict[str, Any], calm: None
) -> None:
    first = charging(lab, bench, contact_policy="off", off_after_s=6)
    second = charging(lab, bench, place=2)
    lab.broker.stop()
    until(lambda: not truth(lab, "psb1")["output"], 40, "off without the server")
    assert truth(lab, "psb2")["output"]
    lab.broker.start()
    seen = ended(lab.api, first, "stopped")
    assert seen["end_reason"]["code"] == "contact"
    assert lab.api.get(f"experiments/{second}/")["status"] == "running"
    lab.api.post(f"experiments/{second}/stop/", how="now")
    ended(lab.api, second, "stopped")


def process(lab: Cellyard, name: str) -> psutil.Process:
    """Return one of the unit's processes: ``parent``, ``agent``, or the owner of the bus whose name ends so."""
    body = (lab.folder / "unit" / "processes.json").read_bytes()
    found = [each for each in msgspec.json.decode(body, type=list[Kept]) if each.name.endswith(name)]
    assert len(found) == 1, f"{name}: {body!r}"
    return psutil.Process(found[0].pid)


def owner(lab: Cellyard, place: int) -> psutil.Process:
    """Return the owner of a supply's bus."""
    return process(lab, str(lab.simulators.links()[place - 1]["resource"]))


def test_a_killed_agent_holds_its_tests_off_until_a_person_resumes(
    lab: Cellyard, bench: dict[str, Any], calm: None
) -> None:
    experiment = charging(lab, bench)
    before = process(lab, "agent")
    before.send_signal(signal.SIGKILL)
    until(lambda: not truth(lab, "psb1")["output"], 30, "off")
    until(lambda: process(lab, "agent").pid != before.pid, 60, "a new agent")
    lab.experiment_is(experiment, "paused", timeout_s=90)
    lab.station_is(bench["station1"], "tripped")
    assert not truth(lab, "psb1")["output"]

    def released() -> bool:
        for alarm in lab.api.all("alarms/", state="raised"):
            lab.api.client.post(f"alarms/{alarm['id']}/acknowledge/")
        return not lab.api.all("alarms/", state="raised")

    until(released, 30, "acknowledged", every_s=0.3)

    def resumed() -> bool:
        answer = lab.api.client.post(f"experiments/{experiment}/resume/", params={"wait": 10})
        return bool(answer.is_success)

    until(resumed, 60, "resumed", every_s=0.5)
    lab.experiment_is(experiment, "running")
    until(lambda: truth(lab, "psb1")["output"], 20, "current flows again")
    lab.api.post(f"experiments/{experiment}/stop/", how="now")
    ended(lab.api, experiment, "stopped")
    assert "paused" in statuses(lab, experiment)


def test_a_killed_owner_ends_its_own_test_alone(lab: Cellyard, bench: dict[str, Any], calm: None) -> None:
    first, second = charging(lab, bench, place=1), charging(lab, bench, place=2)
    owner(lab, 1).send_signal(signal.SIGKILL)
    until(lambda: not truth(lab, "psb1")["output"], 30, "off")
    seen = ended(lab.api, first, "error")
    assert seen["end_reason"]["text"]
    assert truth(lab, "psb2")["output"]
    assert lab.api.get(f"experiments/{second}/")["status"] == "running"
    lab.api.post(f"experiments/{second}/stop/", how="now")
    ended(lab.api, second, "stopped")


def test_a_killed_parent_takes_everything_off_and_nothing_goes_on_by_itself(
    lab: Cellyard, bench: dict[str, Any], calm: None
) -> None:
    experiment = charging(lab, bench)
    assert lab.unit.popen is not None
    others = psutil.Process(lab.unit.popen.pid).children(recursive=True)
    lab.unit.popen.send_signal(signal.SIGKILL)
    until(lambda: not truth(lab, "psb1")["output"], 30, "off")
    until(lambda: not any(_lives(each) for each in others), 40, "nothing of the unit is left")
    lab.unit.start()
    # Held for a person; a loop that outlives the owner of its bus by a moment has lost its device: an error.
    seen = lab.experiment_is(experiment, "paused", "error", timeout_s=90)
    lab.station_is(bench["station1"], "tripped")
    assert not truth(lab, "psb1")["output"]
    if seen["status"] == "paused":
        lab.api.post(f"experiments/{experiment}/stop/", how="now")
        ended(lab.api, experiment, "stopped")


def _lives(each: psutil.Process) -> bool:
    try:
        return each.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_unit_registers_again_after_the_sites_database_was_made_anew(lab: Cellyard, calm: None) -> None:
    lab.web.stop()
    lab.manager.stop()
    lab.manage("flush", "--no-input")
    lab.manage("prepare")
    lab._api = None
    lab.manager.start()
    lab.web.start()
    lab.wait_for_site()
    # It had used its one-time token: a person says once more that it belongs here.
    [waiting] = until(lambda: lab.api.get("units/", approved="false")["results"], 60, "it asks to be let in")
    assert waiting["hardware_id"] == "unit-under-test"
    lab.api.post(f"units/{waiting['id']}/approve/")
    assert lab.wait_for_unit()["approved"]
    station = lab.station("anew")
    assert lab.api.get(f"stations/{station['id']}/")["unit"] == waiting["id"]
