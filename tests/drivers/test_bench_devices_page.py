"""The examples of docs/bench_devices.md are links that a unit takes and a bench that the simulators take."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
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
from tests.stack.process import Process
from tests.stack.waiting import free_port
from wire import kinds

PAGE = Path(__file__).parents[2] / "docs" / "bench_devices.md"
TEXTS: list[str] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
# The last two are the bench without hardware and the unit that reaches it.
EXAMPLES: list[dict[str, Any]] = [yaml.safe_load(text) for text in TEXTS]
BENCH, UNIT = EXAMPLES[-2:]
LINKS = [link for example in EXAMPLES[:-2] for link in example.get("links", [])]
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
    devices, circuits = build(bench.parse(BENCH))
    assert len(devices) == len(BENCH["devices"])
    assert list(circuits) == ["holder", "side"]
    families = {kind.family for kind in kinds.KINDS if kind.link != "can"}
    assert {kinds.get(each["model"]).family for each in BENCH["devices"]} == families
    assert [each["name"] for each in UNIT["links"]] == list(devices)


@pytest.mark.parametrize("device", ["climate box", "relays", "lamp", "chamber", "interlocks", "hv"])
def test_the_faults_that_the_page_names_exist(device: str) -> None:
    made = build(bench.parse(BENCH))[0][device]
    for fault in ("silent", "drop_link", "reboot", "refuse", "freeze", "stuck_on"):
        assert made.fault(fault, {}), fault
    for fault in {"chamber": ["alarm", "door"], "interlocks": ["input_open"], "hv": ["interlock", "over_current", "alarm"]}.get(device, []):  # fmt: skip
        assert made.fault(fault, {}), fault
    made.mend()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """Run the page's bench as it is, but on free ports; return the links of its unit.yaml."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "password").write_text("secret\n")
    texts = TEXTS[-2:]
    for port in re.findall(r"port: (\d+)", texts[0]):
        free = str(free_port())
        texts = [re.sub(rf"\b{port}\b", free, text) for text in texts]
    (folder / "bench.yaml").write_text(texts[0])
    command = [sys.executable, "-m", "cycler_unit.simulators", "--config", str(folder / "bench.yaml")]
    running = Process("simulators", command, folder / "simulators.log").start()
    running.says("ready all")
    links = yaml.safe_load(texts[1])["links"]
    for link in links:
        if "password_file" in link:
            link["password_file"] = str(folder / link["password_file"])
    yield links
    asked = subprocess.run(
        [*command, "--ask", '{"query": "devices"}'], capture_output=True, text=True, timeout=30, check=True
    )
    assert len(json.loads(asked.stdout)["devices"]) == len(links)
    running.stop()
    asked = subprocess.run([*command, "--ask", "{}"], capture_output=True, text=True, timeout=30, check=False)
    assert (asked.returncode, asked.stderr.count("\n")) == (1, 1)
    assert "do the simulators run?" in asked.stderr


@pytest.mark.parametrize("name", [link["name"] for link in UNIT["links"]])
def test_the_pages_unit_finds_and_reads_each_device_of_the_pages_bench(
    pair: list[dict[str, Any]], name: str
) -> None:
    link = next(each for each in pair if each["name"] == name)
    buses = LocalBuses()
    model = next(each["model"] for each in BENCH["devices"] if each["name"] == name)
    found = buses.scan(link, lambda done, of, text: None, [])
    assert {each.kind for each in found} == {model}
    for each in found:
        device = buses.device(kinds.get(model), {**link, **each.link, "open_wait_s": 0.0}, name)
        try:
            assert device.open().serial_number == each.serial_number
            measured = device.read()
            for measure in kinds.get(model).measures:
                own = measured.extended.get(measure.name, getattr(measured, measure.name, None))
                assert own is not None, measure.name
        finally:
            device.close()
