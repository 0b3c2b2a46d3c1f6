"""Rule 7 (B): which trips quarantine a battery; rule 15 and gaps on a whole station."""

from __future__ import annotations

import threading
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from cycler_unit import loaded
from cycler_unit.mail import Ask
from cycler_unit.watch import Found
from cycling.reading import FLAG_GAP, EndReason
from cycling.reasons import LIMIT, MISSING
from tests.cycler_unit.bench import BATTERY, CHARGE, REST, Answered, Bench, profile, start_message
from tests.cycler_unit.test_no_way_around import by_hand
from tests.stack.waiting import until


def alarm(bench: Bench) -> dict[str, Any]:
    """Return the trip's alarm."""
    bench.ended(30.0)
    detail: dict[str, Any] = bench.events("alarm")[-1]["detail"]
    return detail


def test_a_trip_on_voltage_quarantines_the_battery_by_its_id(bench: Bench) -> None:
    started = bench.start({**CHARGE, "current_a": 0.1})
    bench.flows(0.05)
    bench.fault("drift", offset_v=1.0)
    found = alarm(bench)
    assert (found["code"], found["quantity"]) == ("limit", "voltage_v")
    assert found["quarantine"] is True
    assert found["battery"] == started.battery.battery
    assert found["class"] == "trip"


def test_a_missing_reading_quarantines_nothing(bench: Bench) -> None:
    bench.start({**CHARGE, "current_a": 0.1})
    bench.flows(0.05)
    bench.fault("sensor_off")
    found = alarm(bench)
    assert found["code"] == "missing"
    assert "quarantine" not in found


def test_more_charge_than_the_battery_can_take_trips_and_quarantines(bench: Bench) -> None:
    """A cell that takes ten times what its label says: nothing but the budget ends its charge."""
    small = msgspec.structs.replace(BATTERY, capacity_ah=0.0005)
    bench.fault("capacity_x10")
    bench.start({**CHARGE, "current_a": 0.5}, battery=small)
    found = alarm(bench)
    assert (found["code"], found["quantity"]) == ("limit", "charge_one_way_ah")
    assert found["quarantine"] is True
    until(lambda: not bench.truth()["output"], 10)


class Idle:
    """As much of a station as its loaded battery's watch needs; ``state`` of its test."""

    def __init__(self, found: Found, state: str = "idle") -> None:
        self.id = "s1"
        self.watch = SimpleNamespace(look=lambda *_, **__: found, id="b1")
        self.power = SimpleNamespace(output_on=False)
        self.parts = SimpleNamespace(isolator=None)
        self.conductor = SimpleNamespace(state=state, experiment=None)
        self.by_hand = SimpleNamespace(lease=None)
        self.alarms: list[dict[str, Any]] = []
        self.trips: list[dict[str, Any]] = []

    def alarm(self, code: str, text: str, grade: str, experiment: str | None, **detail: Any) -> None:
        self.alarms.append({"code": code, "class": grade, **detail})

    def trip(self, code: str, text: str, **detail: Any) -> None:
        self.trips.append({"code": code, **detail})


def out_of_limits(quantity: str, code: str = LIMIT) -> Found:
    """Return what the watch of a loaded battery finds."""
    reason = EndReason(code=code, text="it left it", quantity=quantity, limit=4.21, measured=4.4)
    return Found("draining", "the loaded battery is out of its limits: it left it", reason)


@pytest.mark.parametrize("quantity", ["voltage_v", "temperature_c", "temp1_c", "vcell1_v", "cell_spread_v"])
def test_a_loaded_battery_out_of_its_limits_is_quarantined_though_no_test_runs(quantity: str) -> None:
    station = Idle(out_of_limits(quantity))
    loaded.look(station, None)  # type: ignore[arg-type]
    assert station.alarms == [
        {
            "code": "draining", "class": "trip", "battery": "b1", "quarantine": True,
            "quantity": quantity, "limit": 4.21, "measured": 4.4,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    "found",
    [Found("draining", "it drains"), out_of_limits("voltage_v", MISSING), out_of_limits("door")],
    ids=["a leak", "a missing value", "something else"],
)
def test_what_hurts_no_battery_quarantines_none(found: Found) -> None:
    station = Idle(found)
    loaded.look(station, None)  # type: ignore[arg-type]
    assert "quarantine" not in station.alarms[0]


def test_a_battery_that_leaves_its_limits_in_a_rest_is_quarantined_by_the_trip(bench: Bench) -> None:
    started = bench.start(REST)
    found = iter([out_of_limits("voltage_v")])
    bench.live.watch.look = lambda *_, **__: next(found, None)  # type: ignore[method-assign]
    detail = alarm(bench)
    assert (detail["code"], detail["quantity"], detail["quarantine"]) == ("draining", "voltage_v", True)
    assert detail["battery"] == started.battery.battery


def test_a_battery_that_leaves_its_limits_while_a_person_holds_it_is_quarantined(bench: Bench) -> None:
    args = by_hand(bench, 0.05)
    found = iter([out_of_limits("voltage_v")])
    bench.live.watch.look = lambda *_, **__: next(found, None)  # type: ignore[method-assign]
    until(lambda: bench.events("alarm"), 10)
    detail = bench.events("alarm")[-1]["detail"]
    assert (detail["code"], detail["quarantine"], detail["battery"]) == ("draining", True, args.battery)


def test_what_ends_the_check_before_a_test_keeps_its_own_cause(bench: Bench) -> None:
    given = Answered()
    message = start_message(bench.configure.station, profile(REST))
    found = iter([out_of_limits("voltage_v")])
    bench.live.watch.look = lambda *_, **__: next(found, None) if bench.live.conductor.run else None  # type: ignore[method-assign]
    bench.live.mail.put(Ask("start", message, given))
    until(lambda: given.outcome, 15)
    assert (given.outcome, given.result["code"]) == ("refused", "draining")
    detail = bench.events("alarm")[-1]["detail"]
    assert (detail["code"], detail["quarantine"], detail["battery"]) == (
        "draining", True, message.battery.battery,
    )  # fmt: skip


def test_a_loop_that_stood_still_leaves_a_flagged_gap_that_counts(bench: Bench) -> None:
    started = bench.start({**CHARGE, "current_a": 0.3})
    bench.flows(0.2)
    until(lambda: len(bench.rows(started.experiment)) > 5, 10)
    # What SIGSTOP does to a loop: it stands still, and the device goes on.
    stopped, goes_on = threading.Event(), threading.Event()
    conductor = bench.live.conductor
    serve = conductor.serve

    def stand_still(ask: Ask) -> None:
        if ask.do != "stand still":
            serve(ask)
            return
        stopped.set()
        goes_on.wait(10.0)

    conductor.serve = stand_still  # type: ignore[method-assign]
    bench.live.mail.put(Ask("stand still", None, lambda *_: None))
    assert stopped.wait(5.0)
    threading.Timer(1.0, goes_on.set).start()
    until(
        lambda: max((each["detail"].get("gap_s", 0.0) for each in bench.events("note")), default=0.0) > 0.9,
        10,
    )
    rows = bench.rows(started.experiment)
    before, gap = max(pairwise(rows), key=lambda two: two[1]["elapsed_s"] - two[0]["elapsed_s"])
    missed_s = gap["elapsed_s"] - before["elapsed_s"]
    assert missed_s > 0.9
    assert gap["flags"] & FLAG_GAP
    # At least what the constant current moved meanwhile, by the supply's own reading.
    assert gap["charge_in_ah"] - before["charge_in_ah"] >= 0.95 * 0.3 * missed_s / 3600
