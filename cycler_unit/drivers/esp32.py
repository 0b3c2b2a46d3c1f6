"""ESP32 boards: four relays with climate sensors, and a lamp of four dimmed channels (devices.md 9.2, 9.3).

No authentication. Both answer HTTP 200 whatever happens: a refusal is the word ERROR in the text.
-255 is a sensor that is absent or broken. Relays are off at boot.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from cycler_unit.buses.http import Answer
from cycler_unit.drivers.base import Identity
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused, DriverError
from cycler_unit.drivers.knobs import Knob, number
from cycler_unit.drivers.web import WebDevice

CHANNELS = range(4)
# A sensor that is absent or broken; half a unit away from it no sensor of these boards reads.
ABSENT = -255.0


class Esp32Board(WebDevice):
    """What both boards share: one page with everything, and refusals inside the text."""

    maker = "ESP32"
    # Name here -> key of /info; the sensors of the board.
    sensors: ClassVar[dict[str, str]] = {}
    # Keys of /info that tell this board from others.
    marks: ClassVar[tuple[str, ...]] = ()

    def info(self) -> dict[str, Any]:
        """Ask for the page with everything; raise ``DeviceRefused`` for another kind of board."""
        page = self.http.get("/info").json()
        missing = [mark for mark in self.marks if mark not in page]
        if missing:
            raise DeviceRefused(f"{self.label} is no {self.model}: /info has no {missing[0]}")
        return page

    def tell(self, path: str, channel: int, what: str, value: int) -> None:
        """Send one order for a channel; raise ``DeviceRefused`` with the board's words."""
        answer = self.http.post(path, {"channel": channel, what: value})
        if _said(answer, "ERROR"):
            raise DeviceRefused(f"{self.label} refuses channel {channel}: {_words(answer)}")
        if not _said(answer, "SUCCESS"):
            raise DeviceLost(f"{self.label} answers neither success nor error: {_words(answer)}")

    def identify(self) -> Identity:
        """Look at the page; the boards have no serial number."""
        self.info()
        return self.who()

    @classmethod
    def probe(cls, link: dict[str, Any]) -> Identity | None:
        """Tell whether this board is at a link, without switching anything; for detection."""
        board = cls(link)
        try:
            board.http.open()
            return board.identify()
        except DriverError:
            return None
        finally:
            board.close()


class RelayBoard(Esp32Board):
    """Four relays, five climate sensors, and the time since its start."""

    kind = "esp32-relay-board"
    model = "relay board"
    marks = ("ch0", "uptime")
    sensors: ClassVar[dict[str, str]] = {
        "pcb_temperature_c": "pcb_temp",
        "roots_temperature_c": "roots_temp",
        "ext_temperature_c": "ext_temp",
        "ext_humidity_pct": "ext_hum",
        "int_temperature_c": "int_temp",
        "int_humidity_pct": "int_hum",
    }

    def __init__(self, link: dict[str, Any], *, name: str = "") -> None:
        super().__init__(link, name=name)
        self._uptime_s: float | None = None
        self._on: set[int] = set()

    def connect(self) -> None:
        """Open the link; four switches."""
        self.http.open()
        self._uptime_s = None
        self._knobs = {
            f"relay_{n}": Knob(write=partial(self._switch, n), look=partial(self._is_on, n), switch=True, safe=0.0)
            for n in CHANNELS
        }  # fmt: skip

    def values(self) -> dict[str, float | None]:
        """Read everything by one exchange; raise ``DeviceFault`` when a reboot dropped a relay."""
        page = self.info()
        self._notice_reboot(page)
        found = {own: _sensor(page.get(theirs)) for own, theirs in self.sensors.items()}
        found |= {f"relay_{n}": _state(page.get(f"ch{n}")) for n in CHANNELS}
        return found | {"uptime_s": number(page.get("uptime"))}

    def _notice_reboot(self, page: dict[str, Any]) -> None:
        uptime_s, before_s = number(page.get("uptime")), self._uptime_s
        if uptime_s is None:
            return
        self._uptime_s = uptime_s
        if before_s is None or uptime_s >= before_s:
            return
        dropped, self._on = sorted(self._on), set()
        if dropped:
            relays = ", ".join(str(n) for n in dropped)
            raise DeviceFault(f"{self.label} restarted by itself: its relays are off, {relays} was on")

    def _switch(self, channel: int, value: float) -> None:
        self.tell("/relay", channel, "state", int(value))
        (self._on.add if value else self._on.discard)(channel)

    def _is_on(self, channel: int) -> float | None:
        return _state(self.info().get(f"ch{channel}"))


class PwmLamp(Esp32Board):
    """Four dimmed channels, 0 to 100 %; dark is safe."""

    kind = "esp32-pwm-lamp"
    model = "PWM lamp"
    marks = ("ch0_pwm",)

    def connect(self) -> None:
        """Open the link; four duties in whole percent."""
        self.http.open()
        self._knobs = {
            f"duty_{n}_pct": Knob(write=partial(self._dim, n), look=partial(self._duty, n), maximum=100.0, step=0.5, safe=0.0)
            for n in CHANNELS
        }  # fmt: skip

    def values(self) -> dict[str, float | None]:
        """Read everything by one exchange."""
        page = self.info()
        found = {f"duty_{n}_pct": _percent(page.get(f"ch{n}_pwm")) for n in CHANNELS}
        return found | {"pcb_temperature_c": _sensor(page.get("pcb_temp"))}

    def _dim(self, channel: int, value: float) -> None:
        self.tell("/pwm", channel, "duty", round(value))

    def _duty(self, channel: int) -> float | None:
        return _percent(self.info().get(f"ch{channel}_pwm"))


def _sensor(found: object) -> float | None:
    value = number(found)
    return None if value is None or abs(value - ABSENT) < 0.5 else value


def _state(found: object) -> float | None:
    """Return a relay's state, 0 or 1; anything else is none."""
    value = number(found)
    return value if value in (0.0, 1.0) else None


def _percent(found: object) -> float | None:
    value = number(found)
    return value if value is not None and 0.0 <= value <= 100.0 else None


def _said(answer: Answer, word: str) -> bool:
    return word in answer.text.upper()


def _words(answer: Answer) -> str:
    return " ".join(answer.text.split())[:120] or "nothing"
