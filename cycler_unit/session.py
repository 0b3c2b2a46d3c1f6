"""The unit under its name at the broker: presence, heartbeats, commands in, samples and events out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from cycler_unit.clock import ServerClock
from cycler_unit.commands import Commands, Doer
from cycler_unit.devices import Devices
from cycler_unit.link import Delivery
from cycler_unit.presence import Here, Pulse, publish_devices
from cycler_unit.spool import Spool
from cycler_unit.spool_reader import SpoolReader
from mqtt_link import Link
from wire import codec, topics
from wire.messages import Ack, Reply, StationBeat

logger = logging.getLogger("cycler_unit.session")


class Session:
    """One unit UUID on one link, from the first connect until it is stopped."""

    def __init__(
        self,
        make_link: Callable[[Here], Link],
        prefix: str,
        unit: str,
        *,
        spool: Spool,
        devices: Devices,
        clock: ServerClock,
        doer: Doer,
        beats: Callable[[], list[StationBeat]],
        folder: Path,
    ) -> None:
        self.unit = unit
        self.clock = clock
        self._prefix, self._spool, self._devices = prefix, spool, devices
        self.here = Here(prefix, unit)
        self.link = make_link(self.here)
        self.pulse = Pulse(
            self.link, prefix, unit, self.here, clock, spool, beats, folder, lambda: self.dropped
        )
        self.delivery = Delivery(spool, self.link, prefix, unit)
        reader = SpoolReader(spool.path)
        self.commands = Commands(
            spool, clock, doer, lambda: self.here.connection, self._publish_reply, reader.commands()
        )
        reader.close()
        self.malformed = 0
        self.arrived_at = 0.0
        """Monotonic time of the last connect."""
        self.gone_at = time.monotonic()
        """Monotonic time at which the connection was lost last, or of the first attempt."""

    @property
    def dropped(self) -> int:
        """Return how many messages were dropped because they were none."""
        return self.malformed + self.commands.malformed

    def start(self) -> None:
        """Connect, and go on for ever."""
        self.link.subscribe(topics.unit(self._prefix, self.unit, "commands"), self.commands.receive)
        self.link.subscribe(topics.unit(self._prefix, self.unit, "acks"), self._ack)
        self.link.on_connect(self._arrived)
        self.link.on_disconnect(self._gone)
        self._spool.on_commit = self.delivery.wake
        for thread in (self.commands, self.delivery, self.pulse):
            thread.start()
        self.link.start()

    def stop(self) -> None:
        """Say goodbye and end all threads."""
        self._spool.on_commit = lambda: None
        self.pulse.stop()
        if self.link.connected:
            self.link.publish(self.here.topic, self.here.leaving(), retain=True)
        self.link.stop()
        self.commands.stop()
        self.delivery.stop()

    def _arrived(self) -> None:
        """Greet on every connect: presence, devices, heartbeat, then everything pending again."""
        self.arrived_at = time.monotonic()
        self.link.publish(self.here.topic, self.here.arrived(), retain=True)
        self.publish_devices()
        self.pulse.arrived()
        self.delivery.start_again()

    def _gone(self) -> None:
        self.gone_at = time.monotonic()

    def publish_devices(self) -> None:
        """Publish what is known of the devices."""
        if self.link.connected:
            publish_devices(self.link, self._prefix, self.unit, self._devices.report())

    def _ack(self, topic: str, payload: bytes) -> None:
        try:
            ack = codec.decode(payload, Ack)
        except codec.Malformed as error:
            self.malformed += 1
            logger.warning("event=message_dropped topic=%s reason='%s'", topic, error.reason)
            return
        if ack.heard_sent_at is not None:
            self.clock.answered(ack.heard_sent_at, ack.sent_at)
        self.delivery.acknowledged(ack)

    def _publish_reply(self, reply: Reply) -> None:
        # Lost replies do no harm: the manager asks again and gets the same answer.
        self.link.publish(topics.unit(self._prefix, self.unit, "replies"), codec.encode(reply))
