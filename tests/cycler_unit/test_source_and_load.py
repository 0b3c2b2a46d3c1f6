"""Rule 14: a source and a load are one current path, never on together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cycler_unit.channel import ChannelPower, halves
from cycler_unit.drivers.base import Exchange, Identity, Measured, PowerDevice, Protections, Target
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused
from cycler_unit.parts import BadStation, Parts
from cycler_unit.power import Power
from tests.cycler_unit.lab import Lab, cc
from tests.stack.simulated import Simulators
from tests.stack.waiting import until
from wire import kinds
from wire.messages import ExperimentStop

SOURCE, LOAD = kinds.get("ea-ps-2084-05-b"), kinds.get("ea-el-9080-170-b")


class Half(PowerDevice):
    """One scripted half; ``log`` is shared, so that the order of both can be seen."""

    def __init__(self, name: str, sign: float, log: list[str]) -> None:
        super().__init__({}, name=name)
        self.sign, self.log = sign, log
        self.on = False
        self.stuck = self.lost = False
        self.current_a = 0.0

    def open(self) -> Identity:
        self._there()
        self.make_safe()
        return Identity("Acme", self.name, "1", "1")

    def _there(self) -> None:
        if self.lost:
            raise DeviceLost(f"{self.name} is gone")

    def close(self) -> None:
        pass

    def make_safe(self) -> None:
        self._there()
        self.log.append(f"{self.name} off")
        if not self.stuck:
            self.on, self.current_a = False, 0.0

    def read(self) -> Measured:
        self._there()
        now_s = time.monotonic()
        return Measured(3.7, self.current_a, 3.7 * self.current_a, now_s, int(time.time() * 1e6))

    def apply(self, target: Target) -> None:
        self._there()
        self.log.append(f"{self.name} on")
        self.on, self.current_a = True, target.current_a or 0.1 * self.sign

    def output_is_on(self) -> bool:
        self._there()
        return self.on

    def protect(self, protections: Protections) -> Protections:
        self.log.append(f"{self.name} protect {protections.charge_current_max_a} {protections.voltage_min_v}")
        return protections

    def fault(self) -> str | None:
        return None

    def exchanges(self) -> list[Exchange]:
        return [Exchange(at_s=time.time(), to="device", text=each) for each in self.log if self.name in each]


@pytest.fixture
def halves_of() -> tuple[ChannelPower, Half, Half, list[str]]:
    log: list[str] = []
    source, load = Half("source", 1.0, log), Half("load", -1.0, log)
    power = ChannelPower(Power(source, SOURCE, ""), Power(load, LOAD, ""))
    power.open()
    log.clear()
    return power, source, load, log


def target(current_a: float) -> Target:
    return Target(
        "cc", current_a=current_a, voltage_max_v=4.2, voltage_min_v=2.8,
        charge_current_max_a=max(current_a, 0.0), discharge_current_max_a=max(-current_a, 0.0),
    )  # fmt: skip


Halves = tuple[ChannelPower, Half, Half, list[str]]


def test_another_direction_is_off_measured_off_then_on(halves_of: Halves) -> None:
    power, _source, _load, log = halves_of
    power.apply(target(1.0))
    power.apply(target(-1.0))
    assert log == ["load off", "source on", "source off", "load on"]


def test_the_same_direction_again_switches_nothing_off(halves_of: Halves) -> None:
    power, _source, _load, log = halves_of
    power.apply(target(1.0))
    power.apply(target(2.0))
    assert log == ["load off", "source on", "source on"]


def test_a_half_that_does_not_go_off_keeps_the_other_one_off(halves_of: Halves) -> None:
    power, source, load, log = halves_of
    power.apply(target(1.0))
    source.stuck = True
    with pytest.raises(DeviceFault, match="source is not off"):
        power.apply(target(-1.0))
    assert not load.on
    assert "load on" not in log


def test_two_currents_that_cancel_out_are_not_off(halves_of: Halves) -> None:
    power, source, load, _log = halves_of
    source.current_a, load.current_a = 1.0, -1.0
    source.stuck = load.stuck = True
    result = power.off()
    assert not result.confirmed
    assert "still flows" in result.text


def test_the_cells_current_is_the_signed_sum(halves_of: Halves) -> None:
    power, source, load, _log = halves_of
    source.current_a, load.current_a = 1.5, -0.25
    measured = power.read()
    assert measured.current_a == pytest.approx(1.25)
    assert [part.current_a for part in power.parts(measured) if part] == [1.5, -0.25]


def test_both_are_switched_off_though_one_is_lost(halves_of: Halves) -> None:
    power, source, load, log = halves_of
    power.apply(target(1.0))
    source.lost, load.on = True, True
    with pytest.raises(DeviceLost):
        power.off()
    assert log[-1] == "load off"
    assert not load.on


def test_opening_with_one_lost_switches_the_other_one_off_and_fails(halves_of: Halves) -> None:
    power, source, load, _log = halves_of
    source.lost, load.on = True, True
    with pytest.raises(DeviceLost, match="source"):
        power.open()
    assert not load.on
    assert not power.is_open


def test_an_idle_half_that_is_on_is_what_nobody_asked_for(halves_of: Halves) -> None:
    power, _source, load, _log = halves_of
    power.apply(target(1.0))
    assert power.device.unasked() is None
    load.on = True
    assert power.device.unasked() == "load: its output is on"


def test_each_half_gets_its_own_protections(halves_of: Halves) -> None:
    power, _source, _load, log = halves_of
    wanted = Protections(4.4, 2.7, 2.1, 2.2, None)
    assert power.protect(wanted) is None
    assert log == ["source protect 2.1 None", "load protect None 2.7"]


@pytest.mark.parametrize("quadrants", ["charge", "discharge"])
def test_a_set_point_outside_the_quadrants_is_refused_before_anything_is_sent(quadrants: str) -> None:
    log: list[str] = []
    half = Half("psb", 1.0, log)
    power = Power(half, LOAD, "", quadrants)
    allowed, other = (1.0, -1.0) if quadrants == "charge" else (-1.0, 1.0)
    with pytest.raises(DeviceRefused, match=f"may only {quadrants}"):
        power.apply(target(other))
    assert log == []
    power.apply(target(allowed))
    assert log == ["psb on"]


def test_a_held_voltage_keeps_to_its_quadrant() -> None:
    seen: list[Target] = []
    half = Half("psb", 1.0, [])
    half.apply = seen.append  # type: ignore[method-assign]
    Power(half, LOAD, "", "charge").apply(
        Target("cv", voltage_v=4.0, charge_current_max_a=1.0, discharge_current_max_a=1.0)
    )
    assert (seen[0].direction, seen[0].discharge_current_max_a) == ("charge", 0.0)


def test_only_one_source_and_one_load_make_a_channel() -> None:
    psb = kinds.get("ea-psb-10060-60")
    assert halves([LOAD, SOURCE]) == (1, 0)
    assert halves([SOURCE, SOURCE]) is None
    assert halves([psb, LOAD]) is None
    assert halves([SOURCE]) is None


# --- on their simulators ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    running = Simulators(
        tmp_path_factory.mktemp("pair"),
        [],
        circuits=[{"name": "cell", "cell": {"capacity_ah": 2.5, "soc": 0.5, "r0_ohm": 0.02}}],
        devices=[
            {"name": "source", "model": SOURCE.key, "circuit": "cell", "port": 0},
            {"name": "load", "model": LOAD.key, "circuit": "cell", "port": 0},
        ],
    ).start()
    yield running
    running.stop()


@pytest.fixture
def lab(tmp_path: Path, pair: Simulators) -> Iterator[Lab]:
    lab = Lab(tmp_path / "unit", pair, {"source": "power", "load": "power"})
    try:
        lab.clear()
        yield lab.idle()  # type: ignore[misc]
    finally:
        lab.clear()
        lab.stop()


def outputs(lab: Lab) -> tuple[bool, bool]:
    """Return whether source and load are really on."""
    return lab.of("source")["output"], lab.of("load")["output"]


def test_a_test_charges_with_the_source_and_discharges_with_the_load(lab: Lab) -> None:
    started = lab.go(cc(1.0, 1.5), cc(-1.0, 1.5))
    detail = lab.ended(40)
    assert detail["status"] == "finished", detail
    rows = [row for row in lab.rows(started.experiment) if row["mode"] == "cc"]
    for step, wanted_a in ((1, 1.0), (2, -1.0)):
        found = [row["current_a"] for row in rows if row["step"] == step]
        # The load resolves 0.1 A, and both are summed.
        assert sum(found) / len(found) == pytest.approx(wanted_a, abs=0.15)
    assert outputs(lab) == (False, False)


def test_source_and_load_were_never_on_together(lab: Lab) -> None:
    lab.go(cc(1.0, 0.5), cc(-1.0, 0.5), cc(1.0, 0.5))
    lab.ended(40)

    def switched(name: str) -> list[tuple[float, bool]]:
        found = lab.simulators.ask(device=name, query="exchanges")["exchanges"]
        return [
            (each["at_s"], "ON" in each["text"].split()[1])
            for each in found
            if each["to"] == "device" and each["text"].startswith("OUTP O")
        ]

    changes = sorted([(at, "source", on) for at, on in switched("source")] + [(at, "load", on) for at, on in switched("load")])  # fmt: skip
    on: dict[str, bool] = {}
    for _at, name, state in changes:
        on[name] = state
        assert not (on.get("source") and on.get("load"))
    assert sum(state for _at, _name, state in changes) >= 3


def test_losing_one_of_them_switches_the_other_one_off_and_ends_the_test(lab: Lab) -> None:
    lab.go(cc(1.0))
    until(lambda: outputs(lab)[0], 10)
    lab.break_("load", "drop_link", for_s=2.0)
    detail = lab.ended(30)
    assert detail["end_reason"]["code"] == "device_lost"
    until(lambda: outputs(lab) == (False, False), 10, "both are off")


def test_a_load_that_somebody_switches_on_while_the_source_charges_is_an_error(lab: Lab) -> None:
    lab.go(cc(1.0))
    until(lambda: outputs(lab)[0], 10)
    lab.break_("load", "panel_change", output=True)
    detail = lab.ended(30)
    assert detail["status"] == "error"
    until(lambda: outputs(lab) == (False, False), 10, "both are off")


def test_a_stop_is_confirmed_on_both(lab: Lab) -> None:
    started = lab.go(cc(-1.0))
    until(lambda: outputs(lab)[1], 10)
    assert lab.ask("stop", ExperimentStop(experiment=started.experiment), urgent=True).outcome == "done"
    assert outputs(lab) == (False, False)


def test_two_sources_are_no_station(lab: Lab) -> None:
    first = lab.configure.devices[0]
    second = msgspec.structs.replace(first, device="another")
    with pytest.raises(BadStation, match="one source and one load"):
        Parts(msgspec.structs.replace(lab.configure, devices=[first, second]), lab.hub, 0.1)
