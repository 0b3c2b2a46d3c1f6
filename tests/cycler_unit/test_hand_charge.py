"""Rule 15 by hand: the charge that flows one way is counted over leases, tests, batteries and restarts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cycler_unit.drivers.base import Target
from cycler_unit.hand_charge import HandCharge, asked_a
from cycler_unit.spool import Spool
from cycling.reading import EndReason
from tests.cycler_unit.bench import BATTERY, CHARGE, Bench, limits_of, profile
from tests.cycler_unit.lab import loaded
from tests.cycler_unit.test_by_hand import held, set_
from tests.cycler_unit.test_loaded_battery import taken
from tests.stack.waiting import until

# A budget of 1.25 Ah.
LIMITS = limits_of(profile(CHARGE), msgspec.structs.replace(BATTERY, capacity_ah=1.0))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """Return the unit's record."""
    found = Spool(tmp_path / "spool.sqlite3")
    found.start()
    yield found
    found.stop()


def flow(
    hand: HandCharge,
    from_s: float,
    current_a: float,
    hours: float,
    battery: str = "one",
    *,
    test: bool = False,
) -> EndReason | None:
    """Let a current flow by hand, or in a test, then switch it off; return why it had to end."""
    limits = None if test else LIMITS
    hand.take(battery, taken(3.7, from_s - 1.0, 0.0), on=False)
    hand.take(battery, taken(3.7, from_s, current_a), on=True, limits=limits, asked_a=current_a)
    found = hand.take(
        battery, taken(3.7, from_s + 3600.0 * hours, current_a), on=True, limits=limits, asked_a=current_a
    )
    hand.take(battery, taken(3.7, from_s + 3600.0 * hours + 1.0, 0.0), on=False)
    return found


def test_charge_by_hand_is_counted_over_leases_for_each_battery(spool: Spool) -> None:
    hand = HandCharge(spool)
    assert flow(hand, 0.0, 1.0, 1.0) is None
    assert flow(hand, 9e3, 1.0, 1.0, "other") is None
    spent = flow(hand, 18e3, 1.0, 0.5)
    assert spent is not None
    assert (spent.quantity, spent.measured) == ("charge_one_way_ah", pytest.approx(1.5))


def test_a_reversal_begins_anew(spool: Spool) -> None:
    hand = HandCharge(spool)
    for n in range(4):
        assert flow(hand, 9e3 * n, 1.0 if n % 2 == 0 else -1.0, 1.0) is None


def test_a_new_process_goes_on_with_what_was_counted(spool: Spool) -> None:
    flow(HandCharge(spool), 0.0, 1.0, 1.0)
    spent = flow(HandCharge(spool), 9e3, 1.0, 0.5)
    assert spent is not None
    assert spent.measured == pytest.approx(1.5), "exact after a clean end"


def test_a_battery_that_is_named_while_current_flows_keeps_no_reading_waiting_for_the_disk(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow(HandCharge(spool), 0.0, 1.0, 1.0)
    assert spool.commit(10.0)
    waited: list[float] = []
    monkeypatch.setattr(spool, "commit", waited.append)
    hand = HandCharge(spool)
    hand.take(None, taken(3.7, 9e3, 1.0), on=True)
    spent = hand.take("one", taken(3.7, 9e3 + 1.0, 1.0), on=True, limits=LIMITS, asked_a=1.0)
    assert (spent, waited) == (None, [])
    spent = hand.take("one", taken(3.7, 9e3 + 1801.0, 1.0), on=True, limits=LIMITS, asked_a=1.0)
    assert spent is not None
    assert spent.measured == pytest.approx(1.5)


def test_a_killed_process_has_counted_too_much_rather_than_too_little(spool: Spool) -> None:
    hand = HandCharge(spool)
    hand.take("one", taken(3.7, 0.0, 0.0), on=True, limits=LIMITS, asked_a=1.0)
    # Killed here: up to the next time at which it would have been kept, 1 A may have flowed.
    after = HandCharge(spool)
    after.take("one", taken(3.7, 5.0, 0.0), on=False)
    assert after._count is not None
    assert after._count.counters.charge_in_ah == pytest.approx(10.0 / 3600.0)


def test_what_a_test_gives_back_in_between_counts(spool: Spool) -> None:
    hand = HandCharge(spool)
    assert flow(hand, 0.0, 1.0, 1.0) is None
    assert flow(hand, 9e3, -1.0, 1.0, test=True) is None
    assert flow(hand, 18e3, 1.0, 1.0) is None, "it was empty again"
    assert flow(hand, 27e3, 1.0, 0.5, test=True) is None, "a test has a budget of its own"
    assert flow(hand, 36e3, 1.0, 0.1) is not None


def test_a_battery_that_nobody_had_by_hand_costs_nothing(spool: Spool) -> None:
    hand = HandCharge(spool)
    flow(hand, 0.0, 1.0, 10.0, test=True)
    assert hand._count is None
    assert flow(hand, 9e3, 1.0, 1.0, "") is None


def test_what_a_set_point_may_bring_is_counted_ahead() -> None:
    assert asked_a(None) == 0.0
    assert asked_a(Target("cc", current_a=-0.5)) == -0.5
    assert asked_a(Target("cp", direction="discharge", discharge_current_max_a=2.0)) == -2.0
    assert asked_a(Target("cv", charge_current_max_a=1.0, discharge_current_max_a=2.0)) == 1.0


def test_a_killed_unit_gives_a_battery_under_hands_no_fresh_budget(bench: Bench) -> None:
    # A budget of one milliampere-hour: 7 s at 0.5 A.
    limits = limits_of(profile(CHARGE), msgspec.structs.replace(BATTERY, capacity_ah=0.0008))
    message = loaded(bench.configure.station, limits, capacity_ah=0.0008)
    assert bench.ask("battery", message).outcome == "done"
    text = {"envelope": message.envelope, "envelope_sha256": message.envelope_sha256, "duration_s": None}
    args = held(bench, connected="battery", **text)
    assert set_(bench, args, mode="cc", current_a=0.5).outcome == "done"
    bench.flows()
    until(lambda: bench.truth()["charge_in_ah"] - bench.began_ah > 0.0003, 20)
    bench.kill()
    bench.build(battery=message).idle()
    args = held(bench, connected="battery", **text)
    set_(bench, args, mode="cc", current_a=0.5)
    until(lambda: bench.live.by_hand.lease is None, 20, "what is left of the budget is spent")
    assert bench.truth()["charge_in_ah"] - bench.began_ah < 0.0013
    until(lambda: bench.events("alarm"), 10, "the alarm follows the lease to the disk")
    assert bench.events("alarm")[-1]["detail"]["quantity"] == "charge_one_way_ah"
