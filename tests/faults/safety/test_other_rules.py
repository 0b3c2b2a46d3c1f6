"""The rules that no violation meets, each broken on every power device: 2, 7, 10, 11, 14, 17 and 20."""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

import msgspec
import pytest

from cycler_unit.clock import iso
from tests.cycler_unit.lab import loaded
from tests.faults.safety.marks import Row, rows
from tests.faults.safety.rigs import ACTING, CURRENT_A, RIGS, WAYS, Way
from tests.faults.safety.unit import SafetyLab, cc
from tests.stack.waiting import until
from wire.messages import DeviceLease, DeviceSet, StationBattery

ON = r"(OUTP|INP) (ON|1)"
BY_HAND = {"voltage_min_v": 2.8, "voltage_max_v": 4.3, "duration_s": 600.0}


def every_rig(*usual: str) -> list[Row]:
    """Return each rig in its first direction."""
    return rows((rig, rig, rig in usual) for rig in RIGS)


def every_way(*usual: str) -> list[Row]:
    """Return each rig in each direction."""
    return rows((rig, way, f"{rig}-{way}", rig in usual) for rig, way in ACTING)


def nothing_moved(lab: SafetyLab, since_s: float) -> None:
    """Check that no device was switched on, by its wire and in truth."""
    for name in lab.rig.power():
        assert not [each for each in lab.sent(name, since_s) if re.search(ON, each)]
    assert lab.is_off()
    assert abs(lab.cell()["current_a"]) < 0.05


@pytest.mark.parametrize("lab", every_rig("psb"), indirect=True)
def test_limits_that_are_not_the_agreed_ones_start_nothing(lab: SafetyLab) -> None:
    lab.let_neighbour_run()
    message, since_s = lab.message(cc(CURRENT_A[WAYS[lab.rig.name][0]])), lab.cell()["at_s"]
    reply = lab.ask_start(msgspec.structs.replace(message, envelope_sha256="0" * 64))
    assert reply.outcome in ("refused", "failed"), reply
    until(lambda: lab.state() == "tripped", 20, "latched")
    until(
        lambda: [each for each in lab.alarms(message.experiment) if each["detail"]["code"] == "contract"], 20
    )
    nothing_moved(lab, since_s)
    lab.neighbour_goes_on()


@pytest.mark.parametrize("lab", every_rig("epc"), indirect=True)
def test_a_start_of_before_moves_nothing(lab: SafetyLab) -> None:
    message, since_s = lab.message(cc(CURRENT_A[WAYS[lab.rig.name][0]])), lab.cell()["at_s"]
    olds: list[dict[str, Any]] = [{"expires_at": iso(time.time() - 60.0)}, {"connection": str(uuid.uuid4())}]
    for old in olds:
        assert lab.manager.ask("experiment.start", message, **old).outcome == "refused"
    nothing_moved(lab, since_s)
    assert lab.state() == "idle"


@pytest.mark.parametrize("lab", every_rig("psb"), indirect=True)
def test_a_latch_survives_the_end_of_everything(lab: SafetyLab) -> None:
    way = WAYS[lab.rig.name][0]
    started = lab.run(way)
    lab.break_(lab.rig.acts[way], "drift", offset_v=0.8 if way == "charge" else -1.6)
    until(lambda: lab.state() == "tripped", 40, f"latched; {lab.unit.process.output()[-2500:]}")
    lab.complete(started.experiment)
    alarm = lab.beat().alarm
    lab.strike_all()
    seen = len(lab.manager.presences)
    lab.unit.start()
    until(lambda: any(each.online for each in lab.manager.presences[seen:]), 40, "the next unit is here")
    beats = len(lab.manager.heartbeats)
    until(lambda: len(lab.manager.heartbeats) > beats and lab.state() == "tripped", 40, "still latched")
    assert lab.beat().alarm == alarm
    lab.ask(lab.rig.acts[way], clear=True)
    assert lab.ask_start(lab.message(cc(CURRENT_A[way]))).outcome == "refused"
    assert lab.is_off()


@pytest.mark.parametrize(("lab", "way"), every_way("psb", "epc"), indirect=["lab"])
def test_a_test_that_asked_for_it_goes_on_after_a_kill_with_its_cell_and_not_with_another(
    lab: SafetyLab, way: Way
) -> None:
    # The pulses measure the resistance by which the voltage at rest is judged afterwards.
    started = lab.run(way, resume_policy="resume", pulse="record")
    agent = lab.process("agent")
    agent.kill()
    lab.goes_off()
    until(lambda: lab.process("agent").pid != agent.pid, 60, "a new agent")
    lab.flows(way)
    until(lambda: lab.state() == "running", 40, "it goes on")
    agent = lab.process("agent")
    agent.kill()
    lab.goes_off()
    lab.simulators.ask(circuit="cell", fault="wrong_cell", soc=0.95 if way == "charge" else 0.05)
    until(lambda: lab.process("agent").pid != agent.pid, 60, "a new agent")
    until(lambda: lab.state() == "tripped", 60, "held: another cell lies there")
    assert lab.is_off()
    lab.stop_test(started)
    lab.complete(started.experiment)


@pytest.mark.parametrize(
    "lab", rows((rig, rig, rig == "ps+el") for rig in RIGS if len(RIGS[rig]().power()) == 2), indirect=True
)
def test_source_and_load_are_never_on_together(lab: SafetyLab) -> None:
    since_s = lab.cell()["at_s"]
    started = lab.run("charge", cc(CURRENT_A["charge"], 3.0), cc(CURRENT_A["discharge"], 3.0), cc(0.8))
    lab.flows("discharge")
    lab.flows("charge")
    switched = sorted(
        (each["at_s"], name, re.search(ON, each["text"]) is not None)
        for name in lab.rig.power()
        for each in lab.ask(name, query="exchanges")["exchanges"]
        if each["to"] == "device" and each["at_s"] >= since_s
        if re.search(ON, each["text"]) or lab.rig.is_off(name, each["text"])
    )
    on: set[str] = set()
    for _, name, is_on in switched:
        on = on | {name} if is_on else on - {name}
        assert len(on) < 2, switched
    assert len([each for each in switched if each[2]]) >= 3, switched
    lab.stop_test(started)
    lab.complete(started.experiment)


# Behind an open dead-man output nothing sees the cell, and nothing drains it.
@pytest.mark.parametrize(
    "lab", rows((rig, rig, rig == "psb") for rig in RIGS if not RIGS[rig]().dead_man), indirect=True
)
def test_a_loaded_battery_that_leaves_its_limits_is_told_of_without_a_test(lab: SafetyLab) -> None:
    limits = lab.limits({"name": "n", "steps": [cc(CURRENT_A[WAYS[lab.rig.name][0]])]}, lab.station)
    lab.let_neighbour_run()
    station = lab.station.station
    assert lab.manager.ask("station.battery", loaded(station, limits, capacity_ah=0.5)).outcome == "done"
    before = len(lab.alarms())
    try:
        for name in lab.rig.power():
            lab.break_(name, "drift", offset_v=-1.6)
        found = until(
            lambda: [each for each in lab.alarms()[before:] if each["detail"]["code"] == "draining"],
            60,
            "alarm",
        )
        assert "out of its limits" in found[0]["text"]
        assert found[0]["detail"]["quarantine"] is True
        assert lab.is_off()
        lab.neighbour_goes_on()
    finally:
        for name in lab.rig.power():
            lab.ask(name, clear=True)
        lab.manager.ask("station.battery", StationBattery(station=station))


@pytest.mark.parametrize(
    ("lab", "way", "how"),
    rows(
        (rig, way, how, f"{rig}-{way}-{how}", (rig, how) in (("psb", "violation"), ("kel103", "lapse")))
        for rig, way in ACTING
        for how in ("lapse", "violation", "kill")
    ),
    indirect=["lab"],
)
def test_what_a_person_set_by_hand_goes_off(lab: SafetyLab, way: Way, how: str) -> None:
    lab.let_neighbour_run()
    acting, station = lab.rig.acts[way], lab.station.station
    currents = {
        "current_min_a": -2.0 if "discharge" in lab.rig.ways else 0.0,
        "current_max_a": 2.0 if "charge" in lab.rig.ways else 0.0,
    }
    lease = DeviceLease(lease=str(uuid.uuid4()), person="ada", station=station, **{**BY_HAND, **currents})  # type: ignore[arg-type]
    taken = lab.manager.ask("device.lease", lease)
    assert taken.outcome == "done", taken.reason
    values: dict[str, Any] = {"mode": "cc", "current_a": CURRENT_A[way]}
    device = lab.device(acting, "power").device
    told = lab.manager.ask(
        "device.set", DeviceSet(lease=lease.lease, device=device, values=values, person="ada")
    )
    assert told.outcome == "done", told.reason
    lab.flows(way)
    since_s = lab.cell()["at_s"]
    if how == "violation":
        lab.break_(acting, "drift", offset_v=0.8 if way == "charge" else -1.6)
    if how == "kill":
        lab.process("agent").kill()
    lab.goes_off(30)
    until(lambda: any(lab.rig.is_off(acting, each) for each in lab.sent(acting, since_s)), 20, "by a command")
    if how == "violation":
        until(lambda: lab.state() == "tripped", 20, "latched")
    if how != "kill":
        lab.neighbour_goes_on()
    else:
        until(lambda: lab.state() in ("idle", "tripped"), 60, "nobody holds it any more")
