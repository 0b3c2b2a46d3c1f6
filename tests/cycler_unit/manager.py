"""The least that a unit needs of a manager: approve it, answer heartbeats, store, acknowledge, command.

The real manager is tested with the real unit in tests/end_to_end; this one can be told to be silent,
slow or hostile.
"""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import msgspec

from cycler_unit.clock import iso
from mqtt_link import Link
from tests.stack.waiting import until
from wire import codec, topics
from wire.messages import (
    Ack,
    AckedEvents,
    AckedSamples,
    Command,
    DeviceReport,
    EventBatch,
    Heartbeat,
    Message,
    Presence,
    RegisterAnswer,
    RegisterAsk,
    RejectedSamples,
    Reply,
    SampleBatch,
)


class Manager:
    """One unit's manager, with its "database" in memory."""

    def __init__(self, url: str, hardware_id: str, prefix: str = topics.PREFIX) -> None:
        self.unit = str(uuid.uuid4())
        self.prefix, self.hardware_id = prefix, hardware_id
        self.link = Link(url, f"test-manager-{uuid.uuid4().hex[:8]}")
        self.approve = True
        self.acknowledging = True
        self.rejecting: str | None = None
        self.clock_ahead_s = 0.0
        self.asks: list[RegisterAsk] = []
        self.presence: Presence | None = None
        self.presences: list[Presence] = []
        self.heartbeats: list[Heartbeat] = []
        self.devices: DeviceReport | None = None
        self.replies: list[Reply] = []
        self.rows: dict[str, dict[int, dict[str, Any]]] = {}
        self.received_rows = 0
        self.conflicts: list[str] = []
        self.events: dict[tuple[str, int], dict[str, Any]] = {}
        self._through: dict[str, int] = {}
        self._lock = threading.Lock()

    def start(self) -> Manager:
        """Connect and listen."""
        link, unit, prefix = self.link, self.unit, self.prefix
        link.subscribe(topics.enrol_ask(prefix, self.hardware_id), self._ask)
        for leaf, taken in (
            ("presence", self._presence), ("heartbeat", self._heartbeat), ("devices", self._devices),
            ("replies", self._reply), ("samples", self._samples), ("events", self._events),
        ):  # fmt: skip
            link.subscribe(topics.unit(prefix, unit, leaf), taken)
        link.start()
        assert link.wait(10)
        return self

    def stop(self) -> None:
        """Disconnect."""
        self.link.stop()

    # --- what comes in --------------------------------------------------------------------------

    def _ask(self, _topic: str, payload: bytes) -> None:
        ask = codec.decode(payload, RegisterAsk)
        self.asks.append(ask)
        known = "ack" if self.approve else "pending"
        kind = "offer" if ask.kind == "discover" else known
        answer = RegisterAnswer(kind=kind, unit=self.unit)  # type: ignore[arg-type]
        self.link.publish(topics.enrol_answer(self.prefix, self.hardware_id), codec.encode(answer))

    def _presence(self, _topic: str, payload: bytes) -> None:
        self.presence = codec.decode(payload, Presence)
        self.presences.append(self.presence)

    def _heartbeat(self, _topic: str, payload: bytes) -> None:
        beat = codec.decode(payload, Heartbeat)
        self.heartbeats.append(beat)
        if self.acknowledging:
            sent_at = iso(time.time() + self.clock_ahead_s)
            self._send("acks", Ack(heard_sent_at=beat.sent_at, sent_at=sent_at))

    def _devices(self, _topic: str, payload: bytes) -> None:
        self.devices = codec.decode(payload, DeviceReport)

    def _reply(self, _topic: str, payload: bytes) -> None:
        self.replies.append(codec.decode(payload, Reply))

    def _samples(self, _topic: str, payload: bytes) -> None:
        batch = codec.decode(payload, SampleBatch)
        if not self.acknowledging:
            return
        if self.rejecting is not None:
            refused = RejectedSamples(
                experiment=batch.experiment,
                first_seq=batch.first_seq,
                count=batch.count,
                reason=self.rejecting,
            )
            self._send("acks", Ack(sent_at=iso(time.time()), rejected=[refused]))
            return
        table = self.rows.setdefault(batch.experiment, {})
        for i in range(batch.count):
            row = {name: column[i] for name, column in batch.columns.items()}
            if table.setdefault(batch.first_seq + i, row) != row:
                self.conflicts.append(f"{batch.experiment} {batch.first_seq + i}")
        self.received_rows += batch.count
        stored = AckedSamples(experiment=batch.experiment, first_seq=batch.first_seq, count=batch.count)
        self._send("acks", Ack(sent_at=iso(time.time()), samples=[stored]))

    def _events(self, _topic: str, payload: bytes) -> None:
        batch = codec.decode(payload, EventBatch)
        if not self.acknowledging:
            return
        before = self._through.get(batch.spool, 0)
        if batch.first_seq > before + 1:
            return  # one before it was lost on the way and comes again: as the real manager does
        for seq, event in enumerate(batch.events, start=batch.first_seq):
            self.events[batch.spool, seq] = msgspec.to_builtins(event)
        through = max(before, batch.first_seq + len(batch.events) - 1)
        self._through[batch.spool] = through
        self._send(
            "acks", Ack(sent_at=iso(time.time()), events=AckedEvents(spool=batch.spool, through=through))
        )

    # --- what goes out --------------------------------------------------------------------------

    def _send(self, leaf: str, message: Message) -> None:
        self.link.publish(topics.unit(self.prefix, self.unit, leaf), codec.encode(message))

    def send(self, kind: str, args: Message | dict[str, Any], **more: Any) -> str:
        """Send a command to the present connection; returns its id."""
        assert self.presence is not None
        values: dict[str, Any] = {
            "id": str(uuid.uuid4()), "connection": self.presence.connection, "kind": kind, "args": codec.raw(args),
            "issued_at": iso(time.time()), "expires_at": iso(time.time() + self.clock_ahead_s + 30.0), "issued_by": "ada",
        }  # fmt: skip
        command = Command(**{**values, **more})
        self._send("commands", command)
        return command.id

    def ask(self, kind: str, args: Message | dict[str, Any], wait_s: float = 30.0, **more: Any) -> Reply:
        """Send a command and wait for its reply."""
        key = self.send(kind, args, **more)
        return until(lambda: self.reply(key), wait_s, f"a reply to {kind}")

    def reply(self, command: str) -> Reply | None:
        """Return the newest reply to a command."""
        return next((each for each in reversed(self.replies) if each.command == command), None)

    # --- what was told --------------------------------------------------------------------------

    def online(self, timeout_s: float = 20.0) -> Manager:
        """Wait until the unit is here."""
        until(
            lambda: self.presence and self.presence.online and self.heartbeats,
            timeout_s,
            "the unit is online",
        )
        return self

    def seqs(self, experiment: str) -> list[int]:
        """Return the numbers of the stored samples."""
        return sorted(self.rows.get(experiment, {}))

    def statuses(self, experiment: str) -> list[str]:
        """Return an experiment's statuses in order."""
        return [
            event["detail"]["status"]
            for _, event in sorted(self.events.items(), key=lambda each: each[0][1])
            if event["kind"] == "status" and event.get("experiment") == experiment
        ]

    def last_seq(self, experiment: str) -> int | None:
        """Return the ``last_seq`` of the final status, None before."""
        for _, event in sorted(self.events.items(), key=lambda each: -each[0][1]):
            final = event["detail"].get("status") in ("finished", "stopped", "error")
            if event.get("experiment") == experiment and final:
                number: int = event["detail"]["last_seq"]
                return number
        return None

    def state(self, station: str) -> str | None:
        """Return a station's state as the newest heartbeat says."""
        beats = self.heartbeats[-1].stations if self.heartbeats else []
        return next((each.state for each in beats if each.station == station), None)
