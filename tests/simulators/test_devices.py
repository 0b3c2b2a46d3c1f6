"""The bench file's `devices` and `circuits`: sharing, control by circuit, wrong entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cycler_unit import drivers
from cycler_unit.drivers.base import Target
from cycler_unit.simulators import bench
from cycler_unit.simulators.bench import BenchError
from tests.stack.simulated import Simulators
from tests.stack.waiting import until
from wire import kinds

PSB = "ea-psb-10010-05-sim"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    simulators = Simulators(
        tmp_path_factory.mktemp("bench"),
        [],
        circuits=[{"name": "holder", "cell": {"capacity_ah": 2.5, "soc": 0.5}, "ambient_c": 30.0}],
        devices=[
            {"name": "one", "model": PSB, "circuit": "holder", "port": 0},
            {"name": "two", "model": PSB, "circuit": "holder", "port": 0},
        ],
    ).start()
    yield simulators
    simulators.stop()


def test_two_devices_of_a_bench_file_share_one_cell(running: Simulators) -> None:
    kind = kinds.get(PSB)
    one, two = (
        drivers.load(kind.driver)({**kind.link_settings, **running.links_of(name)[0]}, name=name)
        for name in ("one", "two")
    )
    try:
        one.open()
        two.open()
        one.apply(Target("cc", current_a=1.0, voltage_max_v=4.2, voltage_min_v=2.5))
        two.apply(Target("cc", current_a=-0.25, voltage_max_v=4.2, voltage_min_v=2.5))
        until(lambda: abs(two.read().current_a + 0.25) < 0.002, 5, "-0.25 A")
        assert abs(one.read().current_a - 1.0) < 0.002
        truth = running.ask(circuit="holder", query="truth")
        assert truth["current_a"] == pytest.approx(0.75)
        assert truth["ambient_c"] == 30.0
    finally:
        one.make_safe()
        two.make_safe()
        one.close()
        two.close()


def test_a_circuit_is_broken_and_mended_by_its_name(running: Simulators) -> None:
    assert running.ask(circuit="holder", fault="reversed")["ok"]
    assert running.ask(device="two", query="truth")["voltage_v"] < -3.0
    assert running.ask(circuit="holder", clear=True)["ok"]
    assert running.ask(device="two", query="truth")["voltage_v"] > 3.0


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"circuit": "nowhere", "query": "truth"}, "no circuit 'nowhere'; there are holder"),
        ({"circuit": "holder", "query": "exchanges"}, "no query 'exchanges' for holder"),
        ({"circuit": "holder", "fault": "freeze"}, "no fault 'freeze' for holder"),
    ],
)
def test_a_wrong_line_about_a_circuit_is_a_sentence(
    running: Simulators, asked: dict[str, Any], why: str
) -> None:
    answer = running.ask(**asked)
    assert not answer["ok"]
    assert why in answer["error"]


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        ({}, "neither `supplies` nor `devices`"),
        ({"devices": [{"name": "a"}]}, "a name and a model"),
        ({"devices": [{"name": "a", "model": "nonsense"}]}, "a: unknown device model 'nonsense'"),
        ({"devices": [{"name": "a", "model": PSB, "circuit": "h"}]}, "a: no circuit 'h'; there are none"),
        (
            {"devices": [{"name": "a", "model": PSB, "port": 0}], "circuits": [{"name": "h", "speed": 0}]},
            "h: speed must be positive",
        ),
        ({"devices": [{"name": "a", "model": PSB, "port": 0}] * 2}, "'a' is used twice"),
    ],
)
def test_a_wrong_entry_is_named(tree: dict[str, Any], why: str) -> None:
    with pytest.raises(BenchError, match=why):
        bench.parse(tree)


def test_a_wrong_option_of_a_family_is_named() -> None:
    from cycler_unit.simulators import program

    with pytest.raises(BenchError, match=r"a: .*prot"):
        program.build(bench.parse({"devices": [{"name": "a", "model": PSB, "port": 0, "prot": 1}]}))
    with pytest.raises(BenchError, match="a: give a port, a pty or both"):
        program.build(bench.parse({"devices": [{"name": "a", "model": PSB}]}))


EVERY_FAULT = (
    "drop_link", "freeze", "drift", "noise", "stuck_on", "refuse", "clamp", "reboot", "local", "panel_change",
    "mains_lost", "wrong_cell", "capacity_x10", "capacitor", "reversed", "sense_open", "sensor_off", "alarm",
    "leak", "isolator",
)  # fmt: skip


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_every_fault_can_be_asked_of_a_supply_and_is_mended(running: Simulators, fault: str) -> None:
    before = running.ask(circuit="holder", query="truth")
    assert running.ask(device="one", fault=fault) == {"ok": True, "fault": fault}
    assert running.ask(device="one", clear=True)["ok"]
    after = running.ask(circuit="holder", query="truth")
    assert after["voltage_v"] == pytest.approx(before["voltage_v"], abs=0.01)
    assert after["connected"]
    kind = kinds.get(PSB)
    device = drivers.load(kind.driver)({**kind.link_settings, **running.links_of("one")[0]}, name="one")

    def opened() -> bool:
        device.open()
        return True

    until(opened, 5, "it answers again")
    assert device.fault() is None
    device.close()
