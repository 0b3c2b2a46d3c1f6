"""A live look at a CAN bus: frames are heard and numbered as long as somebody asks for them."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from cycler_unit.buses.protocol import Buses, Frame
from cycler_unit.drivers.errors import DriverError

# A live listener ends when nobody has asked for so long, and keeps so many frames for who asks late.
EAR_S, EAR_FRAMES = 10.0, 5000
# One look of a live listener; what came is handed on at the latest after it.
LOOK_S = 0.25


class LiveEar(threading.Thread):
    """Listens as long as somebody asks; frames are numbered, so that who asks again misses none."""

    def __init__(self, buses: Buses, link: dict[str, Any], frame_id: int, mask: int) -> None:
        super().__init__(name="can-listen", daemon=True)
        self._buses, self._link, self._id, self._mask = buses, link, frame_id, mask
        self._frames: deque[tuple[int, Frame]] = deque(maxlen=EAR_FRAMES)
        self._count = 0
        self._came = threading.Condition()
        self._asked_s = time.monotonic()
        self._failed: DriverError | None = None
        self._ended = False
        self._fresh = True

    def run(self) -> None:
        """Listen in short looks; ends when nobody asks any more or the bus is gone."""
        while not self._ended and time.monotonic() - self._asked_s < EAR_S:
            try:
                heard = self._buses.listen(self._link, LOOK_S, self._id, self._mask, EAR_FRAMES)
            except DriverError as error:
                with self._came:
                    self._failed = error
                    self._came.notify_all()
                return
            if heard:
                with self._came:
                    for frame in heard:
                        self._count += 1
                        self._frames.append((self._count, frame))
                    self._came.notify_all()

    def stop(self) -> None:
        """End at the next look."""
        self._ended = True
        with self._came:
            self._came.notify_all()

    def take(self, after: int, seconds: float, most: int) -> tuple[list[tuple[int, Frame]], int, int]:
        """Return (frames, how many were lost before them, the number to ask on with).

        ``after`` 0 looks for the whole time; else what came after that number, as soon as there is any.
        """
        until_s = time.monotonic() + seconds
        with self._came:
            self._asked_s = time.monotonic()
            # The first look of all takes everything since the listener began, which was for it.
            first = self._count if after == 0 and not self._fresh else max(0, after)
            self._fresh = False
            if first > self._count:  # numbered by a listener that has ended since
                first = 0
            while (left_s := until_s - time.monotonic()) > 0 and not self._ended:
                there = self._count - first
                if self._failed is not None:
                    raise self._failed
                if there >= most or (after and there > 0):
                    break
                self._came.wait(left_s)
                self._asked_s = time.monotonic()
            if self._failed is not None:
                raise self._failed
            frames = [each for each in self._frames if each[0] > first][:most]
            lost = max(0, frames[0][0] - first - 1) if frames else 0
            # A first look that heard nothing still begins a numbering: 0 would begin anew.
            return frames, lost, frames[-1][0] if frames else max(first, self._count) or -1
