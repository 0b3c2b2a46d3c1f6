"""One message in: checked, stored in one transaction, answered after the commit.

A unit is believed only on its own topic and only about its own stations, experiments and commands;
everything else is counted, logged with topic and reason, and dropped (wire.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from django.db import DataError, IntegrityError

from mn_manager.counters import Counters
from mn_manager.dispatch import Dispatch
from mn_manager.enrol import Enrol
from mn_manager.inbox import Received
from mn_manager.leases import Leases
from mqtt_link import Link
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.experiments import answers, progress_from_unit
from web_server.lab import bench, configuration, detected, presence
from web_server.lab.models import Unit
from web_server.lab.watching import Watching
from web_server.measurements import services as measurements
from wire import codec, messages, topics
from wire.codec import Malformed
from wire.messages import Ack, AckedEvents, AckedSamples, RejectedSamples

logger = logging.getLogger("mn_manager.receive")

# A unit that sends the same events again and again over this time has nothing earlier to send.
GAP_FOR_EVER_S = 30.0


class Receive:
    """Takes messages one after the other; raises database errors for the loop to try again."""

    def __init__(
        self, link: Link, prefix: str, leases: Leases, dispatch: Dispatch, enrol: Enrol, counters: Counters
    ) -> None:
        self.link = link
        self.prefix = prefix
        self.leases = leases
        self.dispatch = dispatch
        self.enrol = enrol
        self.counters = counters
        self.watching = Watching()
        self.changed_units: Callable[[], None] = lambda: None
        self._doubts: answers.Doubts = {}
        self._gaps: dict[tuple[int, str, int], float] = {}
        self._by_leaf: dict[str, Callable[[Unit, Received], None]] = {
            "presence": self._presence,
            "heartbeat": self._heartbeat,
            "devices": self._devices,
            "replies": self._reply,
            "samples": self._samples,
            "events": self._events,
        }

    @property
    def leaves(self) -> tuple[str, ...]:
        """The topics below a unit that are listened to."""
        return tuple(self._by_leaf)

    def take(self, message: Received) -> None:
        """Do all that a message asks for, or count it as dropped."""
        parts = message.topic.removeprefix(self.prefix + "/").split("/")
        try:
            if len(parts) == 3 and parts[0] == "enrol" and parts[2] == "ask":
                self._ask(parts[1], message)
            elif len(parts) == 3 and parts[0] == "units" and parts[2] in self._by_leaf:
                self._from_unit(parts[1], parts[2], message)
            else:
                raise Malformed("no topic of units")
        except Malformed as error:
            self.counters.drop("malformed", message.topic, error.reason)

    def _from_unit(self, name: str, leaf: str, message: Received) -> None:
        if not self.leases.owns(name):
            # Another manager's by now; what must not be lost comes again.
            self.counters.count("not_ours")
            return
        unit = Unit.objects.filter(uuid=name).first()
        if unit is None or not unit.approved or unit.retired_at is not None:
            self.counters.drop("not_approved", message.topic, "the unit is not approved")
            return
        self.counters.count(f"{leaf}_received")
        self._by_leaf[leaf](unit, message)

    # --- registration -----------------------------------------------------------------------------

    def _ask(self, hardware_id: str, message: Received) -> None:
        ask = codec.decode(message.payload, messages.RegisterAsk)
        if ask.hardware_id != hardware_id or not 0 < len(hardware_id) <= 128 or not hardware_id.isprintable():
            raise Malformed("the hardware id is not the topic's, or no hardware id at all")
        self.counters.count("asks_received")
        answer = self.enrol.answer(ask)
        if answer is None:
            return
        self.changed_units()
        self.link.publish(topics.enrol_answer(self.prefix, hardware_id), codec.encode(answer))

    # --- what a unit says of itself ---------------------------------------------------------------

    def _presence(self, unit: Unit, message: Received) -> None:
        told = codec.decode(message.payload, messages.Presence)
        _short(told.connection, "connection")
        online = presence.announced(unit, told, message.at)
        if online != unit.online or told.connection != unit.connection:
            logger.info(
                "event=unit_%s unit=%s name=%r", "online" if online else "offline", unit.uuid, unit.name
            )
        if online and told.online:
            # Its new connection hears at once what the old one left unanswered.
            self.dispatch.look_around()
            self.dispatch.send_again([unit.pk], older_than_s=0)

    def _heartbeat(self, unit: Unit, message: Received) -> None:
        beat = codec.decode(message.payload, messages.Heartbeat)
        _short(beat.connection, "connection")
        presence.heard(unit, beat, message.at)
        self._acknowledge(unit, Ack(heard_sent_at=beat.sent_at[:64], sent_at=_now()))
        answers.heard(unit, beat, message.at, self._doubts)
        if beat.connection != unit.connection or not unit.online:
            self.dispatch.look_around()
        configuration.send_where_different(unit)
        self.watching.heard(beat)

    def _devices(self, unit: Unit, message: Received) -> None:
        report = codec.decode(message.payload, messages.DeviceReport)
        for problem in detected.report(unit, report):
            self.counters.drop("unusable", message.topic, problem)
        bench.apply_bench_plan(unit)
        configuration.send_where_different(unit)

    # --- answers ----------------------------------------------------------------------------------

    def _reply(self, unit: Unit, message: Received) -> None:
        reply = codec.decode(message.payload, messages.Reply)
        key = _uuid(reply.command, "command")
        if not Command.objects.filter(uuid=key, unit=unit).exists():
            self.counters.drop("foreign", message.topic, f"no command {key} was sent to this unit")
            return
        try:
            command = commands.close(key, reply.outcome, reply.result, reply.reason)
        except DataError as error:
            command = commands.close(key, "failed", reason=f"the unit's answer cannot be stored: {error}")
        if command is not None:
            logger.debug("event=command_closed unit=%s command=%s outcome=%s", unit.uuid, key, reply.outcome)
            configuration.taken(command)
            answers.replied(command, message.at)
            self.watching.replied(command)

    # --- what must not be lost ----------------------------------------------------------------------

    def _samples(self, unit: Unit, message: Received) -> None:
        batch = codec.decode(message.payload, messages.SampleBatch)
        try:
            new = measurements.store(unit, batch)
        except (measurements.Rejected, DataError, IntegrityError) as error:
            reason = (
                error.reason if isinstance(error, measurements.Rejected) else f"cannot be stored: {error}"
            )
            self.counters.drop("rejected", message.topic, reason)
            rejected = RejectedSamples(
                experiment=batch.experiment, first_seq=batch.first_seq, count=batch.count, reason=reason[:500]
            )
            self._acknowledge(unit, Ack(sent_at=_now(), rejected=[rejected]))
            return
        self.counters.count("samples_stored", new)
        self.counters.count("samples_repeated", batch.count - new)
        # Only now, after the commit: the unit forgets the rows when it hears this.
        done = AckedSamples(experiment=batch.experiment, first_seq=batch.first_seq, count=batch.count)
        self._acknowledge(unit, Ack(sent_at=_now(), samples=[done]))

    def _events(self, unit: Unit, message: Received) -> None:
        batch = codec.decode(message.payload, messages.EventBatch)
        if not 1 <= batch.first_seq < 2**62:
            raise Malformed(f"first_seq is {batch.first_seq}; it runs from 1")
        key = (unit.pk, batch.spool[:64], batch.first_seq)
        since = self._gaps.get(key)
        lost = since is not None and time.monotonic() - since > GAP_FOR_EVER_S
        try:
            stored = progress_from_unit.store(unit, batch, over_a_gap=lost)
        except progress_from_unit.Gap as gap:
            if len(self._gaps) < 1000:
                self._gaps.setdefault(key, time.monotonic())
            logger.info("event=events_wait unit=%s reason='%s'", unit.uuid, gap)
            return
        if lost:
            logger.warning("event=events_lost unit=%s before=%s", unit.uuid, batch.first_seq)
        self._gaps = {gap: at for gap, at in self._gaps.items() if gap[0] != unit.pk}
        for problem in stored.odd:
            self.counters.drop("unusable", message.topic, problem)
        self.counters.count("events_stored", stored.new)
        done = AckedEvents(spool=batch.spool, through=stored.through)
        self._acknowledge(unit, Ack(sent_at=_now(), events=done))

    def _acknowledge(self, unit: Unit, ack: Ack) -> None:
        self.link.publish(topics.unit(self.prefix, str(unit.uuid), "acks"), codec.encode(ack))


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _uuid(text: str, what: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Malformed(f"the {what} is no UUID") from None


def _short(text: str, what: str) -> None:
    if len(text) > 36:
        raise Malformed(f"the {what} is longer than a UUID")
