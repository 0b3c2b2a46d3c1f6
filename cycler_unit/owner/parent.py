"""The unit's first process: it starts the agent and an owner for each bus, and replaces what hangs.

It talks to no device, no disk but its own list of processes, and no network: it must never wait. A new
owner of a bus first switches off what the dead one may have left on (safety.md rule 8).
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

import msgspec

from cycler_unit.config import Config
from cycler_unit.lock import Lock
from cycler_unit.owner import leftovers
from cycler_unit.owner.line import Life, ToAgent, ToParent

logger = logging.getLogger("cycler_unit.parent")

LOOK_S = 0.1
# An owner that shows no life for this long is killed (rule 8), counted in looks as well: on a machine
# without a free core both processes wait, and only one of them hangs.
SILENT_S = 1.0
# Until its first sign of life an owner imports its libraries.
START_S = 15.0
# An off that the owner does not get done: its device's thread hangs. Longer than two exchanges take.
OFF_S = 4.0
# The agent's outputs are off long before (no permit); this only brings it back to work.
AGENT_SILENT_S = 15.0
# Owners hear this often that the parent lives.
TICK_S = 0.5
# A stopping agent switches its stations off and writes its checkpoints; then it is killed.
STOP_S = 20.0
# An agent that ends with these asked to be started again, or has said why it cannot start.
RESTART, CANNOT_START = 75, 71
AGAIN_S = 1.0


class Child:
    """A process of the unit and the line to it."""

    def __init__(self, process: BaseProcess, line: connection.Connection) -> None:
        self.process, self.line = process, line
        self.started_s = self.heard_s = time.monotonic()
        self.looks = 0
        self.spoke = False
        self.life = Life("")

    def hear(self) -> None:
        """Note a sign of life."""
        self.heard_s, self.looks, self.spoke = time.monotonic(), 0, True

    def silent(self, after_s: float) -> bool:
        """Say whether it has been silent too long."""
        limit_s = after_s if self.spoke else max(after_s, START_S)
        return time.monotonic() - self.heard_s > limit_s and self.looks * LOOK_S >= limit_s * 0.9

    def send(self, payload: bytes) -> None:
        """Tell it something; a dead one is noticed elsewhere."""
        try:
            self.line.send_bytes(payload)
        except OSError:
            return

    def kill(self) -> None:
        """End it at once, also when it is stopped."""
        self.process.kill()
        self.process.join(2.0)
        self.line.close()


def context() -> Any:
    """Return how processes are started: as forks that share what is loaded, else afresh."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


class Parent:
    """The unit's processes."""

    def __init__(self, settings: Config, lock: Lock) -> None:
        self.settings = settings
        self._lock = lock
        self._kinds_file = settings.folder / "kinds.json"
        self._context = context()
        self._secret = secrets.token_bytes(32)
        self._owners: dict[str, Child] = {}
        self._agent: Child | None = None
        self._agent_due_s = 0.0
        self._stop_by_s: float | None = None
        self._asked = False
        self._ticked_s = 0.0
        self.exit_code = 0

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until the agent cannot start; return the exit code."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda _number, _frame: self.ask_to_stop())
        leftovers.end(self.settings.folder)
        if self._context.get_start_method() == "fork":
            from cycler_unit.owner import preload

            preload.load(self.settings)
        try:
            while self._look():
                pass
        finally:
            self._end()
        return self.exit_code

    def ask_to_stop(self) -> None:
        """Ask agent and owners to end; returns at once."""
        if self._stop_by_s is None:
            self._stop_by_s = time.monotonic() + STOP_S

    def _start(self, name: str, work: Callable[..., None], *args: Any) -> Child:
        """Start a process; a fork gets what it must close, so that it holds nobody else's line or lock."""
        ours, theirs = self._context.Pipe()
        inherited: list[Any] = []
        if self._context.get_start_method() == "fork":
            inherited = [ours, self._lock, *(child.line for child in self._children())]
        process = self._context.Process(target=work, args=(theirs, inherited, *args), name=name)
        process.start()
        theirs.close()
        return Child(process, ours)

    # --- one look -------------------------------------------------------------------------------

    def _look(self) -> bool:
        now_s = time.monotonic()
        if self._agent is None and self._stop_by_s is None and now_s >= self._agent_due_s:
            self._start_agent()
        self._hear_all()
        self._tick(now_s)
        self._replace_owners()
        return self._agent_goes_on()

    def _children(self) -> list[Child]:
        return [*self._owners.values(), *([self._agent] if self._agent else [])]

    def _hear_all(self) -> None:
        children = self._children()
        for child in children:
            child.looks += 1
        by_line = {child.line: child for child in children}
        ready = connection.wait(list(by_line), timeout=LOOK_S)
        for line in ready:
            self._hear(by_line[line])  # type: ignore[index]

    def _hear(self, child: Child) -> None:
        try:
            while child.line.poll():
                payload = child.line.recv_bytes()
                child.hear()
                if child is self._agent:
                    self._serve(msgspec.msgpack.decode(payload, type=ToParent))
                else:
                    self._note(child, msgspec.msgpack.decode(payload, type=Life))
        except (EOFError, OSError):
            # The other end is gone: so is the process, or it soon will be. Its own check says so.
            time.sleep(LOOK_S / 10.0)

    def _note(self, child: Child, life: Life) -> None:
        fresh = child.life.address != life.address
        child.life = life
        if fresh:
            bus = next(name for name, each in self._owners.items() if each is child)
            self._tell(bus)

    def _serve(self, message: ToParent) -> None:
        if message.what != "bus":
            return
        owner = self._owners.get(message.bus)
        if owner is None:
            self._start_owner(message.bus, [])
        elif owner.life.address and owner.life.address != message.address:
            self._tell(message.bus)

    def _tell(self, bus: str) -> None:
        if self._agent is not None:
            at = ToAgent("at", bus, self._owners[bus].life.address)
            self._agent.send(msgspec.msgpack.encode(at))

    def _tick(self, now_s: float) -> None:
        if now_s - self._ticked_s >= TICK_S:
            self._ticked_s = now_s
            for owner in self._owners.values():
                owner.send(b"tick")
            if self._agent is not None:
                self._agent.send(msgspec.msgpack.encode(ToAgent("tick")))

    # --- owners ---------------------------------------------------------------------------------

    def _start_owner(self, bus: str, rescue: list[msgspec.Raw]) -> None:
        from cycler_unit.owner import server  # its libraries are needed in the children only

        packed = [bytes(each) for each in rescue]
        self._owners[bus] = owner = self._start(
            f"owner {bus}", server.main, self._secret, packed, self._kinds_file
        )
        # Until it says so itself: one that dies before its first sign of life leaves them to the next.
        owner.life = Life("", places=rescue)
        logger.info("event=owner_started bus='%s' pid=%s rescue=%d", bus, owner.process.pid, len(rescue))
        self._write_list()

    def _replace_owners(self) -> None:
        for bus, owner in list(self._owners.items()):
            if not owner.process.is_alive():
                why = f"it ended with {owner.process.exitcode}"
            elif owner.silent(SILENT_S):
                why = f"no life for {time.monotonic() - owner.heard_s:.1f} s"
            elif owner.life.off_pending_s > OFF_S and owner.life.places:
                why = f"an off is not done since {owner.life.off_pending_s:.1f} s"
            else:
                continue
            if time.monotonic() - owner.started_s < AGAIN_S:
                continue
            logger.error("event=owner_replaced bus='%s' pid=%s reason='%s'", bus, owner.process.pid, why)
            owner.kill()
            self._start_owner(bus, owner.life.places)

    # --- the agent ------------------------------------------------------------------------------

    def _start_agent(self) -> None:
        from cycler_unit.owner import agent_process

        self._agent = self._start("agent", agent_process.main, self._secret, self.settings)
        self._write_list()
        for bus in self._owners:
            self._tell(bus)

    def _agent_goes_on(self) -> bool:
        """See after the agent; False when the unit ends."""
        agent = self._agent
        if agent is None:
            return self._stop_by_s is None
        if self._stop_by_s is not None:
            self._ask_agent_to_stop(agent)
            if agent.process.is_alive() and time.monotonic() < self._stop_by_s:
                return True
            agent.kill()
            return False
        if agent.process.is_alive() and not agent.silent(AGENT_SILENT_S):
            return True
        return self._agent_ended(agent)

    def _ask_agent_to_stop(self, agent: Child) -> None:
        if not self._asked:
            self._asked = True
            agent.send(msgspec.msgpack.encode(ToAgent("stop")))

    def _agent_ended(self, agent: Child) -> bool:
        lived_s = time.monotonic() - agent.started_s
        hangs = agent.process.is_alive()
        agent.kill()
        code = agent.process.exitcode
        self._agent = None
        if code == CANNOT_START:
            self.exit_code = 1
            return False
        if code != RESTART:
            logger.error("event=agent_ended code=%s hung=%s; starting it again", code, hangs)
        self._agent_due_s = time.monotonic() + (0.0 if lived_s > AGAIN_S else AGAIN_S)
        return True

    # --- the end --------------------------------------------------------------------------------

    def _end(self) -> None:
        for owner in self._owners.values():
            owner.send(b"stop")
        until_s = time.monotonic() + OFF_S
        for owner in self._owners.values():
            owner.process.join(max(0.0, until_s - time.monotonic()))
        for child in self._children():
            child.kill()
        leftovers.forget(self.settings.folder)

    def _write_list(self) -> None:
        names = {child.process.pid: child.process.name for child in self._children() if child.process.pid}
        leftovers.note(self.settings.folder, {os.getpid(): "parent", **names})
