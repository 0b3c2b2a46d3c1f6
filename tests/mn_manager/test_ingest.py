"""Samples: stored once, acknowledged after the commit, rejected only for what cannot pass."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from django.db import OperationalError

from tests.mn_manager.conftest import Bridge, batch
from tests.web_server import factories
from web_server.experiments.models import Experiment
from web_server.measurements import services as measurements
from web_server.measurements.models import ROLLUP_SIZES, CycleRow, Rollup, Sample


def test_a_batch_is_stored_and_acknowledged(bridge: Bridge, experiment: Experiment) -> None:
    bridge.unit_says(
        experiment.station.unit, "samples", batch(experiment, 1, 10, extra_c=[21.5] * 9 + [None])
    )
    assert Sample.objects.count() == 10
    last = Sample.objects.get(seq=10)
    assert (last.voltage_v, last.mode, last.extended) == (3.51, "cc", {"extra_c": None})
    ack = bridge.link.take("/acks")[0]
    assert ack["samples"] == [{"experiment": str(experiment.uuid), "first_seq": 1, "count": 10}]


def test_the_same_batch_again_changes_nothing_and_is_acknowledged_again(
    bridge: Bridge, experiment: Experiment
) -> None:
    for _ in range(3):
        bridge.unit_says(experiment.station.unit, "samples", batch(experiment, 1, 100))
    experiment.refresh_from_db()
    assert (Sample.objects.count(), experiment.sample_count) == (100, 100)
    assert Rollup.objects.get(level=0, bucket=0).count == ROLLUP_SIZES[0]
    assert len(bridge.link.take("/acks")) == 3


def test_overlapping_batches_in_any_order_give_every_row_once(bridge: Bridge, experiment: Experiment) -> None:
    starts = [1, 31, 61, 91, 16, 46, 76]
    random.Random(3).shuffle(starts)
    for first in starts:
        bridge.unit_says(experiment.station.unit, "samples", batch(experiment, first, 30))
    experiment.refresh_from_db()
    assert list(Sample.objects.order_by("seq").values_list("seq", flat=True)) == list(range(1, 121))
    assert experiment.sample_count == 120
    cycle = CycleRow.objects.get(experiment=experiment, cycle=1)
    assert cycle.charge_in_ah == pytest.approx(120 * 0.5 / 3600)
    assert (cycle.seq_first, cycle.seq_last) == (1, 120)
    rolled = Rollup.objects.get(level=1, bucket=0)
    assert (rolled.count, rolled.seq_first, rolled.seq_last) == (120, 1, 120)
    assert (rolled.voltage_min_v, rolled.voltage_min_at_s) == (3.501, 1.0)
    assert (rolled.voltage_max_v, rolled.voltage_max_at_s) == (pytest.approx(3.62), 120.0)


def test_cycles_share_no_charge_whatever_the_order_of_batches(bridge: Bridge, experiment: Experiment) -> None:
    unit = experiment.station.unit
    bridge.unit_says(unit, "samples", batch(experiment, 11, 10, cycle=[2] * 10))
    bridge.unit_says(unit, "samples", batch(experiment, 1, 10))
    charges = [row.charge_in_ah for row in CycleRow.objects.order_by("cycle")]
    assert charges == pytest.approx([10 * 0.5 / 3600] * 2)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"voltage_v": [1e15] * 10}, "cannot be stored"),
        ({"voltage_v": ["3.5"] * 10}, "cannot be stored"),
        ({"step": [-1] * 10}, "cannot be stored"),
        ({"cycle": [2**40] * 10}, "cannot be stored"),
        ({"time_us": [0] * 10}, "cannot be stored"),
        ({"mode": ["turbo"] * 10}, "cannot be stored"),
        ({"current_a": [0.5] * 9}, "do not all have 10 rows"),
        ({"extra": [{"a": 1}] * 10}, "cannot be stored"),
        ({"x" * 61: [1.0] * 10}, "name has 1 to 60"),
    ],
)
def test_a_batch_with_an_impossible_value_is_rejected_whole(
    bridge: Bridge, experiment: Experiment, columns: dict[str, Any], said: str
) -> None:
    bridge.unit_says(experiment.station.unit, "samples", batch(experiment, 1, 10, **columns))
    ack = bridge.link.take("/acks")[0]
    assert said in ack["rejected"][0]["reason"]
    assert "samples" not in ack
    assert not Sample.objects.exists()
    assert bridge.counters.dropped["rejected"] == 1


def test_a_missing_column_is_rejected_and_the_next_batch_is_not_held_up(
    bridge: Bridge, experiment: Experiment
) -> None:
    whole = batch(experiment, 1, 10)
    whole.columns.pop("charge_in_ah")
    bridge.unit_says(experiment.station.unit, "samples", whole)
    bridge.unit_says(experiment.station.unit, "samples", batch(experiment, 11, 10))
    first, second = bridge.link.take("/acks")
    assert "charge_in_ah" in first["rejected"][0]["reason"]
    assert second["samples"][0]["first_seq"] == 11


def test_not_a_number_never_reaches_the_database(bridge: Bridge, experiment: Experiment) -> None:
    payload = b'{"experiment":"%s","first_seq":1,"count":1,"columns":{"voltage_v":[NaN]}}'
    bridge.unit_says(experiment.station.unit, "samples", payload % str(experiment.uuid).encode())
    assert bridge.counters.dropped["malformed"] == 1
    with pytest.raises(measurements.Rejected):
        measurements.store(experiment.station.unit, batch(experiment, 1, 1, voltage_v=[math.inf]))


def test_samples_of_an_unknown_experiment_are_rejected(bridge: Bridge, experiment: Experiment) -> None:
    other = Experiment(uuid="00000000-0000-4000-8000-000000000000")
    bridge.unit_says(experiment.station.unit, "samples", batch(other))
    assert bridge.link.take("/acks")[0]["rejected"][0]["reason"] == "unknown experiment"


def test_a_unit_cannot_write_into_the_experiment_of_another(bridge: Bridge, experiment: Experiment) -> None:
    stranger = factories.make_unit("stranger")
    bridge.leases.renew()
    bridge.unit_says(stranger, "samples", batch(experiment))
    assert bridge.link.take("/acks")[0]["rejected"][0]["reason"] == "unknown experiment"
    assert not Sample.objects.exists()


def test_a_database_that_fails_gives_no_answer_at_all(
    bridge: Bridge, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: Any) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(measurements.cycles, "add", locked)
    with pytest.raises(OperationalError):
        bridge.unit_says(experiment.station.unit, "samples", batch(experiment))
    assert bridge.link.take("/acks") == []
    assert not Sample.objects.exists(), "rows and rollups are one transaction"


def test_large_batches_go_in_several_transactions_but_are_acknowledged_as_one(
    bridge: Bridge, experiment: Experiment
) -> None:
    bridge.unit_says(experiment.station.unit, "samples", batch(experiment, 1, 1300))
    assert Sample.objects.count() == 1300
    assert bridge.link.take("/acks")[0]["samples"][0]["count"] == 1300
    assert Rollup.objects.filter(level=0).count() == math.ceil(1300 / ROLLUP_SIZES[0])
    assert sum(Rollup.objects.filter(level=2).values_list("count", flat=True)) == 1300


def test_step_and_cycle_follow_the_newest_sample_only(bridge: Bridge, experiment: Experiment) -> None:
    unit = experiment.station.unit
    bridge.unit_says(
        unit, "samples", batch(experiment, 11, 10, step=[2] * 10, step_count=[2] * 10, cycle=[3] * 10)
    )
    bridge.unit_says(unit, "samples", batch(experiment, 1, 10))
    experiment.refresh_from_db()
    assert (experiment.step, experiment.steps, experiment.cycle, experiment.percent) == (2, 2, 3, 50.0)
