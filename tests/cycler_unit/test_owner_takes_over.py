"""Safety rule 8: who guards a device when its user changes, on a port that only one can hold at a time."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cycler_unit.config import Config, parse
from cycler_unit.drivers.base import Device, Identity, Measured, PowerDevice, Protections, Target
from cycler_unit.drivers.errors import DeviceLost
from cycler_unit.lock import Lock
from cycler_unit.owner import guard, parent, server
from cycler_unit.owner.calls import Place
from cycler_unit.owner.client import OwnedDevice
from cycler_unit.owner.guard import Held
from cycler_unit.owner.line import Life
from tests.stack.waiting import until
from wire import kinds
from wire.catalogue import Kind

SECRET = b"only for tests"
LINK = {"kind": "visa", "resource": "TCPIP::127.0.0.1::1::SOCKET"}
CHARGE = Target(mode="cc", direction="charge", current_a=0.2, voltage_max_v=4.2, charge_current_max_a=0.2)


class Port:
    """The one supply behind the port, and who holds the port."""

    def __init__(self) -> None:
        self.holder: object | None = None
        self.on = False
        self.answers = True
        self.opened = 0


PORT = Port()


class Supply(PowerDevice):
    """A supply that takes one connection."""

    def open(self) -> Identity:
        self._ask(opening=True)
        PORT.holder, PORT.on = self, False
        PORT.opened += 1
        return Identity("maker", "model", "1", "1")

    def _ask(self, *, opening: bool = False) -> None:
        if not PORT.answers or PORT.holder not in ((None, self) if opening else (self,)):
            raise DeviceLost("the port is taken")

    def close(self) -> None:
        if PORT.holder is self:
            PORT.holder = None

    def make_safe(self) -> None:
        self._ask()
        PORT.on = False

    def read(self) -> Measured:
        self._ask()
        return Measured(3.7, 0.2 if PORT.on else 0.0, None, time.monotonic(), 0)

    def apply(self, target: Target) -> None:
        self._ask()
        PORT.on = True

    def output_is_on(self) -> bool:
        self._ask()
        return PORT.on

    def protect(self, protections: Protections) -> Protections:
        return protections

    def fault(self) -> str | None:
        return None


class Relay(Device):
    """A relay in the current path."""

    def __init__(self, link: dict[str, Any], *, name: str = "") -> None:
        super().__init__(link, name=name)
        self.opened_at_s: float | None = None

    def open(self) -> Identity:
        return Identity("maker", "relay", "2", "1")

    def close(self) -> None:
        return

    def read(self) -> Measured:
        return Measured(None, None, None, time.monotonic(), 0)

    def make_safe(self) -> None:
        self.opened_at_s = time.monotonic()


class Broken(Relay):
    """A driver whose constructor fails."""

    def __init__(self, link: dict[str, Any], *, name: str = "") -> None:
        raise ValueError("no such setting")


def kind(driver: str = "Supply") -> Kind:
    return msgspec.structs.replace(
        kinds.KINDS[0], driver=f"{__name__}:{driver}", link_settings={}, settings={}
    )


class Running(server.Owner):
    """An owner in this process, its guard in a thread."""

    def __init__(self, rescue: list[Place] | None = None) -> None:
        super().__init__(SECRET, rescue or [])
        threading.Thread(target=self.accept, daemon=True).start()
        self._guard = threading.Thread(target=self._look_on, daemon=True)
        self._guard.start()

    def _look_on(self) -> None:
        while not self._stopping.wait(0.01):
            self.look(time.monotonic())

    def device(self) -> OwnedDevice:
        from multiprocessing import connection

        return OwnedDevice(kind(), LINK, "psu", lambda link: connection.Client(self.address, authkey=SECRET))


@pytest.fixture(autouse=True)
def _fresh() -> None:
    PORT.__init__()  # type: ignore[misc]


def place(driver: str = "Supply") -> Place:
    return Place(kind(driver), LINK, "psu")


def test_a_device_opened_again_at_once_is_not_fought_for_by_what_its_last_user_left() -> None:
    owner = Running()
    try:
        first = owner.device()
        first.open()
        first.apply(CHARGE)
        PORT.answers = False
        first.close()  # what a station does with a lost device
        until(
            lambda: owner._life(time.monotonic()).off_pending_s > 0.0, 5, "the guard tries to switch it off"
        )
        PORT.answers = True
        second = owner.device()
        until(lambda: _opens(second), 5, "the station has it again")
        assert not PORT.on
        second.apply(CHARGE)
        assert owner._life(time.monotonic()).off_pending_s == 0.0
        opened = PORT.opened
        began_s = time.monotonic()
        while time.monotonic() - began_s < 2.5 * guard.AGAIN_S:
            second.read()
        assert PORT.on, "nobody else switches it off"
        assert PORT.opened == opened
        second.close()
    finally:
        owner.leave()


def test_what_a_new_user_cannot_open_is_still_switched_off() -> None:
    owner = Running()
    try:
        first = owner.device()
        first.open()
        first.apply(CHARGE)
        PORT.answers = False
        first.close()
        second = owner.device()
        with pytest.raises(DeviceLost):
            second.open()
        PORT.answers, PORT.on = True, True
        until(lambda: not PORT.on, 10, "the guard has switched it off")
        second.close()
    finally:
        owner.leave()


def test_a_dead_owners_devices_are_switched_off_once_though_they_are_named_twice() -> None:
    PORT.on = True
    owner = Running([place(), place()])
    try:
        until(lambda: not PORT.on and not owner._held, 5, "it is off and forgotten")
        assert PORT.opened == 1
    finally:
        owner.leave()


def test_a_driver_that_cannot_even_be_made_keeps_no_other_device_on() -> None:
    PORT.on = True
    other = Place(kind("Broken"), {**LINK, "channel_no": 2}, "broken")
    owner = Running([other, place()])
    try:
        until(lambda: not PORT.on, 5, "the other one is off")
    finally:
        owner.leave()


def test_a_relay_that_its_user_left_opens_after_the_current_is_off() -> None:
    held = Held(place("Relay"), Relay(LINK))
    held.may_be_on = held.abandoned = True
    assert held.due(100.0) is None
    assert held.due(100.0 + 0.9 * guard.CURRENT_FIRST_S) is None
    assert held.due(100.0 + 1.1 * guard.CURRENT_FIRST_S) is not None
    supply = Held(place(), Supply(LINK))
    supply.may_be_on = supply.abandoned = True
    assert supply.due(100.0) is not None


def test_an_owner_that_dies_before_its_first_word_leaves_its_rescue_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Config = parse({"state_dir": str(tmp_path)}, {})
    made = parent.Parent(settings, Lock(tmp_path / "lock"))
    rescued: list[Any] = []

    class Process:
        pid, exitcode, name = None, -9, "owner"

        def is_alive(self) -> bool:
            return False

        def kill(self) -> None:
            return

        def join(self, timeout_s: float) -> None:
            return

    class Line:
        def close(self) -> None:
            return

    def start(name: str, work: Any, secret: bytes, rescue: list[bytes], file: Path) -> parent.Child:
        rescued.append(rescue)
        child = parent.Child(Process(), Line())  # type: ignore[arg-type]
        child.started_s -= 10.0
        return child

    monkeypatch.setattr(made, "_start", start)
    wanted = [msgspec.Raw(msgspec.msgpack.encode(place()))]
    made._start_owner("visa:x", wanted)
    made._replace_owners()
    made._replace_owners()
    assert [len(each) for each in rescued] == [1, 1, 1]
    assert rescued[2] == [bytes(wanted[0])]


@pytest.mark.parametrize(
    ("silent_s", "off_pending_s", "replaced"),
    [(0.0, 0.0, False), (0.5, 3.0, False), (1.5, 0.0, True), (0.0, 4.5, True)],
)
def test_the_parent_replaces_an_owner_that_is_silent_or_does_not_get_an_off_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_s: float, off_pending_s: float, replaced: bool
) -> None:
    made = parent.Parent(parse({"state_dir": str(tmp_path)}, {}), Lock(tmp_path / "lock"))
    started: list[Any] = []

    class Process:
        pid, exitcode, name = None, None, "owner"

        def is_alive(self) -> bool:
            return True

        def kill(self) -> None:
            started.append("killed")

        def join(self, timeout_s: float) -> None:
            return

    class Line:
        def close(self) -> None:
            return

    owner = parent.Child(Process(), Line())  # type: ignore[arg-type]
    places = [msgspec.Raw(msgspec.msgpack.encode(place()))]
    owner.started_s -= 100.0
    owner.hear()
    owner.heard_s -= silent_s
    owner.looks = round(silent_s / parent.LOOK_S)
    owner.life = Life("somewhere", off_pending_s, places)
    made._owners["visa:x"] = owner
    monkeypatch.setattr(made, "_start_owner", lambda bus, rescue: started.append((bus, rescue)))
    made._replace_owners()
    assert started == (["killed", ("visa:x", places)] if replaced else [])


def test_an_off_that_does_not_read_back_is_not_off() -> None:
    class Stuck(Supply):
        def make_safe(self) -> None:
            self._ask()

    held = Held(place(), Stuck(LINK))
    PORT.holder, PORT.on = held.device, True
    held.is_open = held.may_be_on = True
    assert not held.switch_off("a test")
    assert held.may_be_on
    assert held.off_since_s is not None


def _opens(device: OwnedDevice) -> bool:
    try:
        device.open()
    except DeviceLost:
        return False
    return True
