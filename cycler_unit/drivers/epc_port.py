"""The conversation with one node of an EPC: requests with answers, commands with echoes.

There is no negative acknowledge (device sheet 1.4): a command counts as taken only when a frame comes
back after it that says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from cycler_unit.buses import can
from cycler_unit.buses.ring import Ring
from cycler_unit.drivers.base import Exchange
from cycler_unit.drivers.epc_frames import ASK, REQUEST
from cycler_unit.drivers.errors import DeviceLost, DeviceRefused

# safety.md rule 13: an echo must be right within this time; then one repeat of the command.
ECHO_S = 0.5
# An EPC answers within 10 ms. The device sheet suggests 100 ms and three tries; a computer with more to
# do than it can is no lost device, so each try is given a little longer.
ANSWER_S, TRIES = 0.25, 3
# Below, the ids of cell monitors; above, an INFO frame cannot name the node (device sheet 1.1).
NODES = range(0x13, 0x40)


class EpcPort:
    """Frames to and from one node. ``heard`` is told every frame of it, on the bus's thread; ``sent`` ours."""

    def __init__(
        self,
        link: Mapping[str, Any],
        node: int,
        heard: Callable[[int, bytes], None],
        sent: Callable[[int, bytes], None],
    ) -> None:
        self.node = node
        self.answer_s = float(link.get("timeout_s", ANSWER_S))
        self._link, self._heard, self._sent = link, heard, sent
        self._bus: can.CanBus | None = None
        self._end: Callable[[], None] = lambda: None
        self._came = threading.Condition()
        self._last: dict[int, tuple[float, bytes]] = {}
        self._count: dict[int, int] = {}
        self._ring = Ring()

    def open(self) -> None:
        """Take a share of the bus and listen to the node; raise ``DeviceLost``."""
        if self._bus is None:
            self._bus = can.shared(self._link)
            self._end = self._bus.subscribe(lambda frame_id: frame_id >> 4 == self.node, self._take)

    def close(self) -> None:
        """Give the bus back; safe twice; never raises."""
        bus, self._bus = self._bus, None
        if bus is not None:
            self._end()
            bus.close()

    def exchanges(self) -> list[Exchange]:
        """Return the last frames as text, oldest first."""
        return self._ring.last()

    def latest(self, message: int) -> tuple[float, bytes] | None:
        """Return when the last frame of a message came (monotonic) and its payload."""
        with self._came:
            return self._last.get(message)

    def send(self, message: int, payload: bytes) -> None:
        """Send one frame; raise ``DeviceLost``."""
        if self._bus is None:
            raise DeviceLost(f"EPC node 0x{self.node:02X} is not open")
        self._ring.sent(f"{self.node << 4 | message:03X} {payload.hex(' ').upper()}")
        self._sent(message, payload)
        self._bus.send(self.node << 4 | message, payload)

    def _take(self, frame_id: int, payload: bytes) -> None:
        message = frame_id & 0xF
        self._ring.heard(f"{frame_id:03X} {payload.hex(' ').upper()}")
        # Told first: whoever waits for this frame finds what follows from it done.
        self._heard(message, payload)
        with self._came:
            self._last[message] = (time.monotonic(), payload)
            self._count[message] = self._count.get(message, 0) + 1
            self._came.notify_all()

    def _emptied(self) -> None:
        """Let the next command go at once, an off above all: the device has taken all that was sent before."""
        if self._bus is not None:
            self._bus.answered(self.node)

    # --- questions ------------------------------------------------------------------------------

    def ask(self, *messages: int) -> dict[int, bytes]:
        """Request frames and return them; raise ``DeviceLost`` after three tries."""
        found: dict[int, bytes] = {}
        for _ in range(TRIES):
            missing = [message for message in messages if message not in found]
            before = self._counts(missing)
            for message in missing:
                self.send(REQUEST, bytes([ASK[message]]))
            self._wait(partial(self._all_came, before), self.answer_s)
            with self._came:
                found |= {each: self._last[each][1] for each in before if self._came_since(before, each)}
            if len(found) == len(messages):
                self._emptied()
                return found
        lacking = ", ".join(f"0x{each:X}" for each in messages if each not in found)
        raise DeviceLost(f"EPC node 0x{self.node:02X} does not answer (message {lacking})")

    def _counts(self, messages: list[int]) -> dict[int, int]:
        with self._came:
            return {message: self._count.get(message, 0) for message in messages}

    def _all_came(self, before: Mapping[int, int]) -> bool:
        return all(self._came_since(before, message) for message in before)

    def _came_since(self, before: Mapping[int, int], message: int) -> bool:
        return self._count.get(message, 0) > before[message]

    def _wait(self, done: Callable[[], bool], seconds: float) -> bool:
        until_s = time.monotonic() + seconds
        with self._came:
            while not done():
                left_s = until_s - time.monotonic()
                if left_s <= 0.0:
                    return False
                self._came.wait(left_s)
        return True

    # --- commands -------------------------------------------------------------------------------

    def command(
        self,
        message: int,
        payload: bytes,
        fits: Callable[[bytes], bool],
        words: str,
        answer: int | None = None,
    ) -> bytes:
        """Send a command and return the echo that ``fits``; one repeat.

        ``answer`` is the message that carries the echo, the command's own by default. Raises
        ``DeviceLost`` when nothing comes back at all, ``DeviceRefused`` when the echo differs.
        """
        answer = message if answer is None else answer
        anything = False
        for _ in range(2):
            before = self._counts([answer])
            self.send(message, payload)
            seen: list[bytes] = []

            def fitting(before: dict[int, int] = before, seen: list[bytes] = seen) -> bool:
                # Called under the lock whenever a frame came: none is missed, none is taken twice.
                if self._came_since(before, answer):
                    before[answer] = self._count[answer]
                    seen.append(self._last[answer][1])
                return bool(seen) and fits(seen[-1])

            if self._wait(fitting, ECHO_S):
                self._emptied()
                return seen[-1]
            anything = anything or bool(seen)
        if not anything:
            raise DeviceLost(f"EPC node 0x{self.node:02X} does not answer {words}")
        echo = self.latest(answer)
        held = echo[1].hex(" ").upper() if echo else "nothing"
        raise DeviceRefused(f"EPC node 0x{self.node:02X} did not take {words}: it holds {held}")


def node_of(link: dict[str, Any]) -> int:
    """Return a link's node; raise ``DeviceRefused`` outside 0x13 to 0x3F."""
    try:
        node = int(str(link["node"]), 0)
    except (KeyError, ValueError) as error:
        raise DeviceRefused(f"an EPC's link needs a node, 0x13 to 0x3F: {error}") from None
    if node not in NODES:
        raise DeviceRefused(f"an EPC's node is 0x13 to 0x3F, not 0x{node:02X}")
    return node
