"""Safety rule 9 broken on purpose: the server is silent, and the unit does what the experiment says."""

from __future__ import annotations

from typing import Any

import pytest

from cycler_unit.contact import AWAY_S, Contact
from tests.cycler_unit.bench import CHARGE, REST, Bench
from tests.stack.waiting import until
from wire.messages import ExperimentRef, StationDrill


class Server:
    """A server that was heard last at a time of its own clock."""

    def __init__(self, bench: Bench) -> None:
        self.silent_s = 0.0
        bench.hub.heard_within = lambda seconds: self.silent_s <= seconds


def charge(seconds: float) -> dict[str, Any]:
    """Return a charge so long."""
    return {**CHARGE, "end": [{"quantity": "time_s", "value": seconds}]}


def reason(bench: Bench) -> dict[str, Any]:
    """Wait for the end and return why."""
    detail = bench.ended()
    assert detail["status"] == "stopped"
    found: dict[str, Any] = detail["end_reason"]
    return found


def test_continue_goes_on_without_the_server(bench: Bench) -> None:
    server = Server(bench)
    started = bench.start(charge(2.0))
    server.silent_s = 1e6
    assert bench.ended()["status"] == "finished"
    assert len(bench.rows(started.experiment)) > 10


def test_off_ends_the_test_after_its_time_and_says_why(bench: Bench) -> None:
    server = Server(bench)
    bench.start(CHARGE, contact_policy="off", off_after_s=30.0)
    bench.flows()
    server.silent_s = 29.0
    rounds = bench.live.rounds
    until(lambda: bench.live.rounds > rounds + 5, 10)
    assert bench.live.conductor.experiment is not None
    server.silent_s = 31.0
    found = reason(bench)
    assert found["code"] == "contact"
    assert "no contact with the server for 30 s" in found["text"]
    assert "off" in found["text"]
    assert not bench.truth()["output"]
    assert not bench.live.latched


def test_finish_step_ends_when_the_step_does(bench: Bench) -> None:
    server = Server(bench)
    started = bench.start(charge(2.5), REST, contact_policy="finish_step", off_after_s=600.0)
    bench.flows()
    server.silent_s = AWAY_S + 1.0
    found = reason(bench)
    assert found["code"] == "contact"
    assert "when the step ended" in found["text"]
    steps = [each["detail"]["row"] for each in bench.events("step") if "row" in each["detail"]]
    assert steps[0]["end_reason"]["code"] == "end"
    assert steps[0]["duration_s"] == pytest.approx(2.5, abs=0.5)
    assert started.contact_policy == "finish_step"


def test_finish_step_is_bounded_by_its_time(bench: Bench) -> None:
    server = Server(bench)
    bench.start(CHARGE, contact_policy="finish_step", off_after_s=60.0)
    bench.flows()
    server.silent_s = 61.0
    assert "the step did not end before" in reason(bench)["text"]


def test_finish_step_goes_on_when_the_server_is_back_before_the_step_ends(bench: Bench) -> None:
    server = Server(bench)
    bench.start(charge(2.0), charge(2.0), contact_policy="finish_step", off_after_s=600.0)
    server.silent_s = AWAY_S + 1.0
    until(lambda: any("after the running step" in each["text"] for each in bench.events("note")), 10)
    server.silent_s = 0.0
    assert bench.ended()["status"] == "finished"


def test_a_paused_test_is_off_already_and_stays(bench: Bench) -> None:
    server = Server(bench)
    started = bench.start(CHARGE, contact_policy="off", off_after_s=5.0)
    bench.ask("pause", ExperimentRef(experiment=started.experiment))
    server.silent_s = 1e6
    rounds = bench.live.rounds
    until(lambda: bench.live.rounds > rounds + 5, 10)
    assert bench.live.state == "paused"


# --- the drill ------------------------------------------------------------------------------------


def drill(bench: Bench, seconds: float) -> Any:
    """Press the drill button."""
    args = StationDrill(station=bench.configure.station, seconds=seconds, person="ada")
    return bench.ask("drill", args)


def told(bench: Bench) -> list[dict[str, Any]]:
    """Return what the events say of the drill."""
    return [each["detail"]["drill"] for each in bench.events("note") if "drill" in each["detail"]]


def test_a_drill_makes_the_policy_act_and_says_so(bench: Bench) -> None:
    bench.start(CHARGE, contact_policy="off", off_after_s=0.5)
    bench.flows()
    answered = drill(bench, 30.0)
    assert answered.outcome == "done"
    assert answered.result["policy"] == "off"
    found = reason(bench)
    assert found["code"] == "contact"
    assert found["text"].startswith("drill: ")
    assert not bench.truth()["output"]
    assert told(bench)[-1]["acted"] is True
    assert told(bench)[-1]["person"] == "ada"
    assert told(bench)[-1]["after_s"] >= 0.5


def test_a_drill_of_a_test_that_goes_on_reports_that_it_went_on(bench: Bench) -> None:
    bench.start(CHARGE)
    assert drill(bench, 0.3).outcome == "done"
    until(lambda: told(bench)[-1].get("acted") is True, 10, "the drill is over")
    assert bench.live.state == "running"


def test_a_drill_too_short_for_the_policy_says_that_nothing_acted(bench: Bench) -> None:
    bench.start(CHARGE, contact_policy="off", off_after_s=60.0)
    assert drill(bench, 0.2).outcome == "done"
    until(lambda: told(bench)[-1].get("acted") is False, 10, "the drill is over")
    assert bench.live.state == "running"
    server = Server(bench)
    rounds = bench.live.rounds
    until(lambda: bench.live.rounds > rounds + 5, 10)
    assert server.silent_s == 0.0
    assert bench.live.state == "running"


def test_a_drill_without_a_test_is_refused(bench: Bench) -> None:
    answered = drill(bench, 5.0)
    assert answered.outcome == "refused"
    assert "no test runs" in (answered.reason or "")


def test_a_drill_leaves_other_stations_alone(bench: Bench, neighbour: Bench) -> None:
    neighbour.start(CHARGE, contact_policy="off", off_after_s=0.5)
    bench.start(CHARGE, contact_policy="off", off_after_s=0.5)
    drill(bench, 30.0)
    assert reason(bench)["code"] == "contact"
    assert neighbour.live.state == "running"


def test_a_clock_that_is_given_decides(bench: Bench) -> None:
    """The same without waiting: an hour of silence in one look."""
    now_s = [0.0]
    bench.start(CHARGE, contact_policy="off", off_after_s=3600.0)
    conductor = bench.live.conductor
    contact = Contact(conductor, now=lambda: now_s[0])
    run = conductor.run
    assert run is not None
    contact.drill(StationDrill(station="", seconds=7200.0), lambda *_: None)
    now_s[0] = 3599.0
    assert contact.look(run) is None
    now_s[0] = 3600.0
    assert "drill: no contact with the server for 3600 s" in (contact.look(run) or "")
