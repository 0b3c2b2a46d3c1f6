"""Somebody else's package: installed beside Cellyard, its device is driven and described to the site."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cycler_unit import catalogue
from cycler_unit.buses.local import LocalBuses
from cycler_unit.devices import Devices
from tests.drivers.scripted import ScriptedServer, http_answer, http_seen, http_whole
from wire import kinds
from wire.catalogue import Kind
from wire.messages import DeviceReport

# What docs/add_a_driver.md tells another package to ship: a driver, a row, two entry points.
DRIVER = '''
"""A kettle with a web server."""

from cycler_unit.buses.http import HttpLink
from cycler_unit.drivers.base import Identity
from cycler_unit.drivers.knobs import Knob, KnobDevice


class Kettle(KnobDevice):
    kind = "acme-kettle"

    def connect(self):
        self.http = HttpLink(self.link, self.ring)
        self.http.open()
        self._knobs = {"heat": Knob(write=self.heat, look=self.heats, switch=True, safe=0.0)}

    def identify(self):
        return Identity("Acme", "Kettle", self.http.get("/").json()["serial"], "1.0")

    def values(self):
        page = self.http.get("/").json()
        return {"water_c": page["water_c"], "heat": float(page["heat"])}

    def heat(self, value):
        self.http.post("/heat", {"on": bool(value)})

    def heats(self):
        return float(self.http.get("/").json()["heat"])

    def close(self):
        if hasattr(self, "http"):
            self.http.close()
'''
ROWS = '''
"""What the kettle is."""

from wire.catalogue import Kind, KindControl, KindMeasure

KETTLE = Kind(
    key="acme-kettle",
    label="Acme kettle",
    maker="Acme",
    model="Kettle",
    type="Relay",
    family="acme",
    driver="acme-kettle",
    role="auxiliary",
    link="http",
    probe="",
    identity=r"^Acme, Kettle,",
    measures=(
        KindMeasure(name="water_c", unit="°C", resolution=0.1, accuracy=1.0, max_age_s=5.0),
        KindMeasure(name="heat", unit="bool", resolution=1.0, max_age_s=5.0),
    ),
    controls=(KindControl(name="heat", label="Heater", unit="bool", switch=True, safe=0.0, measure="heat"),),
)
ROWS = (KETTLE,)
'''
ENTRY_POINTS = """
[cellyard.drivers]
acme-kettle = acme_kettle:Kettle

[cellyard.kinds]
acme = acme_kettle_kinds:ROWS
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the package into a folder on the path, as pip would."""
    (tmp_path / "acme_kettle.py").write_text(DRIVER)
    (tmp_path / "acme_kettle_kinds.py").write_text(ROWS)
    metadata = tmp_path / "acme_kettle-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-kettle\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue.forget()
    yield
    catalogue.forget()
    for module in ("acme_kettle", "acme_kettle_kinds"):
        sys.modules.pop(module, None)


class KettleServer(ScriptedServer):
    """The kettle itself."""

    heat = True

    def __init__(self) -> None:
        super().__init__(http_whole, http_seen)
        self.heard: list[bytes] = []

    def _answer(self, request: bytes) -> bytes:
        self.heard.append(request)
        if request.startswith(b"POST /heat "):
            self.heat = bool(json.loads(request.partition(b"/heat ")[2])["on"])
            return http_answer("")
        return http_answer(json.dumps({"serial": "K-7", "water_c": 21.5, "heat": self.heat}))


@pytest.fixture
def kettle() -> Iterator[KettleServer]:
    server = KettleServer()
    yield server
    server.close()


def test_a_unit_describes_a_device_that_the_site_does_not_know(installed: None, kettle: KettleServer) -> None:
    with pytest.raises(KeyError):
        kinds.get("acme-kettle")
    link = {"kind": "http", "url": f"http://127.0.0.1:{kettle.port}", "model": "acme-kettle"}
    found = Devices([link], LocalBuses())
    report = found.scan(make_safe=True)
    assert kettle.heat is False, "a starting unit makes every device safe"
    (device,) = report.devices
    assert (device.model, device.serial_number, device.connected) == ("acme-kettle", "K-7", True)
    # What crosses the broker is the whole row: the site can show, compose and set it.
    crossed = msgspec.json.decode(msgspec.json.encode(report), type=DeviceReport)
    (row,) = crossed.kinds
    kind = msgspec.convert(row, Kind)
    assert kind == catalogue.get("acme-kettle")
    assert [measure.unit for measure in kind.measures] == ["°C", "bool"]
    assert kind.controls[0].safe == 0.0


def test_its_driver_is_used_like_a_shipped_one(installed: None, kettle: KettleServer) -> None:
    kind = catalogue.get("acme-kettle")
    link = {"kind": "http", "url": f"http://127.0.0.1:{kettle.port}"}
    device = LocalBuses().device(kind, link, "kettle")
    assert device.open().text == "Acme, Kettle, K-7, 1.0"
    assert kettle.heat is False
    assert device.set("heat", 1.0) == 1.0
    assert device.read().extended == {"water_c": 21.5, "heat": 1.0}
    assert kettle.heard[0] == b'POST /heat {"on":false}', "off comes before any question"
    assert device.exchanges()
    device.close()
