"""Safety rule 8: what a permit is while the bus's owner serves a call, on each link of the catalogue."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from cycler_unit.drivers.base import Measured
from cycler_unit.drivers.errors import DeviceFault
from cycler_unit.owner import times
from cycler_unit.owner.calls import DEVICE, Place
from cycler_unit.owner.client import OwnedBuses, OwnedDevice
from cycler_unit.owner.guard import Held
from cycler_unit.parts import Parts
from tests.cycler_unit.test_owner_takes_over import CHARGE, LINK, PORT, Running, Supply, kind
from tests.stack.simulated import MODEL
from tests.stack.waiting import until
from wire import kinds
from wire.messages import StationConfigure, StationDevice

PERMIT_S = 0.5
TCP = {"kind": "visa", "resource": "TCPIP::127.0.0.1::5025::SOCKET"}
SERIAL = {"kind": "visa", "resource": "ASRL/dev/ttyUSB7::INSTR"}
USB = {"kind": "visa", "resource": "USB0::0x232E::0x002E::1234::INSTR"}
CAN = {"kind": "can", "interface": "socketcan", "channel": "can0", "node": 0x13}


class Slow(Supply):
    """A supply whose reading lasts until somebody lets it go."""

    reading = threading.Event()
    answer = threading.Event()

    def read(self) -> Measured:
        Slow.reading.set()
        assert Slow.answer.wait(30.0)
        return super().read()


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    PORT.__init__()  # type: ignore[misc]
    Slow.reading.clear()
    Slow.answer.clear()
    yield
    Slow.answer.set()


def slow_supply(owner: Running, link: dict[str, Any]) -> OwnedDevice:
    """Return a supply that charges under the shortest permit."""
    slow = msgspec.structs.replace(kind(), driver=f"{__name__}:Slow")
    made = OwnedDevice(slow, link, "psu", owner.device()._connect)
    made.open()
    made.permit_s = PERMIT_S
    made.apply(CHARGE)
    assert PORT.on
    return made


@pytest.mark.parametrize("link", [TCP, USB, CAN], ids=["tcp", "usb", "can"])
@pytest.mark.parametrize("do", ["read", "fault", "unasked"])
def test_a_call_on_a_fast_link_gets_nothing_beyond_the_permit(do: str, link: dict[str, Any]) -> None:
    assert times.call_s(do, link) == 0.0


@pytest.mark.parametrize("link", [TCP, USB, CAN], ids=["tcp", "usb", "can"])
def test_a_set_point_on_a_fast_link_gets_the_time_of_two_late_echoes(link: dict[str, Any]) -> None:
    assert times.call_s("apply", link) == pytest.approx(1.2)


def test_a_serial_line_gets_the_time_of_its_bytes_and_of_those_who_share_it() -> None:
    slow = {**SERIAL, "baud_rate": 9600}
    assert times.call_s("read", SERIAL) < 0.05
    assert times.call_s("read", slow) == pytest.approx(3 * 128 * 10 / 9600)
    assert times.call_s("read", slow, 2) == pytest.approx(2 * times.call_s("read", slow))
    assert times.call_s("read", {**SERIAL, "spacing_s": 0.05}) > 3 * 0.05
    assert times.call_s("apply", {**slow, "baud_rate": 300}, 8) == times.MOST_S


@pytest.mark.parametrize("each", [row for row in kinds.KINDS if row.role == "power"], ids=lambda row: row.key)
def test_no_link_of_the_catalogue_gives_a_reading_more_than_the_shortest_permit_and_a_little(
    each: Any,
) -> None:
    for link in (TCP, USB, CAN, SERIAL):
        given = {**each.link_settings, **link}
        assert times.call_s("read", given) <= 0.6, "docs/safety.md says 0.5 s, and 0.55 s at 9,600 baud"
        assert times.call_s("apply", given) <= 2.7, "docs/safety.md says so"


def test_calls_that_renew_no_permit_get_none() -> None:
    assert {do for do in DEVICE if times.call_s(do, {**SERIAL, "baud_rate": 9600})} == set(times.MESSAGES)


def test_an_output_goes_off_while_its_device_keeps_the_loop_waiting() -> None:
    owner = Running()
    try:
        device = slow_supply(owner, LINK)
        waiting = threading.Thread(target=device.read, daemon=True)
        waiting.start()
        assert Slow.reading.wait(10.0)
        held = owner._held[-1]
        assert held.permit_until_s - time.monotonic() <= PERMIT_S, "no longer than rule 8 says"
        until(lambda: not PORT.on, 10, "off though the call is not over")
        assert not Slow.answer.is_set()
        Slow.answer.set()
        waiting.join(10.0)
        with pytest.raises(DeviceFault, match="did not answer 'read' in time"):
            device.fault()
        device.close()
    finally:
        owner.leave()


def test_the_owner_counts_the_settings_of_the_kind_and_who_else_is_on_the_line() -> None:
    owner = Running()
    try:
        ea = next(each for each in kinds.KINDS if each.link_settings.get("baud_rate") == 9600)
        both = [Held(Place(ea, {**SERIAL, "channel_no": number}, "psu"), Supply(LINK)) for number in (1, 2)]
        owner.hold(both[0])
        alone_s = owner.call_s("read", both[0])
        assert alone_s == times.call_s("read", {**ea.link_settings, **SERIAL}) > PERMIT_S
        owner.hold(both[1])
        assert owner.call_s("read", both[0]) == pytest.approx(2 * alone_s)
    finally:
        owner.leave()


def test_a_lapsed_permit_that_was_told_is_not_renewed_by_the_telling() -> None:
    owner = Running()
    try:
        device = slow_supply(owner, LINK)
        PORT.answers = False
        held = owner._held[-1]
        until(lambda: held.off_since_s is not None, 10, "the permit lapsed, and off is not confirmed")
        with pytest.raises(DeviceFault, match="did not renew its permit"):
            device.fault()
        assert held.permit_until_s < time.monotonic(), "the guard goes on with switching off"
        PORT.answers = True
        until(lambda: not PORT.on, 10, "off")
        device.close()
    finally:
        owner.leave()


@pytest.mark.parametrize(("period_s", "permit_s"), [(0.01, 0.5), (0.1, 0.5), (0.2, 1.0), (1.0, 5.0)])
def test_a_stations_permit_is_five_periods_and_at_least_half_a_second(
    period_s: float, permit_s: float
) -> None:
    each = StationDevice(device="d", role="power", model=MODEL, serial_number="1", link=TCP, name="psu")
    configure = StationConfigure(station="s", name="S", version=1, devices=[each])

    class Hub:
        buses = OwnedBuses(lambda link: pytest.fail("nothing is opened here"))

        class devices:
            @staticmethod
            def link_of(device: StationDevice) -> dict[str, Any]:
                return device.link

    power = Parts(configure, Hub(), period_s).power  # type: ignore[arg-type]
    assert [device.permit_s for device in power.devices()] == [permit_s]  # type: ignore[attr-defined]
