"""Safety rule 4 (B) broken on purpose: a small pulse each way tells a battery from what looks like one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cycler_unit.pulse import levels_a, ways
from cycling.envelope import StationLimits, compute
from cycling.steps import Safety
from tests.cycler_unit.bench import BATTERY, REST, Answered, Bench, limits_of, profile, start_message
from tests.cycling.invented import SUPPLY
from tests.stack.waiting import until
from wire.messages import BatteryRef, ExperimentRef, ExperimentStart

CELL_OHM = 0.2


def start(
    bench: Bench, pulse: str, ohm: float | None = None, **more: Any
) -> tuple[ExperimentStart, Answered]:
    """Start a rest on the bench's cell with a pulse check before it; return what was answered."""
    battery = BatteryRef(
        battery="6f0c7c2a-7f7e-4a0f-9a57-3f0b0d3e5d11", name="Cell 1", technology="lithium",
        capacity_ah=0.05, resistance_ohm=ohm,
    )  # fmt: skip
    message = start_message(bench.configure.station, profile(REST))
    message = msgspec.structs.replace(message, battery=battery, pulse=pulse, **more)
    return message, bench.ask("start", message, 60.0)


def refused(bench: Bench, pulse: str, ohm: float | None = None) -> str:
    """Return why a start with a pulse check was refused; the output is off, the station latched."""
    _, answered = start(bench, pulse, ohm)
    assert answered.outcome == "refused", answered.result
    assert answered.result["rule"] == 4
    until(lambda: not bench.truth()["output"], 10, "the output is off")
    assert bench.live.latched
    assert bench.events("status")[-1]["detail"]["status"] == "error"
    assert bench.live.conductor.experiment is None
    return answered.reason or ""


def test_the_first_time_the_resistance_is_recorded_and_told(bench: Bench) -> None:
    _, answered = start(bench, "record")
    assert answered.outcome == "done", answered.reason
    detail = bench.events("status")[-1]["detail"]
    assert detail["status"] == "running"
    assert detail["resistance_ohm"] == pytest.approx(CELL_OHM, rel=0.4)
    assert [each["way"] for each in detail["pulses"]] == ["charge", "discharge"]
    assert answered.result["resistance_ohm"] == detail["resistance_ohm"]


def test_the_recorded_battery_passes(bench: Bench) -> None:
    _, answered = start(bench, "check", CELL_OHM)
    assert answered.outcome == "done", answered.reason


@pytest.mark.parametrize("record_ohm", [0.02, 2.0])
def test_another_resistance_than_recorded_is_refused(bench: Bench, record_ohm: float) -> None:
    assert "another battery" in refused(bench, "check", record_ohm)


def test_an_empty_holder_with_a_charged_capacitor_is_refused(bench: Bench) -> None:
    bench.fault("capacitor", farad=0.05)
    assert refused(bench, "record")


def test_a_large_capacitor_that_keeps_what_it_got_is_refused(bench: Bench) -> None:
    bench.fault("capacitor", farad=1.0)
    assert "capacitor" in refused(bench, "record")


def test_reversed_leads_are_refused_before_any_pulse(bench: Bench) -> None:
    bench.fault("reversed")
    at_s = bench.last_at_s()
    assert "reversed" in refused(bench, "record")
    assert "OUTP ON" not in bench.sent(at_s)


def test_a_device_that_refuses_its_set_points_is_refused(bench: Bench) -> None:
    bench.fault("refuse")
    message, answered = start(bench, "record")
    assert answered.outcome == "refused", (message.name, answered.result)
    assert not bench.truth()["output"]


def test_the_pulses_are_small_short_and_counted(bench: Bench) -> None:
    before_ah = bench.truth()["charge_in_ah"] + bench.truth()["charge_out_ah"]
    message, answered = start(bench, "record")
    assert answered.outcome == "done", answered.reason
    moved_ah = bench.truth()["charge_in_ah"] + bench.truth()["charge_out_ah"] - before_ah
    # Six pulses at most, of two seconds at most, of 1C at most: a third of a percent.
    assert 0.0 < moved_ah < 0.05 * 6 * 2 / 3600
    until(lambda: bench.rows(message.experiment), 10, "a sample")
    first = bench.rows(message.experiment)[0]
    assert first["charge_in_ah"] + first["charge_out_ah"] >= 0.9 * moved_ah
    assert bench.live.conductor.run is not None
    assert first["current_a"] == pytest.approx(0.0, abs=0.01)


def test_without_a_wish_there_is_no_pulse(bench: Bench) -> None:
    at_s = bench.last_at_s()
    _, answered = start(bench, "skip")
    assert answered.outcome == "done", answered.reason
    assert "OUTP ON" not in bench.sent(at_s)
    assert "resistance_ohm" not in bench.events("status")[-1]["detail"]


def test_a_station_that_only_charges_only_charges_in_the_check() -> None:
    one_way = compute(BATTERY, [SUPPLY], StationLimits(quadrants="charge"), Safety())
    assert ways(one_way) == ["charge"]
    assert ways(compute(BATTERY, [SUPPLY], StationLimits(quadrants="discharge"), Safety())) == ["discharge"]
    assert ways(compute(BATTERY, [SUPPLY], StationLimits(), Safety()), ["discharge"]) == ["charge"]


def test_the_currents_begin_at_a_twentieth_and_never_leave_the_envelope() -> None:
    limits = limits_of(profile(REST))
    assert levels_a(limits, 0.05, "charge") == pytest.approx([0.0025, 0.0125, 0.05])
    # A large battery in a small channel: the largest current is the channel's.
    assert levels_a(limits, 40.0, "discharge") == [1.0]
    assert max(levels_a(limits, None, "charge")) == pytest.approx(0.2)
    # A current below what the device resolves is none.
    assert min(levels_a(limits, 0.001, "charge")) == pytest.approx(0.001)


def test_a_stop_between_the_pulses_ends_the_check(bench: Bench) -> None:
    message = msgspec.structs.replace(start_message(bench.configure.station, profile(REST)), pulse="record")
    answered = Answered()
    from cycler_unit.mail import Ask
    from wire.messages import ExperimentStop

    bench.live.mail.put(Ask("start", message, answered, False))
    until(lambda: "pulses" in (bench.live.beat().detail or ""), 30, "the pulses have begun", every_s=0.01)
    stopped = bench.ask("stop", ExperimentStop(experiment=message.experiment), urgent=True)
    assert stopped.outcome == "done", stopped.reason
    until(lambda: answered.outcome, 10)
    assert answered.outcome == "failed"
    assert bench.live.conductor.experiment is None
    until(lambda: not bench.truth()["output"], 10)


def test_after_a_long_pause_the_same_battery_is_pulsed_again_and_another_is_not_taken(bench: Bench) -> None:
    message, answered = start(bench, "record")
    assert answered.outcome == "done", answered.reason
    who = ExperimentRef(experiment=message.experiment, person="ada")
    requests = bench.live.conductor.requests
    assert bench.ask("pause", who).outcome == "done"
    begun_s = requests.now
    requests.now = lambda: begun_s() + 3700.0
    again = bench.ask("resume", who, 60.0)
    assert again.outcome == "done", again.reason
    assert again.result["resistance_ohm"] == pytest.approx(CELL_OHM, rel=0.4)
    assert bench.ask("pause", who).outcome == "done"
    later_s = requests.now
    requests.now = lambda: later_s() + 3700.0
    soc = bench.truth()["soc"]
    bench.fault("wrong_cell", soc=soc, r0_ohm=4.0)
    other = bench.ask("resume", who, 60.0)
    assert other.outcome == "refused"
    assert "another battery" in (other.reason or "")
    assert bench.live.beat().state == "tripped"
    assert bench.live.conductor.experiment == message.experiment
