"""Who is here and how it stands: presence with last will, heartbeats, the manager's answers."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from cycler_unit import __version__
from cycler_unit.clock import ServerClock, boot_id, iso
from cycler_unit.spool import Spool
from mqtt_link import Link, Will
from wire import codec, topics
from wire.messages import DeviceReport, Heartbeat, Presence, StationBeat

logger = logging.getLogger("cycler_unit.presence")

# wire.md. A state change is told at once, but no more often than this.
PERIOD_S, SOONEST_S = 5.0, 0.1
# Nothing repeats a heartbeat (QoS 0), and a manager that starts with the unit may not listen to it yet:
# a new connection beats this often, for so long, until it is answered.
UNHEARD_S, UNHEARD_FOR_S = 1.0, 15.0


class Here:
    """This connection's name, and the will that takes it back.

    The link asks for the will before every attempt to connect, so each connection has its own UUID
    and the broker itself says which one has ended.
    """

    def __init__(self, prefix: str, unit: str) -> None:
        self.topic = topics.unit(prefix, unit, "presence")
        self.connection = ""
        self._coming = ""
        self._boot = boot_id() or str(uuid.uuid4())
        self._since = iso(time.time())

    def will(self) -> Will:
        """Return the will of the coming connection."""
        self._coming = str(uuid.uuid4())
        return Will(self.topic, self._payload(False, self._coming), True)

    def arrived(self) -> bytes:
        """Take the coming connection's name as the present one; return what to publish, retained."""
        self.connection = self._coming
        self._since = iso(time.time())
        return self._payload(True, self.connection)

    def leaving(self) -> bytes:
        """Return what a clean stop publishes first."""
        return self._payload(False, self.connection)

    def _payload(self, online: bool, connection: str) -> bytes:
        return codec.encode(
            Presence(
                online=online,
                connection=connection,
                boot_id=self._boot,
                version=__version__,
                since=self._since,
            )
        )


class Pulse(threading.Thread):
    """Send heartbeats every 5 s, and at once when a station's state changed."""

    def __init__(
        self,
        link: Link,
        prefix: str,
        unit: str,
        here: Here,
        clock: ServerClock,
        spool: Spool,
        beats: Callable[[], list[StationBeat]],
        folder: Path,
        malformed: Callable[[], int] = lambda: 0,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._link, self._here, self._clock, self._spool = link, here, clock, spool
        self._topic = topics.unit(prefix, unit, "heartbeat")
        self._beats, self._folder, self._malformed = beats, folder, malformed
        self._began = time.monotonic()
        self._arrived_s = self._began
        self._wake = threading.Event()
        self._stopping = False

    def arrived(self) -> None:
        """Greet on a new connection: send one at once, and soon again until one is answered."""
        self._arrived_s = time.monotonic()
        self._wake.set()

    def soon(self) -> None:
        """Send one at once."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._wake.set()
        if self.is_alive():
            self.join(5.0)

    def run(self) -> None:
        """Beat until stopped."""
        while not self._stopping:
            self._wake.clear()
            if self._link.connected and self._here.connection:
                try:
                    self.beat()
                except Exception:
                    # The one broad except of this thread: a silent unit would count as lost.
                    logger.exception("event=heartbeat_failed")
            # What changes meanwhile is told after this, in one heartbeat.
            time.sleep(SOONEST_S)
            self._wake.wait(self._period_s() - SOONEST_S)

    def _period_s(self) -> float:
        here_s = time.monotonic() - self._arrived_s
        unheard = here_s < UNHEARD_FOR_S and not self._clock.heard_within(here_s)
        return UNHEARD_S if unheard else PERIOD_S

    def beat(self) -> None:
        """Send one heartbeat."""
        message = self.message()
        self._clock.sent(message.sent_at)
        self._link.publish(self._topic, codec.encode(message), qos=0)

    def message(self) -> Heartbeat:
        """Return how this unit stands now."""
        return Heartbeat(
            sent_at=iso(time.time()),
            uptime_s=round(time.monotonic() - self._began, 3),
            load=round(load(), 3),
            disk_free_bytes=shutil.disk_usage(self._folder).free,
            spool_batches=self._spool.batches,
            rejected_batches=self._spool.rejected_batches,
            stations=self._beats(),
            connection=self._here.connection,
            dropped_messages=self._link.dropped + self._malformed(),
        )


def load() -> float:
    """Return the load average of the last minute; 0.0 where the system has none."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return 0.0


def publish_devices(link: Link, prefix: str, unit: str, report: DeviceReport) -> None:
    """Publish the device report, retained."""
    link.publish(topics.unit(prefix, unit, "devices"), codec.encode(report), retain=True)
