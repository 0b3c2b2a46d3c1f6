"""Safety rule 10: a pause longer than an hour resumes by the same checks as a crash."""

from __future__ import annotations

from typing import Any

from tests.cycler_unit.bench import CHARGE, REST, Answered, Bench
from tests.stack.waiting import until
from wire.messages import ExperimentRef

DRIVE = {
    "kind": "drive", "of": "current", "points": [[0, 0.1], [300, 0.2]],
}  # fmt: skip


def paused_for(bench: Bench, seconds: float, *steps: dict[str, Any]) -> ExperimentRef:
    """Start, pause, and let the unit's clock go on by ``seconds``."""
    started = bench.start(*steps)
    until(lambda: len(bench.rows(started.experiment)) > 3, 10)
    who = ExperimentRef(experiment=started.experiment, person="ada")
    assert bench.ask("pause", who).outcome == "done"
    requests = bench.live.conductor.requests
    now = requests.now
    requests.now = lambda: now() + seconds
    return who


def resume(bench: Bench, who: ExperimentRef) -> Answered:
    """Ask to go on."""
    return bench.ask("resume", who, 60.0)


def test_after_more_than_an_hour_it_goes_on_when_the_battery_is_the_same(bench: Bench) -> None:
    who = paused_for(bench, 3700.0, CHARGE)
    answered = resume(bench, who)
    assert answered.outcome == "done", answered.reason
    bench.flows()


def test_after_more_than_an_hour_another_battery_is_refused(bench: Bench) -> None:
    who = paused_for(bench, 3700.0, CHARGE)
    bench.fault("wrong_cell", soc=0.05)
    answered = resume(bench, who)
    assert answered.outcome == "refused"
    assert "another battery" in (answered.reason or "")
    assert not bench.truth()["output"]
    assert bench.live.state == "tripped"
    assert bench.live.beat().experiment == who.experiment


def test_after_less_than_an_hour_the_voltage_is_not_compared(bench: Bench) -> None:
    who = paused_for(bench, 3500.0, CHARGE)
    bench.fault("wrong_cell", soc=0.45)
    assert resume(bench, who).outcome == "done"


def test_a_step_that_cannot_be_taken_up_is_not_resumed_after_an_hour(bench: Bench) -> None:
    who = paused_for(bench, 3700.0, DRIVE)
    answered = resume(bench, who)
    assert answered.outcome == "refused"
    assert "taken up in the middle" in (answered.reason or "")
    assert bench.live.state == "paused"
    assert not bench.truth()["output"]


def test_a_rest_is_resumed_after_an_hour(bench: Bench) -> None:
    who = paused_for(bench, 7200.0, REST)
    assert resume(bench, who).outcome == "done"
