"""The agent as a process of the unit, started by the parent."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import sys
from multiprocessing import connection
from typing import Any

import msgspec

from cycler_unit import logs
from cycler_unit.config import Config
from cycler_unit.owner import calls, turns
from cycler_unit.owner.client import OwnedBuses
from cycler_unit.owner.line import ParentLine
from cycler_unit.owner.parent import CANNOT_START, RESTART
from cycler_unit.owner.server import close


def main(line: connection.Connection, inherited: list[Any], secret: bytes, settings: Config) -> None:
    """Run the agent until the parent asks for the end or is gone; ends the process."""
    from cycler_unit.agent import Agent

    close(inherited)
    turns.short()
    calls.ready()
    logs.set_up()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)  # the parent hears them and says what to do
    agents: list[Agent] = []
    parent = ParentLine(line, secret, lambda why: agents[0].ask_to_stop())
    try:
        agents.append(Agent(settings, OwnedBuses(parent.connect)))
        agent = agents[0]
        parent.start()
        agent.start()
        # What lives as long as the process need not be looked through by the collector: each full pass over
        # it holds all control loops up for 5 ms.
        gc.collect()
        gc.freeze()
    except (OSError, sqlite3.Error, msgspec.MsgspecError) as error:
        print(f"cycler_unit: cannot start with {settings.state_dir}: {error}", file=sys.stderr)
        os._exit(CANNOT_START)
    agent.wait()
    agent.stop()
    os._exit(RESTART if agent.restarting else 0)
