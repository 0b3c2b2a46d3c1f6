"""What other threads ask of a station always gets an answer."""

from __future__ import annotations

from cycler_unit.mail import Ask, Mailbox
from tests.cycler_unit.bench import Answered, Bench
from wire.messages import DeviceOff


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
