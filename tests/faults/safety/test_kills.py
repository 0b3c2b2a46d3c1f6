"""Rule 8 and 10: the unit's processes are killed and stopped while each device charges and discharges.

What counts is the simulator's own truth. The neighbour goes on wherever its own watchers live.
"""

from __future__ import annotations

import signal

import psutil
import pytest

from tests.faults.safety.marks import Row, rows
from tests.faults.safety.rigs import ACTING, Way
from tests.faults.safety.unit import SafetyLab
from tests.stack.waiting import until

KILL, STOP = signal.SIGKILL, signal.SIGSTOP
SIGNALS = {KILL: "kill", STOP: "stop"}
# In `make test`: each process is struck both ways, and each device is struck.
USUAL = {
    ("psb", "charge", KILL), ("ps+kel103", "discharge", KILL), ("ps+el", "discharge", KILL),
    ("epc", "charge", STOP), ("kel103", "discharge", KILL), ("ps2384", "charge", KILL),
}  # fmt: skip


def table() -> list[Row]:
    """Return every rig, direction and signal."""
    return rows(
        (rig, way, how, f"{rig}-{way}-{SIGNALS[how]}", (rig, way, how) in USUAL)
        for rig, way in ACTING
        for how in SIGNALS
    )


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run; a zombie does not."""
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def latched(lab: SafetyLab, experiment: str, *statuses: str) -> None:
    """Check that the station waits for a person, with an alarm, and what became of its test."""
    until(lambda: lab.state() == "tripped", 60, f"latched; {lab.unit.process.output()[-2500:]}")
    until(
        lambda: set(statuses) & set(lab.manager.statuses(experiment)), 30,
        f"{statuses}, not {lab.manager.statuses(experiment)}",
    )  # fmt: skip
    assert lab.is_off()
    alarm = lab.alarms(experiment)[-1]
    # Unsafe: for a moment nobody could say that it is off, which is so when its owner has ended.
    assert alarm["detail"]["class"] in ("hold", "error", "trip", "unsafe"), alarm
    assert alarm["text"]


@pytest.mark.parametrize(("lab", "way", "how"), table(), indirect=["lab"])
def test_without_its_control_loop_it_goes_off_and_is_held(lab: SafetyLab, way: Way, how: int) -> None:
    started = lab.run(way)
    at_s, agent = lab.cell()["at_s"], lab.process("agent")
    agent.send_signal(how)
    lab.goes_off()
    acting = lab.rig.acts[way]
    # An EPC's own heartbeat may be faster than a guard on a busy computer: the command comes all the same.
    until(
        lambda: any(lab.rig.is_off(acting, each) for each in lab.sent(acting, at_s)), 20, "off by a command"
    )
    until(lambda: lab.process("agent").pid != agent.pid, 60, "a new agent")
    latched(lab, started.experiment, "paused")
    lab.stop_test(started)
    lab.complete(started.experiment)


@pytest.mark.parametrize(("lab", "way", "how"), table(), indirect=["lab"])
def test_without_the_owner_of_its_bus_it_goes_off_and_the_test_is_an_error(
    lab: SafetyLab, way: Way, how: int
) -> None:
    started = lab.run(way)
    acting = lab.rig.acts[way]
    at_s, owner = lab.cell()["at_s"], lab.owner_of(acting)
    owner.send_signal(how)
    lab.goes_off()
    until(
        lambda: any(lab.rig.is_off(acting, each) for each in lab.sent(acting, at_s)), 20, "off by a command"
    )
    until(lambda: not living([owner]), 20, "it was replaced")
    detail = lab.ended(started.experiment)
    assert detail["status"] == "error"
    assert detail["end_reason"]["text"]
    until(lambda: lab.state() == "tripped", 40, "confirmed off, and latched")
    assert lab.is_off()
    assert lab.alarms(started.experiment)
    lab.neighbour_goes_on()
    lab.complete(started.experiment)


@pytest.mark.parametrize(("lab", "way", "how"), table(), indirect=["lab"])
def test_without_the_parent_it_goes_off(lab: SafetyLab, way: Way, how: int) -> None:
    started = lab.run(way)
    parent, others = lab.process("parent"), [lab.process("agent"), lab.owner_of(lab.rig.acts[way])]
    parent.send_signal(how)
    lab.goes_off(30)
    until(lambda: not living(others), 40, "nobody goes on without the parent")
    lab.unit.kill()
    lab.unit.start()
    # A loop that outlives the owner of its bus by a moment has lost its device: that test is an error.
    latched(lab, started.experiment, "paused", "error")
    if "paused" in lab.manager.statuses(started.experiment):
        lab.stop_test(started)
    lab.complete(started.experiment)


@pytest.mark.parametrize(("lab", "way", "how"), table(), indirect=["lab"])
def test_all_at_once_and_the_next_unit_switches_off_and_holds(lab: SafetyLab, way: Way, how: int) -> None:
    started = lab.run(way)
    struck = lab.strike_all(how)
    if how == STOP:
        # A supervisor kills a unit that hangs; what the parent leaves hanging is the next one's business.
        lab.process("parent").kill()
    lab.unit.start()
    lab.goes_off(40)
    until(lambda: not living(struck), 40, "none of the old processes is left")
    latched(lab, started.experiment, "paused")
    refused = lab.ask_start(lab.message(*started.profile["steps"]))
    assert refused.outcome != "done"
    lab.stop_test(started)
    lab.complete(started.experiment)
