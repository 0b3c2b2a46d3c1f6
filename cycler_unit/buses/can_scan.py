"""Listen on a CAN bus, and find out who is on it (design: devices.md sections 1.10 and 2.2)."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from cycler_unit import catalogue, drivers
from cycler_unit.buses.protocol import Frame, Link, Say, Seen, device_key
from cycler_unit.drivers.base import Identity
from wire.catalogue import Kind
from wire.kinds import bms

# The range of nodes in which an EPC can name itself (its INFO frame has six bits for it).
EPC_NODES = range(0x13, 0x40)
BMS_IDS = range(0x100, 0x121)
# Frames of the EPC: REQUEST with this value is answered by INFO.
REQUEST, INFO = 0x1, 0xA
INFO_DLC = 4
# An EPC answers within 10 ms, a BMS speaks once a second; the original listens so long too.
LISTEN_S = 2.0
# Between two requests: each goes to another node, yet a slow adapter's queue must not fill.
PACE_S = 0.005
# Frames that wait for who listens; beyond it the oldest are dropped.
KEPT = 20_000


def shared(link: Link) -> Any:
    """Return a share of the bus that all drivers of this process use; raises ``DeviceLost``."""
    from cycler_unit.buses import can  # on use: a unit without CAN does not load python-can

    return can.shared(dict(link))


class Ear:
    """Collects the frames that pass ``id & mask == frame_id & mask`` while it is open.

    It owns its share of the bus. What came waits, at most ``KEPT`` frames, until it is taken.
    """

    def __init__(self, bus: Any, frame_id: int = 0, mask: int = 0) -> None:
        self.bus, self._id, self._mask = bus, frame_id & mask, mask
        self.free_s = math.inf
        """Since when nobody listens here, monotonic."""
        self._frames: deque[Frame] = deque(maxlen=KEPT)
        self._came = threading.Condition()
        self._end: Any = None

    def open(self) -> Ear:
        """Begin to listen."""
        self._end = self.bus.subscribe(lambda frame_id: frame_id & self._mask == self._id, self._take)
        return self

    def close(self) -> None:
        """End, and give the share of the bus back; safe twice."""
        if self._end is not None:
            self._end()
            self._end = None
            self.bus.close()

    def __enter__(self) -> Ear:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, frame_id: int, payload: bytes) -> None:
        with self._came:
            self._frames.append(Frame(at_s=time.time(), id=frame_id, payload=bytes(payload).hex()))
            self._came.notify_all()

    def hear(self, seconds: float, most: int) -> list[Frame]:
        """Take what came and comes within ``seconds``, or earlier when ``most`` have come."""
        until_s = time.monotonic() + seconds
        with self._came:
            while len(self._frames) < most and (left_s := until_s - time.monotonic()) > 0:
                self._came.wait(left_s)
            return [self._frames.popleft() for _ in range(min(most, len(self._frames)))]


def scan(link: Link, say: Say, busy: list[dict[str, Any]], listen_s: float = LISTEN_S) -> list[Seen]:
    """Ask every free node for its INFO and listen to who speaks by itself.

    A node that is in use is not asked: its loop has the three places of its mailbox for itself.
    """
    taken = {device_key(each) for each in busy}
    nodes = [node for node in EPC_NODES if device_key({**link, "node": node}) not in taken]
    with Ear(shared(link)) as ear:
        for done, node in enumerate(nodes):
            if done % 10 == 0:
                say(done, len(nodes) + 1, f"asking node 0x{node:02X}")
            ear.bus.send(node << 4 | REQUEST, b"\x00")
            time.sleep(PACE_S)
        say(len(nodes), len(nodes) + 1, f"listening for {listen_s:g} s")
        frames = ear.hear(listen_s, most=100_000)
    found: dict[str, Seen] = {}
    for key, seen in _told(link, frames):
        # The first frame of each, but whoever says who he is counts more than what was heard of him before.
        if key not in taken and (key not in found or (seen.kind and not found[key].kind)):
            found[key] = seen
    return [found[key] for key in sorted(found)]


def _told(link: Link, frames: list[Frame]) -> Iterator[tuple[str, Seen]]:
    """Read who spoke; of anybody else the first frame of each node is shown."""
    for frame in frames:
        payload = bytes.fromhex(frame.payload)
        node, message = frame.id >> 4, frame.id & 0xF
        if frame.id in BMS_IDS:
            there = {**link, "unit": frame.id - BMS_IDS.start}
            yield device_key(there), _bms(there, frame)
        elif node in EPC_NODES and message == INFO and len(payload) == INFO_DLC:
            there = {**link, "node": node}
            yield device_key(there), _epc(there, payload, frame)
        else:
            # Also in the range of EPCs: one of these would have answered with its INFO.
            there = {**link, "node": node}
            yield device_key(there), Seen(link=there, answered=_answered(frame))


def _epc(link: dict[str, Any], payload: bytes, frame: Frame) -> Seen:
    for kind in (each for each in catalogue.all_kinds() if each.type == "Epc"):
        identity = _identity(kind, payload)
        if identity is not None and catalogue.match(identity.text, [kind]) is not None:
            kind = catalogue.narrowed(kind, identity.text)
            return Seen(
                link=link, kind=kind.key, maker=identity.maker, model=identity.model,
                serial_number=identity.serial_number, firmware=identity.firmware, answered=_answered(frame),
            )  # fmt: skip
    return Seen(link=link, serial_number=str(payload[3]), answered=_answered(frame))


def _identity(kind: Kind, payload: bytes) -> Identity | None:
    try:
        cut = getattr(drivers.load(kind.driver), "identity_of", None)
    except drivers.DriverMissing:
        return None
    return None if cut is None else cut(payload)


def _bms(link: dict[str, Any], frame: Frame) -> Seen:
    try:
        kind = bms.with_words(link.get("words") or bms.USUAL)
    except ValueError as error:
        return Seen(link=link, serial_number=str(frame.id), answered=f"{_answered(frame)}; words: {error}")
    return Seen(
        link=link, kind=kind.key, maker=kind.maker, model=kind.model, serial_number=str(frame.id),
        answered=_answered(frame),
    )  # fmt: skip


def _answered(frame: Frame) -> str:
    return f"id 0x{frame.id:03X}: {frame.payload}"
