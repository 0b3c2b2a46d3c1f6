"""Rules 5 and 13: a device beside the current path is lost. What needs it ends the test; what does not, warns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cycler_unit import guards
from cycling import envelope
from tests.cycler_unit.lab import Lab, cc, key_of
from tests.stack.simulated import MODEL, Simulators
from tests.stack.waiting import until
from wire.messages import StationAcknowledge, StationMeasure, StationOutput

PUMP = StationOutput(name="pump", device=key_of("relays"), control="relay_0", safe=0.0, on_trip=0.0)
DOOR = StationMeasure(device=key_of("coupler"), measure="door_closed", name="door")
# Low enough for a test that does not wait, and above what ends a test that needs the device.
SOON_S = 6.0


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    """A supply with its cell, a relay board and a coupler."""
    running = Simulators(
        tmp_path_factory.mktemp("beside"),
        [],
        circuits=[{"name": "cell", "cell": {"capacity_ah": 2.5, "soc": 0.5}}],
        devices=[
            {"name": "psb", "model": MODEL, "circuit": "cell", "port": 0},
            {"name": "relays", "model": "esp32-relay-board"},
            {"name": "coupler", "model": "modbus-io-coupler"},
        ],
    ).start()
    yield running
    running.stop()


@pytest.fixture
def lab(tmp_path: Path, simulators: Simulators, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr(guards, "SILENT_S", SOON_S)
    roles = {"psb": "power", "relays": "auxiliary", "coupler": "auxiliary"}
    lab = Lab(tmp_path / "unit", simulators, roles, outputs=[PUMP], measures=[DOOR])
    try:
        lab.clear()
        lab.idle()
        until(lambda: all(each.why_not is None for each in lab.live.parts.instruments.values()), 15)
        yield lab
    finally:
        lab.clear()
        lab.stop()


def alarms(lab: Lab) -> list[dict[str, Any]]:
    """Return the alarms with their texts."""
    return [{**each["detail"], "text": each["text"]} for each in lab.events("alarm")]


def test_a_device_that_nothing_needs_is_told_once_and_the_test_goes_on(lab: Lab) -> None:
    lab.go(cc(1.0))
    until(lambda: lab.of("psb")["current_a"] > 0.9, 10)
    lab.break_("relays", "drop_link")
    found = until(lambda: alarms(lab), 30, "it is told")
    assert [(each["code"], each["class"]) for each in found] == [("device_silent", "warning")]
    assert "relays does not answer" in found[0]["text"]
    assert not lab.live.latched
    # Acknowledging a warning leaves the test alone: it was never latched.
    acknowledged = StationAcknowledge(station=lab.live.id, alarm=found[0]["id"])
    assert lab.ask("acknowledge", acknowledged).result["released"] is False
    rounds = lab.live.rounds
    until(lambda: lab.live.rounds > rounds + 40, 15)
    assert lab.of("psb")["current_a"] > 0.9
    assert lab.live.conductor.run is not None
    assert len(alarms(lab)) == 1, "told once"


def test_a_device_whose_output_a_step_has_switched_ends_the_test(lab: Lab) -> None:
    lab.go(cc(1.0, outputs={"pump": 1}))
    until(lambda: lab.live.outputs.shown.get("pump") == 1.0, 10)
    until(lambda: lab.of("psb")["current_a"] > 0.9, 10)
    lab.break_("relays", "drop_link")
    detail = lab.ended(30)
    assert (detail["status"], detail["end_reason"]["code"]) == ("error", "output")
    assert "output pump is not 1" in detail["end_reason"]["text"]
    assert not lab.of("psb")["output"]
    assert lab.live.latched


def test_a_device_whose_measure_has_a_limit_ends_the_test(lab: Lab) -> None:
    safe = {"measures": [{"name": "door", "min": 0.5}]}
    given = {"name": "test", "record": {"every_s": 0.1}, "steps": [cc(1.0)], "safety": safe}
    text = envelope.canonical(lab.limits(given))
    message = msgspec.structs.replace(
        lab.message(cc(1.0)), profile=given, envelope=text, envelope_sha256=envelope.sha256(text)
    )
    answered = lab.ask("start", message, 60.0)
    assert answered.outcome == "done", answered.reason
    until(lambda: lab.of("psb")["current_a"] > 0.9, 10)
    lab.break_("coupler", "drop_link")
    detail = lab.ended(30)
    assert (detail["status"], detail["end_reason"]["code"]) == ("error", "missing")
    assert detail["end_reason"]["quantity"] == "door"
    assert not lab.of("psb")["output"]
