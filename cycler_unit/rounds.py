"""The thread of a station: rounds of reading on time, requests between them, and nothing that ends it.

What is read and done in a round is the station's (``station``).
"""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod
from dataclasses import replace

from cycler_unit.contract import Refusal
from cycler_unit.drivers.errors import DeviceLost, DriverError
from cycler_unit.mail import Ask, Mailbox, Once

logger = logging.getLogger("cycler_unit.station")


class Rounds(threading.Thread):
    """Read again and again, and serve requests in between; readings come first."""

    period_s: float

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.mail = Mailbox()
        self.overruns = self.rounds = 0
        self._stopping = False
        self._due_s = 0.0

    # --- what a station adds ----------------------------------------------------------------------

    @property
    @abstractmethod
    def id(self) -> str:
        """Return the station's UUID."""

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Say whether it is read at its full rate, so that a late round is an overrun."""

    @abstractmethod
    def _begin(self) -> None:
        """Do what comes before the first round: off first."""

    @abstractmethod
    def _leave(self) -> None:
        """Do what comes after the last round: off, and disconnect."""

    @abstractmethod
    def _round(self) -> None:
        """Read, judge, act and look around; may raise anything."""

    @abstractmethod
    def _do(self, ask: Ask) -> None:
        """Do a request and answer it; may raise anything."""

    @abstractmethod
    def _after(self) -> None:
        """Keep and show what came of this turn."""

    @abstractmethod
    def _pace(self) -> tuple[float, bool]:
        """Return the time to the next round in s, and whether it counts from now instead of from the last."""

    @abstractmethod
    def lose(self, why: str) -> None:
        """Take a lost device."""

    @abstractmethod
    def fail(self, code: str, text: str) -> None:
        """Take an error of the device or of the program: off first."""

    @abstractmethod
    def _not_off(self, why: str) -> None:
        """Note that nobody knows whether the output is off: even switching off failed."""

    # --- the thread -----------------------------------------------------------------------------

    def run(self) -> None:
        """Serve requests and read, until stopped; the device is off afterwards."""
        try:
            self._begin()
        except Exception as error:
            logger.exception("event=begin_failed station=%s", self.id)  # the rounds go on trying to reach off
            self._bug(error)
        self._due_s = time.monotonic()
        while not self._stopping:
            try:
                self._turn()
            except Exception as error:
                # Beside the one of a round: whatever fails here, the thread goes on reading.
                logger.exception("event=turn_failed station=%s", self.id)
                self._bug(error)
                self._due_s = time.monotonic() + self.period_s
            self.mail.wait(self._due_s - time.monotonic())
        try:
            self._serve_stops()
            self._leave()
        finally:
            self.mail.close("the station is being changed or the unit stops; ask again")

    def _turn(self) -> None:
        self._serve()
        if time.monotonic() >= self._due_s:
            self.round()
            self._next_due()
        self._after()

    def stop(self) -> None:
        """Switch off, keep the test's checkpoint and end the thread; waits for it."""
        self._stopping = True
        self.mail.wake()
        if self.is_alive():
            self.join(15.0)

    def soon(self) -> None:
        """Let the next round begin at once."""
        self._due_s = time.monotonic()

    def _next_due(self) -> None:
        period_s, from_now = self._pace()
        now = time.monotonic()
        if from_now:
            self._due_s = now
        self._due_s += period_s
        if self._due_s < now:
            self.overruns += self.busy
            self._due_s = now

    def round(self) -> None:
        """Read once and do what follows from it."""
        self.rounds += 1
        try:
            self._round()
        except DeviceLost as error:
            self.lose(str(error))
        except DriverError as error:
            self.fail("device_error", str(error))
        except Exception as error:
            # The one broad except of this thread: a fault of the program is a fault of the station.
            logger.exception("event=round_failed station=%s", self.id)
            self._bug(error)

    def _bug(self, error: Exception) -> None:
        try:
            self.fail("internal_error", f"the unit's program failed: {type(error).__name__}: {error}")
        except Exception:
            logger.exception("event=off_failed station=%s", self.id)
            self._not_off(f"the unit's program failed while switching off: {error}")

    # --- requests -------------------------------------------------------------------------------

    def _serve(self) -> None:
        while (ask := self.mail.take()) is not None:
            self._answer(ask)
            if self.busy and time.monotonic() >= self._due_s:
                return  # readings come first, however many requests wait

    def _answer(self, ask: Ask) -> None:
        """Do one request; it is answered once, whatever goes wrong."""
        ask = replace(ask, reply=Once(ask.reply))
        try:
            self._do(ask)
        except Refusal as refusal:
            ask.reply("refused", None, refusal.text)
        except DeviceLost as error:
            self.lose(str(error))
            ask.reply("failed", None, str(error))
        except DriverError as error:
            self.fail("device_error", str(error))
            ask.reply("failed", None, str(error))
        except Exception as error:
            logger.exception("event=request_failed station=%s request=%s", self.id, ask.do)
            self._bug(error)
            ask.reply("failed", None, f"internal error: {error}")

    def _serve_stops(self) -> None:
        """Do the stops that wait: a test that somebody stopped must not resume with the next start."""
        while self.mail.urgent and (ask := self.mail.take()) is not None:
            self._answer(ask)
