"""Safety rule 11 broken on purpose: nothing old can act, nothing acts twice, stops always do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cycler_unit.clock import ServerClock, iso
from cycler_unit.commands import LARGE, LARGE_KEPT, Answer, Commands
from cycler_unit.contract import Refusal
from cycler_unit.spool import Spool
from cycler_unit.spool_reader import SpoolReader
from tests.stack.waiting import until
from wire import codec
from wire.messages import (
    CanListen,
    Command,
    Detect,
    ExperimentRef,
    ExperimentStop,
    Message,
    Reply,
    UnitReadings,
)

STOP = ExperimentStop(experiment="e1")
SKIP = ExperimentRef(experiment="e1")


class Doer:
    """Note what would have been done."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.refuse: str | None = None
        self.late: list[Answer] | None = None

    def do(self, command: Command, args: Message, answer: Answer) -> None:
        """Act."""
        if self.refuse is not None:
            raise Refusal(self.refuse)
        self.did.append(command.kind)
        if self.late is not None:
            self.late.append(answer)
        else:
            answer("done", {"times": len(self.did)}, None)


class Bench:
    """Commands with everything around them."""

    def __init__(self, spool: Spool) -> None:
        self.spool, self.doer, self.clock = spool, Doer(), ServerClock()
        self.connection = "now"
        self.replies: list[Reply] = []
        self.commands = self.make()

    def make(self) -> Commands:
        """Return fresh commands as after a restart of the unit."""
        self.spool.commit(5.0)
        reader = SpoolReader(self.spool.path)
        seen = reader.commands()
        reader.close()
        return Commands(self.spool, self.clock, self.doer, lambda: self.connection, self.replies.append, seen)

    def send(self, kind: str = "experiment.skip_step", args: Message = SKIP, **more: Any) -> Reply:
        """Handle one command; return the reply."""
        values: dict[str, Any] = {
            "id": "c1", "connection": "now", "kind": kind, "args": codec.raw(args), "issued_at": iso(time.time()),
            "expires_at": iso(time.time() + 30),
        }  # fmt: skip
        self.commands.handle(Command(**{**values, **more}))
        return self.replies[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Return commands over a real spool."""
    spool = Spool(tmp_path / "spool.sqlite3")
    spool.start()
    yield Bench(spool)
    spool.stop()


def test_a_good_command_is_done_and_answered(bench: Bench) -> None:
    assert bench.send().outcome == "done"
    assert bench.doer.did == ["experiment.skip_step"]


def test_a_command_for_an_earlier_connection_is_refused(bench: Bench) -> None:
    reply = bench.send(connection="before")
    assert reply.outcome == "refused"
    assert "earlier connection" in (reply.reason or "")
    assert bench.doer.did == []


def test_a_stop_for_an_earlier_connection_is_refused_too(bench: Bench) -> None:
    assert bench.send("experiment.stop", STOP, connection="before").outcome == "refused"


def test_refused_for_its_connection_it_is_done_when_it_comes_again_to_the_right_one(bench: Bench) -> None:
    bench.send(connection="before")
    assert bench.send().outcome == "done"


def test_an_expired_command_is_refused(bench: Bench) -> None:
    reply = bench.send(expires_at=iso(time.time() - 1))
    assert reply.outcome == "refused"
    assert "expired" in (reply.reason or "")
    assert bench.doer.did == []


def test_a_command_without_an_expiry_is_refused_unless_it_moves_nothing(bench: Bench) -> None:
    reply = bench.send(expires_at=None)
    assert reply.outcome == "refused"
    assert "no expiry" in (reply.reason or "")
    assert bench.doer.did == []
    readings = UnitReadings(periods=[])
    assert bench.send("unit.readings", readings, id="c2", expires_at=None).outcome == "done"


def test_expiry_is_judged_on_the_servers_clock(bench: Bench) -> None:
    sent = iso(time.time())
    bench.clock.sent(sent)
    bench.clock.answered(sent, iso(time.time() + 3600))
    assert bench.send(expires_at=iso(time.time() + 30)).outcome == "refused"
    assert bench.send(id="c2", expires_at=iso(time.time() + 3630)).outcome == "done"


def test_a_stop_never_expires(bench: Bench) -> None:
    assert bench.send("experiment.stop", STOP, expires_at=iso(time.time() - 3600)).outcome == "done"
    assert bench.send("experiment.stop", STOP, id="c2", expires_at=None).outcome == "done"


def test_a_command_that_comes_twice_is_done_once_and_answered_twice(bench: Bench) -> None:
    first = bench.send()
    second = bench.send()
    assert second == first
    assert bench.doer.did == ["experiment.skip_step"]
    assert len(bench.replies) == 2


def test_a_command_being_done_is_not_done_again_meanwhile(bench: Bench) -> None:
    bench.doer.late = []
    with pytest.raises(IndexError):
        bench.send()
    with pytest.raises(IndexError):
        bench.send()
    assert bench.doer.did == ["experiment.skip_step"]
    bench.doer.late[0]("done", None, None)
    assert [reply.outcome for reply in bench.replies] == ["done"]


def test_a_command_seen_before_a_restart_is_answered_again_and_not_done(bench: Bench) -> None:
    first = bench.send()
    bench.commands = bench.make()
    assert bench.send() == first
    assert bench.doer.did == ["experiment.skip_step"]


def test_a_skip_interrupted_by_a_kill_is_not_done_a_second_time(bench: Bench) -> None:
    bench.doer.late = []
    with pytest.raises(IndexError):
        bench.send()
    bench.commands = bench.make()
    reply = bench.send()
    assert reply.outcome == "failed"
    assert bench.doer.did == ["experiment.skip_step"]


def test_a_refusal_by_the_station_is_the_answer(bench: Bench) -> None:
    bench.doer.refuse = "the station is busy"
    reply = bench.send()
    assert (reply.outcome, reply.reason) == ("refused", "the station is busy")


class Talker(Doer):
    """Answers with as many bytes as a test asks for."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def do(self, command: Command, args: Message, answer: Answer) -> None:
        """Answer at length."""
        self.did.append(command.id)
        answer("done", {"text": "x" * self.size}, None)


def test_an_answer_too_large_for_the_broker_is_said_to_be(bench: Bench) -> None:
    bench.doer = Talker(2_000_000)
    bench.commands = bench.make()
    reply = bench.send()
    assert reply.outcome == "failed"
    assert "it was done, but its answer has 20" in (reply.reason or "")


def test_large_answers_do_not_pile_up_and_are_still_not_done_twice(bench: Bench) -> None:
    bench.doer = Talker(LARGE + 1)
    bench.commands = bench.make()
    for number in range(LARGE_KEPT + 5):
        assert bench.send("can.listen", CanListen(link="can"), id=f"c{number}").outcome == "done"
    kept = [each for each in bench.commands._seen.values() if each and each.result]
    assert len(kept) == LARGE_KEPT
    assert bench.send("can.listen", CanListen(link="can"), id="c0").reason.startswith("answered before")  # type: ignore[union-attr]
    assert bench.doer.did.count("c0") == 1


def test_what_pages_ask_all_the_time_is_not_put_on_the_disk(bench: Bench) -> None:
    bench.send("can.listen", CanListen(link="can"), id="live")
    bench.send(id="skip")
    bench.spool.commit(5.0)
    reader = SpoolReader(bench.spool.path)
    assert set(reader.commands()) == {"skip"}
    reader.close()


def test_wrong_arguments_are_refused_with_what_is_wrong(bench: Bench) -> None:
    reply = bench.send("experiment.stop", Detect())
    assert reply.outcome == "refused"
    assert "experiment" in (reply.reason or "")


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x00\xff\xfe", b"[]", b'{"id": 1}', b"[" * 100_000, b'{"a":' * 50_000, b"x" * 2_000_000],
)
def test_hostile_bytes_are_counted_and_dropped(bench: Bench, payload: bytes) -> None:
    bench.commands.receive("t", payload)
    assert bench.commands.malformed == 1
    assert bench.doer.did == []


def test_stops_jump_the_queue(bench: Bench) -> None:
    def queued(key: str, kind: str, args: Message) -> None:
        command = Command(
            id=key,
            connection="now",
            kind=kind,
            args=codec.raw(args),
            issued_at=iso(time.time()),  # type: ignore[arg-type]
        )
        bench.commands.receive("t", codec.encode(command))

    queued("a", "detect", Detect())
    queued("b", "experiment.skip_step", SKIP)
    queued("c", "experiment.stop", STOP)
    bench.commands.start()
    until(lambda: len(bench.replies) == 3, 5)
    assert bench.doer.did[0] == "experiment.stop"
    bench.commands.stop()
