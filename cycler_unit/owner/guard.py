"""Keep one device inside its permit: on only while the control loop asks for it (safety.md rule 8).

Nothing here touches disk, network or database.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time

from cycler_unit.drivers.base import Device, PowerDevice
from cycler_unit.drivers.errors import DriverError
from cycler_unit.owner.calls import Place

logger = logging.getLogger("cycler_unit.owner")

# A device that could not be switched off is opened again, off first, this often (rule 6).
AGAIN_S = 1.0
# One try takes at most about this long: two exchanges that time out, and opening.
TRY_S = 10.0
# The loop's own call may hold the device for one slow exchange; then off goes out all the same.
LOCK_S = 0.3
# What only switches follows the current, which is off by then: a relay that opens under it may weld.
CURRENT_FIRST_S = 0.5
# A new user of a device waits so long for the off that is being tried there.
TAKE_OVER_S = 2.0


class Held:
    """One device of this bus, who may use it, and whether it may be on."""

    def __init__(self, place: Place, device: Device) -> None:
        self.place, self.device = place, device
        self.lock = threading.RLock()
        self.is_open = False
        self.may_be_on = False
        self.abandoned = False
        """Nobody uses it any more; it is switched off, closed and forgotten."""
        self.cut: str | None = None
        """Why the guard switched it off; told to the loop at its next call."""
        self.permit_until_s = float("inf")
        self.off_since_s: float | None = None
        """Since when off is being tried, None when it is not."""
        self._next_try_s = 0.0
        self._left_s: float | None = None
        self._taken_over = False
        self._call = ""

    @property
    def is_power(self) -> bool:
        """Say whether it can move current."""
        return isinstance(self.device, PowerDevice)

    def permit(self, seconds: float, call: str = "") -> None:
        """Renew the permit: the loop lives; ``call`` is what it waits for now."""
        self.permit_until_s = time.monotonic() + seconds
        self._call = call

    def why_off(self, now_s: float) -> str | None:
        """Return why it must be off now, None when it may stay as it is."""
        if self.abandoned:
            self._left_s = now_s if self._left_s is None else self._left_s
            waits = not self.is_power and now_s - self._left_s < CURRENT_FIRST_S
            return None if waits else "its control loop is gone"
        if self.may_be_on and now_s > self.permit_until_s:
            if self._call:
                return f"it did not answer {self._call!r} in time"
            return "the control loop did not renew its permit in time"
        return self.cut if self.off_since_s is not None else None

    def due(self, now_s: float) -> str | None:
        """Return why off must be sent at this moment, None when nothing is to be done."""
        why = self.why_off(now_s)
        return why if why is not None and now_s >= self._next_try_s else None

    def begin(self, now_s: float) -> None:
        """Note that a try has begun, so that no second one begins beside it."""
        self._next_try_s = now_s + TRY_S

    def switch_off(self, why: str) -> bool:
        """Switch off and read back; True when it is off. Safe to call again and again."""
        now_s = time.monotonic()
        if self.off_since_s is None:
            self.off_since_s = now_s
            logger.error("event=permit_lapsed device='%s' reason='%s'", self.place.name, why)
        self.cut = why
        self._next_try_s = now_s + AGAIN_S
        locked = self.lock.acquire(timeout=LOCK_S)
        try:
            if self._taken_over:
                return True
            off = self._off()
        finally:
            if locked:
                self.lock.release()
        if off:
            self.may_be_on = False
            self.off_since_s = None
            self.permit_until_s = float("inf")
            logger.error("event=owner_switched_off device='%s'", self.place.name)
        return off

    def _off(self) -> bool:
        try:
            if not self.is_open:
                self.device.open()  # sends off first and confirms it
                self.is_open = True
            self.device.make_safe()
            return not (isinstance(self.device, PowerDevice) and self.device.output_is_on())
        except DriverError as error:
            logger.error("event=off_not_confirmed device='%s' reason='%s'", self.place.name, error)
        except Exception:
            logger.exception("event=off_failed device='%s'", self.place.name)
        with contextlib.suppress(Exception):
            self.device.close()
        self.is_open = False
        return False

    def give_up(self) -> bool | None:
        """Leave the device to a new user and free its port; say whether it may be on.

        None: an off is being tried there and does not end.
        """
        if not self.lock.acquire(timeout=TAKE_OVER_S):
            return None
        try:
            self._taken_over = True
            self.close()
            return self.may_be_on
        finally:
            self.lock.release()

    def close(self) -> None:
        """Disconnect."""
        self.is_open = False
        self.device.close()
