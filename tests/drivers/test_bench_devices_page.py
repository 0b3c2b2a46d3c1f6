"""The examples of docs/bench_devices.md are links that a unit takes and a bench that the simulators take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cycler_unit import config
from cycler_unit.buses.local import LocalBuses
from cycler_unit.buses.protocol import device_key
from cycler_unit.drivers.chamber import ClimateChamber
from cycler_unit.drivers.coupler import IoCoupler
from cycler_unit.drivers.knobs import KnobDevice
from cycler_unit.drivers.registers import parse
from cycler_unit.simulators import bench
from cycler_unit.simulators.program import build
from wire import kinds

PAGE = Path(__file__).parents[2] / "docs" / "bench_devices.md"
EXAMPLES: list[dict[str, Any]] = [
    yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
]
LINKS = [link for example in EXAMPLES for link in example.get("links", [])]
EACH = pytest.mark.parametrize("link", LINKS, ids=[link["name"] for link in LINKS])


@EACH
def test_a_link_of_the_page_makes_a_device_of_its_model(link: dict[str, Any], tmp_path: Path) -> None:
    config.parse({"state_dir": str(tmp_path), "links": [link]}, {})
    kind = kinds.get(link["model"])
    assert kind.link == link["kind"]
    device = LocalBuses().device(kind, link, link["name"])
    assert isinstance(device, KnobDevice)
    if isinstance(device, ClimateChamber):
        parse(device.link["map"], "register map", ("actual", "set_point", "run"))
    if isinstance(device, IoCoupler):
        parse(device.link["outputs"], "list of outputs", ("dead_man",))


def test_every_model_of_these_links_is_on_the_page_and_no_place_twice() -> None:
    offered = {kind.key for kind in kinds.KINDS if kind.link in ("http", "modbus", "caen")}
    assert {link["model"] for link in LINKS} == offered
    places = [device_key(link) for link in LINKS]
    assert len(set(places)) == len(places)


def test_the_pages_bench_is_one_that_the_simulators_build() -> None:
    (example,) = [each for each in EXAMPLES if "devices" in each]
    devices, circuits = build(bench.parse(example))
    assert len(devices) == len(example["devices"])
    assert list(circuits) == ["holder"]


@pytest.mark.parametrize("device", ["climate box", "relays", "lamp", "chamber", "interlocks", "hv"])
def test_the_faults_that_the_page_names_exist(device: str) -> None:
    (example,) = [each for each in EXAMPLES if "devices" in each]
    made = build(bench.parse(example))[0][device]
    for fault in ("silent", "drop_link", "reboot", "refuse", "freeze", "stuck_on"):
        assert made.fault(fault, {}), fault
    for fault in {"chamber": ["alarm", "door"], "interlocks": ["input_open"], "hv": ["interlock", "over_current", "alarm"]}.get(device, []):  # fmt: skip
        assert made.fault(fault, {}), fault
    made.mend()
