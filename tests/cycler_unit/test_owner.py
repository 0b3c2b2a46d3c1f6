"""Safety rule 8: the process that owns a bus switches off what its control loop does not ask for any more.

Broken on purpose on a real owner process and a simulated supply; what counts is the supply's own truth.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cycler_unit.drivers.errors import DeviceFault, DeviceLost
from cycler_unit.owner.calls import Place
from cycler_unit.owner.client import OwnedBuses, OwnedDevice
from tests.cycler_unit.owner_process import CHARGE, OwnerProcess
from tests.stack.simulated import MODEL, Simulators
from tests.stack.waiting import until
from wire import kinds


@pytest.fixture
def owner(simulators: Simulators) -> Iterator[OwnerProcess]:
    simulators.ask(device="psb1", clear=True)
    running = OwnerProcess()
    yield running
    running.stop()


@pytest.fixture
def link(simulators: Simulators) -> dict[str, Any]:
    return simulators.links()[0]


def charging(owner: OwnerProcess, link: dict[str, Any], permit_s: float = 0.5) -> OwnedDevice:
    """Return a device that charges under a permit."""
    device = owner.device(link)
    device.open()
    device.permit_s = permit_s
    device.apply(CHARGE)
    assert device.output_is_on()
    return device


def is_on(simulators: Simulators) -> bool:
    return bool(simulators.ask(device="psb1", query="truth")["output"])


def goes_off(simulators: Simulators, timeout_s: float = 10.0) -> None:
    until(lambda: not is_on(simulators), timeout_s, "the supply's output is off")


def test_it_carries_the_whole_interface_of_a_device(owner: OwnerProcess, link: dict[str, Any]) -> None:
    device = charging(owner, link)
    measured = device.read()
    assert measured.voltage_v == pytest.approx(3.8, abs=0.3)
    assert measured.current_a == pytest.approx(0.2, abs=0.01)
    assert device.fault() is None
    device.make_safe()
    assert not device.output_is_on()
    device.close()
    with pytest.raises(DeviceLost, match="not open"):
        device.read()


def test_a_renewed_permit_keeps_the_output_on(
    owner: OwnerProcess, link: dict[str, Any], simulators: Simulators
) -> None:
    device = charging(owner, link)
    began_s = time.monotonic()
    while time.monotonic() - began_s < 1.2:  # more than two permits
        device.read()
    assert is_on(simulators)
    device.close()


def test_a_loop_that_stops_renewing_loses_the_output(
    owner: OwnerProcess, link: dict[str, Any], simulators: Simulators
) -> None:
    device = charging(owner, link)
    goes_off(simulators)
    until(lambda: owner.life.off_pending_s == 0.0, 5, "the owner has read it back")
    with pytest.raises(DeviceFault, match="did not renew its permit"):
        device.read()
    # Told once; off is off, and the device works on.
    assert device.read().current_a == pytest.approx(0.0, abs=0.01)
    device.close()


def test_a_dead_agent_takes_its_outputs_with_it(
    owner: OwnerProcess, link: dict[str, Any], simulators: Simulators
) -> None:
    device = charging(owner, link, permit_s=60.0)
    assert device._talk is not None
    device._talk.close()  # what the system does with the connection of a killed process
    goes_off(simulators)


def test_a_supply_that_cannot_be_reached_is_tried_until_it_is_off(
    owner: OwnerProcess, link: dict[str, Any], simulators: Simulators
) -> None:
    device = charging(owner, link)
    simulators.ask(device="psb1", fault="drop_link", how="close")
    until(lambda: owner.life.off_pending_s > 0.0, 10, "the owner says that an off is pending")
    assert is_on(simulators)
    simulators.ask(device="psb1", fault="drop_link", how="close", for_s=0.0)
    goes_off(simulators)
    until(lambda: owner.life.off_pending_s == 0.0, 10, "nothing is pending any more")
    device.close()


def test_it_switches_off_when_its_parent_falls_silent(
    owner: OwnerProcess, link: dict[str, Any], simulators: Simulators
) -> None:
    device = charging(owner, link, permit_s=60.0)
    owner.ticking = False
    goes_off(simulators, 15)
    until(lambda: not owner.process.is_alive(), 10, "the owner has ended")
    with pytest.raises(DeviceLost):
        device.read()


def test_a_new_owner_switches_off_what_a_stopped_one_left_on(
    owner: OwnerProcess, link: dict[str, Any], simulators: Simulators
) -> None:
    device = charging(owner, link, permit_s=60.0)
    until(lambda: owner.life.places, 5, "the parent knows of the device")
    os.kill(owner.process.pid, signal.SIGSTOP)
    owner.process.kill()
    owner.process.join(5)
    assert is_on(simulators)
    other = OwnerProcess(rescue=owner.life.places)
    try:
        goes_off(simulators)
    finally:
        other.stop()
        device.close()


def test_a_rescue_of_a_dead_device_does_not_keep_the_owner_from_others(
    simulators: Simulators, link: dict[str, Any]
) -> None:
    simulators.ask(device="psb1", clear=True)
    nobody = {"kind": "visa", "resource": "TCPIP::127.0.0.1::9::SOCKET"}
    owner = OwnerProcess(rescue=[Place(kinds.get(MODEL), nobody, "gone")])
    try:
        device = owner.device(link)
        assert device.open().serial_number
        until(lambda: owner.life.off_pending_s > 0.0, 10, "the dead one is still tried")
        device.close()
    finally:
        owner.stop()


def test_the_bus_itself_can_be_asked_beside_its_devices(owner: OwnerProcess, link: dict[str, Any]) -> None:
    buses = OwnedBuses(owner.connect)
    told: list[tuple[int, int, str]] = []
    seen = buses.scan(link, lambda *said: told.append(said), [])
    assert [each.kind for each in seen] == [MODEL]
    assert told
    device = buses.device(kinds.get(MODEL), link, "psb1")
    device.open()
    assert "PSB 10010-05" in buses.query(link, "*IDN?", 1.0)[0]
    assert buses.scan(link, lambda *said: None, [link]) == []
    buses.stop()
    with pytest.raises(DeviceLost):
        device.read()


def test_what_a_person_set_by_hand_falls_back_when_the_agent_hangs(
    owner: OwnerProcess, link: dict[str, Any], simulators: Simulators
) -> None:
    """A device in hand has a permit too: renewed without asking the device, made safe without renewal."""
    device = charging(owner, link, permit_s=1.0)
    for _ in range(12):
        device.renew()
        time.sleep(0.1)  # longer in all than the permit: only the renewals keep it
    assert is_on(simulators)
    goes_off(simulators)
    until(lambda: owner.life.off_pending_s == 0.0, 5, "read back")
    with pytest.raises(DeviceFault, match="did not renew its permit"):
        device.set("current_a", 0.1)
    device.close()
