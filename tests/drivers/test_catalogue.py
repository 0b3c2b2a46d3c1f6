"""Every kind of the catalogue: found, loaded, described, opened, driven. A new row is tested from its first day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cycler_unit import drivers
from cycler_unit.buses.local import LocalBuses
from cycler_unit.drivers.base import PowerDevice, Protections, Target
from cycler_unit.simulators.device import factory
from tests.stack.simulated import Simulators
from tests.stack.waiting import free_port, until
from wire import kinds
from wire.catalogue import Kind

EACH = pytest.mark.parametrize("kind", kinds.KINDS, ids=[kind.key for kind in kinds.KINDS])
POWER = [kind for kind in kinds.KINDS if kind.role == "power"]
# Text instruments are driven here against the shipped simulator; other links have tests of their own.
TEXT = [kind for kind in kinds.KINDS if kind.link == "visa"]
CELL = {"chemistry": "NMC", "capacity_ah": 2.5, "r0_ohm": 0.03, "soc": 0.5}
# Families whose simulated devices are wired to a cell.
WIRED = ("ea", "kel103", "bk")
BOUNDS = {"voltage_max_v": 4.2, "voltage_min_v": 2.5, "discharge_current_max_a": 2.0}


def link_of(kind: Kind, place: str) -> dict[str, Any]:
    """Return a link of the kind's sort on which nobody answers."""
    port = free_port()
    return {
        "visa": {"resource": f"TCPIP::127.0.0.1::{port}::SOCKET", "open_wait_s": 0.0, "retry_s": 0.2},
        "serial": {"port": f"/dev/null/{place}"},
        "can": {"interface": "virtual", "channel": place, "node": 0x13, "unit": 1},
        "http": {"url": f"http://127.0.0.1:{port}"},
        "modbus": {"host": "127.0.0.1", "port": port, "unit": 1},
        "caen": {"address": place},
    }[kind.link]


@EACH
def test_a_kind_is_described_completely(kind: Kind) -> None:
    assert kind.label
    assert kind.maker
    assert kind.identity or kind.link != "visa" or kind.settings or not kind.probe
    names = [measure.name for measure in kind.measures]
    assert len(set(names)) == len(names)
    for measure in kind.measures:
        assert measure.unit
        assert measure.resolution > 0
        assert measure.accuracy > 0 or measure.accuracy_rel > 0 or measure.resolution >= 1
        assert measure.max_age_s
    for control in kind.controls:
        assert control.label
        assert not control.measure or control.measure in names
        if control.safe is not None and control.minimum is not None and control.maximum is not None:
            assert control.minimum <= control.safe <= control.maximum
    if kind.role == "power":
        assert set(names) >= {"voltage_v", "current_a", "power_w"}
        assert kind.off is not None
        assert kind.off.command
        assert kind.off.i_off_a > 0
        assert kind.off.t_off_s > 0
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
    device = driver({**kind.link_settings, **kind.settings, **link_of(kind, kind.key)}, name="x")
    assert isinstance(device, PowerDevice) == (kind.role == "power")
    if not hasattr(driver, "nominal_v"):
        return
    assert driver.kind == kind.key
    limits = (
        (driver.nominal_v, kind.voltage_min_v, kind.voltage_max_v),
        (driver.nominal_a, kind.current_min_a, kind.current_max_a),
        (driver.nominal_w, kind.power_min_w, kind.power_max_w),
    )
    for nominal, low, high in limits:
        assert nominal == max(abs(low or 0.0), abs(high or 0.0))
    assert [driver.step_v, driver.step_a, driver.step_w] == [each.resolution for each in kind.measures]


@EACH
def test_a_driver_on_a_dead_link_is_lost_and_closes_quietly(kind: Kind) -> None:
    device = drivers.load(kind.driver)({**kind.link_settings, **kind.settings, **link_of(kind, kind.key)})
    with pytest.raises(drivers.errors.DriverError):
        device.open()
    device.close()
    device.close()


@EACH
def test_every_kind_has_a_simulator(kind: Kind) -> None:
    assert callable(factory(kind.family))


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    devices, circuits = [], []
    for kind in TEXT:
        entry: dict[str, Any] = {"name": kind.key, "model": kind.key, "port": 0}
        if kind.family in WIRED:
            circuits.append({"name": kind.key, "cell": CELL})
            entry["circuit"] = kind.key
        devices.append(entry)
    running = Simulators(tmp_path_factory.mktemp("bench"), [], devices=devices, circuits=circuits).start()
    yield running
    running.stop()


@pytest.mark.parametrize("kind", TEXT, ids=[kind.key for kind in TEXT])
def test_a_text_device_is_found_by_a_scan_and_opens_as_the_same(kind: Kind, simulators: Simulators) -> None:
    link = simulators.links_of(kind.key)[0]
    buses = LocalBuses()
    if not kind.identity:
        link["model"] = kind.key
    (seen, *_) = buses.scan(link, lambda done, of, text: None, [])
    assert seen.kind == kind.key
    device = buses.device(kind, link, "x")
    try:
        identity = device.open()
        assert (identity.serial_number, identity.firmware) == (seen.serial_number, seen.firmware)
        measured = device.read()
        for measure in kind.measures:
            own = measured.extended.get(measure.name, getattr(measured, measure.name, None))
            assert own is not None, measure.name
        assert device.exchanges()[-1].to == "host"
    finally:
        device.close()


@pytest.mark.parametrize(
    "kind", [kind for kind in TEXT if kind.role == "power"], ids=lambda kind: str(kind.key)
)
def test_a_power_device_protects_itself_lets_flow_and_switches_off(
    kind: Kind, simulators: Simulators
) -> None:
    device = LocalBuses().device(kind, simulators.links_of(kind.key)[0], "x")
    assert isinstance(device, PowerDevice)
    amps = 1.0 if kind.type != "Load" else -1.0
    try:
        device.open()
        wanted = Protections(
            voltage_max_v=4.3, charge_current_max_a=1.5, discharge_current_max_a=1.5, power_max_w=20.0
        )
        assert device.protect(wanted) == wanted
        device.apply(Target("cc", current_a=amps, charge_current_max_a=2.0, **BOUNDS))
        step_a = kind.measures[1].resolution
        until(lambda: abs((device.read().current_a or 0.0) - amps) < 0.002 + 2 * step_a, 5, f"{amps} A flows")
        assert device.output_is_on()
        assert device.fault() is None
        assert device.unasked() is None
        device.make_safe()
        assert not device.output_is_on()
        off_a = kind.off.i_off_a if kind.off else 0.0
        until(lambda: abs(device.read().current_a or 0.0) < off_a, 5, "no current")
        assert device.unasked() is None
    finally:
        device.close()


@pytest.mark.parametrize(
    "kind", [kind for kind in TEXT if kind.role == "power"], ids=lambda kind: str(kind.key)
)
def test_what_somebody_changes_at_the_panel_of_a_power_device_is_noticed(
    kind: Kind, simulators: Simulators
) -> None:
    device = LocalBuses().device(kind, simulators.links_of(kind.key)[0], "x")
    assert isinstance(device, PowerDevice)
    amps, field = (1.0, "source_a") if kind.type != "Load" else (-1.0, "sink_a")
    try:
        for change in ({"output": False}, {field: 1.5}):
            device.open()
            device.apply(Target("cc", current_a=amps, charge_current_max_a=2.0, **BOUNDS))
            simulators.ask(device=kind.key, fault="panel_change", **change)
            assert device.unasked()
            simulators.ask(device=kind.key, clear=True)
        device.open()
        device.apply(Target("cc", current_a=amps, charge_current_max_a=2.0, **BOUNDS))
        simulators.ask(device=kind.key, fault="reboot")
        assert device.unasked()
        assert not device.output_is_on()
    finally:
        device.close()


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
