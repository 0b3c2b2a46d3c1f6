"""CAEN V65xx high voltage boards: one device for each channel (devices.md section 8).

| setting | default | meaning |
|---|---|---|
| ``address`` | required | ``0_0_40000000`` for the maker's library, ``host:port`` for the simulator |
| ``library`` | ``caen-libs`` | or ``simulated`` |
| ``slot``, ``channel_no`` | 0, 0 | which channel |
| ``iset_a``, ``trip_s``, ``svmax_v``, ``rup_v_s``, ``rdwn_v_s`` | of the row | written when opened |
| ``current_steady_max_a``, ``current_change_max_a`` | of the row | more is unhealthy, at rest and while ramping |

Channels of a board share one connection. Down is ``VSet`` 0, then ``Pw`` 0, with ``PDwn`` 1 before, so that
the board ramps down instead of dropping the voltage. An unhealthy channel brings all channels of its board
down that are open here, and every reading of it is a ``DeviceFault`` with the cause in words until it is healthy.
Currents are µA on the board and A here. The ramp down is ``RDWn``: the board takes no other spelling.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from typing import Any

from cycler_unit.buses.ring import Ring
from cycler_unit.drivers import caen_status
from cycler_unit.drivers.base import Identity
from cycler_unit.drivers.caen_library import Board, HvLibrary, library
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused, DriverError
from cycler_unit.drivers.knobs import Knob, KnobDevice

# The board counts currents in microamperes.
MICRO = 1e-6


class Session:
    """One board, used by all devices on its channels. Thread-safe; one exchange at a time."""

    def __init__(self, link: dict[str, Any]) -> None:
        self.address = str(link.get("address", ""))
        self.slot = int(link.get("slot", 0))
        self.lock = threading.RLock()
        self.users: set[CaenChannel] = set()
        self._link = link
        self._library: HvLibrary | None = None
        self._board: Board | None = None

    def board(self) -> Board:
        """Connect if that is not so already; return what the board says of itself."""
        with self.lock:
            if self._library is None or self._board is None:
                found = library(self._link)
                try:
                    self._board = found.open(self.slot)
                except DriverError:
                    found.close()
                    raise
                self._library = found
            return self._board

    def read(self, channel: int, name: str, ring: Ring) -> float:
        """Read one parameter."""
        ring.sent(f"{channel} {name}?")
        value = float(self._run(ring, lambda hv: hv.read(self.slot, channel, name)))
        ring.heard(f"{channel} {name} {value:g}")
        if not math.isfinite(value):
            # Compared with a limit it would be neither above nor below: healthy.
            raise DeviceLost(f"CAEN {self.address} says {value} of {name} of channel {channel}")
        return value

    def write(self, channel: int, name: str, value: float, ring: Ring) -> None:
        """Write one parameter."""
        ring.sent(f"{channel} {name} {value:g}")
        self._run(ring, lambda hv: hv.write(self.slot, channel, name, value))

    def _run(self, ring: Ring, act: Any) -> Any:
        with self.lock:
            if self._library is None:
                raise DeviceLost(f"CAEN {self.address} is not open")
            try:
                return act(self._library)
            except DeviceLost as error:
                ring.heard(f"({error})")
                self.disconnect()
                raise
            except DriverError as error:
                ring.heard(f"({error})")
                raise

    def disconnect(self) -> None:
        """Close the connection; the next ``board()`` connects again."""
        with self.lock:
            found, self._library, self._board = self._library, None, None
            if found is not None:
                found.close()


_sessions: dict[tuple[str, int], Session] = {}
_sessions_lock = threading.Lock()


def _join(channel: CaenChannel) -> Session:
    link = channel.link
    key = (str(link.get("address", "")), int(link.get("slot", 0)))
    with _sessions_lock:
        session = _sessions.setdefault(key, Session(link))
        session.users.add(channel)
        return session


def _leave(session: Session, channel: CaenChannel) -> None:
    with _sessions_lock:
        session.users.discard(channel)
        last = not session.users
        if last:
            _sessions.pop((session.address, session.slot), None)
    if last:
        session.disconnect()


class CaenChannel(KnobDevice):
    """One channel of a board."""

    kind = "caen-v65xx"

    def __init__(self, link: dict[str, Any], *, name: str = "") -> None:
        super().__init__(link, name=name)
        self.channel_no = int(link.get("channel_no", 0))
        self.ramping_down_since_s: float | None = None
        self._session: Session | None = None

    # --- opening and closing ----------------------------------------------------------------------

    def connect(self) -> None:
        """Join the board's session; the controls are the channel's writable parameters."""
        self.close()
        self._session = _join(self)
        self._session.board()
        self._knobs = self._controls()

    def _controls(self) -> dict[str, Knob]:
        v_max, i_max = self._limit("voltage_max_v", 4000.0), self._limit("current_max_a", 3.1e-3)
        return {
            # First, so that switching off ramps down instead of dropping the voltage.
            "pdwn": self._knob("PDwn", switch=True, safe=1.0),
            "vset_v": self._knob("VSet", maximum=v_max, step=0.1, safe=0.0),
            "power": self._knob("Pw", switch=True, safe=0.0),
            "iset_a": self._knob("ISet", maximum=i_max, step=0.05 * MICRO, scale=MICRO),
            "trip_s": self._knob("Trip", maximum=1000.0, step=0.1),
            "svmax_v": self._knob("SVMax", maximum=v_max, step=0.1),
            "rup_v_s": self._knob("RUp", maximum=500.0, minimum=1.0, step=1.0),
            "rdwn_v_s": self._knob("RDWn", maximum=500.0, minimum=1.0, step=1.0),
            "imon_range": self._knob("ImonRange", switch=True),
        }

    def _limit(self, name: str, usual: float) -> float:
        return float(self.link.get(name, usual))

    def _knob(self, parameter: str, *, scale: float = 1.0, **more: Any) -> Knob:
        return Knob(
            write=lambda value: self._write(parameter, value / scale),
            look=lambda: self._read(parameter) * scale,
            **more,
        )

    def identify(self) -> Identity:
        """Return the board's identity; each channel of it is one device."""
        board = self._joined().board()
        if self.channel_no not in range(board.channels):
            raise DeviceRefused(f"{self.label}: channel {self.channel_no} of a board with {board.channels}")
        return _identity(board, self.channel_no)

    def prepare(self) -> None:
        """Write range, current limit, trip time, ceiling and ramps, and read each back (8.4, start)."""
        for name in ("imon_range", "iset_a", "trip_s", "svmax_v", "rup_v_s", "rdwn_v_s"):
            if name in self.link:
                self.set(name, float(self.link[name]))

    def close(self) -> None:
        """Leave the board; the last one closes the connection."""
        session, self._session = self._session, None
        if session is not None:
            _leave(session, self)

    @classmethod
    def scan(cls, link: dict[str, Any]) -> list[tuple[dict[str, Any], Identity]]:
        """Return a link and an identity for each channel of a board; nothing is written."""
        found = library(link)
        try:
            board = found.open(int(link.get("slot", 0)))
        finally:
            found.close()
        return [({**link, "channel_no": n}, _identity(board, n)) for n in range(board.channels)]

    # --- parameters -------------------------------------------------------------------------------

    def _joined(self) -> Session:
        if self._session is None:
            raise DeviceLost(f"{self.label} is not open")
        return self._session

    def _read(self, parameter: str) -> float:
        return self._joined().read(self.channel_no, parameter, self.ring)

    def _write(self, parameter: str, value: float) -> None:
        self._joined().write(self.channel_no, parameter, value, self.ring)

    # --- readings ---------------------------------------------------------------------------------

    def values(self) -> dict[str, float | None]:
        """Read the channel; raise ``DeviceFault`` when it is unhealthy, after all channels went down."""
        mask = int(self._read("ChStatus"))
        low_range = self._read("ImonRange") == 1.0
        current_a = self._read("IMonL" if low_range else "IMonH") * MICRO
        found: dict[str, float | None] = {
            "vmon_v": self._read("VMon"),
            "imon_a": current_a,
            "vset_v": self._read("VSet"),
            "power": self._read("Pw"),
            "board_temperature_c": self._read("Temp"),
            "status_mask": float(mask),
        }
        wrong = self._health(mask, current_a)
        if wrong is not None:
            self._all_down()
            raise DeviceFault(f"{self.label} channel {self.channel_no}: {wrong} (status 0x{mask:04x})")
        return found

    def _health(self, mask: int, current_a: float) -> str | None:
        now_s = time.monotonic()
        if not caen_status.is_ramping_down(mask):
            self.ramping_down_since_s = None
        elif self.ramping_down_since_s is None:
            self.ramping_down_since_s = now_s
        longest_s = max(
            (
                now_s - since_s
                for each in tuple(self._joined().users)
                if (since_s := each.ramping_down_since_s)
            ),
            default=0.0,
        )
        wrong = caen_status.trouble(mask, longest_s)
        if wrong is not None:
            return wrong
        ramping = caen_status.is_ramping(mask)
        most_a = self._limit("current_change_max_a" if ramping else "current_steady_max_a", 2e-6)
        if current_a >= most_a:
            state = "while ramping" if ramping else "at rest"
            return f"{current_a / MICRO:.3g} µA {state}, {most_a / MICRO:.3g} µA allowed"
        return None

    def _all_down(self) -> None:
        """Bring every channel of the board down that is open here; one that fails keeps none of the others."""
        session = self._joined()
        for channel in sorted(each.channel_no for each in tuple(session.users)):
            for parameter, value in (("PDwn", 1.0), ("VSet", 0.0), ("Pw", 0.0)):
                # The fault is raised in any case, with its own cause.
                with contextlib.suppress(DriverError):
                    session.write(channel, parameter, value, self.ring)


def _identity(board: Board, channel: int) -> Identity:
    return Identity("CAEN", board.model, f"{board.serial_number}-ch{channel}", board.firmware)
