"""File by the API, run, finish; compare with what the simulated cell really did."""

from __future__ import annotations

import csv
import io

import pytest

from tests.end_to_end.steps import current, rest, run, statuses, voltage


@pytest.fixture(scope="module")
def discharged(lab, bench):
    """Begin a discharge of a minute on the second station; return the experiment's id."""
    return run(lab, bench, [rest(1), current(-0.1, 61, label="discharge"), rest(1)], place=2)


@pytest.fixture(scope="module")
def finished(lab, bench, discharged):
    """Run a charge of a minute and a short constant voltage on the first station; return the experiment."""
    steps = [rest(1), current(0.1, 61, label="charge"), rest(1), voltage(3.8, 4)]
    return lab.experiment_is(run(lab, bench, steps), "finished", timeout_s=120)


def test_it_finishes_and_says_why(lab, finished):
    assert finished["end_reason"]["text"]
    assert finished["started_at"] < finished["finished_at"]
    assert finished["progress"]["step"] == finished["progress"]["steps"] == 4


def test_every_sample_arrives_once_and_without_a_hole(lab, finished):
    columns = lab.complete(finished["id"])
    last = lab.api.get(f"experiments/{finished['id']}/")["last_seq"]
    assert columns["seq"] == list(range(1, last + 1))
    assert len({len(column) for column in columns.values()}) == 1
    assert columns["elapsed_s"] == sorted(columns["elapsed_s"])


def test_a_minutes_charge_is_what_really_flowed_within_a_thousandth(lab, finished):
    row = labelled(lab, finished["id"], "charge")
    assert row["duration_s"] >= 60
    assert row["charge_in_ah"] == pytest.approx(really_moved(lab, "psb1", "charge_in_ah"), rel=1e-3)
    assert row["charge_out_ah"] == 0


def test_a_minutes_discharge_is_what_really_flowed_within_a_thousandth(lab, discharged):
    lab.experiment_is(discharged, "finished")
    row = labelled(lab, discharged, "discharge")
    assert row["duration_s"] >= 60
    assert row["charge_out_ah"] == pytest.approx(really_moved(lab, "psb2", "charge_out_ah"), rel=1e-3)
    assert row["charge_in_ah"] == 0


def labelled(lab, experiment, label):
    return next(row for row in lab.api.all(f"experiments/{experiment}/steps/") if row["label"] == label)


def really_moved(lab, device, quantity):
    """Return the charge from the output's switching on to its next switching off.

    The pulses that check the battery before the first step move next to nothing: the longest counts.
    """
    history = lab.simulators.ask(device=device, query="history")["history"]
    switched_on = [index for index, row in enumerate(history) if row["what"] == "on"]
    moved = []
    for index in switched_on:
        off = next(row for row in history[index:] if row["what"] == "off")
        moved.append((off["at_s"] - history[index]["at_s"], off[quantity] - history[index][quantity]))
    return max(moved)[1]


def test_the_counters_of_the_samples_agree_with_the_steps(lab, finished):
    columns = lab.complete(finished["id"])
    rows = lab.api.all(f"experiments/{finished['id']}/steps/")
    for name in ("charge_in_ah", "charge_out_ah", "energy_in_wh", "energy_out_wh"):
        assert columns[name] == sorted(columns[name])
        # What the pulses before the first step moved is in the counters and in no step.
        stepped = columns[name][-1] - columns[name][0]
        assert stepped == pytest.approx(sum(row[name] for row in rows), rel=1e-6, abs=1e-9)


def test_every_status_change_is_in_the_events(lab, finished):
    assert statuses(lab, finished["id"]) == ["queued", "starting", "running", "finished"]


def test_every_step_says_when_it_began_and_why_it_ended(lab, finished):
    experiment = finished["id"]
    rows = lab.api.all(f"experiments/{experiment}/steps/")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [row["step_count"] for row in rows] == [1, 2, 3, 4]
    assert all(row["end_reason"]["text"] for row in rows)
    events = lab.api.all(f"experiments/{experiment}/events/", kind="step")
    assert {event["step"] for event in events} == {1, 2, 3, 4}
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)


def test_the_csv_has_every_row_with_units_in_its_header(lab, finished):
    experiment = finished["id"]
    columns = lab.complete(experiment)
    answer = lab.api.client.get(f"experiments/{experiment}/export/", params={"format": "csv"})
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    assert len(rows) == len(columns["seq"])
    assert {"voltage_v", "current_a", "elapsed_s"} <= set(rows[0])
    assert float(rows[-1]["voltage_v"]) == columns["voltage_v"][-1]


def test_the_output_is_off_when_it_has_ended(lab, bench, finished):
    truth = lab.simulators.ask(device="psb1", query="truth")
    assert truth["output"] is False
    assert lab.station_is(bench["station1"], "idle")["experiment"] is None
