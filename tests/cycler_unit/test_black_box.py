"""The black box: the last minute and the last exchanges go with every trip, error and stop."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest

from cycler_unit.black_box import PART_BYTES, BlackBox
from cycler_unit.drivers.base import Exchange
from cycler_unit.readings import Taken
from tests.cycler_unit.bench import CHARGE, Bench
from tests.stack.waiting import until
from wire.messages import ExperimentStop

EXTENDED = ["vcell1_v", "vcell2_v"]


def taken(i: int, period_s: float = 0.01) -> Taken:
    """Return the reading number ``i``."""
    extended = dict.fromkeys(EXTENDED, 3.7000001 + i / 1000000.0)
    return Taken(
        int(1e15 + i * period_s * 1e6), i * period_s, 3.7123456789 + i / 1e7, None, 1.0, 25.0, extended, {}
    )


def filled(seconds: float, period_s: float = 0.01) -> BlackBox:
    """Return a box with so many seconds of readings."""
    box = BlackBox("s1", EXTENDED, period_s)
    for i in range(int(seconds / period_s)):
        box.add(taken(i, period_s), True)
    return box


def readings(events: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the readings of all parts as one table."""
    found: dict[str, list[Any]] = {}
    for event in events:
        for name, column in event["detail"].get("readings", {}).get("columns", {}).items():
            found.setdefault(name, []).extend(column)
    return found


def test_it_keeps_the_last_60_s_at_the_full_rate() -> None:
    box = filled(75.0)
    box.ask("a trip", alarm="a1", experiment="e1")
    table = readings(box.take({}))
    times = table["time_us"]
    assert len(times) == 6001
    assert times == sorted(times)
    assert times[-1] - times[0] == 60_000_000
    assert table["current_a"] == [None] * len(times), "missing stays missing"
    assert table["voltage_v"][-1] == taken(7499).voltage_v
    assert {len(column) for column in table.values()} == {len(times)}


def test_no_part_is_larger_than_an_event_may_be() -> None:
    box = filled(65.0)
    box.ask("a trip")
    said = [Exchange(at_s=float(i), to="device", text="x" * 3000) for i in range(500)]
    events = box.take({"d1": said, "d2": said})
    assert all(len(msgspec.json.encode(event)) <= 200_000 for event in events)
    assert PART_BYTES < 200_000
    assert [event["detail"]["part"] for event in events] == list(range(1, len(events) + 1))
    assert {event["detail"]["parts"] for event in events} == {len(events)}
    rows = [row for event in events for row in event["detail"].get("exchanges", [])]
    assert len(rows) == 400, "the last 200 of each device"
    assert {row["device"] for row in rows} == {"d1", "d2"}


def test_its_memory_is_small_and_does_not_grow() -> None:
    box = filled(61.0)
    size = sum(sys.getsizeof(column) for column in box._columns)
    assert size < 1_000_000
    for i in range(20_000):
        box.add(taken(i), False)
    assert sum(sys.getsizeof(column) for column in box._columns) == size


def test_nothing_is_stored_that_nobody_asked_for_and_reasons_of_one_round_are_one_box() -> None:
    box = filled(1.0)
    assert box.take({}) == []
    box.ask("an alarm", alarm="a1")
    box.ask("the end", experiment="e1")
    events = box.take({})
    assert {event["experiment"] for event in events} == {"e1"}
    assert {event["detail"]["alarm"] for event in events} == {"a1"}
    assert box.take({}) == []


# --- a station --------------------------------------------------------------------------------------


def boxes(bench: Bench) -> list[dict[str, Any]]:
    """Return the black boxes' parts once all of one are there."""

    def whole() -> list[dict[str, Any]]:
        found = bench.events("black_box")
        return found if found and len(found) >= found[0]["detail"]["parts"] else []

    return until(whole, 10, "a black box with all its parts")


def test_a_trip_stores_what_led_to_it(bench: Bench) -> None:
    started = bench.start(CHARGE)
    bench.flows()
    bench.fault("drift", offset_v=-1.3)
    bench.ended()
    found = boxes(bench)
    alarm = bench.events("alarm")[0]["detail"]["id"]
    assert {each["detail"]["alarm"] for each in found} == {alarm}
    assert {each["experiment"] for each in found} == {started.experiment}
    table = readings(found)
    assert sum(value < 2.79 for value in table["voltage_v"] if value is not None) >= 3
    said = [row["text"] for each in found for row in each["detail"].get("exchanges", [])]
    assert "OUTP OFF" in said
    assert bench.configure.devices[0].device in {
        row["device"] for each in found for row in each["detail"].get("exchanges", [])
    }


def test_a_stop_by_a_person_stores_one_too(bench: Bench) -> None:
    started = bench.start(CHARGE)
    bench.flows()
    bench.ask("stop", ExperimentStop(experiment=started.experiment), urgent=True)
    found = boxes(bench)
    assert "alarm" not in found[0]["detail"]
    assert found[0]["experiment"] == started.experiment


def test_an_error_stores_one_though_the_device_is_gone(bench: Bench) -> None:
    bench.start(CHARGE)
    bench.flows()
    bench.fault("drop_link", for_s=1.0)
    bench.ended(20)
    # A cut link is an end of the stream or a reset, as it happens to be noticed.
    assert "device lost" in boxes(bench)[0]["text"]


def test_a_normal_end_stores_none(bench: Bench) -> None:
    bench.start({"kind": "rest", "end": [{"quantity": "time_s", "value": 0.5}]})
    bench.ended()
    rounds = bench.live.rounds
    until(lambda: bench.live.rounds > rounds + 3, 10)
    assert bench.events("black_box") == []


@pytest.mark.parametrize("period_s", [0.01, 1.0])
def test_a_slow_station_needs_less(period_s: float) -> None:
    box = BlackBox("s1", [], period_s)
    assert len(box._columns[0]) == max(16, int(72 / period_s))
