"""Two ends of one CAN bus, and an EPC machine on one of them whose time the test decides."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cycler_unit.buses.can import CanBus
from cycler_unit.simulators.epc import EpcMachine
from cycler_unit.simulators.epc_rules import Point
from tests.stack.waiting import until

from .can_lab import place


def has_socketcan() -> bool:
    """Tell whether this machine knows CAN sockets and has a virtual one called vcan0."""
    try:
        socket.if_nametoindex("vcan0")
        with socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW):
            return True
    except (OSError, AttributeError):
        return False


SOCKETCAN = pytest.param(
    "socketcan", marks=pytest.mark.skipif(not has_socketcan(), reason="this machine has no vcan0")
)
ON_EVERY_INTERFACE = pytest.mark.parametrize("interface", ["virtual", "udp_multicast", SOCKETCAN])


class Ear:
    """Everything that one end heard, in order."""

    def __init__(self, bus: CanBus) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self._came = threading.Lock()
        bus.subscribe(lambda frame_id: True, self._take)

    def _take(self, frame_id: int, payload: bytes) -> None:
        with self._came:
            self.frames.append((frame_id, payload))

    def hears(self, count: int) -> list[tuple[int, bytes]]:
        """Wait for so many frames and return them."""
        until(lambda: len(self.frames) >= count, 5, f"{count} frames, heard {self.frames}")
        return self.frames[:count]


@contextmanager
def two_ends(interface: str) -> Iterator[tuple[CanBus, CanBus]]:
    """Lend both ends of one bus."""
    where = place(interface)
    ends = (CanBus(where), CanBus(where))
    try:
        yield ends
    finally:
        for end in ends:
            end.shut()


class FakePlant:
    """A plant whose measurements the test sets."""

    def __init__(self, mv: int = 3700, ma: int = 4, hs_mv: int = 12000) -> None:
        self.mv, self.ma, self.hs_mv = mv, ma, hs_mv
        self.body, self.anode, self.ambient = 280, 250, 250
        self.driven: Point | None = None

    def electrical(self) -> tuple[int, int, int]:
        return self.mv, self.ma, self.hs_mv

    def temperatures(self) -> tuple[int, int, int]:
        return self.body, self.anode, self.ambient

    def drive(self, point: Point | None) -> None:
        self.driven = point


class Bench:
    """An EPC machine with its log: ``H`` lines are sent by the host, ``E`` lines by the EPC."""

    def __init__(self, node: int = 0x13, **options: object) -> None:
        self.plant = FakePlant()
        self.machine = EpcMachine(self.plant, node=node, **options)  # type: ignore[arg-type]
        self.now_ms = 0.0

    def until(self, now_ms: float) -> list[str]:
        """Let time pass; return what the EPC sent as the device sheet writes it."""
        self.now_ms = now_ms
        return [_line(at_ms, frame_id, payload) for at_ms, frame_id, payload in self.machine.tick(now_ms)]

    def host(self, text: str, at_ms: float | None = None) -> None:
        """Let the host send a frame written as ``130 08 00``, by default now."""
        frame_id, *rest = text.split()
        self.machine.handle(
            int(frame_id, 16), bytes.fromhex("".join(rest)), self.now_ms if at_ms is None else at_ms
        )

    def answer(self, *texts: str) -> list[str]:
        """Send frames together and return what comes within the next two rounds, without times."""
        for text in texts:
            self.host(text)
        return [line.split(" ", 1)[1] for line in self.until(self.now_ms + 20.0)]


def _line(at_ms: float, frame_id: int, payload: bytes) -> str:
    return f"{at_ms:.1f} {frame_id:03X} {payload.hex(' ').upper()}"
