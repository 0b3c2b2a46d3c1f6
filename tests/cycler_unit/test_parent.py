"""Safety rule 8 in the whole unit: its processes are killed and stopped while a test charges.

What counts is the supply's own truth: nothing may go on that nobody watches.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cycler_unit.bench import CHARGE
from tests.cycler_unit.whole_unit import Lab
from tests.stack.brokers import Broker
from tests.stack.simulated import Simulators
from tests.stack.waiting import until

pytestmark = pytest.mark.stack


@pytest.fixture
def lab(tmp_path: Path, broker: Broker, simulators: Simulators) -> Iterator[Lab]:
    """Return a unit whose station charges."""
    for name in ("psb1", "psb2"):
        simulators.ask(device=name, clear=True)
    lab = Lab(tmp_path, broker, simulators)
    try:
        yield lab.up()
    finally:
        lab.unit.stop()
        lab.manager.stop()


def owner_of(lab: Lab, name: str) -> psutil.Process:
    """Return the owner of a supply's bus."""
    link = next(each for each in lab.simulators.links() if each["name"] == name)
    return lab.process(str(link["resource"]))


def charging(lab: Lab, **more: object) -> str:
    """Start a charge and return the experiment's UUID."""
    started = lab.start(CHARGE, **more)
    until(lambda: lab.truth()["output"], 10, "it charges")
    return started.experiment


def goes_off(lab: Lab) -> None:
    until(lambda: not lab.truth()["output"], 15, f"the supply is off; {lab.unit.process.output()[-3000:]}")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_without_its_control_loop_the_output_goes_off_and_the_test_is_held(lab: Lab, how: int) -> None:
    experiment = charging(lab)
    agent = lab.process("agent")
    agent.send_signal(how)
    goes_off(lab)
    # The parent brings the agent back, which finds the test unfinished: held for a person (rule 10).
    until(lambda: lab.process("agent").pid != agent.pid, 60, "a new agent")
    until(lambda: lab.manager.state(lab.station.station) == "tripped", 30, "the station is latched")
    until(lambda: "paused" in lab.manager.statuses(experiment), 15, "the test is held")
    assert not lab.truth()["output"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_without_the_owner_of_its_bus_the_output_goes_off_and_the_test_is_an_error(
    lab: Lab, how: int
) -> None:
    experiment = charging(lab)
    owner = owner_of(lab, "psb1")
    owner.send_signal(how)
    goes_off(lab)
    until(lambda: not owner.is_running(), 10, "the parent has killed it")
    until(lambda: "error" in lab.manager.statuses(experiment), 20, "the test is an error")
    until(lambda: lab.manager.state(lab.station.station) == "tripped", 20, "confirmed off, and latched")


def test_without_the_parent_everything_goes_off_and_ends(lab: Lab) -> None:
    charging(lab)
    parent, others = lab.process("parent"), [lab.process("agent"), owner_of(lab, "psb1")]
    parent.kill()
    goes_off(lab)
    _, left = psutil.wait_procs(others, timeout=20)
    assert not left
    lab.unit.start()
    until(lambda: lab.manager.state(lab.station.station) == "tripped", 30, "held after the restart")


def test_a_stopped_parent_counts_as_a_dead_one(lab: Lab) -> None:
    charging(lab)
    lab.process("parent").suspend()
    goes_off(lab)


def test_a_unit_that_was_stopped_whole_is_ended_by_the_next_one(lab: Lab) -> None:
    charging(lab)
    before = [lab.process("agent"), owner_of(lab, "psb1")]
    for each in before:
        each.suspend()
    lab.process("parent").kill()
    assert lab.truth()["output"]  # nobody left to switch off: only the supply's own limits hold it
    lab.unit.start()
    goes_off(lab)
    assert not [each for each in before if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_the_neighbour_goes_on_while_an_owner_is_replaced(lab: Lab) -> None:
    charging(lab)
    owner_of(lab, "psb2").kill()
    beats = len(lab.manager.heartbeats)
    until(lambda: len(lab.manager.heartbeats) > beats + 1, 20)
    assert lab.truth()["output"]
    assert lab.manager.state(lab.station.station) == "running"
