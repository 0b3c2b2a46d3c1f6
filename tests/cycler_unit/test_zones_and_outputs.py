"""Rule 18 and auxiliary outputs: interlocks, isolator, dead-man output, chamber, relays, on their simulators."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cycler_unit import down, watch, zones
from cycler_unit.mail import Ask
from cycler_unit.owner import OwnedBuses
from cycler_unit.zones import BadZone, Watch
from tests.cycler_unit.bench import Answered
from tests.cycler_unit.lab import Lab, cc, key_of, loaded, rest
from tests.stack.simulated import MODEL, Simulators
from tests.stack.waiting import until
from wire.messages import (
    DeviceLease,
    DeviceOff,
    DeviceSet,
    ExperimentStop,
    Interlock,
    StationAcknowledge,
    StationDevice,
    StationOutput,
    Zone,
    ZoneOutput,
)

COUPLER, BOARD, CHAMBER = "modbus-io-coupler", "esp32-relay-board", "chamber-modbus-int16"


@pytest.fixture(scope="module")
def bench_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    """One cell with a supply, a meter, an isolator and a chamber; a second supply; a coupler for the zone."""
    running = Simulators(
        tmp_path_factory.mktemp("bench"),
        [],
        circuits=[
            {"name": "cell", "cell": {"capacity_ah": 2.5, "soc": 0.5}},
            {"name": "isolated", "cell": {"capacity_ah": 2.5, "soc": 0.5}},
            {"name": "guarded", "cell": {"capacity_ah": 2.5, "soc": 0.5}},
            {"name": "other", "cell": {"capacity_ah": 2.5, "soc": 0.5}},
        ],
        devices=[
            {"name": "psb", "model": MODEL, "circuit": "cell", "port": 0},
            {"name": "psb2", "model": MODEL, "circuit": "other", "port": 0},
            {"name": "psb3", "model": MODEL, "circuit": "isolated", "port": 0},
            {"name": "switch", "model": COUPLER, "circuit": "isolated", "isolators": ["isolator"]},
            {"name": "psb4", "model": MODEL, "circuit": "guarded", "port": 0},
            {"name": "dog", "model": COUPLER, "circuit": "guarded", "isolators": ["dead_man"]},
            {"name": "zone", "model": COUPLER},
            {"name": "relays", "model": BOARD},
            {"name": "chamber", "model": CHAMBER, "circuit": "cell"},
        ],
    ).start()
    yield running
    running.stop()


@pytest.fixture
def made(tmp_path: Path, bench_of: Simulators) -> Iterator[Any]:
    """Return a maker of stations; all of them end with the test."""
    labs: list[Lab] = []

    def make(roles: dict[str, str], **more: Any) -> Lab:
        lab = Lab(tmp_path / f"unit{len(labs) if more.get('hub') is None else 0}", bench_of, roles, **more)
        labs.append(lab)
        return lab.idle()  # type: ignore[return-value]

    for each in ("psb", "psb2", "psb3", "psb4", "dog", "switch", "zone", "relays", "chamber"):
        bench_of.ask(device=each, clear=True)
    yield make
    for lab in reversed(labs):
        lab.clear()
        lab.stop()
    for each in ("psb", "psb2", "psb3", "psb4", "dog", "switch", "zone", "relays", "chamber"):
        bench_of.ask(device=each, clear=True)


def zone(simulators: Simulators, **more: Any) -> Zone:
    """Return a zone with a door, an exhaust and a siren."""
    described = simulators.ask(query="devices")["devices"]
    link = next(each["links"][0] for each in described if each["name"] == "zone")
    device = StationDevice(
        device=key_of("zone"), role="auxiliary", model=COUPLER, serial_number="", link=link, name="zone"
    )
    values: dict[str, Any] = {
        "zone": "z1", "name": "Room 1", "devices": [device],
        "interlocks": [Interlock(name="door", device=device.device, measure="door_closed")],
        "outputs": [
            ZoneOutput(name="exhaust", device=device.device, control="exhaust", on_trip=1.0, normal=0.0),
            ZoneOutput(name="siren", device=device.device, control="siren", on_trip=1.0, normal=0.0, on_server_lost=True),
        ],
    }  # fmt: skip
    return Zone(**{**values, **more})


def coupler(simulators: Simulators, name: str) -> dict[str, Any]:
    """Return what a coupler really does."""
    found: dict[str, Any] = simulators.ask(device=name, query="truth")
    return found


# --- rule 18 ----------------------------------------------------------------------------------------


def ready(lab: Lab) -> None:
    """Wait until the zone's interlocks are closed."""
    watch = lab.hub.zones.get(lab.configure.zone)  # type: ignore[arg-type]
    assert watch is not None
    until(lambda: watch.why is None, 10, "all interlocks are closed")


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "input_open", "input": "door_closed", "open": True},
        {"fault": "drop_link"},
        {"fault": "freeze"},
    ],
    ids=["open", "missing", "stale"],
)
def test_an_interlock_switches_every_station_of_the_zone_off(
    made: Any, bench_of: Simulators, fault: dict[str, Any]
) -> None:
    room = zone(bench_of)
    one = made({"psb": "power"}, zone=room)
    two = made({"psb2": "power"}, name="S2", zone=room, hub=one.hub)
    ready(one)
    one.go(cc(1.0))
    until(lambda: one.of("psb")["output"], 10)
    assert bench_of.ask(device="zone", **fault)["ok"]
    until(lambda: one.live.state == two.live.state == "tripped", 20, "both are latched")
    assert not one.of("psb")["output"]
    both = {one.live.id, two.live.id}
    until(lambda: {each["station"] for each in one.events("alarm")} == both, 10, "each has told of it")
    found = {each["station"]: each for each in one.events("alarm")}
    for each in found.values():
        assert each["detail"]["code"] == "interlock"
        assert "door" in each["text"]
        assert "Room 1" in each["text"]


def test_the_zones_outputs_take_their_trip_value_and_go_back(made: Any, bench_of: Simulators) -> None:
    lab = made({"psb": "power"}, zone=zone(bench_of))
    ready(lab)
    bench_of.ask(device="zone", fault="input_open", input="door_closed", open=True)
    for output in ("exhaust", "siren"):
        until(lambda each=output: coupler(bench_of, "zone")["outputs"][each], 10, f"the {output} runs")
    bench_of.ask(device="zone", fault="input_open", input="door_closed", open=False)
    until(lambda: not coupler(bench_of, "zone")["outputs"]["exhaust"], 10)


def test_the_owner_of_a_zones_device_knows_when_and_how_to_raise_the_alarm(
    made: Any, bench_of: Simulators
) -> None:
    lab = made({"psb": "power"})
    lab.hub.buses = OwnedBuses(lambda link: pytest.fail("nothing is opened here"))
    [instrument] = Watch(zone(bench_of, max_age_s=3.0), lab.hub).instruments.values()
    device: Any = instrument.device
    assert device.link["safe_values"] == {"exhaust": 1.0, "siren": 1.0}
    assert device.permit_s == 3.0


def test_the_owner_of_a_stations_output_knows_its_own_safe_value(made: Any) -> None:
    warm = msgspec.structs.replace(RELAYS[1], safe=1.0)
    lab = made({"psb": "power", "relays": "auxiliary"}, outputs=[RELAYS[0], warm])
    instrument = lab.live.parts.instruments[key_of("relays")]
    assert instrument.device.link["safe_values"] == {"relay_0": 0.0, "relay_1": 1.0}
    until(lambda: relays(lab)[:2] == [0, 1], 10, "safe as the station says, from the beginning")


def test_an_output_without_a_normal_value_begins_safe_and_stays_after_it_has_acted(
    made: Any, bench_of: Simulators
) -> None:
    room = zone(bench_of)
    siren = msgspec.structs.replace(room.outputs[1], normal=None)
    lab = made({"psb": "power"}, zone=msgspec.structs.replace(room, outputs=[siren]))
    ready(lab)
    until(lambda: not coupler(bench_of, "zone")["outputs"]["siren"], 10, "calm")
    bench_of.ask(device="zone", fault="input_open", input="door_closed", open=True)
    until(lambda: coupler(bench_of, "zone")["outputs"]["siren"], 10, "it sounds")
    bench_of.ask(device="zone", fault="input_open", input="door_closed", open=False)
    ready(lab)
    watched = lab.hub.zones.get(lab.configure.zone)
    until(lambda: watched.outputs[0].wanted is None, 10, "nobody asks for another value")
    assert coupler(bench_of, "zone")["outputs"]["siren"]


def test_nothing_starts_and_nothing_is_acknowledged_while_the_zone_is_open(
    made: Any, bench_of: Simulators
) -> None:
    lab = made({"psb": "power"}, zone=zone(bench_of))
    ready(lab)
    bench_of.ask(device="zone", fault="input_open", input="door_closed", open=True)
    until(lambda: lab.live.state == "tripped", 10)
    alarm = lab.live.kept.latches[0].alarm
    acknowledge = StationAcknowledge(station=lab.live.id, alarm=alarm)
    answered = lab.ask("acknowledge", acknowledge)
    assert answered.outcome == "refused"
    assert "door" in (answered.reason or "")
    assert lab.ask("start", lab.message(cc(1.0))).outcome == "refused"
    bench_of.ask(device="zone", fault="input_open", input="door_closed", open=False)
    until(lambda: lab.live.zone_open is None, 10)
    assert lab.live.latched, "only a person releases it"
    assert lab.ask("acknowledge", acknowledge).outcome == "done"
    lab.go(cc(1.0))


def test_an_alarm_that_cannot_reach_the_server_switches_the_annunciator(
    made: Any, bench_of: Simulators, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zones, "UNHEARD_S", 0.5)
    lab = made({"psb": "power"}, zone=zone(bench_of))
    ready(lab)
    lab.hub.heard_within = lambda seconds: False
    # A zone holds its trip values until all its interlocks were read.
    until(lambda: not coupler(bench_of, "zone")["outputs"]["siren"], 5, "the siren is silent")
    lab.go(cc(1.0))
    lab.break_("psb", "drift", offset_v=-1.5)
    until(lambda: coupler(bench_of, "zone")["outputs"]["siren"], 15, "the annunciator is on")
    assert not coupler(bench_of, "zone")["outputs"]["exhaust"], "no interlock opened"
    lab.hub.heard_within = lambda seconds: True
    lab.spool.commit(5.0)
    lab.spool.acknowledge_events(10**9)
    lab.spool.commit(5.0)
    until(lambda: not coupler(bench_of, "zone")["outputs"]["siren"], 10, "the server has it now")


def test_a_zone_that_names_a_device_it_does_not_have_is_refused(made: Any, bench_of: Simulators) -> None:
    lab = made({"psb": "power"})
    wrong = zone(bench_of, interlocks=[Interlock(name="gas", device="nowhere", measure="gas_free")])
    with pytest.raises(BadZone, match="interlock gas names the device nowhere"):
        Watch(wrong, lab.hub)


# --- isolator (rule 17) -------------------------------------------------------------------------------

ISOLATED = {"psb3": "power", "switch": "isolator"}


def test_a_rest_with_isolate_opens_at_zero_current_and_the_next_step_closes_it(
    made: Any, bench_of: Simulators
) -> None:
    lab = made(ISOLATED)
    lab.ask(
        "battery",
        loaded(lab.live.id, lab.limits({"name": "x", "steps": [cc(1.0)]}), last_rest_voltage_v=3.70),
    )
    start = lab.message(cc(1.0, 0.5), rest(1.0, isolate=True), cc(1.0, 0.5))
    start = msgspec.structs.replace(start, battery=lab.live.watch.battery.battery)
    answered = lab.ask("start", start, 60)
    assert answered.outcome == "done", answered.reason
    detail = lab.ended(40)
    assert detail["status"] == "finished", detail
    moved = [each["detail"]["isolator"] for each in lab.events("device") if "isolator" in each["detail"]]
    assert moved == ["closed", "open", "closed"]


def test_an_isolator_that_an_end_opened_is_closed_by_the_next_test(made: Any) -> None:
    opens = StationOutput(name="isolator", device=key_of("switch"), control="isolator", on_finish=0.0)
    lab = made(ISOLATED, outputs=[opens])
    for _ in range(2):
        lab.ask(
            "battery",
            loaded(lab.live.id, lab.limits({"name": "x", "steps": [cc(1.0)]}), last_rest_voltage_v=3.70),
        )
        start = lab.message(cc(1.0, 3.0))
        start = msgspec.structs.replace(start, battery=lab.live.watch.battery.battery)
        answered = lab.ask("start", start, 60)
        assert answered.outcome == "done", answered.reason
        detail = lab.ended(40)
        assert detail["status"] == "finished", detail
        until(lambda: lab.live.outputs.shown.get("isolator") == 0.0, 10, "opened by the end")


def test_an_isolator_does_not_close_on_a_voltage_that_nobody_knows(made: Any) -> None:
    lab = made(ISOLATED)
    answered = lab.ask("start", lab.message(cc(1.0)), 60)
    assert answered.outcome in ("refused", "failed")
    until(lambda: lab.live.conductor.experiment is None, 10)
    assert not lab.of("psb3")["output"]
    assert not coupler(lab.simulators, "switch")["outputs"]["isolator"]


def test_an_output_that_does_not_go_off_has_its_isolator_opened(made: Any) -> None:
    lab = made(ISOLATED)
    start = lab.message(cc(1.0))
    start = msgspec.structs.replace(
        start, battery=msgspec.structs.replace(start.battery, last_rest_voltage_v=3.70)
    )
    assert lab.ask("start", start, 60).outcome == "done"
    until(lambda: lab.of("psb3")["current_a"] > 0.9, 10)
    lab.break_("psb3", "stuck_on")
    lab.ask("stop", ExperimentStop(experiment=start.experiment), urgent=True)
    until(lambda: not coupler(lab.simulators, "switch")["outputs"]["isolator"], 10, "the isolator is open")
    assert abs(lab.of("psb3")["current_a"]) < 1e-6


# --- outputs ------------------------------------------------------------------------------------------

RELAYS = [
    StationOutput(
        name="pump", device=key_of("relays"), control="relay_0", safe=0.0, on_trip=0.0, on_finish=0.0
    ),
    StationOutput(name="fan", device=key_of("relays"), control="relay_1", safe=0.0, on_trip=1.0),
]


def relays(lab: Lab) -> list[int]:
    """Return the relays as they really are."""
    found: list[int] = lab.of("relays")["channels"]
    return found


def with_relays(made: Any) -> Lab:
    """Return a station with a pump and a fan, its board answering."""
    lab: Lab = made({"psb": "power", "relays": "auxiliary"}, outputs=RELAYS)
    until(lambda: set(lab.live.outputs.shown) == {"pump", "fan"}, 10, "the board answers")
    return lab


def test_steps_switch_outputs_which_hold_until_changed(made: Any) -> None:
    lab = with_relays(made)
    lab.go(rest(1.5, outputs={"pump": 1}), cc(1.0, 1.5), rest(600.0, outputs={"pump": 0}))
    until(lambda: relays(lab)[0] == 1, 10, "the pump runs")
    until(lambda: lab.of("psb")["output"], 10)
    assert relays(lab)[0] == 1, "it holds over the next step"
    until(lambda: lab.live.conductor.run.interpreter.step == 3, 10)
    until(lambda: relays(lab)[0] == 0, 10)
    until(lambda: lab.live.beat().outputs == {"pump": 0.0, "fan": 0.0}, 10)


def test_on_a_trip_the_power_is_off_first_then_outputs_take_their_trip_values(made: Any) -> None:
    lab = with_relays(made)
    lab.go(cc(1.0, outputs={"pump": 1}))
    until(lambda: relays(lab)[0] == 1, 10)
    lab.break_("psb", "drift", offset_v=-1.5)
    until(lambda: relays(lab)[:2] == [0, 1], 15, "pump off, fan on")
    off_at = max(
        each["at_s"] for each in lab.simulators.ask(device="psb", query="exchanges")["exchanges"] if "OUTP OFF" in each["text"]
    )  # fmt: skip
    board = lab.simulators.ask(device="relays", query="exchanges")["exchanges"]
    moved_at = max(each["at_s"] for each in board if "POST /relay" in each["text"])
    assert off_at < moved_at


def test_after_a_normal_end_outputs_take_their_finish_values(made: Any) -> None:
    lab = with_relays(made)
    lab.go(rest(1.0, outputs={"pump": 1, "fan": 1}))
    lab.ended(20)
    until(lambda: relays(lab)[:2] == [0, 1], 10, "the pump is off, the fan has no finish value")


def test_an_output_that_does_not_obey_ends_the_test(made: Any) -> None:
    lab = with_relays(made)
    lab.break_("relays", "refuse")
    lab.go(cc(1.0, outputs={"pump": 1}))
    detail = lab.ended(30)
    assert (detail["status"], detail["end_reason"]["code"]) == ("error", "output")
    assert "output pump is not 1" in detail["end_reason"]["text"]
    assert not lab.of("psb")["output"]


def test_an_output_worked_by_hand_while_a_test_runs_is_an_error(made: Any) -> None:
    lab = with_relays(made)
    lab.go(cc(1.0, outputs={"pump": 1}))
    until(lambda: relays(lab)[0] == 1, 10)
    until(lambda: lab.live.outputs.shown["pump"] == 1.0, 10)
    lab.break_("relays", "panel_change", channel=0, state=0)
    assert lab.ended(30)["end_reason"]["code"] == "output"


def test_the_range_of_an_output_is_kept(made: Any) -> None:
    lab = with_relays(made)
    assert lab.live.outputs.outputs.why_not([("pump", 2.0)]) == "output pump cannot be 2: its range is 0 to 1"


def test_stop_all_brings_outputs_to_their_safe_values(made: Any) -> None:
    lab = with_relays(made)
    lab.go(rest(600.0, outputs={"pump": 1, "fan": 1}))
    until(lambda: relays(lab)[:2] == [1, 1], 10)
    told = lab.ask("stop_all", ("fire", "ada"), urgent=True)
    assert (told.outcome, relays(lab)[:2]) == ("done", [0, 0]), "at the moment of the answer"
    assert (told.result["off"], told.result["held"]) == (True, {"pump": 0.0, "fan": 0.0})


def test_stop_all_switches_the_supply_off_before_it_waits_for_an_output(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(down, "CONFIRM_S", 60.0)
    lab = with_relays(made)
    lab.start(cc(0.2, outputs={"pump": 1.0}))
    until(lambda: relays(lab)[0] == 1 and lab.of("psb")["output"], 20)
    lab.break_("relays", "drop_link")
    told = Answered()
    lab.live.mail.put(Ask("stop_all", ("fire", "ada"), told, urgent=True))
    until(lambda: not lab.of("psb")["output"], 10, "off does not wait for the relays")
    rounds = lab.live.rounds
    until(lambda: lab.live.rounds > rounds + 3, 10, "nor do the readings")
    assert told.outcome is None, "a relay is still on"
    lab.simulators.ask(device="relays", clear=True)
    until(lambda: told.outcome, 20)
    assert (told.outcome, relays(lab)[0]) == ("done", 0)


def test_stop_all_says_which_output_is_not_confirmed(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(down, "CONFIRM_S", 1.0)
    lab = with_relays(made)
    pump_on(lab)
    lab.break_("relays", "drop_link")
    told = lab.ask("stop_all", ("fire", "ada"), urgent=True)
    assert (told.outcome, told.result["off"]) == ("failed", False)
    assert "output pump is not 0" in (told.reason or "")
    assert not lab.of("psb")["output"]


def test_the_temperature_of_a_step_sets_the_chamber(made: Any) -> None:
    lab = made({"psb": "power", "chamber": "auxiliary"})
    until(lambda: "temperature_c" in lab.live.outputs.shown, 10)
    chamber = StationOutput(name="temperature_c", device=key_of("chamber"), control="set_point_c")
    lab.configure = msgspec.structs.replace(lab.configure, outputs=[chamber])
    lab.stop()
    (lab.folder / "stations").mkdir(exist_ok=True)
    for kept in (lab.folder / "stations").glob("*.json"):
        kept.unlink()
    lab.build().idle()
    until(lambda: "temperature_c" in lab.live.outputs.shown, 10)
    lab.go(rest(600.0, temperature_c=35.0))
    until(lambda: lab.of("chamber")["set_point_c"] == pytest.approx(35.0), 10)
    until(lambda: lab.of("chamber")["run"], 10, "the chamber conditions")


def test_a_slow_board_never_delays_the_control_loop(made: Any) -> None:
    lab = with_relays(made)
    lab.go(cc(1.0))
    until(lambda: lab.of("psb")["output"], 10)
    lab.break_("relays", "drop_link", how="silent")
    rounds = lab.live.rounds
    # A loop that waited for the board would do one round in its two seconds of patience.
    until(lambda: lab.live.rounds > rounds + 60, 20, "the loop goes on at its own pace")
    assert lab.live.state == "running"
    until(lambda: lab.live.measured[key_of("relays")] is None, 15, "its values are missing")


def test_a_relay_of_a_station_is_switched_by_hand_under_its_lease(made: Any) -> None:
    lab = with_relays(made)
    lease = DeviceLease(
        lease="l1", person="ada", station=lab.live.id, voltage_min_v=2.8, voltage_max_v=4.3, current_min_a=-1.0,
        current_max_a=1.0, duration_s=600.0,
    )  # fmt: skip
    refused = lab.ask("manual_set", DeviceSet(lease="l1", device=key_of("relays"), values={"relay_2": 1.0}))
    assert refused.outcome == "refused"
    assert not any(relays(lab))
    assert lab.ask("lease", lease).outcome == "done"
    answered = lab.ask("manual_set", DeviceSet(lease="l1", device=key_of("relays"), values={"relay_0": 1.0}))
    assert answered.outcome == "done", answered.reason
    assert answered.result["held"]["relay_0"] == 1.0
    assert relays(lab)[0] == 1
    wrong = lab.ask("manual_set", DeviceSet(lease="l1", device=key_of("relays"), values={"relay_0": 7.0}))
    assert "Relay 0 cannot be 7.0" in (wrong.reason or "")
    lab.ask("lease", msgspec.structs.replace(lease, release=True))
    until(lambda: relays(lab)[0] == 0, 10, "a lease that is given back leaves outputs safe")


@pytest.mark.parametrize("way", ["down", "given back", "stop all", "trip"])
def test_what_a_person_set_falls_back_though_it_is_no_output_of_the_station(made: Any, way: str) -> None:
    lab = with_relays(made)
    named = {each.control for each in lab.live.kept.configure.outputs}
    assert "relay_3" not in named
    lease = DeviceLease(
        lease="l1", person="ada", station=lab.live.id, voltage_min_v=2.8, voltage_max_v=4.3, current_min_a=-1.0,
        current_max_a=1.0, duration_s=600.0,
    )  # fmt: skip
    assert lab.ask("lease", lease).outcome == "done"
    set_ = DeviceSet(lease="l1", device=key_of("relays"), values={"relay_3": 1.0})
    assert lab.ask("manual_set", set_).outcome == "done"
    assert relays(lab)[3] == 1
    if way == "down":
        assert lab.ask("manual_off", DeviceOff(station=lab.live.id, person="ada")).outcome == "done"
    elif way == "given back":
        lab.ask("lease", msgspec.structs.replace(lease, release=True))
    elif way == "stop all":
        lab.ask("stop_all", ("fire", "ada"), urgent=True)
    else:
        lab.break_("psb", "drop_link")
    until(lambda: relays(lab)[3] == 0, 20, "the relay is off")


def pump_on(lab: Lab) -> DeviceLease:
    """Switch a relay of the station on by hand."""
    lease = DeviceLease(
        lease="l1", person="ada", station=lab.live.id, voltage_min_v=2.8, voltage_max_v=4.3, current_min_a=-1.0,
        current_max_a=1.0, duration_s=600.0,
    )  # fmt: skip
    assert lab.ask("lease", lease).outcome == "done"
    on = DeviceSet(lease="l1", device=key_of("relays"), values={"relay_0": 1.0})
    assert lab.ask("manual_set", on).outcome == "done"
    assert relays(lab)[0] == 1
    return lease


def test_a_range_that_the_station_narrows_holds_by_hand_too(made: Any) -> None:
    narrow = StationOutput(
        name="oven", device=key_of("chamber"), control="set_point_c", minimum=10.0, maximum=60.0
    )
    lab = made({"psb": "power", "chamber": "auxiliary"}, outputs=[narrow])
    until(lambda: "oven" in lab.live.outputs.shown, 10, "the chamber answers")
    lease = DeviceLease(
        lease="l1", person="ada", station=lab.live.id, voltage_min_v=2.8, voltage_max_v=4.3, current_min_a=-1.0,
        current_max_a=1.0, duration_s=600.0,
    )  # fmt: skip
    assert lab.ask("lease", lease).outcome == "done"
    hot = DeviceSet(lease="l1", device=key_of("chamber"), values={"set_point_c": 70.0})
    told = lab.ask("manual_set", hot)
    assert (told.outcome, "its range is 10 to 60" in (told.reason or "")) == ("refused", True)
    assert lab.ask("manual_set", msgspec.structs.replace(hot, values={"set_point_c": 30.0})).outcome == "done"


def test_down_is_done_when_the_relays_are_off_too(made: Any) -> None:
    lab = with_relays(made)
    pump_on(lab)
    told = lab.ask("manual_off", DeviceOff(station=lab.live.id, person="bob"), urgent=True)
    assert (told.outcome, relays(lab)[0]) == ("done", 0), "at the moment of the answer"
    assert told.result["held"] == {"pump": 0.0, "fan": 0.0}
    assert abs(told.result["measured"]["current_a"]) < 0.05


def test_down_says_which_output_is_not_confirmed_though_the_supply_is_off(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(down, "CONFIRM_S", 1.0)
    lab = with_relays(made)
    pump_on(lab)
    lab.break_("relays", "drop_link")
    told = lab.ask("manual_off", DeviceOff(station=lab.live.id, person="bob"), urgent=True)
    assert told.outcome == "failed"
    assert "output pump is not 0" in (told.reason or "")
    assert told.result["off"] is False
    assert abs(told.result["measured"]["current_a"]) < 0.05, "the supply is off all the same"
    lab.simulators.ask(device="relays", clear=True)
    until(lambda: relays(lab)[0] == 0, 20, "it is tried until the relay is off")


def test_down_during_a_test_stops_it_and_its_outputs(made: Any) -> None:
    lab = with_relays(made)
    started = lab.start(cc(0.2, outputs={"pump": 1.0}))
    until(lambda: relays(lab)[0] == 1, 20)
    told = lab.ask("manual_off", DeviceOff(station=lab.live.id, person="bob"), urgent=True)
    assert (told.outcome, told.result["stopped"]) == ("done", started.experiment)
    assert relays(lab)[0] == 0


def test_a_draining_battery_has_its_isolator_opened(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FIRST_S", 0.1)
    lab = made(ISOLATED)
    limits = lab.limits({"name": "x", "steps": [cc(1.0)]})
    assert lab.ask("battery", loaded(lab.live.id, limits, last_rest_voltage_v=3.70)).outcome == "done"
    start = lab.message(rest(0.5))
    start = msgspec.structs.replace(start, battery=lab.live.watch.battery.battery)
    assert lab.ask("start", start, 60).outcome == "done"
    lab.ended(20)
    assert coupler(lab.simulators, "switch")["outputs"]["isolator"]
    lab.break_("psb3", "drift", offset_v=-1.5)
    until(lambda: not coupler(lab.simulators, "switch")["outputs"]["isolator"], 15, "the isolator is open")
    assert lab.events("alarm")[0]["detail"]["code"] == "draining"


def test_the_dead_man_output_opens_when_the_control_loop_does_not_refresh_it(made: Any) -> None:
    dead_man = StationOutput(name="guard", device=key_of("dog"), control="dead_man", safe=0.0)
    lab = made({"psb4": "power", "dog": "auxiliary"}, outputs=[dead_man], dead_man="guard")
    start = lab.message(cc(1.0))
    start = msgspec.structs.replace(
        start, battery=msgspec.structs.replace(start.battery, last_rest_voltage_v=3.70)
    )
    answered = lab.ask("start", start, 60)
    assert answered.outcome == "done", answered.reason
    until(lambda: lab.of("psb4")["current_a"] > 0.9, 10)
    began_s = time.monotonic()
    until(lambda: time.monotonic() - began_s > 7.0, 15, "longer than its watchdog waits")
    assert lab.of("psb4")["current_a"] > 0.9, "the loop refreshes it"
    stopped = threading.Event()
    lab.live.outputs.refresh_dead_man = lambda: stopped.wait(0.0) and None  # type: ignore[method-assign]
    until(lambda: not coupler(lab.simulators, "dog")["outputs"]["dead_man"], 15, "it opens by itself")
    until(lambda: abs(lab.of("psb4")["current_a"]) < 1e-6, 10)
    detail = lab.ended(20)
    assert detail["status"] == "error"
    assert not lab.of("psb4")["output"]
