"""What an EPC tells of itself by MODE and STATUS frames, asked or not, as the bus's thread hears them.

**Whose IDLE is it?** A command that ends by itself is told by one MODE frame. A command of another host is
on the bus itself, then answered, then told (device sheet 1.4): three frames with the same bytes. A request
for MODE adds one answer, whoever sent it. So two frames more than there were requests are no end of the
device's own, however near its end was.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from cycler_unit.drivers import epc_frames as frames
from cycler_unit.drivers.epc_frames import ASK, ERROR, IDLE, MODE, OFF, REQUEST, STATUS, SetPoint

ASK_MODE = bytes([ASK[MODE]])


class EpcState:
    """The device as it was heard last; ``sent`` and ``heard`` are told every frame of its node."""

    def __init__(self) -> None:
        self.mode = OFF
        """What it said last that it holds."""
        self.wanted = OFF
        """The command that it was given last."""
        self.suspect = False
        """An IDLE came that nobody waited for: a boot notification, or an end."""
        self.error: str | None = None
        """The error state that was seen while the output was on, in words; "" when nobody said why."""
        self.told: str | None = None
        """What a STATUS said was wrong since the output went on."""
        self.foreign: SetPoint | None = None
        """A set point other than IDLE that nobody here asked for."""
        self._lock = threading.Lock()
        self._commanding = False
        self._asked = self._idles = self._expecting = 0

    @property
    def on(self) -> bool:
        """Tell whether the output was ordered on."""
        return bool(self.wanted.on)

    @property
    def ended_by_another(self) -> bool:
        """Tell whether more IDLE frames came than its own end and the answers to requests can be."""
        with self._lock:
            return self._idles > self._asked + 1

    # --- what this host does ----------------------------------------------------------------------

    def order(self, wanted: SetPoint) -> None:
        """Note what is to hold from now on."""
        if not wanted.on:
            self.error = self.told = None
        with self._lock:
            self.wanted, self.foreign = wanted, None
            self._asked = self._idles = 0

    @contextlib.contextmanager
    def commanding(self, wanted: SetPoint) -> Iterator[None]:
        """Note that ``wanted`` is ordered, and let MODE frames be its echoes, or those of its refusal."""
        self._commanding = True
        try:
            self.order(wanted)
            with self.expecting():
                yield
        finally:
            self._commanding = False

    @contextlib.contextmanager
    def expecting(self) -> Iterator[None]:
        """Let MODE frames that come now be answers, which make nobody suspicious."""
        with self._lock:
            if self.mode == self.wanted:
                # Nothing has ended yet, and all that was asked before is answered.
                self._asked = self._idles = 0
        self._expecting += 1
        try:
            yield
        finally:
            self._expecting -= 1

    def sent(self, message: int, payload: bytes) -> None:
        """Take note of a frame of this host."""
        if message == REQUEST and payload == ASK_MODE:
            with self._lock:
                self._asked += 1

    # --- what is on the bus -----------------------------------------------------------------------

    def heard(self, message: int, payload: bytes) -> None:
        """Take note of a frame of the device or of another host; what follows is done by a reading."""
        if message == REQUEST:
            self.sent(message, payload)
        elif message == STATUS and len(payload) == 4 and self.on:
            # The flag of an error goes with its cause, which goes with the output: a round later it is gone.
            self.told = frames.errors(payload) or self.told
        elif message == MODE and len(payload) == 8:
            self._take_mode(frames.set_point(payload))

    def _take_mode(self, now: SetPoint) -> None:
        with self._lock:
            if now == self.wanted and self._commanding:
                self._idles = 0  # an IDLE before this echo was the answer to a refused first try
            elif now.mode == IDLE:
                self._idles += 1
            elif now.mode != ERROR and now != self.wanted and not self._commanding:
                self.foreign = now
        if now.mode == IDLE and not self._expecting:
            self.suspect = True
        if now.mode == ERROR and self.on and self.error is None:
            # Kept, because the device clears it by itself. A MODE that answers a request comes before the
            # STATUS of the same round, any other one after it.
            self.error = self.told or ""
        self.mode = now
