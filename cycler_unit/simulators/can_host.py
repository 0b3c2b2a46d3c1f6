"""The CAN side of the simulator program: one bus, the devices on it, and when each is due.

All devices of one bus share its interface, which never hands them their own frames.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from cycler_unit.buses.can import GROUP, CanBus
from cycler_unit.drivers.errors import DeviceLost
from cycler_unit.simulators.device import CannotStart, Clock

# A device that has nothing to do is looked at this often: somebody may have changed its cell.
IDLE_S = 0.1


class OnCan(Protocol):
    """A simulated device on a CAN bus; times are the clock's seconds."""

    exchanges: deque[dict[str, Any]]

    def hears(self, frame_id: int) -> bool:
        """Tell whether a frame is for it."""
        ...

    def take(self, frame_id: int, payload: bytes) -> None:
        """Take a frame that it hears."""
        ...

    def step(self) -> list[tuple[int, bytes]]:
        """Live on until now; return the frames that it sends."""
        ...

    @property
    def due_s(self) -> float | None:
        """Return when it wants to live on, None when nothing presses."""
        ...


class CanHost:
    """One bus of the simulator program, for the loop that made it."""

    def __init__(self, link: Mapping[str, Any], clock: Clock) -> None:
        self.clock = clock
        self.devices: list[OnCan] = []
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        try:
            self._bus = CanBus(link)
        except DeviceLost as error:
            raise CannotStart(str(error)) from error
        self._bus.subscribe(lambda frame_id: True, self._heard)

    def _heard(self, frame_id: int, payload: bytes) -> None:
        """Pass a frame to the loop; called on the bus's thread."""
        # The loop may be gone already while the last frames come in.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._take, frame_id, payload)

    def _take(self, frame_id: int, payload: bytes) -> None:
        for device in self.devices:
            if device.hears(frame_id):
                device.exchanges.append(_noted(self.clock(), "device", frame_id, payload))
                device.take(frame_id, payload)
        self._plan()

    def run(self) -> None:
        """Let every device live on and send what it has to say."""
        for device in list(self.devices):
            for frame_id, payload in device.step():
                device.exchanges.append(_noted(self.clock(), "host", frame_id, payload))
                with contextlib.suppress(DeviceLost):
                    self._bus.send(frame_id, payload, paced=False)
        self._plan()

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.devices:
            now_s = self.clock()
            due = [each for device in self.devices if (each := device.due_s) is not None]
            wait_s = min([each - now_s for each in due] + [IDLE_S])
            self._timer = self._loop.call_later(max(wait_s, 0.0), self.run)

    def join(self, device: OnCan) -> None:
        """Put a device on the bus."""
        self.devices.append(device)
        self.run()

    def leave(self, device: OnCan) -> None:
        """Take a device off; the last one closes the bus."""
        if device in self.devices:
            self.devices.remove(device)
        self._plan()
        if not self.devices:
            _HOSTS.pop(next((key for key, host in _HOSTS.items() if host is self), ("",)), None)
            self._bus.shut()


_HOSTS: dict[tuple[Any, ...], CanHost] = {}


def host(link: Mapping[str, Any], clock: Clock) -> CanHost:
    """Return the host of a bus in this loop; raise ``CannotStart``."""
    key = (
        id(asyncio.get_running_loop()),
        *(str(link.get(name)) for name in ("interface", "channel", "port")),
    )
    if key not in _HOSTS:
        _HOSTS[key] = CanHost(link, clock)
    return _HOSTS[key]


def link_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the unit's link of the bus that an entry of the bench file names; without a node."""
    link = {
        "kind": "can",
        "interface": spec.get("interface", "udp_multicast"),
        "channel": spec.get("channel", GROUP),
    }
    return link | ({"port": int(spec["port"])} if spec.get("port") is not None else {})


def _noted(at_s: float, to: str, frame_id: int, payload: bytes) -> dict[str, Any]:
    return {"at_s": at_s, "to": to, "text": f"{frame_id:03X} {payload.hex(' ').upper()}"}
