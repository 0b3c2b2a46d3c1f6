"""The bench starts what is shipped, as it is shipped to be started."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys

import pytest

from cycler_unit import __version__
from tests.stack.process import ROOT

from .bench_unit import UNIT_PRIORITY, at_priority, changed, priority


def test_the_unit_has_the_priority_of_its_service_file() -> None:
    service = configparser.ConfigParser(strict=False)
    service.read(ROOT / "devops/systemd/cellyard-unit.service")
    assert service["Service"]["CPUSchedulingPolicy"] == "rr"
    assert int(service["Service"]["CPUSchedulingPriority"]) == UNIT_PRIORITY


def test_a_changed_program_runs_the_lines_first_and_then_itself_with_its_options() -> None:
    command = changed([sys.executable, "-m", "cycler_unit", "--version"], "print('first')", UNIT_PRIORITY)
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["first", __version__]


@pytest.mark.skipif(not priority(UNIT_PRIORITY), reason="real-time priorities are not allowed here")
def test_a_priority_ends_with_what_it_was_for() -> None:
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    with at_priority(UNIT_PRIORITY):
        assert os.sched_getscheduler(0) == os.SCHED_RR
        assert os.sched_getparam(0).sched_priority == UNIT_PRIORITY
    assert (os.sched_getscheduler(0), os.sched_getparam(0)) == before
