"""The process that owns one bus: it runs the drivers, and switches off what nobody asks for any more."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from multiprocessing import AuthenticationError, connection
from pathlib import Path
from typing import Any

import msgspec

from cycler_unit import catalogue, logs
from cycler_unit.buses.local import LocalBuses
from cycler_unit.buses.protocol import device_key
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DriverError
from cycler_unit.lock import Lock
from cycler_unit.owner import times, turns
from cycler_unit.owner.calls import BUS, DEVICE, Answer, Call, Place, kind_of_error, pack, ready
from cycler_unit.owner.guard import CURRENT_FIRST_S, Held
from cycler_unit.owner.line import Life

logger = logging.getLogger("cycler_unit.owner")

# Between two looks of the guard: a tenth of the shortest permit.
LOOK_S = 0.05
# How often the owner tells the parent that it lives.
LIFE_S = 0.2
# A parent that says nothing for this long is gone: the guard behind this process is missing.
PARENT_S = 5.0
# The last look: devices get so long to be switched off before the process ends.
LEAVE_S = 3.0


class Owner:
    """One bus with its devices."""

    def __init__(self, secret: bytes, rescue: list[Place], kinds_file: Path | None = None) -> None:
        self._kinds_file = kinds_file
        self._buses = LocalBuses()
        self._held: list[Held] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._listener = connection.Listener(address_of(), authkey=secret)
        self._secret = secret
        for place in rescue:
            self._rescue(place)

    @property
    def address(self) -> str:
        """Return where the agent reaches this owner."""
        address = self._listener.address  # bytes for a Linux address without a file
        return address.decode() if isinstance(address, bytes) else str(address)

    def _rescue(self, place: Place) -> None:
        """Take a device that a dead owner may have left on; the guard switches it off at once."""
        if any(device_key(each.place.link) == device_key(place.link) for each in self._held):
            return  # twice in the list: left by one user, opened by the next
        try:
            held = Held(place, self._buses.device(place.kind, place.link, place.name))
        except Exception as error:
            # Whatever a driver's constructor raises: the other devices of the bus need this owner.
            logger.error("event=rescue_impossible device='%s' reason='%s'", place.name, error)
            return
        held.may_be_on = held.abandoned = True
        self._held.append(held)

    # --- connections ----------------------------------------------------------------------------

    def accept(self) -> None:
        """Serve connections, each in a thread of its own, until stopped."""
        while not self._stopping.is_set():
            try:
                talk = self._listener.accept()
            except (OSError, EOFError, AuthenticationError):
                continue  # a client that went away while it was greeted
            threading.Thread(target=self._serve, args=(talk,), daemon=True).start()

    def _serve(self, talk: connection.Connection) -> None:
        served = Served(talk, self._buses, self, self._kinds_file)
        try:
            served.run()
        except (EOFError, OSError):
            pass  # the agent closed it, or is dead
        finally:
            if served.held is not None:
                # The guard switches off, closes and forgets it.
                served.held.abandoned = True
            talk.close()

    def hold(self, held: Held) -> None:
        """Guard a device from now on."""
        with self._lock:
            self._held.append(held)

    def take_over(self, held: Held) -> None:
        """Let a device's new user follow those who left it, before it opens: two would fight for one port.

        What they had not switched off yet is the new user's to switch off: opening does, else the guard.
        Raises ``DeviceLost`` while an off is being tried that does not end.
        """
        key = device_key(held.place.link)
        with self._lock:
            before = [
                each
                for each in self._held
                if each is not held and each.abandoned and device_key(each.place.link) == key
            ]
        for each in before:
            may_be_on = each.give_up()
            if may_be_on is None:
                raise DeviceLost(f"{held.place.name} is still being switched off")
            held.may_be_on |= may_be_on
            with self._lock:
                if each in self._held:
                    self._held.remove(each)

    def call_s(self, do: str, held: Held) -> float:
        """Return how long a call on a device may take beside the others of this bus, in s."""
        with self._lock:
            devices = len({device_key(each.place.link) for each in self._held})
        return times.call_s(do, {**held.place.kind.link_settings, **held.place.link}, devices)

    # --- the guard ------------------------------------------------------------------------------

    def watch(self, line: connection.Connection) -> None:
        """Guard all devices and tell the parent of it, until the parent asks for the end or is gone."""
        heard_s, told_s = time.monotonic(), 0.0
        parent = os.getppid()
        while not self._stopping.wait(LOOK_S):
            now_s = time.monotonic()
            try:
                while line.poll():
                    if line.recv_bytes() == b"stop":
                        return
                    heard_s = now_s
                if now_s - told_s >= LIFE_S:
                    told_s = now_s
                    line.send_bytes(msgspec.msgpack.encode(self._life(now_s)))
            except (EOFError, OSError):
                logger.error("event=parent_gone")
                return
            if now_s - heard_s > PARENT_S or os.getppid() != parent:
                logger.error("event=parent_gone silent_s=%.1f", now_s - heard_s)
                return
            self.look(now_s)

    def look(self, now_s: float) -> None:
        """Switch off what must be off; each device in a thread of its own, so that none waits for another."""
        with self._lock:
            held_now = list(self._held)
        for held in held_now:
            if held.abandoned and not held.may_be_on and held.off_since_s is None:
                self._forget(held)
            elif (why := held.due(now_s)) is not None:
                held.begin(now_s)
                threading.Thread(target=held.switch_off, args=(why,), daemon=True).start()

    def _forget(self, held: Held) -> None:
        with self._lock:
            if held in self._held:
                self._held.remove(held)
        with contextlib.suppress(Exception):
            held.close()

    def _life(self, now_s: float) -> Life:
        with self._lock:
            waiting = [now_s - held.off_since_s for held in self._held if held.off_since_s is not None]
            places = [pack(held.place) for held in self._held if held.may_be_on or held.is_open]
        return Life(self.address, max(waiting, default=0.0), places)

    def leave(self) -> None:
        """Switch everything off that may be on, close, and end."""
        self._stopping.set()
        until_s = time.monotonic() + LEAVE_S
        with self._lock:
            held_now = list(self._held)
        on = [held for held in held_now if held.may_be_on]
        threads = self._switch_off([held for held in on if held.is_power])
        if len(threads) < len(on):
            time.sleep(CURRENT_FIRST_S)  # what only switches follows the current, of other owners too
            threads += self._switch_off([held for held in on if not held.is_power])
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        for held in held_now:
            with contextlib.suppress(Exception):
                held.close()
        with contextlib.suppress(Exception):
            self._buses.stop()
        with contextlib.suppress(Exception):
            self._listener.close()

    @staticmethod
    def _switch_off(held: list[Held]) -> list[threading.Thread]:
        threads = [
            threading.Thread(target=each.switch_off, args=("the unit stops",), daemon=True) for each in held
        ]
        for thread in threads:
            thread.start()
        return threads


class Served:
    """One connection: either one device, or the bus itself (detection, console)."""

    def __init__(
        self, talk: connection.Connection, buses: LocalBuses, owner: Owner, kinds_file: Path | None
    ) -> None:
        self._talk, self._buses, self._owner = talk, buses, owner
        self._kinds_file = kinds_file
        self.held: Held | None = None

    def run(self) -> None:
        """Answer calls until the other side is gone."""
        while True:
            call = msgspec.msgpack.decode(self._talk.recv_bytes(), type=Call)
            try:
                value = self._do(call)
            except DriverError as error:
                self._answer(kind_of_error(error), str(error))
            except (EOFError, OSError):
                raise
            except Exception as error:
                # The one broad except of this thread: the agent is told, the owner lives on.
                logger.exception("event=call_failed do=%s", call.do)
                self._answer("bug", f"{type(error).__name__}: {error}")
            else:
                self._answer("done", value)

    def _answer(self, kind: Any, value: Any) -> None:
        self._talk.send_bytes(msgspec.msgpack.encode(Answer(kind, pack(value))))

    def _do(self, call: Call) -> Any:
        if call.do == "device":
            place = msgspec.msgpack.decode(call.args, type=Place)
            self.held = Held(place, self._buses.device(place.kind, place.link, place.name))
            self._owner.hold(self.held)
            return None
        if call.do in BUS:
            return self._ask_bus(call)
        return self._ask_device(call)

    def _ask_bus(self, call: Call) -> Any:
        args = msgspec.msgpack.decode(call.args, type=BUS[call.do][0])
        if call.do != "scan":
            return getattr(self._buses, call.do)(*args)
        link, busy = args
        if self._kinds_file is not None:
            catalogue.restore(self._kinds_file)  # what an operator added since this process began
        return self._buses.scan(link, lambda done, of, text: self._answer("said", (done, of, text)), busy)

    def _ask_device(self, call: Call) -> Any:
        held, do = self.held, call.do
        if held is None:
            raise DriverError("no device was named on this connection")
        args = msgspec.msgpack.decode(call.args, type=DEVICE[do][0])
        if do == "open":
            self._owner.take_over(held)
        if do == "permit":
            held.permit(call.permit_s or 0.0)
            return None
        if do == "keep":
            held.may_be_on = held.may_be_on and held.is_power
            return None
        with held.lock:
            if do == "open" and held.may_be_on:
                held.permit(times.OPEN_S)  # if this fails the guard goes on with switching off
            if do in ("read", "apply", "set", "fault", "unasked") and held.cut is not None:
                return self._tell_cut(held)
            if call.permit_s is not None:
                # While it is served the loop is there and waits.
                held.permit(max(call.permit_s, self._owner.call_s(do, held)), do)
            if do == "open":
                held.cut = None
            moves = do == "set" or (do == "apply" and args[0].mode != "off")
            held.may_be_on |= moves
            try:
                value = getattr(held.device, do)(*args)
            finally:
                # Again: the guard may have switched off in the middle, before the last message of this call.
                held.may_be_on |= moves
                if call.permit_s is not None:
                    held.permit(call.permit_s)
            held.is_open = do != "close" and (held.is_open or do == "open")
            if do in ("make_safe", "open"):
                held.may_be_on = False
                held.off_since_s = None
                held.permit_until_s = float("inf")  # nothing is on that would need one
            return value

    @staticmethod
    def _tell_cut(held: Held) -> Any:
        why, held.cut = held.cut, None
        raise DeviceFault(f"the bus owner switched {held.place.name} off: {why}")


def address_of() -> str | None:
    """Return a fresh address: without a file where the system has that, else what it chooses."""
    if os.path.exists("/proc/self"):
        return f"\0cellyard-{os.getpid()}-{os.urandom(8).hex()}"
    return None


def close(inherited: list[Any]) -> None:
    """Close what a fork got with its parent's memory: others' lines, which would never seem cut, and the lock."""
    for each in inherited:
        each.release() if isinstance(each, Lock) else each.close()


def main(
    line: connection.Connection,
    inherited: list[Any],
    secret: bytes,
    rescue: list[bytes],
    kinds_file: Path | None = None,
) -> None:
    """Run an owner process; ``line`` leads to the parent, ``inherited`` is not for it."""
    close(inherited)
    turns.short()
    ready()
    logs.set_up()
    # The parent hears the terminal's Ctrl-C and the supervisor's signals, and says what to do.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    owner = Owner(secret, [msgspec.msgpack.decode(each, type=Place) for each in rescue], kinds_file)
    threading.Thread(target=owner.accept, daemon=True).start()
    try:
        owner.watch(line)
    finally:
        owner.leave()
        os._exit(0)  # a driver's thread that hangs must not keep the port
