"""Safety rule 3 (B): a load that does not end a discharge by itself needs a dead-man output."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cycler_unit.mail import Ask
from tests.cycler_unit.lab import Lab, cc, key_of
from tests.stack.simulated import Simulators
from tests.stack.waiting import until
from wire.messages import ExperimentStart, ExperimentStop, StationOutput

LOAD, COUPLER = "rs-pro-kel103", "modbus-io-coupler"
ROLES = {"load": "power", "dog": "auxiliary"}
DEAD_MAN = StationOutput(name="dog", device=key_of("dog"), control="dead_man", on_trip=0.0, on_finish=0.0)


@pytest.fixture(scope="module")
def bench_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    """A cell behind the contact of a coupler, and a load."""
    running = Simulators(
        tmp_path_factory.mktemp("bench"),
        [],
        circuits=[{"name": "cell", "cell": {"capacity_ah": 2.5, "soc": 0.5}}],
        devices=[
            {"name": "load", "model": LOAD, "circuit": "cell", "port": 0},
            {"name": "dog", "model": COUPLER, "circuit": "cell", "isolators": ["dead_man"]},
        ],
    ).start()
    yield running
    running.stop()


@pytest.fixture
def made(tmp_path: Path, bench_of: Simulators) -> Iterator[Any]:
    """Return a maker of stations; the last one ends with the test."""
    labs: list[Lab] = []

    def make(**more: Any) -> Lab:
        lab = Lab(tmp_path / f"unit{len(labs)}", bench_of, ROLES, quadrants="discharge", **more)
        labs.append(lab)
        return lab.idle()  # type: ignore[return-value]

    for name in ROLES:
        bench_of.ask(device=name, clear=True)
    yield make
    for lab in labs:
        lab.clear()
        lab.stop()


def large(lab: Lab, *steps: dict[str, Any], **more: Any) -> ExperimentStart:
    """Return a start on a battery of 40 Wh."""
    message = lab.message(*steps, **more)
    ref = msgspec.structs.replace(message.battery, energy_wh=40.0, last_rest_voltage_v=3.72)
    return msgspec.structs.replace(message, battery=ref)


def guarded(made: Any) -> Lab:
    """Return a station with a dead-man output."""
    # A load cannot raise its own terminals to the cell's voltage before the contact closes.
    lab: Lab = made(outputs=[DEAD_MAN], dead_man="dog", limits={"isolator_max_v": 5.0})
    return lab


def test_without_a_dead_man_a_large_battery_is_refused(made: Any) -> None:
    lab = made()
    answered = lab.ask("start", large(lab, cc(-0.5)))
    assert answered.outcome == "refused"
    assert answered.result["rule"] == 3
    assert "does not end a discharge by itself" in (answered.reason or "")
    assert "step 1" in (answered.reason or "")
    assert not lab.of("load")["output"]


def test_with_a_dead_man_it_runs_and_the_loop_keeps_it_closed(made: Any) -> None:
    lab = guarded(made)
    answered = lab.ask("start", large(lab, cc(-0.5)), 60.0)
    assert answered.outcome == "done", answered.reason
    until(lambda: lab.of("load")["output"] and lab.of("dog")["connected"], 10, "it discharges")
    # Longer than the watchdog's own 5 s: only refreshing keeps it closed.
    began_s = lab.live.taken.taken_s  # type: ignore[union-attr]
    until(lambda: lab.live.taken.taken_s > began_s + 6.0, 20)  # type: ignore[union-attr]
    assert lab.of("dog")["connected"]
    assert lab.live.state == "running"


def test_after_a_test_that_opened_it_at_its_end_the_next_one_closes_it_again(made: Any) -> None:
    lab = guarded(made)
    for _ in range(2):
        message = large(lab, cc(-0.5))
        answered = lab.ask("start", message, 60.0)
        assert answered.outcome == "done", answered.reason
        until(lambda: lab.of("load")["output"] and lab.of("dog")["connected"], 10, "it discharges")
        # Longer than an output that falls back to its value of the last end takes to do so.
        began_s = lab.live.taken.taken_s  # type: ignore[union-attr]
        until(lambda began_s=began_s: lab.live.taken.taken_s > began_s + 3.0, 20)
        assert lab.live.state == "running"
        stopped = lab.ask("stop", ExperimentStop(experiment=message.experiment, how="now"))
        assert stopped.outcome == "done", stopped.reason
        until(lambda: not lab.of("dog")["connected"], 10, "open at the end")
        until(lambda: lab.live.state == "idle", 10)


def test_a_loop_that_stands_still_opens_the_contact_and_no_charge_flows_any_more(made: Any) -> None:
    lab = guarded(made)
    answered = lab.ask("start", large(lab, cc(-0.5)), 60.0)
    assert answered.outcome == "done", answered.reason
    until(lambda: lab.of("load")["output"], 10)
    stopped, goes_on = threading.Event(), threading.Event()
    serve = lab.live.conductor.serve

    def stand_still(ask: Ask) -> None:
        if ask.do != "stand still":
            serve(ask)
            return
        stopped.set()
        goes_on.wait(30.0)

    lab.live.conductor.serve = stand_still  # type: ignore[method-assign]
    lab.live.mail.put(Ask("stand still", None, lambda *_: None))
    assert stopped.wait(5.0)
    try:
        until(lambda: not lab.of("dog")["connected"], 10, "the contact opens")
        moved_ah = lab.of("load")["charge_out_ah"]
        until(lambda: lab.of("load")["current_a"] == 0.0, 5)
        assert lab.of("load")["charge_out_ah"] == pytest.approx(moved_ah, abs=1e-4)
    finally:
        goes_on.set()
    # Back again, the contact must not close on a load that is on: the test ends first.
    found = lab.ended(30.0)["end_reason"]
    assert found["code"] == "dead_man"
    assert "the control loop stood still" in found["text"]
    assert lab.live.latched
    until(lambda: not lab.of("load")["output"], 10)


def test_a_dead_man_that_does_not_close_is_refused(made: Any) -> None:
    lab = guarded(made)
    lab.break_("dog", "silent")
    answered = lab.ask("start", large(lab, cc(-0.5)), 60.0)
    assert answered.outcome in ("refused", "failed")
    assert not lab.of("load")["output"]
    assert lab.live.conductor.experiment is None
