"""Rule 20 broken on purpose: a person controls a station by hand."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from cycler_unit import by_hand
from cycling import envelope
from tests.cycler_unit.bench import CHARGE, Bench, limits_of, profile, start_message
from tests.cycler_unit.lab import loaded
from tests.stack.waiting import until
from wire.messages import DeviceLease, DeviceOff, DeviceSet

TYPED = {
    "voltage_min_v": 2.8, "voltage_max_v": 4.3, "current_min_a": -0.8, "current_max_a": 0.8, "duration_s": 600.0,
}  # fmt: skip
LIMITS = limits_of(profile(CHARGE))


def lease(bench: Bench, **more: Any) -> DeviceLease:
    """Return a lease of something with typed limits."""
    values = {
        "lease": str(uuid.uuid4()),
        "person": "ada",
        "station": bench.configure.station,
        **TYPED,
        **more,
    }
    return DeviceLease(**values)


def held(bench: Bench, **more: Any) -> DeviceLease:
    """Take a lease."""
    args = lease(bench, **more)
    answered = bench.ask("lease", args)
    assert answered.outcome == "done", answered.reason
    return args


def set_(bench: Bench, args: DeviceLease, **values: Any) -> Any:
    """Set the supply by hand."""
    device = bench.configure.devices[0].device
    return bench.ask("manual_set", DeviceSet(lease=args.lease, device=device, values=values, person="ada"))


def notes(bench: Bench) -> list[str]:
    """Return what was noted of manual control."""
    return [each["text"] for each in bench.events("note") if each["detail"].get("manual")]


def test_a_person_charges_by_hand_and_everything_is_an_event_with_the_person(bench: Bench) -> None:
    args = held(bench)
    assert bench.live.state == "manual"
    assert bench.live.beat().lease == args.lease
    answered = set_(bench, args, mode="cc", current_a=0.5)
    assert answered.outcome == "done", answered.reason
    bench.flows()
    assert set_(bench, args, mode="off").outcome == "done"
    assert not bench.truth()["output"]
    release = DeviceLease(lease=args.lease, person="ada", station=args.station, release=True)
    assert bench.ask("lease", release).result == {"released": True}
    assert bench.live.state == "idle"
    events = [each for each in bench.events("note") if each["detail"].get("manual")]
    assert {each["detail"]["person"] for each in events} == {"ada"}
    assert "ada sets mode cc, current_a 0.5" in [each["text"] for each in events]


def test_a_lease_that_is_not_renewed_falls_back_to_off(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_hand, "LEASE_S", 1.0)
    args = held(bench)
    assert set_(bench, args, mode="cc", current_a=0.5).outcome == "done"
    bench.flows()
    until(lambda: bench.live.by_hand.lease is None, 10, "the lease lapses")
    assert not bench.truth()["output"]
    assert any("not renewed" in each for each in notes(bench))
    assert set_(bench, args, mode="cc", current_a=0.5).outcome == "refused"


def test_a_renewed_lease_holds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_hand, "LEASE_S", 4.0)
    args = held(bench)
    first = bench.live.by_hand.lease
    assert first is not None
    began_s = first.until_s
    until(
        lambda: bench.ask("lease", args).result["lease"] == args.lease and first.until_s > began_s + 5.0, 20
    )
    assert bench.live.by_hand.lease is first


def test_the_typed_duration_ends_it(bench: Bench) -> None:
    args = held(bench, duration_s=1.0)
    assert set_(bench, args, mode="cc", current_a=0.5).outcome == "done"
    until(lambda: bench.live.by_hand.lease is None, 10)
    assert not bench.truth()["output"]
    assert any("the time that ada asked for is over" in each for each in notes(bench))


@pytest.mark.parametrize("missing", sorted(TYPED))
def test_device_limits_alone_never_suffice(bench: Bench, missing: str) -> None:
    answered = bench.ask("lease", lease(bench, **{missing: None}))
    assert answered.outcome == "refused"
    assert missing in (answered.reason or "")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"voltage_max_v": 20.0}, "wider than"),
        ({"current_max_a": 50.0}, "wider than"),
        ({"voltage_max_v": 2.0}, "above voltage_min_v"),
        ({"current_max_a": -0.1}, "at least 0 A"),
        ({"duration_s": 1e6}, "at most"),
    ],
)
def test_typed_limits_must_make_sense(bench: Bench, wrong: dict[str, float], words: str) -> None:
    answered = bench.ask("lease", lease(bench, **wrong))
    assert answered.outcome == "refused"
    assert words in (answered.reason or "")
    assert bench.live.state == "idle"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mode": "cc", "current_a": 0.9}, "current_a 0.9 A lies outside"),
        ({"mode": "cc"}, "current_a is missing"),
        ({"mode": "cv", "voltage_v": 4.4}, "voltage_v 4.4 V lies outside"),
        ({"mode": "pulse"}, "mode must be one of"),
        ({"mode": "cc", "current_a": 0.1, "ohm": 3.0}, "unknown settings ohm"),
    ],
)
def test_a_set_point_outside_the_envelope_is_refused_and_nothing_flows(
    bench: Bench, values: dict[str, Any], words: str
) -> None:
    answered = set_(bench, held(bench), **values)
    assert answered.outcome == "refused"
    assert words in (answered.reason or "")
    assert not bench.truth()["output"]


def test_each_reading_is_judged_and_a_violation_is_off_and_latched(bench: Bench) -> None:
    args = held(bench)
    assert set_(bench, args, mode="cc", current_a=0.5).outcome == "done"
    bench.flows()
    bench.fault("drift", offset_v=-1.3)
    until(lambda: bench.live.state == "tripped", 10)
    assert not bench.truth()["output"]
    alarm = bench.events("alarm")[0]
    assert alarm["detail"]["quantity"] == "voltage_v"
    assert alarm["detail"]["class"] == "trip"
    assert bench.live.by_hand.lease is None
    bench.clear()
    assert bench.ask("lease", lease(bench)).outcome == "refused"


def test_losing_the_device_by_hand_is_an_alarm(bench: Bench) -> None:
    args = held(bench)
    assert set_(bench, args, mode="cc", current_a=0.5).outcome == "done"
    bench.fault("drop_link", for_s=1.0)
    until(lambda: bench.events("alarm"), 15)
    assert bench.events("alarm")[0]["detail"]["code"] == "device_lost"
    until(lambda: not bench.truth()["output"], 15)


def test_an_experiment_and_a_hand_refuse_each_other(bench: Bench) -> None:
    args = held(bench)
    answered = bench.ask("start", start_message(bench.configure.station, profile(CHARGE)))
    assert answered.outcome == "refused"
    assert "ada controls the station by hand" in (answered.reason or "")
    bench.ask("lease", DeviceLease(lease=args.lease, person="ada", station=args.station, release=True))
    bench.start(CHARGE)
    refused = bench.ask("lease", lease(bench))
    assert refused.outcome == "refused"
    assert "an experiment runs" in (refused.reason or "")


def test_two_people_cannot_hold_one_station(bench: Bench) -> None:
    held(bench)
    answered = bench.ask("lease", lease(bench, person="bob"))
    assert answered.outcome == "refused"
    assert "ada holds the station" in (answered.reason or "")


def test_down_switches_off_whoever_holds_the_station(bench: Bench) -> None:
    args = held(bench)
    assert set_(bench, args, mode="cc", current_a=0.5).outcome == "done"
    bench.flows()
    answered = bench.ask("manual_off", DeviceOff(station=args.station, person="bob"), urgent=True)
    assert answered.outcome == "done"
    assert answered.result["off"] is True
    assert abs(answered.result["measured"]["current_a"]) < 0.01, "off is what was measured"
    assert answered.result["measured"]["voltage_v"] == pytest.approx(bench.truth()["voltage_v"], abs=0.1)
    assert not bench.truth()["output"]
    assert bench.live.by_hand.lease is None


def test_down_during_an_experiment_stops_it(bench: Bench) -> None:
    started = bench.start(CHARGE)
    answered = bench.ask("manual_off", DeviceOff(station=started.station, person="bob"), urgent=True)
    assert answered.result["stopped"] == started.experiment
    detail = bench.ended()
    assert (detail["status"], detail["end_reason"]["person"]) == ("stopped", "bob")
    assert not bench.truth()["output"]


def test_down_that_is_not_obeyed_is_said(bench: Bench) -> None:
    args = held(bench)
    assert set_(bench, args, mode="cc", current_a=0.5).outcome == "done"
    bench.flows()
    bench.fault("stuck_on")
    answered = bench.ask("manual_off", DeviceOff(station=args.station, person="bob"), urgent=True)
    assert answered.outcome == "failed"
    assert bench.live.state == "unsafe"


# --- a loaded battery -------------------------------------------------------------------------------


def load(bench: Bench) -> None:
    """Load a battery."""
    assert bench.ask("battery", loaded(bench.configure.station, LIMITS)).outcome == "done"


def of_battery(bench: Bench, **more: Any) -> DeviceLease:
    """Return a lease of the loaded battery."""
    text = envelope.canonical(LIMITS)
    values = {
        "connected": "battery", "envelope": text, "envelope_sha256": envelope.sha256(text), "duration_s": None,
        "voltage_min_v": None, "voltage_max_v": None, "current_min_a": None, "current_max_a": None,
    }  # fmt: skip
    return lease(bench, **{**values, **more})


def test_a_loaded_battery_is_controlled_inside_its_own_envelope(bench: Bench) -> None:
    load(bench)
    args = of_battery(bench)
    assert bench.ask("lease", args).outcome == "done"
    assert set_(bench, args, mode="cc", current_a=1.5).outcome == "refused"
    answered = set_(bench, args, mode="cv", voltage_v=4.2, current_a=0.3)
    assert answered.outcome == "done", answered.reason
    until(lambda: 0.2 < bench.truth()["current_a"] < 0.31, 10)


def test_a_loaded_battery_cannot_be_called_something_else(bench: Bench) -> None:
    load(bench)
    answered = bench.ask("lease", lease(bench))
    assert answered.outcome == "refused"
    assert "Cell 1 is loaded" in (answered.reason or "")


def test_no_battery_loaded_means_no_batterys_envelope(bench: Bench) -> None:
    assert "no battery is loaded" in (bench.ask("lease", of_battery(bench)).reason or "")


def test_another_envelope_than_the_agreed_one_is_refused(bench: Bench) -> None:
    load(bench)
    assert "SHA-256" in (bench.ask("lease", of_battery(bench, envelope_sha256="0" * 64)).reason or "")


def test_a_battery_outside_its_envelope_gets_no_current_by_hand(bench: Bench) -> None:
    load(bench)
    args = of_battery(bench)
    assert bench.ask("lease", args).outcome == "done"
    bench.fault("wrong_cell", soc=0.0, r0_ohm=0.05, chemistry="LFP")
    bench.fault("drift", offset_v=-1.3)
    answered = set_(bench, args, mode="cc", current_a=0.2)
    assert answered.outcome in ("refused", "failed")
    assert not bench.truth()["output"]
