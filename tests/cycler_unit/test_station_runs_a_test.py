"""A station runs a test from its start to its end and keeps every sample."""

from __future__ import annotations

import pytest

from cycler_unit.mail import Ask
from tests.cycler_unit.bench import CHARGE, REST, Answered, Bench
from tests.stack.waiting import until
from wire.messages import ExperimentRef, ExperimentStop


def test_a_test_runs_to_its_end_and_its_charge_is_the_cells_own(bench: Bench) -> None:
    before_ah = bench.truth()["charge_ah"]
    step = {"kind": "cc", "current_a": 0.5, "end": [{"quantity": "time_s", "value": 3.0}]}
    started = bench.start(step, {"kind": "rest", "end": [{"quantity": "time_s", "value": 0.5}]})
    detail = bench.ended()
    rows = bench.rows(started.experiment)
    assert bench.statuses() == ["running", "finished"]
    assert detail["end_reason"]["code"] == "completed"
    assert detail["last_seq"] == rows[-1]["seq"] == len(rows)
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert not bench.truth()["output"]
    moved_ah = bench.truth()["charge_ah"] - before_ah
    assert rows[-1]["charge_in_ah"] == pytest.approx(moved_ah, rel=0.02)
    assert {row["mode"] for row in rows} >= {"cc", "rest"}


def test_every_step_leaves_a_row_with_why_it_ended(bench: Bench) -> None:
    step = {"kind": "cc", "current_a": 0.5, "end": [{"quantity": "time_s", "value": 1.0}]}
    bench.start(step)
    bench.ended()
    rows = [each["detail"]["row"] for each in bench.events("step") if "row" in each["detail"]]
    assert [row["step"] for row in rows] == [1]
    assert rows[0]["end_reason"]["quantity"] == "time_s"
    assert rows[0]["end_reason"]["seq"] == rows[0]["end_reason"]["seq"] > 0


def test_a_step_ends_before_the_next_begins_in_the_events_too(bench: Bench) -> None:
    bench.start(*({"kind": "rest", "end": [{"quantity": "time_s", "value": 0.3}]} for _ in range(3)))
    bench.ended()
    told = [(each["step"], "row" in each["detail"]) for each in bench.events("step")]
    assert told == [(step, ended) for step in (1, 2, 3) for ended in (False, True)]


def test_pause_switches_off_and_resume_goes_on_after_the_wiring_check(bench: Bench) -> None:
    started = bench.start(CHARGE)
    bench.flows()
    who = ExperimentRef(experiment=started.experiment, person="ada")
    assert bench.ask("pause", who).result == {"state": "paused"}
    assert not bench.truth()["output"]
    assert bench.live.state == "paused"
    answered = bench.ask("resume", who, 60.0)
    assert answered.outcome == "done", answered.reason
    bench.flows()
    assert bench.statuses() == ["running", "paused", "running"]
    rows = bench.rows(started.experiment)
    assert any(row["mode"] == "off" for row in rows)
    assert [row["elapsed_s"] for row in rows] == sorted(row["elapsed_s"] for row in rows)


def test_a_pause_right_after_a_resume_holds(bench: Bench) -> None:
    started = bench.start(CHARGE)
    bench.flows()
    who = ExperimentRef(experiment=started.experiment, person="ada")
    bench.ask("pause", who)
    paused = Answered()

    def pause_again(outcome: str, _result: object, reason: str | None) -> None:
        assert outcome == "done", reason
        bench.live.mail.put(Ask("pause", who, paused))

    bench.live.mail.put(Ask("resume", who, pause_again))
    until(lambda: paused.outcome, 30, "both are answered")
    assert paused.outcome == "done"
    rounds = bench.live.rounds
    until(lambda: bench.live.rounds > rounds + 3, 10, "some rounds later")
    assert bench.live.state == "paused"
    assert not bench.truth()["output"]
    assert bench.statuses() == ["running", "paused", "running", "paused"]


def test_stop_ends_the_test_with_the_person_and_the_reason(bench: Bench) -> None:
    started = bench.start(CHARGE)
    bench.flows()
    stop = ExperimentStop(experiment=started.experiment, reason="enough", person="ada")
    assert bench.ask("stop", stop, urgent=True).result == {"ended": True, "output": "off"}
    assert not bench.truth()["output"]
    detail = bench.ended()
    assert detail["status"] == "stopped"
    assert detail["end_reason"]["person"] == "ada"
    assert "enough" in detail["end_reason"]["text"]


def test_skip_step_goes_to_the_next_step(bench: Bench) -> None:
    started = bench.start(CHARGE, REST)
    bench.flows()
    answered = bench.ask("skip_step", ExperimentRef(experiment=started.experiment, person="ada"))
    assert answered.outcome == "done"
    assert bench.live.conductor.run is not None
    assert bench.live.conductor.run.interpreter.step == 2
    assert not bench.truth()["output"]


def test_a_second_start_of_the_same_experiment_changes_nothing(bench: Bench) -> None:
    started = bench.start(CHARGE)
    assert bench.ask("start", started).result["again"] is True
    assert bench.statuses() == ["running"]


def test_a_busy_station_refuses_another_experiment(bench: Bench) -> None:
    started = bench.start(CHARGE)
    import msgspec

    other = msgspec.structs.replace(started, experiment="another")
    assert bench.ask("start", other).reason == "the station is busy with another experiment"


def test_a_stop_that_comes_before_its_start_refuses_that_start(bench: Bench) -> None:
    from tests.cycler_unit.bench import profile, start_message

    late = start_message(bench.configure.station, profile(CHARGE))
    assert bench.ask("stop", ExperimentStop(experiment=late.experiment), urgent=True).outcome == "done"
    assert bench.ask("start", late).reason == "it was stopped before it began"
    assert not bench.truth()["output"]


def test_another_version_of_the_station_is_refused(bench: Bench) -> None:
    from tests.cycler_unit.bench import profile, start_message

    answered = bench.ask("start", start_message(bench.configure.station, profile(CHARGE), station_version=2))
    assert answered.outcome == "refused"
    assert "version 2" in (answered.reason or "")
    assert bench.live.state == "idle"


def test_an_idle_station_still_shows_what_its_device_reads(bench: Bench) -> None:
    first = bench.live.taken
    until(lambda: bench.live.taken is not first)
    beat = bench.live.beat()
    assert beat.state == "idle"
    assert beat.reading is not None
    assert beat.reading.voltage_v == pytest.approx(bench.truth()["voltage_v"], abs=0.01)
    assert beat.age_of_last_reading_s is not None
    assert beat.age_of_last_reading_s < 1.0
