"""Deliver what waits in the spool: at least once, in a window, again when no answer comes.

The broker's acknowledgement deletes nothing; only the manager's ``Ack``, sent after its database
committed, does (wire.md).
"""

from __future__ import annotations

import logging
import threading
import time

import msgspec

from cycler_unit.spool import ROWS_MAX, Spool
from cycler_unit.spool_reader import SpoolReader
from mqtt_link import Link
from wire import codec, topics
from wire.messages import Ack, Event, EventBatch

logger = logging.getLogger("cycler_unit.link")

# wire.md: an unacknowledged batch is published again after this long, and on every reconnect.
AGAIN_S = 10.0
# Batches under way; more would only fill the broker's queue for a slow manager.
WINDOW = 8
EVENTS_MAX = 100
# After a commit this long is waited, so that the answer to the command that caused it goes first: the
# manager takes some milliseconds to store what it caused, and somebody waits for the answer.
SETTLE_S = 0.02

_Batch = tuple[str, int, int]
"""(experiment, or "" for events; first seq; count)"""


class Delivery(threading.Thread):
    """Publish pending batches while there is a connection."""

    def __init__(self, spool: Spool, link: Link, prefix: str, unit: str) -> None:
        super().__init__(name="delivery", daemon=True)
        self._spool = spool
        self._link = link
        self._samples_topic = topics.unit(prefix, unit, "samples")
        self._events_topic = topics.unit(prefix, unit, "events")
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._under_way: dict[_Batch, float] = {}
        self._sent_through: dict[str, int] = {}
        self._stopping = False
        self.published = 0

    def wake(self) -> None:
        """Look again now: something was committed, acknowledged, or the connection is back."""
        self._wake.set()

    def start_again(self) -> None:
        """Forget what is under way: after a reconnect everything pending is published again."""
        with self._lock:
            self._under_way.clear()
            self._sent_through.clear()
        self.wake()

    def acknowledged(self, ack: Ack) -> None:
        """Remove what the manager has stored, set aside what it can never store."""
        for stored in ack.samples:
            self._spool.acknowledge_samples(stored.experiment, stored.first_seq, stored.count)
            self._forget(stored.experiment, stored.first_seq, stored.first_seq + stored.count - 1)
        for refused in ack.rejected:
            logger.error(
                "event=samples_rejected experiment=%s first_seq=%d count=%d reason='%s'",
                refused.experiment, refused.first_seq, refused.count, refused.reason,
            )  # fmt: skip
            self._spool.reject_samples(refused.experiment, refused.first_seq, refused.count, refused.reason)
            self._forget(refused.experiment, refused.first_seq, refused.first_seq + refused.count - 1)
        if ack.events is not None and ack.events.spool == self._spool.uuid:
            self._spool.acknowledge_events(ack.events.through)
            self._forget("", 0, ack.events.through)
        self.wake()

    def _forget(self, name: str, first: int, last: int) -> None:
        with self._lock:
            for batch in [
                each for each in self._under_way
                if each[0] == name and first <= each[1] and each[1] + each[2] - 1 <= last
            ]:  # fmt: skip
                del self._under_way[batch]

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._wake.set()
        if self.is_alive():
            self.join(5.0)

    def run(self) -> None:
        """Publish until stopped."""
        reader = SpoolReader(self._spool.path)
        while not self._stopping:
            try:
                if self._link.connected:
                    self._round(reader)
            except Exception:
                # The one broad except of this thread: a bad row must not end all delivery.
                logger.exception("event=delivery_failed")
                self._wake.wait(1.0)
            if self._wake.wait(self._pause_s()):
                time.sleep(SETTLE_S)
            self._wake.clear()
        reader.close()

    def _pause_s(self) -> float | None:
        with self._lock:
            oldest = min(self._under_way.values(), default=None)
        if oldest is None:
            return None  # a commit, an answer or a connection will wake us
        return max(0.05, oldest + AGAIN_S - time.monotonic())

    def _round(self, reader: SpoolReader) -> None:
        self._give_up_waiting()
        if self._spool.pending_events:
            while self._room() and self._publish_events(reader):
                pass
        if self._spool.pending_rows:
            for experiment in reader.experiments_with_samples():
                while self._room() and self._publish_samples(reader, experiment):
                    pass

    def _give_up_waiting(self) -> None:
        """Begin again at the oldest batch that was not answered in time."""
        now = time.monotonic()
        with self._lock:
            late = [batch for batch, sent in self._under_way.items() if now - sent >= AGAIN_S]
            for name, first, _ in late:
                self._sent_through[name] = min(self._sent_through.get(name, 0), first - 1)
            for batch in late:
                del self._under_way[batch]

    def _room(self) -> bool:
        with self._lock:
            return len(self._under_way) < WINDOW and not self._stopping and self._link.connected

    def _publish_samples(self, reader: SpoolReader, experiment: str) -> bool:
        batch = reader.samples(experiment, self._sent_through.get(experiment, 0), ROWS_MAX)
        if batch is None:
            return False
        return self._send(
            self._samples_topic, codec.encode(batch), (experiment, batch.first_seq, batch.count)
        )

    def _publish_events(self, reader: SpoolReader) -> bool:
        first, bodies = reader.events(self._sent_through.get("", 0), EVENTS_MAX)
        if not bodies:
            return False
        events = [msgspec.json.decode(body, type=Event) for body in bodies]
        batch = EventBatch(spool=self._spool.uuid, first_seq=first, events=events)
        return self._send(self._events_topic, codec.encode(batch), ("", first, len(events)))

    def _send(self, topic: str, payload: bytes, batch: _Batch) -> bool:
        if not self._link.publish(topic, payload):
            return False
        self.published += 1
        name, first, count = batch
        with self._lock:
            self._under_way[batch] = time.monotonic()
            self._sent_through[name] = first + count - 1
        return True
