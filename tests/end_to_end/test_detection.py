"""What a unit finds by itself: progress, what disappears, what nobody knows, and models that an operator adds."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.kit import break_, device, done, mend
from tests.end_to_end.steps import current, run
from tests.stack.api import Problem
from tests.stack.cellyard import Cellyard
from tests.stack.simulated import supply
from tests.stack.waiting import free_port, until

STRANGER = "ACME,Thing 9000,77,1.0"
CELL = {"chemistry": "NMC", "capacity_ah": 0.05, "r0_ohm": 0.2, "soc": 0.5}


class Stranger:
    """An instrument of which no catalogue knows: it says who it is and nothing else."""

    def __init__(self) -> None:
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> Stranger:
        self._thread.start()
        serve = asyncio.start_server(self._answer, "127.0.0.1", self.port)
        self._server = asyncio.run_coroutine_threadsafe(serve, self._loop).result(5)
        return self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                if b"IDN" in line:
                    writer.write(STRANGER.encode() + b"\n")
                    await writer.drain()
        writer.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class Lab(Cellyard):
    """A lab whose unit has one more link, to the stranger."""

    stranger: Stranger

    def write_unit_file(self, **changes: Any) -> None:
        resource = f"TCPIP::127.0.0.1::{self.stranger.port}::SOCKET"
        links = [*self.simulators.links(), *self.simulators.links_of_devices()]
        links.append({"name": "stranger", "kind": "visa", "resource": resource})
        super().write_unit_file(**{"links": links, **changes})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A supply with a running test, a load, a relay board, and the stranger."""
    devices = [
        {"name": "load", "model": "rs-pro-kel103", "circuit": "holder", "port": free_port()},
        {"name": "relays", "model": "esp32-relay-board", "port": free_port()},
    ]
    circuits = [{"name": "holder", "cell": CELL}]
    running = Lab(tmp_path_factory.mktemp("lab"), [supply("psb1")], devices=devices, circuits=circuits)
    running.stranger = Stranger().start()
    try:
        with running:
            yield running
    finally:
        running.stranger.stop()


@pytest.fixture(scope="module")
def unit(lab: Lab) -> str:
    return str(lab.api.get("units/")["results"][0]["id"])


def detect(lab: Lab, unit: str) -> dict[str, Any]:
    """Ask the unit to look everywhere; return the closed command."""
    asked = lab.api.post(f"units/{unit}/detect/")
    path = f"commands/{asked['id']}/"

    def closed() -> Any:
        command = lab.api.get(path)
        return command if command["outcome"] else None

    command: dict[str, Any] = until(closed, 60, "the detection has ended")
    return command


def test_a_detection_tells_how_far_it_is_and_what_it_found_and_disturbs_no_test(lab: Lab, unit: str) -> None:
    station = lab.station("S1")
    battery = lab.battery("B1", station["id"])
    places = {"station1": station["id"], "battery1": battery["id"]}
    experiment = run(lab, places, [current(0.1, 300)])
    lab.experiment_is(experiment, "running")
    command = detect(lab, unit)
    assert command["outcome"] == "done", command["reason"]
    # The last progress and the result come by different ways.
    until(lambda: (lab.api.get(f"commands/{command['id']}/")["progress"] or {}).get("of"), 20, "its progress")
    found = {each["model_key"] for each in lab.api.all("devices/", connected="true")}
    assert {"ea-psb-10010-05-sim", "rs-pro-kel103", "esp32-relay-board"} <= found
    assert lab.api.get(f"experiments/{experiment}/")["status"] == "running"
    columns = lab.samples(experiment)
    gaps = [after - before for before, after in zip(columns["time_us"], columns["time_us"][1:], strict=False)]
    assert max(gaps) < 2_000_000
    lab.api.post(f"experiments/{experiment}/stop/", how="now")
    lab.experiment_is(experiment, "stopped")


def test_a_device_that_nobody_knows_is_shown_with_what_it_answered(lab: Lab, unit: str) -> None:
    def known() -> Any:
        strangers = lab.api.get(f"units/{unit}/")["unknown_devices"]
        return [each for each in strangers if STRANGER in str(each["answered"])]

    [stranger] = until(known, 30, "the stranger is shown")
    assert stranger["link_name"] == "stranger"


def test_a_device_that_disappears_is_marked_and_comes_back_with_its_number(lab: Lab, unit: str) -> None:
    before = device(lab, "rs-pro-kel103")
    break_(lab, "load", "drop_link")
    assert detect(lab, unit)["outcome"] == "done"
    path = f"devices/{before['id']}/"
    gone = until(lambda: (seen := lab.api.get(path))["connected"] is False and seen, 30, "it is gone")
    assert gone["gone_since"]
    mend(lab, "load")
    assert detect(lab, unit)["outcome"] == "done"
    back = until(lambda: (seen := lab.api.get(path))["connected"] and seen, 30, "it is back")
    assert (back["serial_number"], back["gone_since"]) == (before["serial_number"], None)


def test_a_model_that_an_operator_adds_is_found_and_composed(lab: Lab, unit: str) -> None:
    [base] = lab.api.get("device-models/", key="rs-pro-kel103")["results"]
    made = lab.api.post(
        "device-models/",
        base=base["id"],
        label="The lab's small load",
        maker="RND",
        model="320-KEL103",
        identity=r"RND 320-KEL103\b",
        current_min_a=-5.0,
        power_min_w=-50.0,
    )
    assert made["source"] == "operator"
    assert detect(lab, unit)["outcome"] == "done"
    mine = until(
        lambda: [
            each for each in lab.api.all("devices/", connected="true") if each["model_key"] == made["key"]
        ],
        30,
        "the load is of the lab's own model",
    )
    body = {"name": "small", "unit": unit, "devices": [{"device": mine[0]["id"], "role": "power"}]}
    station = lab.api.post("stations/", **body, quadrants="discharge")
    lab.station_is(station["id"], "idle")
    assert done(lab, f"stations/{station['id']}", "device.read")["values"]["voltage_v"] == pytest.approx(
        3.7, abs=0.3
    )
    # Its own limits hold: 6 A is beyond the lab's model, though the maker's device could do it.
    battery = lab.battery("B2", station["id"], current_min_a=-20.0)
    steps = [{"kind": "cc", "current_a": -6.0, "end": [{"quantity": "time_s", "value": 1}]}]
    checked = lab.api.post(
        "profiles/check/", name="too much", steps=steps, battery=battery["id"], station=station["id"]
    )
    assert any("5" in each["message"] for each in checked["errors"]), checked


def test_a_model_wider_than_its_base_is_refused(lab: Lab) -> None:
    [base] = lab.api.get("device-models/", key="rs-pro-kel103")["results"]
    with pytest.raises(Problem) as refused:
        lab.api.post(
            "device-models/", base=base["id"], label="Wider", maker="X", model="Y", voltage_max_v=500.0
        )
    assert "voltage_max_v" in str(refused.value.body)
