"""No write of the EA driver leaves the device outside both the old and the new target."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cycler_unit.drivers.base import Target
from cycler_unit.drivers.ea import Registers
from cycler_unit.drivers.ea_models import Psb10010_05Sim
from cycler_unit.simulators.bench import CellSpec, SupplySpec
from cycler_unit.simulators.ea import EaSupply

from .in_process import InProcess

AMPS = st.floats(0.01, 5.0).map(lambda amps: round(amps, 3))
VOLTS = st.floats(2.5, 4.2).map(lambda volts: round(volts, 3))
BOUNDS = {"voltage_max_v": 4.2, "voltage_min_v": 2.5}


def cc(amps: float) -> Target:
    return Target("cc", current_a=amps, **BOUNDS)


def cp(watts: float, amps: float) -> Target:
    return Target("cp", power_w=watts, charge_current_max_a=amps, discharge_current_max_a=amps, **BOUNDS)


def cr(ohm: float, amps: float) -> Target:
    return Target("cr", "discharge", resistance_ohm=ohm, discharge_current_max_a=amps, voltage_min_v=2.5)


def cv(volts: float, charge_a: float, discharge_a: float) -> Target:
    return Target("cv", voltage_v=volts, charge_current_max_a=charge_a, discharge_current_max_a=discharge_a)


TARGETS = st.one_of(
    AMPS.map(cc),
    AMPS.map(lambda amps: cc(-amps)),
    st.builds(cv, VOLTS, AMPS, AMPS),
    st.builds(cp, st.floats(-20, 20), AMPS),
    st.builds(cr, st.floats(1.0, 100.0), AMPS),
    st.just(Target("off")),
)


def supply() -> EaSupply:
    return EaSupply(
        SupplySpec(name="s", model="ea-psb-10010-05-sim", port=0, cell=CellSpec()), clock=lambda: 0.0
    )


def inside(held: dict[str, float], target: Registers, volts_at: float) -> bool:
    """Tell whether every current and power is within a target that holds this voltage."""
    steps = {"source_a": 1e-4, "sink_a": 1e-4, "source_w": 1e-3, "sink_w": 1e-3}
    wanted = asdict(target)
    return abs(target.voltage_v - volts_at) < 1e-4 and all(
        held[name] <= wanted[name] + step for name, step in steps.items()
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(TARGETS, min_size=2, max_size=6))
def test_every_moment_between_two_targets_is_inside_one_of_them(targets: list[Target]) -> None:
    instrument = supply()
    link = InProcess(instrument)
    device = Psb10010_05Sim({}, transport=link)
    device.open()
    old: Registers | None = None
    for target in targets:
        new = device.registers(target) if target.mode != "off" else None

        def watch(command: str, old: Registers | None = old, new: Registers | None = new) -> None:
            points = instrument.regulator.points
            held = {name: getattr(points, name) for name in ("source_a", "sink_a", "source_w", "sink_w")}
            if instrument.regulator.output:
                allowed = [each for each in (old, new) if each is not None]
                assert any(inside(held, each, points.voltage_v) for each in allowed), (command, held, allowed)

        link.watch = watch
        device.apply(target)
        assert instrument.regulator.output == (target.mode != "off")
        assert not instrument.errors
        old = new


@settings(max_examples=100, deadline=None)
@given(TARGETS.filter(lambda target: target.mode != "off"))
def test_the_device_ends_up_holding_the_target(target: Target) -> None:
    instrument = supply()
    device = Psb10010_05Sim({}, transport=InProcess(instrument))
    device.open()
    device.apply(target)
    points, wanted = vars(instrument.regulator.points), device.registers(target)
    for name, value in asdict(wanted).items():
        if value is not None:
            assert points[name] == pytest.approx(value, abs=1e-3)


def test_changing_direction_never_lets_both_currents_through() -> None:
    instrument = supply()
    link = InProcess(instrument)
    device = Psb10010_05Sim({}, transport=link)
    device.open()
    seen = []
    link.watch = lambda command: seen.append(
        (instrument.regulator.points.source_a, instrument.regulator.points.sink_a)
    )
    for amps in (2.0, -3.0, 1.0, -0.5):
        device.apply(cc(amps))
    assert all(source_a == 0.0 or sink_a == 0.0 for source_a, sink_a in seen)
