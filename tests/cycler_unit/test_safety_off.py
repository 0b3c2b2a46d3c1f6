"""Safety rules 6, 7, 12 and 13 broken on purpose: off is measured, latches, errors of the device."""

from __future__ import annotations

import msgspec
import pytest

from cycler_unit.stations import Kept, StationFolder
from tests.cycler_unit.bench import CHARGE, Bench, profile, start_message
from tests.stack.waiting import until
from wire.messages import ExperimentStop, StationAcknowledge

# --- rule 6: off means measured off ---------------------------------------------------------------


@pytest.mark.parametrize("answers", ["OFF", "ON"])
def test_an_output_that_does_not_open_makes_the_station_unsafe_not_idle(bench: Bench, answers: str) -> None:
    started = bench.start(CHARGE)
    bench.flows()
    bench.fault("stuck_on", answers=answers)
    answered = bench.ask("stop", ExperimentStop(experiment=started.experiment), urgent=True)
    assert answered.outcome == "failed"
    assert (answered.reason or "").count("not confirmed off") == 1
    assert bench.live.state == "unsafe"
    alarm = bench.events("alarm")[0]["detail"]
    assert (alarm["code"], alarm["class"]) == ("off_failed", "unsafe")
    assert "0.5 A" in (bench.live.unsafe or "")


def test_off_is_repeated_until_it_is_measured_and_the_station_stays_latched(bench: Bench) -> None:
    started = bench.start(CHARGE)
    bench.flows()
    bench.fault("stuck_on")
    bench.ask("stop", ExperimentStop(experiment=started.experiment), urgent=True)
    at_s = bench.last_at_s()
    until(lambda: bench.sent(at_s).count("OUTP OFF") >= 2, 10, "off is repeated")
    assert bench.live.state == "unsafe"
    bench.clear()
    until(lambda: bench.live.state == "tripped", 10, "off is confirmed")
    assert len(bench.events("alarm")) == 1


def test_a_lost_device_is_opened_again_with_off_as_the_first_thing_sent(bench: Bench) -> None:
    bench.start(CHARGE)
    bench.flows()
    bench.fault("drop_link", for_s=2.0)
    at_s = bench.last_at_s()
    until(lambda: bench.live.state == "unsafe", 10, "the loss is seen")
    assert bench.truth()["output"], "the simulator goes on as a real supply does"
    assert "may still be on, last set point 0.5 A to 4.3" in (bench.live.unsafe or "")
    until(lambda: bench.live.state == "tripped", 15, "it is found again and confirmed off")
    assert not bench.truth()["output"]
    assert bench.sent(at_s)[0] == "OUTP OFF"


def test_losing_the_device_ends_the_test_with_the_cause_in_words(bench: Bench) -> None:
    bench.start(CHARGE)
    bench.flows()
    bench.fault("drop_link", for_s=1.0)
    detail = bench.ended(20)
    assert detail["status"] == "error"
    assert detail["end_reason"]["code"] == "device_lost"
    words = bench.events("alarm")[0]["text"]
    # Said once, as it happens to be noticed: by the end of the stream, or by a reset.
    assert words.count("closed the connection") + words.count("is gone") == 1, words
    assert words.endswith("may still be on, last set point 0.5 A to 4.30 V")
    rows = [each["detail"]["row"] for each in bench.events("step") if "row" in each["detail"]]
    assert rows[-1]["end_reason"]["code"] == "device_lost"


def test_an_idle_station_whose_device_is_lost_is_not_shown_as_idle(bench: Bench) -> None:
    bench.fault("drop_link")
    until(lambda: bench.live.state == "unsafe", 10)
    assert "was off when last heard" in (bench.live.unsafe or "")
    bench.clear()
    until(lambda: bench.live.state == "idle", 10, "it comes back by itself")
    assert not bench.live.latched


def test_another_device_at_the_same_link_is_refused(bench: Bench) -> None:
    bench.stop()
    device = msgspec.structs.replace(bench.configure.devices[0], serial_number="4711")
    bench.configure = msgspec.structs.replace(bench.configure, devices=[device])
    bench.build()
    until(lambda: "exchanged" in (bench.live.unsafe or ""), 10)
    assert bench.live.state == "unsafe"


# --- rule 7: latched ------------------------------------------------------------------------------


def tripped(bench: Bench) -> str:
    """Trip the station and return the alarm's UUID."""
    bench.start(CHARGE)
    bench.flows()
    bench.fault("drift", offset_v=-1.3)
    bench.ended()
    bench.clear()
    alarm: str = bench.events("alarm")[0]["detail"]["id"]
    return alarm


def test_a_tripped_station_starts_nothing_until_acknowledged(bench: Bench) -> None:
    alarm = tripped(bench)
    answered = bench.ask("start", start_message(bench.configure.station, profile(CHARGE)))
    assert answered.outcome == "refused"
    assert "not acknowledged" in (answered.reason or "")
    acknowledge = StationAcknowledge(station=bench.configure.station, alarm=alarm)
    assert bench.ask("acknowledge", acknowledge).result["released"] is True
    assert bench.live.state == "idle"
    bench.start(CHARGE)


def test_another_alarms_acknowledgement_does_not_release_the_latch(bench: Bench) -> None:
    tripped(bench)
    other = StationAcknowledge(station=bench.configure.station, alarm="another")
    assert bench.ask("acknowledge", other).result == {
        "released": False, "latched": True, "note": "the station was not latched by this alarm",
    }  # fmt: skip
    assert bench.live.state == "tripped"


def test_the_latch_is_on_the_disk_before_anybody_is_told(bench: Bench) -> None:
    alarm = tripped(bench)
    kept: list[Kept] = StationFolder(bench.folder / "stations").load()
    assert [latch.alarm for latch in kept[0].latches] == [alarm]


def test_the_latch_survives_a_restart(bench: Bench) -> None:
    tripped(bench)
    bench.stop()
    kept = StationFolder(bench.folder / "stations").load()[0]
    bench.build(latches=kept.latches)
    until(lambda: bench.live.state == "tripped", 10)
    assert bench.ask("start", start_message(bench.configure.station, profile(CHARGE))).outcome == "refused"


def test_an_unsafe_station_cannot_be_acknowledged(bench: Bench) -> None:
    started = bench.start(CHARGE)
    bench.flows()
    bench.fault("stuck_on")
    bench.ask("stop", ExperimentStop(experiment=started.experiment), urgent=True)
    alarm = bench.events("alarm")[0]["detail"]["id"]
    answered = bench.ask("acknowledge", StationAcknowledge(station=bench.configure.station, alarm=alarm))
    assert answered.outcome == "refused"
    assert "not confirmed off" in (answered.reason or "")


# --- rule 13: an error is an error ----------------------------------------------------------------


def test_a_devices_own_alarm_ends_the_test_as_an_error(bench: Bench) -> None:
    bench.start(CHARGE)
    bench.flows()
    bench.fault("alarm", name="OT")
    detail = bench.ended()
    assert detail["status"] == "error"
    assert "over-temperature" in detail["end_reason"]["text"]
    assert bench.live.state == "tripped"


def test_a_set_point_that_the_device_does_not_take_is_an_error(bench: Bench) -> None:
    bench.fault("clamp", current_a=0.2)
    message = start_message(bench.configure.station, profile(CHARGE))
    bench.ask("start", message)
    detail = bench.ended()
    assert detail["status"] == "error"
    assert detail["end_reason"]["code"] == "device_error"
    assert not bench.truth()["output"]


def test_a_person_who_takes_control_at_the_front_panel_makes_an_error_and_an_unsafe_station(
    bench: Bench,
) -> None:
    bench.start(CHARGE)
    bench.flows()
    bench.fault("local")
    detail = bench.ended()
    assert detail["status"] == "error"
    assert "control" in detail["end_reason"]["text"]
    # The front panel has the output now, and the unit cannot switch it off: it must not say so.
    assert bench.live.state == "unsafe"
    bench.clear()
    until(lambda: bench.live.state == "tripped", 10)
    assert not bench.truth()["output"]


def test_a_fault_of_the_program_switches_off_and_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start(CHARGE)
    bench.flows()
    run = bench.live.conductor.run
    assert run is not None

    def broken(*_: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(run, "advance", broken)
    detail = bench.ended()
    assert detail["end_reason"]["code"] == "internal_error"
    assert not bench.truth()["output"]
    assert bench.live.is_alive()


def test_other_stations_go_on_when_one_fails(bench: Bench, neighbour: Bench) -> None:
    bench.start(CHARGE)
    neighbour.start(CHARGE)
    neighbour.flows()
    bench.fault("drop_link")
    until(lambda: bench.live.state == "unsafe", 15)
    rounds = neighbour.live.rounds
    until(lambda: neighbour.live.rounds > rounds + 20, 10, "the neighbour goes on at its own pace")
    assert neighbour.live.state == "running"
    assert neighbour.truth()["output"]


def test_a_test_that_cannot_be_recorded_is_ended_and_stays_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cycler_unit.spool import Entry, SpoolFull

    step = {"kind": "cc", "current_a": 0.5, "end": [{"quantity": "time_s", "value": 1.0}]}
    bench.start(step, {**step, "current_a": -0.5})
    real = bench.spool.put

    def full(entry: Entry, *, force: bool = False) -> None:
        if entry.rows:
            raise SpoolFull("database or disk is full")
        real(entry, force=force)

    monkeypatch.setattr(bench.spool, "put", full)
    detail = bench.ended()
    assert (detail["status"], detail["end_reason"]["code"]) == ("error", "spool_full")
    assert not bench.truth()["output"]
    at_s = bench.last_at_s()
    rounds = bench.live.rounds
    until(lambda: bench.live.rounds > rounds + 5, 10)
    assert "OUTP ON" not in bench.sent(at_s)


def test_a_trip_stays_the_cause_when_the_device_is_lost_while_switching_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cycler_unit.drivers.errors import DeviceLost

    bench.start(CHARGE)
    bench.flows()
    device = bench.live.power.device
    real, calls = device.make_safe, []

    def lost_once() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise DeviceLost("the cable was pulled")
        real()

    monkeypatch.setattr(device, "make_safe", lost_once)
    bench.fault("drift", offset_v=-1.3)
    detail = bench.ended()
    assert detail["end_reason"]["quantity"] == "voltage_v"
    assert not bench.truth()["output"]
