"""A whole unit with devices in no station: detection, hands, readings and console over the real bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cycler_unit.bench import CHARGE, profile, start_message
from tests.cycler_unit.whole_unit import Lab
from tests.stack.brokers import Broker
from tests.stack.simulated import Simulators, supply
from tests.stack.waiting import free_port, until
from wire.messages import (
    CanListen,
    CanSend,
    Detect,
    DeviceLease,
    DeviceOff,
    DevicePlace,
    DeviceRead,
    DeviceSet,
    ExperimentStop,
    ScpiMessage,
    StationBattery,
    UnitLog,
    UnitRestart,
)

pytestmark = pytest.mark.stack
NODE = 0x15


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    """Start a supply, a relay board and an EPC on its own CAN bus."""
    port = free_port()
    devices = [
        {"name": "board", "model": "esp32-relay-board", "host": "127.0.0.1", "port": free_port()},
        {"name": "epc", "model": "epc", "node": NODE, "serial_number": 42, "port": port},
    ]
    folder = tmp_path_factory.mktemp("simulators")
    running = Simulators(folder, [supply("psb1"), supply("psb2")], devices=devices).start()
    yield running
    running.stop()


@pytest.fixture
def lab(tmp_path: Path, broker: Broker, simulators: Simulators) -> Iterator[Lab]:
    """Return a unit that has these links and one station on the first supply."""
    (board,) = simulators.links_of("board")
    (epc,) = simulators.links_of("epc")
    bus = {key: value for key, value in epc.items() if key not in ("node", "model", "name")}
    links = [*simulators.links(), {**board, "name": "board"}, {**bus, "name": "can"}]
    lab = Lab(tmp_path, broker, simulators, links=links, record_every_s=1.0)
    yield lab
    lab.unit.stop()
    lab.manager.stop()


def found(lab: Lab, model: str) -> DevicePlace | None:
    """Return a reported device of this model."""
    for device in lab.manager.devices.devices if lab.manager.devices else []:
        if device.model.startswith(model) and device.connected:
            return DevicePlace(
                model=device.model, serial_number=device.serial_number, link_name=device.link_name
            )
    return None


def events(lab: Lab, kind: str) -> list[dict[str, Any]]:
    """Return the events of a kind that the manager has."""
    return [each for _, each in sorted(lab.manager.events.items()) if each["kind"] == kind]


def readings(lab: Lab, place: DevicePlace) -> list[dict[str, Any]]:
    """Return the readings of a device that the manager has."""
    told = [each["detail"] for each in events(lab, "reading")]
    return [each for each in told if each["serial_number"] == place.serial_number]


def test_a_unit_finds_all_its_devices_and_records_those_that_run_nothing(lab: Lab) -> None:
    lab.up()
    board = until(lambda: found(lab, "esp32-relay-board"), 40)
    epc = until(lambda: found(lab, "epc"), 40)
    assert epc.serial_number == "42"
    reply = lab.manager.ask("detect", Detect())
    assert reply.outcome == "done"
    assert reply.result is not None
    outcomes = {each["link"]: each["outcome"] for each in reply.result["links"]}
    assert outcomes["psb1"] == "busy", "a station has it"
    assert set(outcomes.values()) <= {"ok", "busy"}
    until(lambda: [e for e in events(lab, "progress") if e["detail"]["done"] == e["detail"]["of"]], 20)
    until(lambda: len(readings(lab, board)) >= 2 and len(readings(lab, epc)) >= 2, 40)
    assert all(value is not None for value in readings(lab, epc)[-1]["values"].values())
    until(
        lambda: readings(lab, DevicePlace(model="", serial_number=serial_of(lab))), 40, "the idle station's"
    )


def serial_of(lab: Lab) -> str:
    """Return the serial number of the station's supply."""
    return lab.station.devices[0].serial_number


def test_a_relay_is_worked_by_hand_and_falls_back_when_the_page_is_gone(lab: Lab) -> None:
    lab.up()
    board = until(lambda: found(lab, "esp32-relay-board"), 40)
    lease = DeviceLease(lease="11111111-1111-4111-8111-111111111111", person="ada", device="d", where=board)
    assert lab.manager.ask("device.lease", lease).outcome == "done"
    told = lab.manager.ask("device.read", DeviceRead(device="d", where=board))
    assert told.result is not None
    relay = next(name for name in told.result["held"])
    wanted = DeviceSet(lease=lease.lease, device="d", where=board, values={relay: 1.0}, person="ada")
    told = lab.manager.ask("device.set", wanted)
    assert told.outcome == "done", told.reason
    assert told.result is not None
    assert told.result["held"][relay] == 1.0
    # Nobody renews it.
    until(lambda: any("is safe again" in each["text"] for each in events(lab, "device")), 40)
    told = lab.manager.ask("device.read", DeviceRead(device="d", where=board))
    assert told.result is not None
    assert told.result["held"][relay] == 0.0
    assert lab.manager.ask("device.set", wanted).outcome == "refused"
    assert lab.manager.ask("device.off", DeviceOff(device="d", where=board)).outcome == "done"


def asked_of(lab: Lab) -> list[str]:
    """Return what the supply says it is; nothing while the starting unit's detection has its line."""
    reply = lab.manager.ask("scpi.query", ScpiMessage(link="psb1", text="*IDN?"))
    return reply.result["lines"] if reply.result is not None else []


def infos(lab: Lab) -> list[dict[str, Any]]:
    """Ask the cycler who it is; return its answers among what was heard."""
    sent = lab.manager.ask("can.send", CanSend(link="can", id=NODE << 4 | 1, payload="00", listen_s=0.5))
    frames = sent.result["frames"] if sent.result is not None else []
    return [each for each in frames if each["message"] == 0xA]


def test_the_console_speaks_on_every_bus_but_writes_on_none_that_runs(lab: Lab) -> None:
    lab.up()
    until(lambda: found(lab, "epc"), 40)
    asked = until(lambda: asked_of(lab), 40, "the first detection is over, and the supply answers")
    assert "PSB" in asked[0]
    answers = until(lambda: infos(lab), 40, "the cycler answers within the look")
    assert answers[0]["decoded"]["name"] == "EPC_INFO"
    assert answers[0]["node"] == NODE
    heard = lab.manager.ask("can.listen", CanListen(link="can", seconds=0.5))
    assert heard.outcome == "done"
    for frame_id, payload in ((0x000, "0800000000000000"), (NODE << 4 | 9, ""), (NODE << 4, "08")):
        assert (
            lab.manager.ask("can.send", CanSend(link="can", id=frame_id, payload=payload)).outcome
            == "refused"
        )
    started = lab.start(CHARGE)
    refused = lab.manager.ask("scpi.write", ScpiMessage(link="psb1", text="OUTP OFF"))
    assert (refused.outcome, "runs there" in (refused.reason or "")) == ("refused", True)
    assert lab.manager.ask("scpi.query", ScpiMessage(link="psb1", text="MEAS:VOLT?")).outcome == "done"
    until(lambda: lab.truth()["output"], 20, "the test charges")
    busy = lab.manager.ask("detect", Detect())
    assert busy.outcome == "done", "a detection disturbs no test"
    assert lab.truth()["output"]
    assert lab.manager.ask("unit.restart", UnitRestart()).outcome == "refused"
    assert lab.manager.ask("experiment.stop", ExperimentStop(experiment=started.experiment)).outcome == "done"
    lab.complete(started.experiment)


def test_the_log_is_read_and_the_unit_restarted_from_afar(lab: Lab) -> None:
    lab.up()
    log = lab.manager.ask("unit.log", UnitLog(lines=500))
    assert log.result is not None
    assert any("event=started" in line for line in log.result["lines"])
    connection = lab.manager.presence.connection if lab.manager.presence else ""
    assert lab.manager.ask("unit.restart", UnitRestart(person="ada")).outcome == "done"
    until(
        lambda: (
            lab.manager.presence
            and lab.manager.presence.connection != connection
            and lab.manager.presence.online
        ),
        60,
    )
    until(lambda: lab.manager.state(lab.station.station) == "idle", 30)


def test_a_loaded_battery_is_named_in_the_heartbeat_also_after_a_restart(lab: Lab) -> None:
    lab.up()
    start = start_message(lab.station.station, profile(CHARGE))
    told = StationBattery(
        station=lab.station.station, battery=start.battery, envelope=start.envelope,
        envelope_sha256=start.envelope_sha256,
    )  # fmt: skip
    assert lab.manager.ask("station.battery", told).outcome == "done"
    until(lambda: watched(lab) == start.battery.battery, 20)
    lab.unit.kill()
    beats = len(lab.manager.heartbeats)
    lab.unit.start()
    until(lambda: len(lab.manager.heartbeats) > beats and watched(lab) == start.battery.battery, 40)
    assert lab.manager.ask("station.battery", StationBattery(station=lab.station.station)).outcome == "done"
    until(lambda: watched(lab) is None, 20)


def watched(lab: Lab) -> str | None:
    """Return the battery that the newest heartbeat names."""
    (beat,) = lab.manager.heartbeats[-1].stations or [None]
    return beat.battery if beat is not None else "no station yet"
