"""Commands from the site: checked in a fixed order, done once, answered (safety.md rule 11)."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from cycler_unit.clock import ServerClock, parse_iso
from cycler_unit.contract import Refusal
from cycler_unit.mail import Outcome
from cycler_unit.spool import Spool
from wire import codec
from wire.messages import MAX_BYTES, STOPS, Command, Message, Reply

logger = logging.getLogger("cycler_unit.commands")

# Answers kept in memory; older ones are on the disk no longer either.
REMEMBER_MAX = 5000
# A command that may not happen twice is noted on the disk before it acts; a slower disk is not waited for.
NOTE_WAIT_S = 0.2
# Repeating these does harm, and nothing else than their id tells that they were done.
ONCE = frozenset({"experiment.skip_step"})
# Moves nothing and replaces what it said before: it may wait until the unit is back, however long that takes.
AGELESS = frozenset({"unit.readings"})
# Doing these again does no harm, and pages ask them all the time: their answers are not put on the disk.
AGAIN = frozenset({"device.read", "device.lease", "can.listen", "unit.log"})
# Answers of more bytes than this are kept in memory for the newest few commands only.
LARGE, LARGE_KEPT = 16_384, 50

Answer = Callable[[Outcome, dict[str, Any] | None, str | None], None]


class Doer(Protocol):
    """Whoever acts on commands."""

    def do(self, command: Command, args: Message, answer: Answer) -> None:
        """Act, and call ``answer`` exactly once, now or later; raises :class:`Refusal`."""


class Commands(threading.Thread):
    """Check commands one by one, stops first, on a thread of their own.

    1. this connection? 2. expired on the corrected clock? 3. seen before (answer again, do not act)?
    4. allowed in this state and inside the limits? (the doer) Then act, then reply.
    """

    def __init__(
        self,
        spool: Spool,
        clock: ServerClock,
        doer: Doer,
        connection: Callable[[], str],
        publish: Callable[[Reply], None],
        seen: dict[str, bytes | None],
    ) -> None:
        super().__init__(name="commands", daemon=True)
        self._spool, self._clock, self._doer = spool, clock, doer
        self._connection, self._publish = connection, publish
        self._seen: dict[str, Reply | None] = {}
        for key, reply in seen.items():
            self._seen[key] = (
                msgspec.json.decode(reply, type=Reply) if reply is not None else _interrupted(key)
            )
        self._large: deque[str] = deque()
        self._lock = threading.Lock()
        self._queue: queue.PriorityQueue[tuple[int, int, Command | None]] = queue.PriorityQueue()
        self._count = 0
        self.malformed = 0

    # --- on the link's thread -------------------------------------------------------------------

    def receive(self, topic: str, payload: bytes) -> None:
        """Queue a command; what is none is counted, logged and dropped."""
        try:
            command = codec.decode(payload, Command)
        except codec.Malformed as error:
            self.malformed += 1
            logger.warning("event=message_dropped topic=%s reason='%s'", topic, error.reason)
            return
        self._put(command)

    def _put(self, command: Command | None) -> None:
        with self._lock:
            self._count += 1
            urgent = command is None or command.kind in STOPS
            self._queue.put((0 if urgent else 1, self._count, command))

    def stop(self) -> None:
        """End the thread."""
        self._put(None)
        if self.is_alive():
            self.join(5.0)

    # --- on its own thread ----------------------------------------------------------------------

    def run(self) -> None:
        """Handle commands until stopped."""
        while (command := self._queue.get()[2]) is not None:
            try:
                self.handle(command)
            except Exception as error:
                # The one broad except of this thread.
                logger.exception("event=command_failed command=%s kind=%s", command.id, command.kind)
                self._reply(command, "failed", None, f"internal error: {type(error).__name__}: {error}")

    def handle(self, command: Command) -> None:
        """Check one command in order, act, reply."""
        stop = command.kind in STOPS
        if command.connection != self._connection():
            self._publish_refusal(command, "it was sent to an earlier connection of this unit")
            return
        if not stop and (why := self._expired(command)):
            self._publish_refusal(command, why)
            return
        if command.id in self._seen:
            self._again(command)
            return
        try:
            args = codec.decode_args(command.kind, command.args)
        except codec.Malformed as error:
            self._reply(command, "refused", None, error.reason)
            return
        self._remember(command.id, None)
        if command.kind in ONCE:
            self._spool.remember_command(command.id, None)
            self._spool.commit(NOTE_WAIT_S)
        try:
            self._doer.do(
                command, args, lambda outcome, result, why: self._reply(command, outcome, result, why)
            )
        except Refusal as refusal:
            self._reply(command, "refused", None, refusal.text)

    def _expired(self, command: Command) -> str | None:
        if command.expires_at is None:
            return None if command.kind in AGELESS else "it has no expiry; only stops may go without one"
        try:
            late_s = self._clock.now() - parse_iso(command.expires_at)
        except ValueError:
            return f"its expiry {command.expires_at!r} is no time"
        return f"it expired {late_s:.1f} s ago" if late_s > 0 else None

    def _again(self, command: Command) -> None:
        reply = self._seen[command.id]
        if reply is not None:  # else it is being done, and will be answered then
            self._publish(reply)

    def _publish_refusal(self, command: Command, reason: str) -> None:
        """Refuse without remembering: sent again to the right connection it may still be done."""
        logger.warning(
            "event=command_refused command=%s kind=%s reason='%s'", command.id, command.kind, reason
        )
        self._publish(Reply(command=command.id, outcome="refused", reason=reason))

    def _reply(
        self, command: Command, outcome: Outcome, result: dict[str, Any] | None, reason: str | None
    ) -> None:
        """Answer once, and remember the answer."""
        if self._seen.get(command.id) is not None:
            return
        reply = Reply(command=command.id, outcome=outcome, result=result, reason=reason)
        body = msgspec.json.encode(reply)
        if len(body) > MAX_BYTES:
            outcome, reason = (
                "failed",
                f"it was done, but its answer has {len(body)} bytes: too large to be sent",
            )
            reply = Reply(command=command.id, outcome=outcome, reason=reason)
            body = msgspec.json.encode(reply)
        self._remember(command.id, reply)
        self._publish(reply)
        if command.kind not in AGAIN:
            self._spool.remember_command(command.id, body)
        self._forget_large(command.id, len(body))
        level = logging.INFO if outcome == "done" else logging.WARNING
        logger.log(
            level, "event=command_%s command=%s kind=%s by=%s reason='%s'",
            outcome, command.id, command.kind, command.issued_by, reason or "",
        )  # fmt: skip

    def _forget_large(self, command: str, size: int) -> None:
        """Keep the newest large answers only: a live look at a bus makes one every second."""
        if size <= LARGE:
            return
        self._large.append(command)
        if len(self._large) > LARGE_KEPT:
            old = self._large.popleft()
            with self._lock:
                if old in self._seen:
                    self._seen[old] = Reply(command=old, outcome="failed", reason="answered before; the answer was large and is not kept")  # fmt: skip

    def _remember(self, command: str, reply: Reply | None) -> None:
        with self._lock:
            self._seen[command] = reply
            for old in list(self._seen)[: len(self._seen) - REMEMBER_MAX]:
                if self._seen[old] is not None:
                    del self._seen[old]


def _interrupted(command: str) -> Reply:
    return Reply(
        command=command,
        outcome="failed",
        reason="the unit stopped while doing it; nobody knows how far it came",
    )
