"""Manual control of devices in no station, and what goes to stations (safety.md rule 20)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cycler_unit import manual
from cycler_unit.contract import Refusal
from cycler_unit.drivers.base import Identity, Measured
from cycler_unit.drivers.errors import DeviceFault
from tests.cycler_unit.free_bench import RELAY, RELAY_LINK, SUPPLY, FakeStation, FreeBench
from tests.stack.waiting import until
from wire.messages import (
    DeviceLease,
    DeviceOff,
    DevicePlace,
    DeviceRead,
    DeviceSet,
    StationBattery,
    StationDrill,
    StationStopAll,
)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[FreeBench]:
    """Return a unit with a relay and a supply in no station."""
    bench = FreeBench(tmp_path)
    yield bench
    bench.stop()


def lapse(bench: FreeBench) -> None:
    """Let time pass: nobody renews the lease for as long as it lasts."""
    for held in bench.dispatcher.manual._all():
        held.until_s -= manual.LEASE_S


def lease(bench: FreeBench, lease_id: str = "l1", person: str = "ada", **more: Any) -> Any:
    """Take the relay in hand."""
    typed = {"voltage_max_v": 4000.0, **more}
    return bench.ask(
        "device.lease", DeviceLease(lease=lease_id, person=person, device="d", where=RELAY, **typed)
    )


def wanted(lease_id: str = "l1", where: DevicePlace = RELAY, **values: float | str) -> DeviceSet:
    """Return a setting."""
    return DeviceSet(lease=lease_id, device="d", where=where, values=values, person="ada")


# --- reading ------------------------------------------------------------------------------------------


def test_a_reading_has_values_and_what_the_device_holds(bench: FreeBench) -> None:
    told = bench.ask("device.read", DeviceRead(device="d", where=RELAY))
    assert told.outcome == "done"
    assert told.result["values"] == {"temperature_c": 21.5}
    assert told.result["held"] == {"ramp_v_s": 0.0, "volts": 0.0, "on": 0.0}
    assert told.result["lease"] is None
    assert 0.0 <= told.result["age_s"] < 5.0


def test_a_sentinel_is_no_reading(bench: FreeBench) -> None:
    bench.relay.temperature_c = -255.0
    told = bench.ask("device.read", DeviceRead(device="d", where=RELAY))
    assert told.result["values"] == {"temperature_c": None}


def test_an_unknown_device_is_refused_with_what_helps(bench: FreeBench) -> None:
    told = bench.ask("device.read", DeviceRead(device="d", where=DevicePlace(model="no", serial_number="1")))
    assert (told.outcome, "start a detection" in told.reason) == ("refused", True)


def test_a_lost_device_fails_and_is_found_again(bench: FreeBench) -> None:
    bench.relay.lost = "the cable is off"
    told = bench.ask("device.read", DeviceRead(device="d", where=RELAY))
    assert (told.outcome, told.reason) == ("failed", "the cable is off")
    found = bench.devices.find(RELAY)
    assert found is not None
    assert (found.connected, found.detail) == (False, "the cable is off")
    bench.relay.lost = None
    assert bench.ask("device.read", DeviceRead(device="d", where=RELAY)).outcome == "done"
    assert found.connected or bench.devices.find(RELAY).connected  # type: ignore[union-attr]


# --- setting ------------------------------------------------------------------------------------------


def test_nothing_is_set_without_a_lease(bench: FreeBench) -> None:
    told = bench.ask("device.set", wanted(on=1.0))
    assert (told.outcome, "take Test relay r1 in hand first" in told.reason) == ("refused", True)
    assert bench.relay.values["on"] == 0.0


def test_ramps_are_set_first_then_values_then_the_switch_and_all_is_read_back(bench: FreeBench) -> None:
    assert lease(bench).outcome == "done"
    bench.relay.log.clear()
    told = bench.ask("device.set", wanted(on="on", volts=100.0, ramp_v_s=10.0))
    assert told.result == {"held": {"ramp_v_s": 10.0, "volts": 100.0, "on": 1.0}}
    assert [each for each in bench.relay.log if "=" in each] == ["ramp_v_s=10", "volts=100", "on=1"]
    said = [each["text"] for each in bench.events("device")]
    assert any("ada sets Test relay r1: Ramp 10 V/s, Voltage 100 V, Output 1" in text for text in said)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"volts": 5000.0}, "Voltage is 5000 V; allowed are 0 to 4000 V"),
        ({"volts": -1.0}, "Voltage is -1 V; allowed are 0 to 4000 V"),
        ({"volts": float("nan")}, "is no number"),
        ({"volts": "many"}, "'many' is no number"),
        ({"on": 0.5}, "0 is off and 1 is on"),
        ({"speed": 1.0}, "has no setting 'speed'; it has ramp_v_s, volts, on"),
        ({}, "at least one setting"),
    ],
)
def test_a_value_outside_its_range_is_refused_in_words_and_nothing_is_set(
    bench: FreeBench, values: dict[str, Any], said: str
) -> None:
    lease(bench)
    bench.relay.log.clear()
    told = bench.ask("device.set", wanted(**{"ramp_v_s": 5.0, **values} if values else {}))
    assert told.outcome == "refused"
    assert said in told.reason
    assert bench.relay.log == [], "the ramp, which was right, is not set either"


def test_a_power_device_in_no_station_is_refused_with_the_way_out(bench: FreeBench) -> None:
    take = DeviceLease(lease="l1", person="ada", device="d", where=SUPPLY)
    for told in (bench.ask("device.lease", take), bench.ask("device.set", wanted(where=SUPPLY, volts=1.0))):
        assert told.outcome == "refused"
        assert "compose a station" in told.reason
    assert bench.ask("device.off", DeviceOff(device="d", where=SUPPLY)).outcome == "done", (
        "Down is always there"
    )


# --- leases -------------------------------------------------------------------------------------------


def test_a_lease_is_exclusive_and_names_its_holder(bench: FreeBench) -> None:
    lease(bench)
    told = lease(bench, "l2", "bob")
    assert told.outcome == "refused"
    assert "in the hands of ada since 20" in told.reason
    assert bench.ask("device.set", wanted("l2", on=1.0)).outcome == "refused"


def test_a_lapsed_lease_makes_the_device_safe_by_itself(bench: FreeBench) -> None:
    lease(bench)
    assert bench.ask("device.set", wanted(on=1.0, volts=50.0)).outcome == "done"
    lapse(bench)
    until(lambda: bench.relay.values["on"] == 0.0, 10, "the relay is off")
    until(lambda: bench.dispatcher.manual.in_hand() == set(), 10, "the lease has ended")
    assert bench.relay.values["volts"] == 0.0
    assert bench.ask("device.set", wanted(on=1.0)).outcome == "refused"
    assert any("is safe again" in each["text"] for each in bench.events("device"))
    assert lease(bench, "l2", "bob").outcome == "done", "free for others"


def test_a_renewed_lease_lasts_longer(bench: FreeBench) -> None:
    lease(bench)
    (held,) = bench.dispatcher.manual._all()
    until_s = held.until_s
    bench.ask("device.set", wanted(on=1.0))
    assert lease(bench).outcome == "done"
    assert held.until_s > until_s
    assert bench.relay.values["on"] == 1.0


def test_giving_a_lease_back_makes_the_device_safe(bench: FreeBench) -> None:
    lease(bench)
    bench.ask("device.set", wanted(on=1.0))
    assert lease(bench, release=True).result == {"released": True}
    assert bench.relay.values["on"] == 0.0
    assert lease(bench, release=True).outcome == "done", "twice is no harm"


def test_a_device_that_is_lost_when_its_lease_lapses_is_tried_until_it_is_safe(
    bench: FreeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manual, "AGAIN_S", 0.05)
    lease(bench)
    bench.ask("device.set", wanted(on=1.0))
    bench.relay.lost = "the cable is off"
    lapse(bench)
    until(lambda: any("not confirmed safe" in e["text"] for e in bench.events("device")), 10)
    assert lease(bench, "l2", "bob").outcome == "refused", "nobody takes what is not safe"
    bench.relay.lost = None
    until(lambda: bench.relay.values["on"] == 0.0 and not bench.dispatcher.manual.in_hand(), 10)
    told = [e for e in bench.events("device") if "not confirmed safe" in e["text"]]
    assert len(told) == 1, "said once"


def test_a_device_that_cannot_be_opened_is_reported_with_the_reason(
    bench: FreeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another() -> Identity:
        raise DeviceFault("the device at this link is a Supply, not a Relay")

    monkeypatch.setattr(bench.relay, "open", another)
    assert bench.ask("device.read", DeviceRead(device="d", where=RELAY)).outcome == "failed"
    told = next(each for each in bench.devices.report().devices if each.serial_number == "r1")
    assert (told.connected, told.detail) == (False, "the device at this link is a Supply, not a Relay")


# --- what was typed -------------------------------------------------------------------------------------


def test_a_voltage_is_never_set_without_typed_limits(bench: FreeBench) -> None:
    lease(bench, voltage_max_v=None)
    told = bench.ask("device.set", wanted(volts=1.0))
    assert (told.outcome, "name what is connected" in told.reason) == ("refused", True)
    assert bench.ask("device.set", wanted(on=1.0)).outcome == "done", "a relay needs none"


def test_a_voltage_outside_what_was_typed_is_refused_though_the_device_could(bench: FreeBench) -> None:
    lease(bench, voltage_min_v=10.0, voltage_max_v=100.0)
    for volts in (101.0, 9.0):
        told = bench.ask("device.set", wanted(volts=volts))
        assert told.outcome == "refused"
        assert f"Voltage is {volts:g} V; typed for what is connected are 10 to 100 V" in told.reason
    assert bench.ask("device.set", wanted(volts=100.0)).outcome == "done"


def test_readings_outside_what_was_typed_end_the_hold_however_often_it_is_renewed(
    bench: FreeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manual, "JUDGE_S", 0.02)
    lease(bench, voltage_max_v=1000.0)
    bench.relay.more = {"out_kv": 1.009}
    assert bench.ask("device.set", wanted(on=1.0, volts=900.0)).outcome == "done"
    reads = bench.relay.log.count("read")
    until(lambda: bench.relay.log.count("read") > reads + 4, 10, "inside its accuracy it goes on")
    assert bench.relay.values["on"] == 1.0
    bench.relay.more = {"out_kv": 1.2}
    until(lambda: bench.relay.values["on"] == 0.0, 10)
    until(lambda: not bench.dispatcher.manual.in_hand(), 10)
    assert any("out_kv is 1200 V; typed are 0 to 1000 V" in e["text"] for e in bench.events("device"))
    assert bench.ask("device.set", wanted(on=1.0)).outcome == "refused"


def test_a_reading_that_is_missing_counts_as_outside(
    bench: FreeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manual, "JUDGE_S", 0.02)
    lease(bench, voltage_max_v=1000.0)
    bench.relay.more = {"out_kv": None}
    bench.ask("device.set", wanted(on=1.0))
    until(lambda: any("out_kv is missing" in e["text"] for e in bench.events("device")), 10)
    assert bench.relay.values["on"] == 0.0


def test_the_agreed_duration_ends_the_hold_though_it_is_renewed(bench: FreeBench) -> None:
    lease(bench, duration_s=3600.0)
    bench.ask("device.set", wanted(on=1.0))
    (held,) = bench.dispatcher.manual._all()
    before_s = held.ends_s
    lease(bench, duration_s=7200.0)
    assert held.ends_s == before_s, "renewing does not move the end"
    held.ends_s = time.monotonic()
    until(lambda: bench.relay.values["on"] == 0.0, 10)
    until(lambda: any("the agreed duration is over" in e["text"] for e in bench.events("device")), 10)


# --- Down ---------------------------------------------------------------------------------------------


def test_down_switches_off_whoever_holds_it(bench: FreeBench) -> None:
    lease(bench)
    bench.ask("device.set", wanted(on=1.0, volts=9.0))
    bench.relay.log.clear()
    bench.relay.more = {"out_kv": 0.9}
    told = bench.ask("device.off", DeviceOff(device="d", where=RELAY, person="bob"))
    assert told.result == {
        "off": True, "held": {"ramp_v_s": 0.0, "volts": 0.0, "on": 0.0},
        "measured": {"temperature_c": 21.5, "out_kv": 0.9},
    }, "what it still measures is in the answer"  # fmt: skip
    assert [each for each in bench.relay.log if "=" in each] == ["on=0", "volts=0"], "by rising order"
    assert bench.ask("device.set", wanted(on=1.0)).outcome == "refused", "the holder has to take it again"
    assert any("bob switches Test relay r1 off" in each["text"] for each in bench.events("device"))


def test_down_of_a_device_that_does_not_obey_is_no_off(bench: FreeBench) -> None:
    lease(bench)
    bench.ask("device.set", wanted(on=1.0, volts=9.0))
    bench.relay.deaf = True
    told = bench.ask("device.off", DeviceOff(device="d", where=RELAY, person="bob"))
    assert (told.outcome, told.reason) == ("failed", "not confirmed off: volts is 9, on is 1")
    assert bench.dispatcher.manual.in_hand(), "its hold stays, and falls back by itself"


def test_down_of_a_power_device_in_no_station_is_measured_off(bench: FreeBench) -> None:
    bench.supply.current_a = 0.3
    told = bench.ask("device.off", DeviceOff(device="d", where=SUPPLY))
    assert (told.outcome, "0.300 A still flows" in told.reason) == ("failed", True)
    bench.supply.current_a = 0.001
    told = bench.ask("device.off", DeviceOff(device="d", where=SUPPLY))
    assert (told.outcome, told.result["measured"]["current_a"]) == ("done", 0.001)


def test_down_passes_everything_that_waits(bench: FreeBench) -> None:
    lease(bench)
    bench.ask("device.set", wanted(on=1.0))
    # All other hands wait for a device that does not answer.
    bench.supply.held_up.clear()
    waiting = [bench.send("device.read", DeviceRead(device="d", where=SUPPLY)) for _ in range(12)]
    assert bench.ask("device.off", DeviceOff(device="d", where=RELAY)).outcome == "done"
    assert bench.relay.values["on"] == 0.0
    assert not any(each.outcome for each in waiting)
    bench.supply.held_up.set()
    until(lambda: all(each.outcome for each in waiting), 10)


def test_stop_all_makes_safe_what_people_hold(bench: FreeBench) -> None:
    lease(bench)
    bench.ask("device.set", wanted(on=1.0))
    told = bench.ask("station.stop_all", StationStopAll())
    assert (told.outcome, told.result) == ("done", {"stations": {}})
    assert bench.relay.values["on"] == 0.0


def test_stop_all_says_what_is_not_confirmed(bench: FreeBench) -> None:
    lease(bench)
    bench.relay.lost = "the cable is off"
    told = bench.ask("station.stop_all", StationStopAll())
    assert told.outcome == "failed"
    assert "by hand: Test relay r1 is not confirmed safe" in told.reason
    bench.relay.lost = None


def test_a_stopping_unit_leaves_nothing_on(tmp_path: Path) -> None:
    bench = FreeBench(tmp_path)
    lease(bench)
    bench.ask("device.set", wanted(on=1.0))
    bench.stop()
    assert bench.relay.values["on"] == 0.0
    assert bench.relay.log[-1] == "close"


# --- stations -----------------------------------------------------------------------------------------


def test_a_station_that_takes_the_device_gets_it_safe_and_closed(bench: FreeBench) -> None:
    lease(bench)
    bench.ask("device.set", wanted(on=1.0))
    bench.devices.hold(RELAY_LINK)
    assert bench.relay.values["on"] == 0.0
    assert bench.relay.log[-1] == "close"
    told = bench.ask("device.set", wanted(on=1.0))
    assert (told.outcome, "belongs to a station" in told.reason) == ("refused", True)


def test_devices_of_a_station_are_asked_through_its_mailbox(bench: FreeBench) -> None:
    station = FakeStation({"kind": "http", "url": "http://x"})
    bench.table.stations.append(station)
    bench.send("device.lease", DeviceLease(lease="l", person="ada", device="d0"))
    bench.send("device.set", DeviceSet(lease="l", device="d0", values={"mode": "cc"}))
    bench.send("device.off", DeviceOff(device="d0", person="ada"))
    bench.send("station.battery", StationBattery(station=station.id))
    bench.send("station.drill", StationDrill(station=station.id, seconds=5.0))
    asked = station.asked()
    assert [each.do for each in asked] == ["manual_off", "lease", "manual_set", "battery", "drill"], (
        "Down first"
    )
    assert asked[0].urgent
    assert {asked[0].args.station, asked[1].args.station} == {station.id}


def test_a_stations_device_is_read_from_its_newest_round(bench: FreeBench) -> None:
    station = FakeStation({"kind": "http", "url": "http://x"})
    bench.table.stations.append(station)
    with pytest.raises(Refusal, match="no reading of this device"):
        bench.send("device.read", DeviceRead(device="d0"))
    station.measured["d0"] = Measured(3.7, 0.1, None, time.monotonic(), time.time_ns() // 1000, {"x": 1.0})
    station.held["d0"] = {"valve": 1.0}
    told = bench.ask("device.read", DeviceRead(device="d0"))
    assert told.result["values"] == {"voltage_v": 3.7, "current_a": 0.1, "x": 1.0}
    assert (told.result["held"], told.result["output_on"]) == ({"valve": 1.0}, False)


@pytest.mark.parametrize(
    ("age_s", "every_s", "told_v"), [(0.9, 1.0, 3.7), (30.0, 1.0, None), (0.9, 0.1, None)]
)
def test_a_reading_of_an_idle_stations_last_round_is_not_too_old(
    bench: FreeBench, age_s: float, every_s: float, told_v: float | None
) -> None:
    station = FakeStation({"kind": "http", "url": "http://x"})
    station.read_every_s = every_s
    bench.table.stations.append(station)
    station.measured["d0"] = Measured(3.7, 0.1, None, time.monotonic() - age_s, time.time_ns() // 1000)
    told = bench.ask("device.read", DeviceRead(device="d0"))
    assert told.result["values"]["voltage_v"] == told_v
    assert told.result["age_s"] >= age_s


def test_a_station_that_the_unit_does_not_have_is_refused(bench: FreeBench) -> None:
    for kind, args in (
        ("device.off", DeviceOff(station="nowhere")),
        ("station.battery", StationBattery(station="nowhere")),
        ("device.lease", DeviceLease(lease="l", person="ada", station="nowhere")),
    ):
        with pytest.raises(Refusal, match="does not have that station"):
            bench.send(kind, args)
