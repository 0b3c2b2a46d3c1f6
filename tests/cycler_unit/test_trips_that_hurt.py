"""Rule 7 (B): which trips quarantine a battery; rule 15 and gaps on a whole station."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import msgspec

from cycler_unit.mail import Ask
from cycling.reading import FLAG_GAP
from tests.cycler_unit.bench import BATTERY, CHARGE, Bench
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
