"""How the agent reaches the owners of its buses: the same methods, in another process."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import connection
from typing import Any

import msgspec

from cycler_unit.buses.protocol import Frame, Link, Say, Seen
from cycler_unit.drivers.base import Exchange, Identity, Measured, PowerDevice, Protections, Target
from cycler_unit.drivers.errors import DeviceLost
from cycler_unit.owner.calls import BUS, DEVICE, Answer, Call, Place, pack, raised
from wire.catalogue import Kind

# No device call takes longer; an owner that hangs is killed by the parent long before.
ANSWER_S = 15.0
# A scan of a CAN bus takes two seconds, of a serial port with many probes some more; each says progress.
SCAN_S = 60.0

Connect = Callable[[Mapping[str, Any]], connection.Connection]


def ask(
    talk: connection.Connection,
    do: str,
    args: msgspec.Raw,
    result: Any,
    *,
    permit_s: float | None = None,
    timeout_s: float = ANSWER_S,
    say: Say | None = None,
) -> Any:
    """Send one call and return its result; raises the errors of drivers, ``DeviceLost`` without an answer."""
    try:
        talk.send_bytes(msgspec.msgpack.encode(Call(do, args, permit_s)))
        while True:
            if not talk.poll(timeout_s):
                raise DeviceLost(f"the bus owner does not answer {do!r} within {timeout_s:g} s")
            answer = msgspec.msgpack.decode(talk.recv_bytes(), type=Answer)
            if answer.kind != "said":
                break
            if say is not None:
                say(*msgspec.msgpack.decode(answer.value, type=tuple[int, int, str]))
    except (EOFError, OSError) as error:
        raise DeviceLost("the process that owns this bus has ended; it is started again") from error
    if answer.kind != "done":
        raise raised(answer)
    return None if result is None else msgspec.msgpack.decode(answer.value, type=result)


class OwnedDevice(PowerDevice):
    """A device behind its bus's owner; used by one thread at a time.

    ``permit_s``: set by the control loop; each of its calls then renews the permit of the output (rule 8).
    """

    def __init__(self, kind: Kind, link: Link, name: str, connect: Connect) -> None:
        super().__init__(dict(link), name=name)
        self.kind = kind.key
        self.permit_s: float | None = None
        self._place = Place(kind, dict(link), name)
        self._connect = connect
        self._lock = threading.RLock()
        self._talk: connection.Connection | None = None

    def _call(self, do: str, *args: Any, permit: bool = False) -> Any:
        with self._lock:
            talk = self._talk
            if talk is None:
                raise DeviceLost(f"{self.name or self.kind} is not open")
            permit_s = self.permit_s if permit else None
            try:
                return ask(talk, do, pack(args), DEVICE[do][1], permit_s=permit_s)
            except DeviceLost as error:
                if isinstance(error.__cause__, (EOFError, OSError)):
                    self._hang_up()
                raise

    def _hang_up(self) -> None:
        talk, self._talk = self._talk, None
        if talk is not None:
            talk.close()

    def open(self) -> Identity:
        """Connect to the owner and let it open the device, off first."""
        with self._lock:
            if self._talk is None:
                self._talk = self._connect(self.link)
                try:
                    ask(self._talk, "device", pack(self._place), None)
                except BaseException:
                    self._hang_up()
                    raise
            identity: Identity = self._call("open")
            return identity

    def close(self) -> None:
        """Let the owner switch it off if it may be on, close it, and hang up; never raises."""
        with self._lock:
            if self._talk is not None:
                with contextlib.suppress(Exception):
                    self._call("close")
                self._hang_up()

    def make_safe(self) -> None:
        """Switch off."""
        self._call("make_safe")

    def read(self) -> Measured:
        """Read; renews the permit."""
        measured: Measured = self._call("read", permit=True)
        return measured

    def apply(self, target: Target) -> None:
        """Set; renews the permit."""
        self._call("apply", target, permit=True)

    def output_is_on(self) -> bool:
        """Ask for the output's state."""
        return bool(self._call("output_is_on"))

    def protect(self, protections: Protections) -> Protections:
        """Write the device's own protections."""
        held: Protections = self._call("protect", protections)
        return held

    def fault(self) -> str | None:
        """Ask for the device's own error; renews the permit."""
        found: str | None = self._call("fault", permit=True)
        return found

    def unasked(self) -> str | None:
        """Read back what nobody asked for; renews the permit."""
        found: str | None = self._call("unasked", permit=True)
        return found

    def set(self, name: str, value: float) -> float:
        """Set one control; renews the permit."""
        return float(self._call("set", name, value, permit=True))

    def renew(self) -> None:
        """Renew the permit alone, without asking the device."""
        self._call("permit", permit=True)

    def keep(self) -> None:
        """Let the owner leave it as it is when it is closed next, instead of making it safe."""
        self._call("keep")

    def held(self) -> dict[str, float]:
        """Read the controls back."""
        found: dict[str, float] = self._call("held")
        return found

    def exchanges(self) -> list[Exchange]:
        """Return the device's last exchanges; empty when its owner is gone."""
        try:
            found: list[Exchange] = self._call("exchanges")
        except DeviceLost:
            return []
        return found


class OwnedBuses:
    """All buses of the unit, each in its owner's process. ``connect`` reaches the owner of a link's bus."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._devices: weakref.WeakSet[OwnedDevice] = weakref.WeakSet()

    def device(self, kind: Kind, link: Link, name: str) -> OwnedDevice:
        """Return a device behind its owner, not opened."""
        made = OwnedDevice(kind, link, name, self._connect)
        self._devices.add(made)
        return made

    @contextlib.contextmanager
    def _bus(self, link: Link) -> Iterator[connection.Connection]:
        talk = self._connect(link)
        try:
            yield talk
        finally:
            talk.close()

    def _ask(
        self, do: str, link: Link, *args: Any, timeout_s: float = ANSWER_S, say: Say | None = None
    ) -> Any:
        with self._bus(link) as talk:
            return ask(talk, do, pack((dict(link), *args)), BUS[do][1], timeout_s=timeout_s, say=say)

    def scan(self, link: Link, say: Say, busy: list[dict[str, Any]]) -> list[Seen]:
        """Let the owner ask who is on its bus."""
        found: list[Seen] = self._ask("scan", link, busy, timeout_s=SCAN_S, say=say)
        return found

    def query(self, link: Link, text: str, timeout_s: float) -> list[str]:
        """Let the owner send a text message and collect the answer."""
        lines: list[str] = self._ask("query", link, text, timeout_s, timeout_s=timeout_s + ANSWER_S)
        return lines

    def write(self, link: Link, text: str) -> None:
        """Let the owner send a text message."""
        self._ask("write", link, text)

    def send(self, link: Link, frame_id: int, payload: bytes, listen_s: float) -> list[Frame]:
        """Let the owner send a frame."""
        heard: list[Frame] = self._ask(
            "send", link, frame_id, payload, listen_s, timeout_s=listen_s + ANSWER_S
        )
        return heard

    def listen(self, link: Link, seconds: float, frame_id: int, mask: int, most: int) -> list[Frame]:
        """Let the owner listen."""
        heard: list[Frame] = self._ask(
            "listen", link, seconds, frame_id, mask, most, timeout_s=seconds + ANSWER_S
        )
        return heard

    def stop(self) -> None:
        """Hang up everywhere; the owners switch off what may be on. Safe twice."""
        for device in list(self._devices):
            device.close()
