"""A CAN bus that all drivers of this process share (design: devices.md sections 0.5, 1.1 and 1.7).

Both directions run without a rate limit: a thread takes every frame as it comes and hands it to all who
asked for its id; sending happens in the caller's thread. Only the burst to one node is spaced: an EPC's
mailbox holds three frames and is read every 10 ms.

**Own frames.** An EPC's answer to a command has the id and the bytes of the command, so a bus that gives
a sender its own frames back would confirm a dead device. ``socketcan`` and ``virtual`` do not; the
``udp_multicast`` interface always does, and cannot be told otherwise. There the bus drops as many equal frames as it
sent: its own copy is queued when it is sent, before anybody can answer it. A copy that the kernel threw
away (a full buffer) is known by a later frame and forgotten, so that at most one answer is lost with it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

import can

from cycler_unit.drivers.errors import DeviceLost

logger = logging.getLogger("cycler_unit.can")

# Devices.md 0.5; every adapter is told, except those that do not know what a bit rate is.
BIT_RATE = 125_000
WITHOUT_BIT_RATE = ("socketcan", "virtual", "udp_multicast")
# The interfaces that hand a sender its own frames.
RETURNS_OWN = ("udp_multicast",)
GROUP = "239.74.163.2"
# An EPC's receive FIFO, and a little more than the time between two looks into it.
BURST, BURST_S = 3, 0.011
# How long the reading thread sleeps at most: what closing the bus may take.
LOOK_S = 0.2
# A copy of an own frame comes at once or not at all; UTC times of the same machine.
COPY_S = 1.0
# That many failures in a row without a frame between: the interface is gone.
MOST_FAILURES = 20

Match = Callable[[int], bool]
Callback = Callable[[int, bytes], None]


class CanBus:
    """One open bus; thread-safe. Made by ``shared``."""

    def __init__(self, link: Mapping[str, Any]) -> None:
        self.interface = str(link.get("interface", "socketcan"))
        self.channel = link.get("channel", GROUP if self.interface == "udp_multicast" else "can0")
        self.name = f"{self.interface}:{self.channel}"
        self.opened_s = time.monotonic()
        self.heard_s: dict[int, float] = {}
        """When each id was heard last (monotonic)."""
        self.broken: str | None = None
        """Why the bus is of no use any more, None while it works."""
        self._own: deque[tuple[float, int, bytes]] | None = deque() if self.interface in RETURNS_OWN else None
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._sent_s: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=BURST))
        self._listeners: tuple[tuple[Match, Callback], ...] = ()
        self._closing = False
        try:
            self._bus = can.Bus(**settings(link, self.interface, self.channel))
        # Adapters' drivers raise their own errors beside python-can's and the system's.
        except Exception as error:
            raise DeviceLost(f"the CAN bus {self.name} cannot be opened: {error}") from error
        self._reader = threading.Thread(target=self._read, name=f"can-{self.name}", daemon=True)
        self._reader.start()

    # --- listening ------------------------------------------------------------------------------

    def subscribe(self, match: Match, callback: Callback) -> Callable[[], None]:
        """Hand every frame whose id matches to ``callback(id, payload)``, on the bus's own thread.

        Returns what ends the subscription. Each frame goes to all who match.
        """
        entry = (match, callback)
        with self._lock:
            self._listeners = (*self._listeners, entry)

        def end() -> None:
            with self._lock:
                self._listeners = tuple(each for each in self._listeners if each is not entry)

        return end

    def _read(self) -> None:
        failures = 0
        while not self._closing:
            try:
                frame = self._bus.recv(LOOK_S)
                failures = 0
            # A datagram that is no frame, an interface that went down, an adapter that was pulled.
            except Exception as error:
                failures += 1
                if failures >= MOST_FAILURES or self._closing:
                    self._break(str(error))
                    return
                time.sleep(0.01)
                continue
            if frame is not None:
                self._take(frame)

    def _take(self, frame: can.Message) -> None:
        if frame.is_extended_id or frame.is_remote_frame or frame.is_error_frame or frame.is_fd:
            return
        payload = bytes(frame.data)
        if self._is_own(frame.arbitration_id, payload, frame.timestamp):
            return
        self.heard_s[frame.arbitration_id] = time.monotonic()
        for match, callback in self._listeners:
            try:
                if match(frame.arbitration_id):
                    callback(frame.arbitration_id, payload)
            except Exception:
                # One listener's fault must not deafen the others.
                logger.exception("event=can_listener_failed bus=%s id=%#x", self.name, frame.arbitration_id)

    def _is_own(self, frame_id: int, payload: bytes, at_s: float) -> bool:
        if self._own is None:
            return False
        with self._lock:
            while self._own and self._own[0][0] < at_s - COPY_S:
                self._own.popleft()
            for entry in self._own:
                if entry[1:] == (frame_id, payload):
                    self._own.remove(entry)
                    return True
        return False

    def _break(self, why: str) -> None:
        if not self._closing:
            self.broken = why
            logger.error("event=can_lost bus=%s reason='%s'", self.name, why)

    # --- sending --------------------------------------------------------------------------------

    def send(self, frame_id: int, payload: bytes, *, paced: bool = True) -> None:
        """Send one standard frame, at most ``BURST`` per node in ``BURST_S``; raise ``DeviceLost``.

        ``paced=False`` is for simulated devices: what they send is not for a mailbox of three frames.
        """
        if paced:
            self._wait_for_room(frame_id >> 4)
        if self.broken is not None or self._closing:
            raise DeviceLost(f"the CAN bus {self.name} is gone: {self.broken or 'closed'}")
        frame = can.Message(arbitration_id=frame_id, data=payload, is_extended_id=False)
        entry = (time.time(), frame_id, bytes(payload))
        with self._sending:
            if self._own is not None:
                with self._lock:
                    self._own.append(entry)
            try:
                self._bus.send(frame)
            except Exception as error:
                if self._own is not None:
                    with self._lock, contextlib.suppress(ValueError):
                        self._own.remove(entry)
                raise DeviceLost(f"the CAN bus {self.name} does not send: {error}") from error

    def _wait_for_room(self, node: int) -> None:
        with self._lock:
            sent_s = self._sent_s[node]
            now_s = time.monotonic()
            # A place in line is taken here, so that two callers do not take the same one.
            due_s = max(now_s, sent_s[0] + BURST_S) if len(sent_s) == BURST else now_s
            sent_s.append(due_s)
        if due_s > now_s:
            time.sleep(due_s - now_s)

    def answered(self, node: int) -> None:
        """Note that a node answered: its mailbox holds at most the newest frame, so others need not wait.

        One is kept, in case the answer was to the frame before it: a mailbox that overflows loses an off.
        """
        with self._lock:
            sent_s = self._sent_s[node]
            while len(sent_s) > 1:
                sent_s.popleft()

    # --- the end --------------------------------------------------------------------------------

    def close(self) -> None:
        """Give this share of the bus back; the last one closes it. Never raises."""
        if _give_back(self):
            self.shut()

    def shut(self) -> None:
        """End the thread and close the interface, whoever else has it."""
        self._closing = True
        if threading.current_thread() is not self._reader:
            self._reader.join(10 * LOOK_S)
        with contextlib.suppress(Exception):
            self._bus.shutdown()


def settings(link: Mapping[str, Any], interface: str, channel: Any) -> dict[str, Any]:
    """Return what python-can needs to open a link's bus."""
    found: dict[str, Any] = {"interface": interface, "channel": channel}
    if interface not in WITHOUT_BIT_RATE:
        found["bitrate"] = int(link.get("bitrate", BIT_RATE))
    if interface == "udp_multicast":
        # Never beyond this computer, and never frames that a real bus cannot carry.
        found |= {"hop_limit": 0, "fd": False}
    if link.get("port") is not None:
        found["port"] = int(link["port"])
    return found


_BUSES: dict[tuple[str, str, str], list[Any]] = {}
_OPENING = threading.Lock()


def shared(link: Mapping[str, Any]) -> CanBus:
    """Return the bus of a link, opened by the first who asks; each gives it back by ``close()``.

    A bus that broke is opened anew for whoever asks next. Raises ``DeviceLost``.
    """
    key = (str(link.get("interface")), str(link.get("channel")), str(link.get("port")))
    with _OPENING:
        entry = _BUSES.get(key)
        if entry is None or entry[0].broken is not None:
            entry = _BUSES[key] = [CanBus(link), 0]
        entry[1] += 1
        bus: CanBus = entry[0]
        return bus


def _give_back(bus: CanBus) -> bool:
    """Count one share less; True when nobody has it any more."""
    with _OPENING:
        for key, entry in list(_BUSES.items()):
            if entry[0] is bus:
                entry[1] -= 1
                if entry[1] > 0:
                    return False
                del _BUSES[key]
                return True
        # A broken one that was replaced: its last users only have to let go.
        return bus.broken is not None


# Lengths that an EPC takes; another one locks it up or is ignored (devices.md 1.2 and 1.8).
LENGTHS = {0x0: 8, 0x1: 1, 0x2: 4, 0x3: 4, 0x4: 4, 0x5: 4, 0x6: 4, 0x7: 6}
