"""The last exchanges of one link, for the black box."""

from __future__ import annotations

import time
from collections import deque
from typing import Literal

from cycler_unit.drivers.base import Exchange

# What safety.md asks the black box to keep for each device.
KEPT = 200
# A status page or an error page of a device says nothing more after this many characters.
LONGEST = 300


class Ring:
    """Keep the last messages to and from a device; old ones fall out. Appending is thread-safe."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept: deque[Exchange] = deque(maxlen=kept)

    def sent(self, text: str) -> None:
        """Note what went to the device; never a secret."""
        self._note("device", text)

    def heard(self, text: str) -> None:
        """Note what came from the device, or why nothing came."""
        self._note("host", text)

    def _note(self, to: Literal["device", "host"], text: str) -> None:
        self._kept.append(Exchange(at_s=time.time(), to=to, text=text[:LONGEST]))

    def last(self) -> list[Exchange]:
        """Return what is kept, oldest first."""
        return list(self._kept)
