"""Buses and devices that exist in a test only: what cannot be made to happen with a simulator in time."""

from __future__ import annotations

import threading
import time
from typing import Any

from cycler_unit.buses.protocol import Frame, Link, Say, Seen, bus_key, device_key
from cycler_unit.drivers.base import Device, Identity, Measured
from cycler_unit.drivers.errors import DeviceLost
from wire.catalogue import Kind, KindControl, KindMeasure, Off

RELAY = Kind(
    key="test-relay", label="Test relay", maker="Acme", model="Relay", type="Relay", family="test",
    driver="tests.cycler_unit.invented:Invented", role="auxiliary", link="http", identity="^Acme, Relay",
    measures=(
        KindMeasure(name="temperature_c", unit="°C", sentinels=(-255.0,)),
        KindMeasure(name="out_kv", unit="kV", accuracy=0.01),
    ),
    controls=(
        KindControl(name="ramp_v_s", label="Ramp", unit="V/s", minimum=1.0, maximum=500.0),
        KindControl(name="volts", label="Voltage", unit="V", minimum=0.0, maximum=4000.0, safe=0.0, order=2),
        KindControl(name="on", label="Output", switch=True, safe=0.0, order=1),
    ),
)  # fmt: skip
SUPPLY = Kind(
    key="test-supply", label="Test supply", maker="Acme", model="Supply", type="Source", family="test",
    driver="tests.cycler_unit.invented:Invented", role="power", link="http", identity="^Acme, Supply",
    off=Off(command="off", i_off_a=0.01, t_off_s=0.5),
)  # fmt: skip
KINDS = {kind.key: kind for kind in (RELAY, SUPPLY)}


class Invented(Device):
    """A device whose every exchange is noted in ``log``."""

    def __init__(self, kind: Kind, link: Link, serial: str, log: list[str]) -> None:
        super().__init__(dict(link), name=kind.label)
        self.row, self.serial, self.log = kind, serial, log
        self.values: dict[str, float] = {control.name: control.safe or 0.0 for control in kind.controls}
        self.lost: str | None = None
        self.temperature_c = 21.5
        self.held_up = threading.Event()
        self.held_up.set()
        self.opened = 0
        self.more: dict[str, float | None] = {}
        self.current_a: float | None = 0.0 if kind.role == "power" else None
        self.deaf = False
        """Whether it takes what it is sent and does nothing."""

    def _there(self, what: str) -> None:
        self.held_up.wait(10.0)
        if self.lost is not None:
            raise DeviceLost(self.lost)
        self.log.append(what)

    def open(self) -> Identity:
        """Connect, safe first."""
        self.make_safe()
        self.opened += 1
        return Identity(self.row.maker, self.row.model, self.serial, "1")

    def close(self) -> None:
        """Disconnect."""
        self.log.append("close")

    def read(self) -> Measured:
        """Read the temperature."""
        self._there("read")
        values = {"temperature_c": self.temperature_c, **self.more}
        return Measured(None, self.current_a, None, time.monotonic(), time.time_ns() // 1000, values)

    def make_safe(self) -> None:
        """Bring every control to its safe value, by rising order."""
        for control in sorted(self.row.controls, key=lambda each: each.order):
            if control.safe is not None:
                self._there(f"{control.name}={control.safe:g}")
                if not self.deaf:
                    self.values[control.name] = control.safe

    def set(self, name: str, value: float) -> float:
        """Set one control."""
        self._there(f"{name}={value:g}")
        self.values[name] = value
        return value

    def held(self) -> dict[str, float]:
        """Return all controls."""
        return dict(self.values)

    def output_is_on(self) -> bool:
        """Return whether a power device's output is on."""
        return bool(self.values.get("on"))


class InventedBuses:
    """Buses with whatever a test puts there: ``there`` by device_key."""

    def __init__(self) -> None:
        self.there: dict[str, Seen] = {}
        self.devices: dict[str, Invented] = {}
        self.gone: dict[str, str] = {}
        self.asked: list[tuple[str, list[str]]] = []
        self.sent: list[Any] = []
        self.answers: list[str] = ["42"]
        self.frames: list[Frame] = []
        self.scanning = threading.Event()
        self.may_scan = threading.Event()
        self.may_scan.set()

    def add(self, kind: Kind | None, link: Link, serial: str = "1", answered: str = "") -> Invented | None:
        """Put a device on a bus."""
        key = device_key(link)
        self.there[key] = Seen(
            link=dict(link), kind="", maker=kind.maker if kind else "", model=kind.model if kind else "",
            serial_number=serial, answered=answered,
        )  # fmt: skip
        if kind is None:
            return None
        self.devices[key] = Invented(kind, link, serial, [])
        return self.devices[key]

    def device(self, kind: Kind, link: Link, name: str) -> Device:
        """Return the device that is there."""
        return self.devices[device_key(link)]

    def scan(self, link: Link, say: Say, busy: list[dict[str, Any]]) -> list[Seen]:
        """Return who is on this bus."""
        self.asked.append((bus_key(link), [device_key(each) for each in busy]))
        self.scanning.set()
        assert self.may_scan.wait(10.0)
        if bus_key(link) in self.gone:
            raise DeviceLost(self.gone[bus_key(link)])
        say(1, 2, "half way")
        taken = {device_key(each) for each in busy}
        return [
            seen
            for key, seen in self.there.items()
            if bus_key(seen.link) == bus_key(link) and key not in taken
        ]

    def query(self, link: Link, text: str, timeout_s: float) -> list[str]:
        """Answer."""
        self.sent.append(text)
        return self.answers

    def write(self, link: Link, text: str) -> None:
        """Note."""
        self.sent.append(text)

    def send(self, link: Link, frame_id: int, payload: bytes, listen_s: float) -> list[Frame]:
        """Note, and answer what a test put there."""
        self.sent.append((frame_id, payload.hex()))
        return self.frames

    def listen(self, link: Link, seconds: float, frame_id: int, mask: int, most: int) -> list[Frame]:
        """Hand out the frames of the test, once."""
        until_s = time.monotonic() + seconds
        while not self.frames and time.monotonic() < until_s:
            time.sleep(0.005)
        frames, self.frames = self.frames, []
        return frames

    def stop(self) -> None:
        """Nothing to close."""
