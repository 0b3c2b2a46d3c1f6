"""Every kind of the catalogue: found, loaded, described, opened, driven. A new row is tested from its first day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cycler_unit import drivers
from cycler_unit.buses import visa
from cycler_unit.drivers.base import PowerDevice, Protections, Target
from cycler_unit.simulators import bench
from tests.stack.simulated import Simulators
from tests.stack.waiting import free_port, until
from wire import kinds
from wire.catalogue import Kind

EACH = pytest.mark.parametrize("kind", kinds.KINDS, ids=[kind.key for kind in kinds.KINDS])
POWER = [kind for kind in kinds.KINDS if kind.role == "power"]


@EACH
def test_a_kind_is_described_completely(kind: Kind) -> None:
    assert kind.label
    assert kind.identity or kind.link != "visa"
    assert {measure.name for measure in kind.measures} >= {"voltage_v", "current_a", "power_w"}
    for measure in kind.measures:
        assert measure.unit
        assert measure.resolution > 0
        assert measure.accuracy > 0
    if kind.role == "power":
        assert kind.off is not None
        assert kind.off.i_off_a > 0
        assert kind.off.stays_connected
        assert kind.off.after_power_on
        assert kind.off.high_cutoff
        assert kind.off.low_cutoff


def test_keys_are_unique_and_found() -> None:
    keys = [kind.key for kind in kinds.KINDS]
    assert len(set(keys)) == len(keys)
    assert all(kinds.get(key).key == key for key in keys)
    with pytest.raises(KeyError, match="known: ea-psb-10060-60"):
        kinds.get("nonsense")


@EACH
def test_a_driver_loads_and_agrees_with_its_row(kind: Kind) -> None:
    driver = drivers.load(kind.driver)
    device = driver({**kind.link_settings, "resource": "TCPIP::127.0.0.1::1::SOCKET"}, name="x")
    assert driver.kind == kind.key
    if isinstance(device, PowerDevice):
        assert driver.nominal_v == kind.voltage_max_v
        assert driver.nominal_a == kind.current_max_a
        assert driver.nominal_w == kind.power_max_w
        assert [driver.step_v, driver.step_a, driver.step_w] == [each.resolution for each in kind.measures]


@EACH
def test_a_driver_on_a_dead_link_is_lost_and_closes_quietly(kind: Kind) -> None:
    device = drivers.load(kind.driver)(
        {**kind.link_settings, "resource": f"TCPIP::127.0.0.1::{free_port()}::SOCKET"}
    )
    with pytest.raises(drivers.errors.DeviceLost):
        device.open()
    device.close()
    device.close()


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    cell = {"chemistry": "NMC", "capacity_ah": 2.5, "r0_ohm": 0.03, "soc": 0.5}
    supplies = [{"name": kind.key, "model": kind.key, "port": free_port(), "cell": cell} for kind in POWER]
    running = Simulators(tmp_path_factory.mktemp("bench"), supplies).start()
    yield running
    running.stop()


@pytest.mark.parametrize("kind", POWER, ids=[kind.key for kind in POWER])
def test_a_power_device_identifies_protects_charges_and_switches_off(
    kind: Kind, simulators: Simulators
) -> None:
    link = next(each for each in simulators.links() if each["name"] == kind.key)
    identity = visa.identify(link)
    assert kinds.match(identity.text) is kind
    device = drivers.load(kind.driver)({**kind.link_settings, **link})
    try:
        assert device.open() == identity
        held = device.protect(Protections(voltage_max_v=4.3, charge_current_max_a=1.5, power_max_w=20.0))
        assert held.voltage_max_v == pytest.approx(4.3, abs=1e-6)
        device.apply(Target("cc", "charge", current_a=1.0, voltage_max_v=4.2, voltage_min_v=2.5))
        step_a = kind.measures[1].resolution
        until(lambda: abs(device.read().current_a - 1.0) < 0.002 + 2 * step_a, 5, "1 A flows")
        assert device.output_is_on()
        assert device.fault() is None
        device.make_safe()
        assert not device.output_is_on()
        off_a = kind.off.i_off_a if kind.off else 0.0
        assert abs(device.read().current_a) < off_a
    finally:
        device.close()


def test_the_simulators_offer_every_power_kind_of_the_family(tmp_path: Path) -> None:
    for kind in POWER:
        bench.parse({"supplies": [{"name": "a", "model": kind.key, "port": 0}]})


def test_a_missing_driver_names_itself() -> None:
    with pytest.raises(drivers.DriverMissing, match=r"no_such_module.*cannot be loaded"):
        drivers.load("no_such_module:Thing")
    with pytest.raises(drivers.DriverMissing, match="no entry point"):
        drivers.load("their-device")
    with pytest.raises(drivers.DriverMissing, match="not a class"):
        drivers.load("cycler_unit.drivers.scpi:ECHO_S")


def test_a_third_party_driver_comes_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_driver.py").write_text("class Theirs:\n    kind = 'their-device'\n")
    metadata = tmp_path / "theirs-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[cellyard.drivers]\ntheir-device = their_driver:Theirs\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert drivers.load("their-device").kind == "their-device"
