"""The disk is full, the network is gone, everything else is dead: rules 5, 9 and 18 on every power device."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.faults.safety.marks import rows
from tests.faults.safety.rigs import CURRENT_A, RIGS, WAYS
from tests.faults.safety.unit import SafetyLab, cc
from tests.stack.process import ROOT
from tests.stack.waiting import until

RIGS_BY_ONE = ("psb", "epc")
AWAY_S = 6.0


def every_rig(*usual: str) -> Any:
    """Return each rig in its first direction."""
    return rows((rig, rig, rig in usual) for rig in RIGS)


@contextmanager
def full_disk(lab: SafetyLab) -> Iterator[None]:
    """Let no file of the agent grow any more: what a full disk is to SQLite, without root and without a mount."""
    agent = lab.process("agent")
    before = agent.rlimit(resource.RLIMIT_FSIZE)
    agent.rlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        if agent.is_running():
            agent.rlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("lab", every_rig(*RIGS_BY_ONE), indirect=True)
def test_a_disk_that_is_full_for_seconds_loses_nothing(lab: SafetyLab) -> None:
    way = WAYS[lab.rig.name][0]
    started = lab.run(way)
    with full_disk(lab):
        stored, moved_ah = len(lab.manager.seqs(started.experiment)), lab.cell()["charge_ah"]
        # Five seconds at 1 A, in which fifty samples would have come.
        until(lambda: abs(lab.cell()["charge_ah"] - moved_ah) > 0.0014, 30, "it goes on for a while")
        assert len(lab.manager.seqs(started.experiment)) < stored + 20, "the disk is not full"
    stored = len(lab.manager.seqs(started.experiment))
    until(lambda: len(lab.manager.seqs(started.experiment)) > stored + 5, 40, "samples flow again")
    assert lab.state() == "running"
    lab.stop_test(started)
    lab.complete(started.experiment)


@pytest.mark.parametrize("lab", every_rig(), indirect=True)
def test_a_test_that_nobody_can_record_is_switched_off(lab: SafetyLab) -> None:
    started = lab.run(WAYS[lab.rig.name][0])
    with full_disk(lab):
        # Samples wait in memory for two minutes: a disk may be slow, and a person may free it.
        lab.goes_off(200)
        until(lambda: not lab.truth("next")["output"], 60, "nor can the neighbour's test be recorded")
    detail = lab.ended(started.experiment)
    assert detail["status"] == "error"
    assert "disk" in detail["end_reason"]["text"]
    until(lambda: lab.state() == "tripped", 40, "latched")
    assert lab.alarms(started.experiment)
    lab.complete(started.experiment)


@pytest.mark.parametrize(
    ("lab", "policy"),
    rows(
        (rig, policy, f"{rig}-{policy}", rig == "psb" or (rig, policy) == ("epc", "off"))
        for rig in RIGS
        for policy in ("continue", "finish_step", "off")
    ),
    indirect=["lab"],
)
def test_without_the_network_each_policy_is_kept_and_nothing_is_lost(lab: SafetyLab, policy: str) -> None:
    way = WAYS[lab.rig.name][0]
    more = {} if policy == "continue" else {"off_after_s": 3.0}
    started = lab.run(way, cc(CURRENT_A[way], 300.0), cc(CURRENT_A[way]), contact_policy=policy, **more)
    lab.network.freeze()
    began_s = time.monotonic()
    if policy == "continue":
        until(lambda: time.monotonic() - began_s > AWAY_S, AWAY_S + 5.0)
        lab.flows(way)
    else:
        lab.goes_off(60)
        assert lab.truth("next")["output"], "its own policy is to continue"
    lab.network.mend()
    if policy == "continue":
        until(lambda: lab.manager.heartbeats and lab.state() == "running", 40)
        lab.neighbour_goes_on()
        lab.stop_test(started)
    else:
        detail = lab.ended(started.experiment)
        assert (detail["status"], detail["end_reason"]["code"]) == ("stopped", "contact")
        lab.neighbour_goes_on()
    lab.complete(started.experiment)


@pytest.mark.parametrize(
    ("lab", "unit"),
    rows(
        (rig, unit, f"{rig}-unit-{unit}", (rig in RIGS_BY_ONE and unit != "dead") or (rig, unit) == ("psb", "dead"))
        for rig in RIGS
        for unit in ("alive", "hung", "dead")
    ),
    indirect=["lab"],
)  # fmt: skip
def test_stop_all_on_the_units_own_command_line_with_everything_else_dead(lab: SafetyLab, unit: str) -> None:
    way = WAYS[lab.rig.name][0]
    started = lab.run(way)
    lab.network.cut()
    if unit != "alive":
        lab.strike_all(signal.SIGSTOP if unit == "hung" else signal.SIGKILL)
    command = [sys.executable, "-m", "cycler_unit", "stop-all", "--config", str(lab.unit.file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert lab.is_off()
    assert not lab.truth("next")["output"]
    lab.network.mend()
    if unit != "alive":
        until(lambda: not lab.unit.process.running, 20, "what hung was ended")
        lab.unit.start()
        until(lambda: "paused" in lab.manager.statuses(started.experiment), 60, "the test is held")
        assert lab.is_off()
        lab.stop_test(started)
    lab.complete(started.experiment)
