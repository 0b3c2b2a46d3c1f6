"""Safety rules 1 to 5 broken on purpose: envelope, contract, protections, wiring, readings."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from cycler_unit.drivers.base import Protections
from cycler_unit.power import Power
from cycling import envelope
from tests.cycler_unit.bench import BATTERY, CHARGE, REST, Bench, limits_of, profile, start_message
from tests.stack.waiting import until
from wire.messages import BatteryRef


def refused(bench: Bench, *steps: dict[str, Any], **more: Any) -> Any:
    """Ask for a start that must be refused by a safety rule; return the answer."""
    message = start_message(bench.configure.station, profile(*steps), **more)
    answered = bench.ask("start", message)
    assert answered.outcome == "refused"
    assert bench.live.state == "tripped"
    assert bench.ended()["status"] == "error"
    assert not bench.truth()["output"]
    return answered


# --- rule 1 and 5: the envelope, each reading, off first ------------------------------------------


def test_a_voltage_beyond_its_limit_switches_off_and_latches(bench: Bench) -> None:
    started = bench.start(CHARGE)
    bench.flows()
    bench.fault("drift", offset_v=-1.3)
    detail = bench.ended()
    assert not bench.truth()["output"]
    assert detail["status"] == "error"
    assert detail["end_reason"]["quantity"] == "voltage_v"
    assert detail["end_reason"]["limit"] == pytest.approx(2.79)
    alarm = bench.events("alarm")[0]
    assert alarm["detail"]["experiment"] == started.experiment
    assert alarm["detail"]["class"] == "trip"
    assert alarm["detail"]["measured"] < 2.79
    assert bench.live.state == "tripped"
    assert bench.live.beat().alarm == alarm["detail"]["id"]


def test_after_the_reading_that_trips_the_next_message_on_the_wire_is_off(bench: Bench) -> None:
    bench.start(CHARGE)
    bench.flows()
    at_s = bench.last_at_s()
    bench.fault("drift", offset_v=-1.3)
    bench.ended()
    log = bench.exchanges(at_s)
    outside = [
        index for index, each in enumerate(log)
        if each["to"] == "host" and each["text"].count(",") == 2 and float(each["text"].split()[0]) < 2.79
    ]  # fmt: skip
    # Three readings in a row make a trip; only then comes anything else, and that is off.
    assert next(each["text"] for each in log[outside[2] + 1 :] if each["to"] == "device") == "OUTP OFF"


def test_a_voltage_above_its_limit_ends_the_test_whoever_sees_it_first(bench: Bench) -> None:
    bench.start(CHARGE)
    bench.flows()
    bench.fault("drift", rate_v_s=2.0)
    assert bench.ended()["status"] == "error"
    assert not bench.truth()["output"]
    assert bench.live.state == "tripped"


def test_noise_at_the_operating_limit_does_not_trip(bench: Bench) -> None:
    hold = {
        "kind": "cv", "voltage_v": 4.3, "current_max_a": 0.5, "end": [{"quantity": "time_s", "value": 4.0}],
    }  # fmt: skip
    bench.start(hold)
    assert bench.ended()["status"] == "finished"


def test_a_device_that_cannot_be_read_as_numbers_counts_as_a_violation(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start(CHARGE)
    bench.flows()
    real = bench.live.power.device.read

    def no_voltage() -> Any:
        import dataclasses

        return dataclasses.replace(real(), voltage_v=float("nan"))

    monkeypatch.setattr(bench.live.power.device, "read", no_voltage)
    detail = bench.ended()
    assert detail["end_reason"]["code"] == "missing"
    assert not bench.truth()["output"]


def test_frozen_readings_count_as_missing(bench: Bench) -> None:
    bench.start(CHARGE)
    bench.flows()
    bench.fault("freeze")
    detail = bench.ended(20.0)
    assert detail["end_reason"]["code"] == "missing"
    assert detail["end_reason"]["quantity"] == "voltage_v"
    assert not bench.truth()["output"]


# --- rule 2: the contract -------------------------------------------------------------------------


def test_an_envelope_with_another_hash_is_refused(bench: Bench) -> None:
    answered = refused(bench, CHARGE, envelope_sha256="0" * 64)
    assert "SHA-256" in answered.reason
    assert answered.result["rule"] == 2


def test_an_envelope_wider_than_the_device_is_refused(bench: Bench) -> None:
    good = limits_of(profile(CHARGE))
    wide = msgspec.structs.replace(
        good,
        limits=tuple(
            msgspec.structs.replace(each, operating=50.0, trip=51.0)
            if (each.quantity, each.side) == ("current_a", "max")
            else each
            for each in good.limits
        ),
    )
    answered = refused(bench, CHARGE, text=envelope.canonical(wide))
    assert "largest charge current of 50 A is wider" in answered.reason


def test_a_profile_that_leaves_its_envelope_is_refused(bench: Bench) -> None:
    too_much = {"kind": "cc", "current_a": 2.0, "end": [{"quantity": "time_s", "value": 5.0}]}
    answered = refused(bench, too_much)
    assert "step 1" in answered.reason


@pytest.mark.parametrize("sets", [{"outputs": {"pump": 1.0}}, {"temperature_c": 30.0}])
def test_an_output_that_nobody_would_set_is_refused(bench: Bench, sets: dict[str, Any]) -> None:
    message = start_message(bench.configure.station, profile({**REST, **sets}))
    answered = bench.ask("start", message)
    assert answered.outcome == "refused"
    assert "has no output" in (answered.reason or "")


def test_a_late_trip_that_a_manager_allowed_is_not_refused_again(bench: Bench) -> None:
    message = start_message(bench.configure.station, profile(REST, safety={"delay_s": 5.0}))
    assert bench.ask("start", message).outcome == "done"


# --- rule 3: left alone, the device stays inside --------------------------------------------------


def test_protections_and_voltage_bound_are_in_the_device_before_its_output_goes_on(bench: Bench) -> None:
    # Another ceiling than that of the other tests: a register that holds it already is not written.
    battery = msgspec.structs.replace(BATTERY, voltage_max_v=4.29)
    message = start_message(bench.configure.station, profile(CHARGE), battery=battery)
    at_s = bench.last_at_s()
    assert bench.ask("start", message).outcome == "done"
    until(lambda: "OUTP ON" in bench.sent(at_s), every_s=0.01)
    log = bench.sent(at_s)
    before = log[: log.index("OUTP ON")]
    last = {name: float(value) for name, value in re.findall(r"([A-Z:]+) ([0-9.]+)", ";".join(before))}
    last = {name.lstrip(":"): value for name, value in last.items()}
    # Trip 4.30 V and one resolution step outwards; the battery's 1 A with its margin.
    assert last["VOLT:PROT"] == pytest.approx(4.3001)
    assert 1.0 < last["CURR:PROT"] < 1.05
    assert 1.0 < last["SINK:CURR:PROT"] < 1.05
    assert last["VOLT"] <= 4.29
    assert last.get("SINK:CURR", 0.0) == 0.0


def test_protections_that_read_back_differently_refuse_the_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(wanted: Protections) -> Protections:
        return Protections(voltage_max_v=9.9, charge_current_max_a=wanted.charge_current_max_a)

    monkeypatch.setattr(bench.live.power.device, "protect", deaf)
    at_s = bench.last_at_s()
    answered = refused(bench, CHARGE)
    assert answered.result["rule"] == 3
    assert "its own overvoltage protection was set to" in (answered.reason or "")
    assert "and reads back 9.9 V" in (answered.reason or "")
    assert "OUTP ON" not in bench.sent(at_s)


# --- rule 4: wiring and wake check ----------------------------------------------------------------


def test_an_empty_holder_is_refused(bench: Bench) -> None:
    bench.fault("wrong_cell", absent=True)
    answered = refused(bench, CHARGE)
    assert answered.result["rule"] == 4


def test_a_battery_far_from_its_recorded_rest_voltage_is_refused(bench: Bench) -> None:
    battery = BatteryRef(battery="b", name="Cell 7", technology="lithium", last_rest_voltage_v=3.4)
    message = start_message(bench.configure.station, profile(CHARGE))
    answered = bench.ask("start", msgspec.structs.replace(message, battery=battery))
    assert answered.outcome == "refused"
    assert "Cell 7" in (answered.reason or "")
    assert bench.live.state == "tripped"


def test_a_person_may_confirm_another_rest_voltage(bench: Bench) -> None:
    battery = BatteryRef(
        battery="b", name="Cell 7", technology="lithium", last_rest_voltage_v=3.4, rest_voltage_confirmed=True
    )
    message = start_message(bench.configure.station, profile(REST))
    answered = bench.ask("start", msgspec.structs.replace(message, battery=battery))
    assert answered.outcome == "done"
    assert answered.result["rest_voltage_v"] == pytest.approx(bench.truth()["voltage_v"], abs=0.01)


def test_a_voltage_that_drifts_at_rest_is_refused(bench: Bench) -> None:
    bench.fault("drift", rate_v_s=0.02)
    bench.stop()
    bench.settings = {"wiring_timeout_s": 5.0}
    bench.build().idle()
    answered = refused(bench, CHARGE)
    assert "not steady" in answered.reason


def test_a_battery_outside_its_limits_is_refused(bench: Bench) -> None:
    low = msgspec.structs.replace(BATTERY, voltage_min_v=2.5, voltage_max_v=3.2)
    answered = refused(bench, CHARGE, battery=low)
    assert "above the limit" in answered.reason


def test_the_output_stays_off_while_the_wiring_is_checked(bench: Bench) -> None:
    message = start_message(bench.configure.station, profile(CHARGE))
    from cycler_unit.mail import Ask
    from tests.cycler_unit.bench import Answered

    answered = Answered()
    bench.live.mail.put(Ask("start", message, answered))
    until(lambda: bench.live.conductor.wake.check is not None or answered.outcome)
    assert not bench.truth()["output"]
    until(lambda: answered.outcome)
    assert isinstance(bench.live.power, Power)
