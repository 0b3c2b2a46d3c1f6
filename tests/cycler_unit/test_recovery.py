"""Safety rule 10 broken on purpose: killed in the middle of a step, then held or resumed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cycler_unit import guards, zones
from cycler_unit.run import Run
from cycling.reading import FLAG_GAP, FLAG_RESUMED
from tests.cycler_unit.bench import CHARGE, Bench, profile, start_message
from tests.stack.waiting import until
from wire.messages import ExperimentRef, ExperimentStart, ExperimentStop, StationAcknowledge, Zone


def killed(bench: Bench, *steps: dict[str, Any], **more: Any) -> ExperimentStart:
    """Start, let it run for some samples, then die with the output on."""
    started = bench.start(*(steps or (CHARGE,)), **more)
    bench.flows()
    until(lambda: len(bench.rows(started.experiment)) > 5, 10)
    bench.kill()
    assert bench.truth()["output"], "the supply goes on when the unit dies"
    return started


def test_the_first_thing_that_a_restarted_unit_sends_is_off(bench: Bench) -> None:
    killed(bench)
    at_s = bench.last_at_s()
    bench.build()
    until(lambda: not bench.truth()["output"], 10)
    assert bench.sent(at_s)[0] == "OUTP OFF"


def test_off_comes_before_the_zone_and_a_zone_that_fails_leaves_the_station_off_and_answering(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(bench)
    joined_on: list[bool] = []

    def join(*_: Any) -> None:
        joined_on.append(bench.truth()["output"])
        raise RuntimeError("no more threads")

    monkeypatch.setattr(zones.Zones, "join", join)
    bench.configure = msgspec.structs.replace(bench.configure, zone=Zone(zone="z", name="Room 1"))
    bench.build()
    until(lambda: bench.live.unsafe is None and bench.live.taken is not None, 10)
    assert joined_on == [False]
    assert not bench.truth()["output"]
    answered = bench.ask("start", start_message(bench.live.id, profile(CHARGE)))
    assert answered.outcome == "refused"


def test_by_default_the_test_is_held_paused_with_an_alarm_and_a_latch(bench: Bench) -> None:
    started = killed(bench)
    bench.build()
    until(lambda: bench.live.state == "tripped", 10)
    assert bench.live.beat().experiment == started.experiment
    until(lambda: bench.statuses()[-1] == "paused", 10, "the event follows the latch")
    alarm = bench.events("alarm")[-1]["detail"]
    assert (alarm["code"], alarm["class"]) == ("held", "hold")
    assert not bench.truth()["output"]


def test_a_held_test_is_resumed_by_a_person_after_acknowledging(bench: Bench) -> None:
    started = killed(bench)
    bench.build()
    until(lambda: bench.live.state == "tripped", 10)
    who = ExperimentRef(experiment=started.experiment, person="ada")
    refused = bench.ask("resume", who)
    assert refused.outcome == "refused"
    assert "acknowledge" in (refused.reason or "")
    latch = bench.live.kept.latches[0].alarm
    bench.ask("acknowledge", StationAcknowledge(station=bench.configure.station, alarm=latch))
    assert bench.live.state == "paused"
    resumed = bench.ask("resume", who, 60.0)
    assert resumed.outcome == "done", resumed.reason
    bench.flows()
    assert bench.statuses()[-1] == "running"


def test_with_resume_it_goes_on_by_itself_where_it_was(bench: Bench) -> None:
    started = killed(bench, resume_policy="resume")
    before = bench_rows_on_disk(bench, started.experiment)
    bench.build()
    until(lambda: bench.live.state == "running" and bench.truth()["output"], 60, "it resumes")
    until(lambda: len(bench.rows(started.experiment)) > len(before) + 5, 10)
    rows = bench.rows(started.experiment)
    # Nothing of what was on the disk is lost, changed or doubled, and the numbers go on.
    assert rows[: len(before)] == before
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    after = rows[len(before) :]
    assert after[0]["flags"] & FLAG_GAP
    assert all(row["flags"] & FLAG_RESUMED for row in after)
    assert after[0]["elapsed_s"] > before[-1]["elapsed_s"]
    for name in ("charge_in_ah", "charge_out_ah", "elapsed_s", "step_count"):
        values = [row[name] for row in rows]
        assert values == sorted(values), name
    assert not bench.live.latched


def bench_rows_on_disk(bench: Bench, experiment: str) -> list[dict[str, Any]]:
    """Return the samples that the killed unit left, read as the next one will."""
    from cycler_unit.spool_reader import SpoolReader

    reader = SpoolReader(bench.folder / "spool.sqlite3")
    batch = reader.samples(experiment, 0, 5000)
    assert batch is not None
    rows = [
        {"seq": batch.first_seq + i, **{name: column[i] for name, column in batch.columns.items()}}
        for i in range(batch.count)
    ]
    reader.close()
    return rows


def test_the_gaps_charge_is_counted_at_its_worst(bench: Bench) -> None:
    started = killed(bench, resume_policy="resume")
    at_kill_ah = bench_rows_on_disk(bench, started.experiment)[-1]["charge_in_ah"]
    until(
        lambda: bench.truth()["charge_in_ah"] - bench.began_ah > 2.0 * at_kill_ah, 20, "it charges unwatched"
    )
    bench.build()
    until(lambda: bench.live.state == "running" and bench.truth()["output"], 60)
    bench.ask("pause", ExperimentRef(experiment=started.experiment))
    until(lambda: bench.rows(started.experiment)[-1]["mode"] == "off", 10)
    counted_ah = bench.rows(started.experiment)[-1]["charge_in_ah"]
    moved_ah = bench.truth()["charge_in_ah"] - bench.began_ah
    assert 0.99 * moved_ah <= counted_ah <= 1.2 * moved_ah


def test_another_cell_in_the_holder_is_not_resumed(bench: Bench) -> None:
    killed(bench, resume_policy="resume")
    bench.fault("wrong_cell", soc=0.05)
    bench.build()
    until(lambda: bench.live.state == "tripped", 60)
    assert "the voltage at rest is" in bench.live.kept.latches[0].text
    # The latch comes first, before anything is told.
    until(lambda: bench.statuses()[-1] == "paused", 10)
    assert not bench.truth()["output"]


def test_longer_away_than_allowed_is_held(bench: Bench) -> None:
    killed(bench, resume_policy="resume", resume_within_s=0.0)
    bench.build()
    until(lambda: bench.live.state == "tripped", 10)
    assert "resume_within_s" in bench.live.kept.latches[0].text


def test_a_step_that_cannot_be_taken_up_is_held(bench: Bench) -> None:
    drive = {"kind": "drive", "of": "current", "points": [[0.0, 0.5], [600.0, 0.5]]}
    killed(bench, drive, resume_policy="resume")
    bench.build()
    until(lambda: bench.live.state == "tripped", 10)
    assert "cannot be taken up" in bench.live.kept.latches[0].text


def test_after_a_reboot_without_a_synchronised_clock_the_test_is_held(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(bench, resume_policy="resume")
    monkeypatch.setattr("cycler_unit.run.boot_id", lambda: "another boot")
    monkeypatch.setattr("cycler_unit.run.disciplined", lambda: False)
    bench.build()
    until(lambda: bench.live.state == "tripped", 10)
    assert "unknown time" in bench.live.kept.latches[0].text


def test_a_held_test_can_be_stopped(bench: Bench) -> None:
    started = killed(bench)
    bench.build()
    until(lambda: bench.live.state == "tripped", 10)
    answered = bench.ask("stop", ExperimentStop(experiment=started.experiment), urgent=True)
    assert answered.result["ended"] is True
    assert bench.ended()["status"] == "stopped"
    assert bench.live.state == "tripped", "stopping is not acknowledging"


def test_a_checkpoint_that_cannot_be_read_ends_the_test_as_an_error(bench: Bench) -> None:
    started = killed(bench)
    from cycler_unit.spool import connect

    db = connect(bench.folder / "spool.sqlite3")
    db.execute("UPDATE runs SET checkpoint = ?", (b'{"broken": 1}',))
    db.close()
    bench.build()
    detail = bench.ended()
    assert detail["status"] == "error"
    assert "not taken up" in detail["end_reason"]["text"]
    assert not bench.truth()["output"]
    assert bench.events("status")[-1]["experiment"] == started.experiment


def test_a_clean_stop_keeps_the_test_for_the_next_start_and_counts_no_gap(bench: Bench) -> None:
    started = bench.start(CHARGE)
    bench.flows()
    # Two seconds: what the set point takes to reach the device is little beside it, on a busy machine too.
    until(lambda: bench.truth()["charge_in_ah"] - bench.began_ah > 0.5 * 2.0 / 3600.0, 20)
    until(lambda: len(bench.rows(started.experiment)) > 3, 10)
    bench.stop()
    assert not bench.truth()["output"]
    moved_ah = bench.truth()["charge_in_ah"] - bench.began_ah
    bench.build()
    until(lambda: bench.live.state == "tripped", 10)
    assert bench.live.conductor.run is not None
    until(lambda: bench.rows(started.experiment)[-1]["mode"] == "off", 10)
    assert bench.rows(started.experiment)[-1]["charge_in_ah"] == pytest.approx(moved_ah, rel=0.1)


def test_a_station_that_stops_asks_its_device_nothing_more_before_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start(CHARGE)
    bench.flows()
    conductor, device = bench.live.conductor, bench.live.power.device
    suspend, last, asked = conductor.suspend, [], []

    def ending() -> None:
        last.append(True)
        suspend()

    monkeypatch.setattr(conductor, "suspend", ending)
    for name in ("fault", "unasked"):
        monkeypatch.setattr(device, name, lambda name=name: asked.append((name, bool(last))))
    monkeypatch.setattr(guards, "FAULT_S", 0.0)
    monkeypatch.setattr(guards, "UNASKED_S", 0.0)
    until(lambda: {name for name, _ in asked} == {"fault", "unasked"}, 10, "both are asked in every round")
    bench.stop()
    assert last
    assert not bench.truth()["output"]
    assert not [name for name, ending in asked if ending]


def test_what_the_pulses_measured_counts_where_the_steps_own_current_is_too_small_to_tell(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As of a load of 170 A: 1 A is less than twenty steps of its current.
    monkeypatch.setattr(Run, "_learn_resistance", lambda *_: None)
    killed(bench, pulse="record", resume_policy="resume")
    bench.build()
    until(lambda: bench.live.state == "running" and bench.truth()["output"], 60, "it resumes")


def test_the_expected_rest_voltage_follows_from_the_last_loaded_reading() -> None:
    from cycler_unit.run import expected_rest

    span = expected_rest(3.9, 0.5, 0.2)
    assert span is not None
    assert (span.low_v, span.high_v) == pytest.approx((3.65, 3.8))
    assert span.why_not(3.61, 1) is None
    assert span.why_not(3.5, 1)
    assert expected_rest(3.9, 0.5, None) is None
    assert expected_rest(3.9, 0.0, None) is not None


def test_without_a_known_resistance_a_loaded_test_is_held(bench: Bench) -> None:
    killed(bench, resume_policy="resume")
    from cycler_unit.spool import connect

    db = connect(bench.folder / "spool.sqlite3")
    body = msgspec.json.decode(db.execute("SELECT checkpoint FROM runs").fetchone()[0])
    body["resistance_ohm"] = None
    db.execute("UPDATE runs SET checkpoint = ?", (msgspec.json.encode(body),))
    db.close()
    bench.build()
    until(lambda: bench.live.state == "tripped", 10)
    assert "resistance" in bench.live.kept.latches[0].text
