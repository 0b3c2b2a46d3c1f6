"""Relays, chambers, couplers and high voltage behind the process that owns their bus, as in the running unit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cycler_unit.drivers import DriverMissing
from cycler_unit.drivers.errors import DeviceFault, DeviceRefused, DriverError
from cycler_unit.owner.client import OwnedDevice
from tests.cycler_unit.owner_process import OwnerProcess
from tests.stack.simulated import Simulators
from tests.stack.waiting import until
from wire import kinds

SWITCHED = [kind.key for kind in kinds.KINDS if kind.link in ("http", "modbus", "caen")]
CELL = {"chemistry": "NMC", "capacity_ah": 2.5, "soc": 0.5}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    devices: list[dict[str, Any]] = [{"name": key, "model": key} for key in SWITCHED]
    devices[SWITCHED.index("modbus-io-coupler")]["circuit"] = "holder"
    circuits = [{"name": "holder", "cell": CELL}]
    running = Simulators(tmp_path_factory.mktemp("owned"), [], devices=devices, circuits=circuits).start()
    yield running
    running.stop()


@pytest.fixture
def owner() -> Iterator[OwnerProcess]:
    running = OwnerProcess()
    yield running
    running.stop()


def owned(owner: OwnerProcess, bench: Simulators, key: str, **more: Any) -> OwnedDevice:
    return OwnedDevice(kinds.get(key), {**bench.links_of(key)[0], **more}, key, owner.connect)


def test_each_is_opened_read_set_and_made_safe_behind_its_owner(
    owner: OwnerProcess, bench: Simulators
) -> None:
    for key in SWITCHED:
        kind = kinds.get(key)
        device = owned(owner, bench, key)
        device.open()
        assert set(device.read().extended) == {measure.name for measure in kind.measures}, key
        control = next(each for each in kind.controls if each.switch or each.unit == "%")
        assert device.set(control.name, 1.0) == 1.0, key
        assert device.held()[control.name] == 1.0, key
        assert device.exchanges(), key
        device.make_safe()
        assert device.held()[control.name] == control.safe, key
        device.close()


def test_errors_keep_their_class_and_their_words(owner: OwnerProcess, bench: Simulators) -> None:
    hv = owned(owner, bench, "caen-v6533")
    hv.open()
    with pytest.raises(DeviceRefused, match="no setting 'warp'"):
        hv.set("warp", 1.0)
    bench.ask(device="caen-v6533", fault="interlock")
    with pytest.raises(DeviceFault, match="interlock open"):
        hv.read()
    bench.ask(device="caen-v6533", clear=True)
    hv.close()


def test_a_makers_library_that_is_missing_hurts_only_its_own_device(
    owner: OwnerProcess, bench: Simulators
) -> None:
    absent = OwnedDevice(
        kinds.get("caen-v6533"), {"kind": "caen", "address": "0_0_0", "link": "NO SUCH"}, "hv", owner.connect
    )
    with pytest.raises(DriverError) as missing:
        absent.open()
    absent.close()
    # With CAEN's library on this computer the wrong link is refused instead.
    assert isinstance(missing.value, DriverMissing | DeviceRefused) or "caen-libs" in str(missing.value)
    lamp = owned(owner, bench, "esp32-pwm-lamp")
    lamp.open()
    lamp.close()


def test_a_killed_owner_lets_the_dead_man_output_open_by_itself(
    owner: OwnerProcess, bench: Simulators
) -> None:
    io = owned(owner, bench, "modbus-io-coupler")
    io.open()
    io.set("isolator", 1.0)
    io.set("dead_man", 1.0)
    connected = lambda: bench.ask(device="modbus-io-coupler", query="truth")["connected"]  # noqa: E731
    assert connected()
    # Nobody is left: no loop, no owner. What opens the circuit is the coupler's own watchdog.
    os.kill(owner.process.pid or 0, signal.SIGKILL)
    until(lambda: not connected(), 15, "the dead-man output opens")
    found = bench.ask(device="modbus-io-coupler", query="truth")
    assert found["outputs"]["isolator"] is True
    assert found["outputs"]["dead_man"] is False


# --- what an output takes when nobody asks for it any more -------------------------------------------


def exhaust(bench: Simulators) -> bool:
    """Return whether the coupler's exhaust really runs."""
    return bool(bench.ask(device="modbus-io-coupler", query="truth")["outputs"]["exhaust"])


def test_an_output_of_a_zone_takes_its_trip_value_when_the_agent_dies(
    owner: OwnerProcess, bench: Simulators
) -> None:
    io = owned(owner, bench, "modbus-io-coupler", safe_values={"exhaust": 1.0})
    io.open()
    assert exhaust(bench), "nobody has read an interlock yet"
    assert io.set("exhaust", 0.0) == 0.0
    assert not exhaust(bench)
    assert io._talk is not None
    io._talk.close()  # what the system does with the connection of a killed process
    until(lambda: exhaust(bench), 10, "the owner knows the value of an alarm")


def test_it_takes_its_trip_value_when_nobody_reads_the_interlocks(
    owner: OwnerProcess, bench: Simulators
) -> None:
    io = owned(owner, bench, "modbus-io-coupler", safe_values={"exhaust": 1.0})
    io.open()
    io.permit_s = 0.5
    io.set("exhaust", 0.0)
    for _ in range(12):
        io.read()
        time.sleep(0.1)  # longer in all than the permit
    assert not exhaust(bench)
    until(lambda: exhaust(bench), 10, "nobody reads any more")
    with pytest.raises(DeviceFault, match="did not renew its permit"):
        io.read()
    io.close()


def test_a_new_owner_gives_it_the_trip_value_too(owner: OwnerProcess, bench: Simulators) -> None:
    io = owned(owner, bench, "modbus-io-coupler", safe_values={"exhaust": 1.0})
    io.open()
    io.set("exhaust", 0.0)
    until(lambda: owner.life.places, 5, "the parent knows of the device")
    owner.process.kill()
    owner.process.join(5)
    other = OwnerProcess(rescue=owner.life.places)
    try:
        until(lambda: exhaust(bench), 10, "the next owner knows it from the parent")
    finally:
        other.stop()


def test_an_output_of_a_zone_stays_as_it_is_when_the_unit_is_stopped_in_order(
    owner: OwnerProcess, bench: Simulators
) -> None:
    io = owned(owner, bench, "modbus-io-coupler", safe_values={"exhaust": 1.0, "siren": 1.0})
    io.open()
    io.set("siren", 0.0)
    io.keep()
    io.close()
    until(lambda: not owner.life.places, 10, "the owner has closed it")
    found = bench.ask(device="modbus-io-coupler", query="truth")["outputs"]
    assert (found["exhaust"], found["siren"]) == (True, False)
