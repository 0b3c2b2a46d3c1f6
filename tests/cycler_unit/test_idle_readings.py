"""Readings of devices that run no experiment: each at its period, none in the way of a station."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cycler_unit.clock import iso
from cycler_unit.drivers.base import Measured
from cycler_unit.idle_readings import Periods
from tests.cycler_unit.free_bench import RELAY, RELAY_LINK, SUPPLY, FakeStation, FreeBench
from tests.cycler_unit.invented import KINDS
from tests.stack.waiting import until
from wire.catalogue import KindMeasure
from wire.messages import DeviceLease, ReadingPeriod, UnitReadings


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[FreeBench]:
    """Return a unit that records its free devices every half second."""
    bench = FreeBench(tmp_path, record_every_s=0.5)
    yield bench
    bench.stop()


def of(bench: FreeBench, model: str) -> list[dict[str, Any]]:
    """Return the readings of one device in the spool."""
    return [each["detail"] for each in bench.events("reading") if each["detail"]["model"] == model]


def test_devices_in_no_station_are_recorded_each_with_its_values(bench: FreeBench) -> None:
    bench.dispatcher.begin_readings()
    until(lambda: len(of(bench, "test-relay")) >= 3 and len(of(bench, "test-supply")) >= 3, 20)
    first = of(bench, "test-relay")[0]
    assert first["values"] == {"temperature_c": 21.5}
    assert (first["serial_number"], first["link_name"]) == ("r1", "relay")
    assert bench.relay.opened == 1, "opened once, not for every reading"


def test_the_site_changes_the_period_of_one_device_and_a_restart_keeps_it(
    bench: FreeBench, tmp_path: Path
) -> None:
    told = bench.ask("unit.readings", UnitReadings(periods=[ReadingPeriod(where=RELAY, every_s=3600.0)]))
    assert told.result == {"periods": 1}
    bench.dispatcher.begin_readings()
    until(lambda: len(of(bench, "test-supply")) >= 4, 20)
    assert len(of(bench, "test-relay")) == 1
    kept = Periods(tmp_path / "readings.json", 10.0)
    relay = KINDS["test-relay"]
    assert kept.of(RELAY, relay, RELAY_LINK) == 3600.0
    kept.take([ReadingPeriod(where=RELAY, every_s=None)])
    assert kept.of(RELAY, relay, RELAY_LINK) == 10.0
    assert kept.of(RELAY, relay, {**RELAY_LINK, "record_every_s": 2}) == 2.0
    assert kept.of(SUPPLY, KINDS["test-supply"], {}) == 10.0


def test_what_a_person_holds_is_recorded_every_second(bench: FreeBench) -> None:
    bench.ask("unit.readings", UnitReadings(periods=[ReadingPeriod(where=RELAY, every_s=3600.0)]))
    bench.dispatcher.begin_readings()
    until(lambda: len(of(bench, "test-relay")) == 1, 20)
    bench.ask("device.lease", DeviceLease(lease="l", person="ada", device="d", where=RELAY))
    until(lambda: len(of(bench, "test-relay")) >= 3, 20, "the page shows it live")


def test_a_slow_device_holds_up_no_other_bus(bench: FreeBench) -> None:
    bench.relay.held_up.clear()
    bench.dispatcher.begin_readings()
    until(lambda: len(of(bench, "test-supply")) >= 3, 20)
    assert of(bench, "test-relay") == []
    bench.relay.held_up.set()
    until(lambda: of(bench, "test-relay"), 20)


def test_a_lost_device_is_said_and_recorded_again_when_it_is_back(bench: FreeBench) -> None:
    bench.dispatcher.begin_readings()
    until(lambda: of(bench, "test-relay"), 20)
    bench.relay.lost = "the cable is off"
    until(lambda: not bench.devices.find(RELAY).connected, 20)  # type: ignore[union-attr]
    bench.relay.lost = None
    bench.dispatcher.readings.look_anew()
    before = len(of(bench, "test-relay"))
    until(lambda: len(of(bench, "test-relay")) > before, 20)
    assert bench.devices.find(RELAY).connected  # type: ignore[union-attr]


def test_a_device_that_a_station_takes_is_left_alone(bench: FreeBench) -> None:
    bench.dispatcher.begin_readings()
    until(lambda: of(bench, "test-relay"), 20)
    bench.devices.hold(RELAY_LINK)
    exchanges = len(bench.relay.log)
    count = len(of(bench, "test-supply"))
    until(lambda: len(of(bench, "test-supply")) >= count + 3, 20)
    assert len(bench.relay.log) == exchanges


def test_an_idle_stations_devices_are_recorded_from_its_own_rounds(bench: FreeBench) -> None:
    station = FakeStation({"kind": "http", "url": "http://x"})
    bench.table.stations.append(station)
    bench.dispatcher.begin_readings()

    def measure(volts: float) -> None:
        station.measured["d0"] = Measured(volts, 0.0, None, time.monotonic(), time.time_ns() // 1000)

    measure(3.7)
    until(lambda: [each for each in bench.events("reading") if each["station"] == station.id], 20)
    (told,) = [each["detail"] for each in bench.events("reading") if each["station"] == station.id]
    assert (told["device"], told["values"]) == ("d0", {"voltage_v": 3.7, "current_a": 0.0})
    count = len(of(bench, "test-relay"))
    until(lambda: len(of(bench, "test-relay")) >= count + 3, 20)
    assert len([each for each in bench.events("reading") if each["station"]]) == 1, "a reading counts once"
    station.conductor.experiment = "e1"
    measure(3.9)
    count = len(of(bench, "test-relay"))
    until(lambda: len(of(bench, "test-relay")) >= count + 3, 20)
    assert len([each for each in bench.events("reading") if each["station"]]) == 1, "samples hold a test"


def test_an_idle_stations_reading_is_not_too_old_because_it_is_recorded_a_round_later(
    bench: FreeBench,
) -> None:
    station = FakeStation({"kind": "http", "url": "http://x"})
    bench.table.stations.append(station)
    # An idle station is read once a second, and its measures are too old after half a second.
    began_s, time_us = time.monotonic() - 0.9, time.time_ns() // 1000 - 900_000
    station.measured["d0"] = Measured(3.7, 0.0, None, began_s, time_us)
    bench.dispatcher.begin_readings()
    until(lambda: [each for each in bench.events("reading") if each["station"] == station.id], 20)
    (told,) = [each for each in bench.events("reading") if each["station"] == station.id]
    assert told["detail"]["values"] == {"voltage_v": 3.7, "current_a": 0.0}
    assert told["at"] == iso(time_us / 1e6), "when it was measured, not when it was recorded"


def test_a_value_that_came_back_between_two_records_is_not_frozen(bench: FreeBench) -> None:
    station = FakeStation({"kind": "http", "url": "http://x"})
    voltage = KindMeasure(name="voltage_v", unit="V", frozen_s=3.0)
    station.kinds["d0"] = msgspec.structs.replace(KINDS["test-supply"], measures=(voltage,))
    bench.table.stations.append(station)
    readings, now_s = bench.dispatcher.readings, time.monotonic()

    def round_of(volts: float, after_s: float) -> None:
        station.measured["d0"] = Measured(volts, 0.0, None, now_s + after_s, 1_000_000 * int(after_s))
        readings._from_stations()

    round_of(3.7, 0.0)
    round_of(3.8, 5.0)
    readings.look_anew()
    round_of(3.7, 10.0)
    round_of(3.7, 14.0)
    readings.look_anew()
    round_of(3.7, 20.0)
    told = [each["detail"]["values"]["voltage_v"] for each in bench.events("reading")]
    assert told == [3.7, 3.7, None], "the last one had not moved for 10 s"
