"""What other threads ask of a station always gets an answer."""

from __future__ import annotations

from cycler_unit.mail import Ask, Mailbox
from tests.cycler_unit.bench import CHARGE, Answered, Bench
from wire.messages import DeviceOff, ExperimentStop


def test_stops_pass_everything_else() -> None:
    mail = Mailbox()
    for name, urgent in (("start", False), ("stop", True)):
        mail.put(Ask(name, None, Answered(), urgent))
    assert [ask.do for ask in iter(mail.take, None)] == ["stop", "start"]


def test_a_mailbox_that_nobody_reads_any_more_answers_what_waits_and_what_comes() -> None:
    mail, waited, late = Mailbox(), Answered(), Answered()
    mail.put(Ask("start", None, waited))
    mail.close("the station is being changed")
    mail.put(Ask("stop", None, late, urgent=True))
    assert [(each.outcome, each.reason) for each in (waited, late)] == [
        ("refused", "the station is being changed")
    ] * 2
    assert mail.take() is None


def test_what_comes_to_a_station_that_has_ended_is_refused(bench: Bench) -> None:
    station, answered = bench.live, Answered()
    bench.stop()
    station.mail.put(Ask("manual_off", DeviceOff(station=station.id), answered, urgent=True))
    assert (answered.outcome, "ask again" in (answered.reason or "")) == ("refused", True)


def test_a_stop_that_waits_when_its_station_ends_is_done_before(bench: Bench) -> None:
    started = bench.start(CHARGE, resume_policy="resume")
    bench.flows()
    station, answered = bench.live, Answered()
    serve = station._serve
    station._serve = lambda: None if station._stopping else serve()  # type: ignore[method-assign]
    station._stopping = True
    station.mail.put(Ask("stop", ExperimentStop(experiment=started.experiment, person="ada"), answered, True))
    station.join(15.0)
    assert answered.outcome == "done"
    assert bench.statuses()[-1] == "stopped"
    assert next(iter(bench.reader.runs()), None) is None, "it would resume with the next start"
