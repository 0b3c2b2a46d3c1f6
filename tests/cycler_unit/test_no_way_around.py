"""Ways around the rules of safety.md, each tried on purpose: races, restarts, latches, hands, long waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from cycler_unit import latches, loaded, pulse
from cycler_unit.agent import Agent
from cycler_unit.buses.local import LocalBuses
from cycler_unit.dispatch import Dispatcher
from cycler_unit.drivers.errors import DeviceLost
from cycler_unit.isolator import Isolator
from cycler_unit.mail import Ask
from cycler_unit.outputs import Outputs
from cycler_unit.reach import Reach
from cycler_unit.stations import Kept
from cycler_unit.watch import Found
from cycling.reading import EndReason
from cycling.reasons import LIMIT
from tests.cycler_unit.bench import (
    BATTERY,
    CHARGE,
    REST,
    Answered,
    Bench,
    config,
    limits_of,
    profile,
    start_message,
)
from tests.cycler_unit.lab import loaded as loaded_battery
from tests.cycler_unit.test_by_hand import held, lease, set_
from tests.cycler_unit.test_this_computer import OneStation, configured
from tests.stack.waiting import until
from wire import kinds
from wire.messages import ExperimentStop, StationDevice, StationOutput, Zone

LINK = {"kind": "modbus", "host": "127.0.0.1", "port": 1}
TOO_HIGH = EndReason(
    code=LIMIT, text="voltage is above the trip limit", quantity="voltage_v", limit=4.31, measured=4.4
)
GUARD = StationDevice(device="g", role="auxiliary", model="modbus-io-coupler", serial_number="", link=LINK)


# --- stops (rules 10, 11, 18) ----------------------------------------------------------------------


def test_stop_all_ends_a_test_that_still_waits_for_its_device(bench: Bench) -> None:
    started = bench.start(CHARGE, resume_policy="resume")
    bench.flows()
    until(lambda: bench.rows(started.experiment), 10, "a checkpoint is on the disk")
    bench.kill()
    bench.fault("drop_link", how="close")
    bench.build()
    answered = bench.ask("stop_all", ("stop all", "ada"))
    assert answered.result["ended"] == started.experiment
    bench.clear()
    bench.idle()
    assert bench.live.conductor.experiment is None, "it would resume by itself"
    assert bench.statuses()[-1] == "stopped"
    assert not bench.truth()["output"]


def test_a_stop_does_not_wait_for_the_end_of_a_pulse(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "PULSE_S", 20.0)
    monkeypatch.setattr(pulse, "PULSE_MAX_S", 20.0)
    message = start_message(bench.configure.station, profile(REST), pulse="record")
    started = Answered()
    bench.live.mail.put(Ask("start", message, started))
    until(lambda: bench.truth()["output"], 15, "a pulse flows")
    stop = ExperimentStop(experiment=message.experiment, how="now", person="ada")
    assert bench.ask("stop", stop, 8.0, urgent=True).outcome == "done"
    assert not bench.truth()["output"]
    assert bench.statuses()[-1] == "stopped"
    assert started.outcome == "failed"


def test_readings_come_first_however_many_requests_wait(bench: Bench) -> None:
    args = held(bench)
    assert set_(bench, args, mode="cc", current_a=0.2).outcome == "done"
    station, do = bench.live, bench.live._do

    def slow(ask: Ask) -> None:
        time.sleep(0.05)
        do(ask)

    station._do = slow  # type: ignore[method-assign]
    answers = [Answered() for _ in range(30)]
    before = station.rounds
    for each in answers:
        station.mail.put(Ask("lease", args, each))
    until(lambda: all(each.outcome for each in answers), 30)
    assert station.rounds - before >= 15


# --- latched is latched (rules 7, 17, 18) ----------------------------------------------------------


def test_a_latch_that_comes_while_a_person_holds_the_station_forbids_current(bench: Bench) -> None:
    args = held(bench)
    latches.alarm(bench.live, "unwatched", "the battery cannot be watched", "error")
    answered = set_(bench, args, mode="cc", current_a=0.2)
    assert answered.outcome == "refused"
    assert "not acknowledged" in (answered.reason or "")
    assert not bench.truth()["output"]


def test_a_battery_that_drains_in_a_rest_ends_the_test_with_that_cause(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start(REST)
    found = iter([Found("draining", "the loaded battery drains")])
    monkeypatch.setattr(bench.live.watch, "look", lambda *_, **__: next(found, None))
    detail = bench.ended()
    assert detail["end_reason"]["code"] == "draining"
    assert bench.live.latched


def test_nothing_begins_in_a_zone_that_nobody_has_read_yet(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = Zone(zone="z", name="Room", devices=[], interlocks=[], outputs=[])
    watch = SimpleNamespace(why="the interlocks were not read yet")
    monkeypatch.setattr(bench.hub.zones, "get", lambda zone: watch)
    bench.live.kept.configure = msgspec.structs.replace(bench.configure, zone=zone)
    answered = bench.ask("lease", lease(bench))
    assert (answered.outcome, answered.reason) == ("refused", watch.why)
    begun = bench.ask("start", start_message(bench.configure.station, profile(CHARGE)))
    assert (begun.outcome, begun.reason) == ("refused", watch.why)
    bench.live.kept.configure = bench.configure


def test_a_latch_that_a_full_disk_did_not_take_is_written_when_it_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(kept: Kept) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(bench.hub.folder, "save", full)
        latches.alarm(bench.live, "interlock", "the door is open", "trip")
        assert bench.hub.folder.load() == []
    until(lambda: bench.hub.folder.load(), 10, "the latch is on the disk")
    assert bench.hub.folder.load()[0].latches[0].code == "interlock"


# --- off, and not lost (rules 5, 6, 13) ------------------------------------------------------------


@pytest.mark.parametrize("where", ["_store_box", "_show", "_next_due"])
def test_a_fault_anywhere_in_the_loop_is_off_and_the_loop_goes_on(bench: Bench, where: str) -> None:
    bench.start(CHARGE)
    bench.flows()
    station = bench.live
    real: Callable[[], None] = getattr(station, where)

    def once() -> None:
        setattr(station, where, real)
        raise RuntimeError("a fault of the program")

    setattr(station, where, once)
    until(lambda: not bench.truth()["output"], 10, "the output is off")
    detail = bench.ended()
    assert detail["end_reason"]["code"] == "internal_error"
    before = station.rounds
    until(lambda: station.rounds > before + 2, 10, "it is still read")


def test_a_device_that_cannot_be_opened_is_unsafe_whatever_was_said_before() -> None:
    def gone() -> None:
        raise DeviceLost("the link is gone")

    power = SimpleNamespace(open=gone, may_be_on=lambda: "may still be on")
    parts = SimpleNamespace(moved=lambda: False, hold=lambda: None)
    reach = Reach(SimpleNamespace(id="s", parts=parts, power=power))  # type: ignore[arg-type]
    reach.said, reach.unsafe = "the link is gone", None
    assert not reach.reopen()
    assert reach.unsafe is not None


# --- isolator and outputs (rules 6, 17) ------------------------------------------------------------


class Relays:
    """An instrument whose relays move when a test says so."""

    def __init__(self) -> None:
        self.kind = kinds.get("esp32-relay-board")
        self.held: dict[str, float] = {}
        self.why_not = None
        self.written: list[tuple[str, float]] = []
        self.moves = threading.Event()

    def write(self, control: str, value: float) -> Any:
        self.written.append((control, value))
        return SimpleNamespace(done=self.moves, error=None, held=value)


def test_the_device_is_read_while_an_isolator_closes_on_its_terminals() -> None:
    relays, reads = Relays(), []

    def read() -> None:
        reads.append(time.monotonic())
        if len(reads) == 5:
            relays.moves.set()

    isolator = Isolator(relays, "relay_0")  # type: ignore[arg-type]
    assert isolator.close(3.7, 3.7, no_current=True, meanwhile=read) is None
    assert len(reads) == 5


def test_an_output_outside_its_range_keeps_no_other_from_its_safe_value() -> None:
    relays = Relays()
    rows = [
        StationOutput(name="one", device="r", control="relay_0", minimum=1.0, maximum=1.0, safe=0.0),
        StationOutput(name="two", device="r", control="relay_1", safe=7.0),
        StationOutput(name="three", device="r", control="relay_2", safe=0.0),
    ]
    configure = SimpleNamespace(outputs=rows)
    outputs = Outputs(configure, {"r": relays})  # type: ignore[arg-type, dict-item]
    outputs.safe()
    assert ("relay_0", 0.0) in relays.written
    assert ("relay_2", 0.0) in relays.written


# --- a station that is made anew (rules 6, 7, 12) --------------------------------------------------


@pytest.fixture
def agent(bench: Bench) -> Iterator[Agent]:
    """Return a unit, not connected to anything, with the bench's station."""
    bench.stop()
    made = Agent(config(bench.folder), LocalBuses())
    made.spool.start()
    made.put(Kept(configure=bench.configure))
    yield made
    for station in made.all():
        station.stop()
    made.spool.stop()
    made.hub.buses.stop()


def test_a_test_that_began_while_its_station_was_changed_is_not_lost(bench: Bench, agent: Agent) -> None:
    before = agent.get(bench.configure.station)
    assert before is not None
    until(lambda: before.unsafe is None and before.taken is not None, 10)
    kept = msgspec.structs.replace(before.kept, configure=msgspec.structs.replace(bench.configure, version=2))
    message, answered = start_message(bench.configure.station, profile(CHARGE)), Answered()
    before.mail.put(Ask("start", message, answered))
    until(lambda: answered.outcome, 20)
    assert answered.outcome == "done", answered.reason
    agent.put(kept)
    after = agent.get(bench.configure.station)
    assert after is not None
    assert after.conductor.experiment == message.experiment
    assert not bench.truth()["output"]


def test_latch_and_battery_that_came_while_a_station_was_changed_stay(bench: Bench, agent: Agent) -> None:
    before = agent.get(bench.configure.station)
    assert before is not None
    kept = msgspec.structs.replace(before.kept, configure=msgspec.structs.replace(bench.configure, version=2))
    before.kept.latches = []  # what releasing another alarm leaves: a list of its own
    alarm = latches.alarm(before, "interlock", "the door is open", "trip")
    agent.put(kept)
    after = agent.get(bench.configure.station)
    assert after is not None
    assert [each.alarm for each in after.kept.latches] == [alarm]
    assert [each.alarm for each in agent.hub.folder.load()[0].latches] == [alarm]


def test_a_station_that_may_still_be_on_is_neither_changed_nor_retired(bench: Bench) -> None:
    dispatcher = Dispatcher(bench.hub, OneStation(bench.hub, bench.live), lambda: None)
    bench.live.stop()
    bench.live.reach.unsafe, bench.live.power.output_on = "it does not answer", True
    newer = msgspec.structs.replace(bench.configure, version=2)
    for asked in (newer, msgspec.structs.replace(newer, retired=True)):
        answered = configured(dispatcher, asked)
        assert answered.outcome == "refused"
        assert "not confirmed off" in (answered.reason or "")
    dispatcher.stop()


def test_a_device_guards_a_zone_or_belongs_to_a_station_never_both(bench: Bench) -> None:
    dispatcher = Dispatcher(bench.hub, OneStation(bench.hub, bench.live), lambda: None)
    zone = Zone(zone="z", name="Room", devices=[GUARD], interlocks=[], outputs=[])
    own = [*bench.configure.devices, msgspec.structs.replace(GUARD, device="i", role="isolator")]
    both = msgspec.structs.replace(bench.configure, version=2, devices=own, zone=zone)
    assert "guards the zone" in (configured(dispatcher, both).reason or "")
    bench.live.kept.configure = msgspec.structs.replace(bench.configure, zone=zone)
    other = msgspec.structs.replace(both, station="other", devices=own[1:], zone=None)
    assert "guards the zone" in (configured(dispatcher, other).reason or "")
    bench.live.kept.configure = bench.configure
    dispatcher.stop()


def test_the_same_battery_again_does_not_touch_the_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[Kept] = []
    monkeypatch.setattr(bench.hub.folder, "save", saved.append)
    message = loaded_battery(bench.configure.station, limits_of(profile(CHARGE)))
    for _ in range(3):
        loaded.load(bench.live, Ask("battery", message, Answered()))
    assert len(saved) == 1


# --- what a person or a pulse does to a battery (rules 7, 15) --------------------------------------


def by_hand(bench: Bench, capacity_ah: float) -> Any:
    """Load a battery and take the station by hand under its own envelope."""
    limits = limits_of(profile(CHARGE), msgspec.structs.replace(BATTERY, capacity_ah=capacity_ah))
    message = loaded_battery(bench.configure.station, limits, capacity_ah=capacity_ah)
    assert bench.ask("battery", message).outcome == "done"
    text = {"envelope": message.envelope, "envelope_sha256": message.envelope_sha256}
    return held(bench, connected="battery", battery=message.battery.battery, **text)  # type: ignore[union-attr]


def test_by_hand_too_the_charge_budget_ends_it_and_the_battery_is_quarantined(bench: Bench) -> None:
    args = by_hand(bench, 0.0004)
    # The budget is half a milliampere-hour: it may be spent before this is answered.
    set_(bench, args, mode="cc", current_a=0.5)
    until(lambda: bench.live.by_hand.lease is None, 20, "the budget is spent")
    assert not bench.truth()["output"]
    alarm = bench.events("alarm")[-1]["detail"]
    assert (alarm["quantity"], alarm["quarantine"], alarm["battery"]) == (
        "charge_one_way_ah",
        True,
        args.battery,
    )


def test_a_voltage_that_trips_by_hand_quarantines_the_loaded_battery(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = by_hand(bench, 0.05)
    assert set_(bench, args, mode="cc", current_a=0.2).outcome == "done"
    hand = bench.live.by_hand.lease
    assert hand is not None
    monkeypatch.setattr(hand.judge, "judge", lambda reading: TOO_HIGH)
    until(lambda: bench.events("alarm"), 10, "it trips")
    alarm = bench.events("alarm")[-1]["detail"]
    assert (alarm["quarantine"], alarm["battery"]) == (True, args.battery)


def test_a_limit_that_is_left_in_a_pulse_quarantines_the_battery(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse.Watch, "judge", lambda self, reading: TOO_HIGH)
    message = start_message(bench.configure.station, profile(REST), pulse="record")
    answered = bench.ask("start", message, 30.0)
    assert answered.outcome == "refused"
    assert not bench.truth()["output"]
    alarm = bench.events("alarm")[-1]["detail"]
    assert (alarm["quantity"], alarm["quarantine"]) == ("voltage_v", True)
    assert alarm["battery"] == message.battery.battery
