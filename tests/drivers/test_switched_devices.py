"""Every device that only switches and measures, against its simulator: read, set, read back, made safe.

A new row of the catalogue is tested here from its first day.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import pytest

from cycler_unit import drivers
from cycler_unit.drivers.base import Device
from cycler_unit.drivers.errors import DeviceLost, DeviceRefused
from cycler_unit.drivers.knobs import KnobDevice
from tests.stack.simulated import Simulators
from wire import kinds
from wire.catalogue import Kind, KindControl

SWITCHED = [kind for kind in kinds.KINDS if kind.link in ("http", "modbus", "caen")]
EACH = pytest.mark.parametrize("kind", SWITCHED, ids=[kind.key for kind in SWITCHED])
# Down leaves these alone: they say how fast or how far something goes, not whether.
LEFT_ALONE = {"iset_a", "trip_s", "svmax_v", "rup_v_s", "rdwn_v_s", "imon_range"}


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    devices = [{"name": kind.key, "model": kind.key} for kind in SWITCHED]
    running = Simulators(tmp_path_factory.mktemp("switched"), [], devices=devices).start()
    yield running
    running.stop()


def make(kind: Kind, link: dict[str, Any]) -> Device:
    device: Device = drivers.load(kind.driver)({**kind.link_settings, **kind.settings, **link}, name="it")
    return device


@contextlib.contextmanager
def opened(simulators: Simulators, kind: Kind) -> Iterator[Device]:
    device = make(kind, simulators.links_of(kind.key)[0])
    device.open()
    try:
        yield device
    finally:
        device.close()


def another(control: KindControl) -> float:
    """Return a value that the control does not have after Down, on its own step."""
    assert control.minimum is not None
    assert control.maximum is not None
    if control.switch:
        return 0.0 if control.safe == 1.0 else 1.0
    steps = round((control.maximum - control.minimum) / control.step)
    return control.minimum + control.step * min(steps, 7)


def test_there_are_such_devices() -> None:
    assert {kind.family for kind in SWITCHED} >= {"caen", "esphome", "esp32", "chamber", "io"}
    assert all(issubclass(drivers.load(kind.driver), KnobDevice) for kind in SWITCHED)


@EACH
def test_every_control_has_a_safe_value_or_only_says_how_fast(kind: Kind) -> None:
    assert kind.controls
    for control in kind.controls:
        assert control.safe is not None or control.name in LEFT_ALONE
        assert control.step > 0
        assert control.unit
    orders = [control.order for control in kind.controls if control.safe is not None]
    assert orders == sorted(orders), "the row lists its controls as Down writes them"


@EACH
def test_every_declared_measure_is_read_as_a_number(kind: Kind, simulators: Simulators) -> None:
    with opened(simulators, kind) as device:
        measured = device.read()
    assert set(measured.extended) == {measure.name for measure in kind.measures}
    for name, value in measured.extended.items():
        assert value is not None, name
        assert math.isfinite(value), name
    sentinels = {measure.name: measure.sentinels for measure in kind.measures}
    assert not [name for name, value in measured.extended.items() if value in sentinels[name]]


@EACH
def test_every_control_is_set_read_back_and_made_safe(kind: Kind, simulators: Simulators) -> None:
    with opened(simulators, kind) as device:
        assert set(device.held()) == {control.name for control in kind.controls}
        for control in kind.controls:
            value = another(control)
            held = device.set(control.name, value)
            assert held == pytest.approx(value, abs=control.step)
            assert device.held()[control.name] == pytest.approx(value, abs=control.step)
            if control.measure:
                assert device.read().extended[control.measure] == pytest.approx(value, abs=control.step)
        device.make_safe()
        safe = {control.name: control.safe for control in kind.controls if control.safe is not None}
        held_now = device.held()
        assert {name: held_now[name] for name in safe} == pytest.approx(safe)


@EACH
def test_opening_makes_safe_what_somebody_left_on(kind: Kind, simulators: Simulators) -> None:
    first = next(control for control in kind.controls if control.safe is not None)
    with opened(simulators, kind) as device:
        device.set(first.name, another(first))
    with opened(simulators, kind) as device:
        assert device.held()[first.name] == first.safe


@EACH
def test_a_look_switches_nothing(kind: Kind, simulators: Simulators) -> None:
    first = next(control for control in kind.controls if control.safe is not None)
    with opened(simulators, kind) as device:
        device.set(first.name, another(first))
        identity = make(kind, simulators.links_of(kind.key)[0]).look()  # type: ignore[attr-defined]
        assert identity.serial_number
        assert device.held()[first.name] != first.safe


@EACH
def test_what_it_does_not_have_or_take_is_refused(kind: Kind, simulators: Simulators) -> None:
    control = kind.controls[0]
    with opened(simulators, kind) as device:
        with pytest.raises(DeviceRefused, match=r"no setting 'warp'; there are .*" + control.name):
            device.set("warp", 1.0)
        with pytest.raises(DeviceRefused, match="must be a number"):
            device.set(control.name, math.nan)
        for each in kind.controls:
            with pytest.raises(DeviceRefused, match=r"is a switch|must be within"):
                device.set(each.name, (each.maximum or 0.0) + 10.0)
            if each.switch:
                with pytest.raises(DeviceRefused, match="is a switch: 0 or 1"):
                    device.set(each.name, 0.5)


@EACH
def test_its_identity_is_the_rows_and_stays_the_same(kind: Kind, simulators: Simulators) -> None:
    link = simulators.links_of(kind.key)[0]
    seen = []
    for _ in range(2):
        device = make(kind, link)
        seen.append(device.open())
        device.close()
    assert seen[0] == seen[1]
    assert seen[0].serial_number
    if kind.identity:
        assert kinds.match(seen[0].text) is kind


@EACH
def test_a_cut_cable_is_lost_and_comes_back(kind: Kind, simulators: Simulators) -> None:
    with opened(simulators, kind) as device:
        simulators.ask(device=kind.key, fault="drop_link")
        with pytest.raises(DeviceLost):
            device.read()
        simulators.ask(device=kind.key, clear=True)
        device.open()
        assert device.read().extended


@EACH
def test_a_refused_order_is_an_error_and_never_swallowed(kind: Kind, simulators: Simulators) -> None:
    control = kind.controls[0]
    with opened(simulators, kind) as device:
        simulators.ask(device=kind.key, fault="refuse")
        try:
            with pytest.raises(drivers.errors.DriverError):
                device.set(control.name, another(control))
        finally:
            simulators.ask(device=kind.key, clear=True)


@EACH
def test_its_exchanges_are_kept_for_the_black_box(kind: Kind, simulators: Simulators) -> None:
    with opened(simulators, kind) as device:
        for _ in range(60):
            device.read()
        kept = device.exchanges()
    assert 0 < len(kept) <= 200
    assert {each.to for each in kept} == {"device", "host"}
    assert [each.at_s for each in kept] == sorted(each.at_s for each in kept)
