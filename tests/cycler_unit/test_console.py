"""The console: raw messages, their refusals, and a live look at a CAN bus (wire.md)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cycler_unit import logs
from cycler_unit.buses.local import LocalBuses
from cycler_unit.buses.protocol import Frame
from cycler_unit.console_rules import acts
from cycler_unit.contract import Refusal
from cycler_unit.drivers.errors import DeviceLost
from tests.cycler_unit.free_bench import CAN_LINK, RELAY, TEXT_LINK, FakeStation, FreeBench
from tests.stack.simulated import Simulators
from tests.stack.waiting import until
from wire.messages import (
    CanListen,
    CanSend,
    Detect,
    DeviceLease,
    ReadingPeriod,
    ScpiMessage,
    UnitLog,
    UnitReadings,
    UnitRestart,
)

NODE = {**CAN_LINK, "node": 0x13}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[FreeBench]:
    """Return a unit with a text link and a CAN bus."""
    bench = FreeBench(tmp_path)
    yield bench
    bench.stop()


def run_on(bench: FreeBench, *links: dict[str, Any], how: str = "experiment") -> FakeStation:
    """Put a running station onto these links."""
    station = FakeStation(*links)
    if how == "experiment":
        station.conductor.experiment = "e1"
    else:
        station.state = how
    bench.table.stations.append(station)
    return station


def scpi(text: str, link: str = "text", **more: Any) -> ScpiMessage:
    """Return a message."""
    return ScpiMessage(link=link, text=text, **more)


# --- text -------------------------------------------------------------------------------------------


def test_a_query_returns_all_lines(bench: FreeBench) -> None:
    bench.buses.answers = ["one", "two"]
    told = bench.ask("scpi.query", scpi("*IDN?"))
    assert (told.outcome, told.result["lines"]) == ("done", ["one", "two"])
    assert bench.buses.sent == ["*IDN?"]


def test_a_write_is_sent_on_an_idle_bus(bench: FreeBench) -> None:
    run_on(bench, {"kind": "visa", "resource": "elsewhere"})
    told = bench.ask("scpi.write", scpi("OUTP OFF"))
    assert (told.outcome, told.result, bench.buses.sent) == ("done", {"sent": "OUTP OFF"}, ["OUTP OFF"])


@pytest.mark.parametrize("how", ["experiment", "manual", "paused"])
@pytest.mark.parametrize("force", [False, True])
def test_a_write_is_refused_on_a_bus_of_which_any_device_runs(
    bench: FreeBench, how: str, force: bool
) -> None:
    run_on(bench, TEXT_LINK, how=how)
    told = bench.ask("scpi.write", scpi("OUTP OFF", force=force))
    assert told.outcome == "refused"
    assert "refused on this bus while S1" in told.reason
    assert bench.buses.sent == []


def test_a_running_bus_answers_pure_questions_only(bench: FreeBench) -> None:
    run_on(bench, TEXT_LINK)
    assert bench.ask("scpi.query", scpi("MEAS:VOLT?;:MEAS:CURR?")).outcome == "done"
    told = bench.ask("scpi.query", scpi("OUTP ON;*IDN?"))
    assert (told.outcome, "no pure question" in told.reason) == ("refused", True)
    assert bench.buses.sent == ["MEAS:VOLT?;:MEAS:CURR?"]


@pytest.mark.parametrize(
    "text", ["*IDN?", "MEAS:VOLT? (@1)", ":MEASure:FLOW?", "VOLT? MAX;:CURR?", "SYST:ERR:COUN?"]
)
def test_a_pure_question_does_nothing(text: str) -> None:
    assert acts(text) is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("VOLT 5", "question mark"),
        ("A?;VOLT 5", "VOLT 5 does not end"),
        ("", "empty part"),
        ("A?;", "empty part"),
        ("SYST:ERR?", "error queue"),
        ("system:error:next?", "error queue"),
        ("*IDN?;:SYST:ERROR:ALL?", "error queue"),
        ("*TST?", "self-test"),
        (":CAL:ZERO?", "calibration"),
        ("*ESR?", "event register"),
    ],
)
def test_what_acts_is_no_pure_question(text: str, what: str) -> None:
    assert what in (acts(text) or "")


def test_the_error_queue_of_a_running_bus_is_left_to_its_driver(bench: FreeBench) -> None:
    assert bench.ask("scpi.query", scpi("SYST:ERR?")).outcome == "done", "on an idle bus it may be read"
    run_on(bench, TEXT_LINK)
    told = bench.ask("scpi.query", scpi("SYST:ERR?"))
    assert told.outcome == "refused"
    assert "reading the error queue empties it" in told.reason
    assert bench.buses.sent == ["SYST:ERR?"]


def test_a_device_in_somebodys_hands_closes_its_bus_to_writes(bench: FreeBench) -> None:
    from cycler_unit.buses.protocol import bus_key

    bench.ask("device.lease", DeviceLease(lease="l", person="ada", device="d", where=RELAY))
    assert set(bench.dispatcher.running()) == {bus_key({"kind": "http", "url": "http://relay"})}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (scpi("*IDN?", link="nowhere"), "no link 'nowhere'"),
        (scpi("*IDN?", link="can0"), "carries no text"),
        (scpi(" "), "1 to 4000 characters"),
        (scpi("x" * 5000), "1 to 4000 characters"),
        (scpi("A?\nOUTP ON"), "one line of plain ASCII"),
        (scpi("µ?"), "one line of plain ASCII"),
        (scpi("A?", timeout_s=1000.0), "allowed are up to"),
    ],
)
def test_a_message_that_is_none_is_refused_in_words(
    bench: FreeBench, message: ScpiMessage, said: str
) -> None:
    with pytest.raises(Refusal, match=said):
        bench.send("scpi.query", message)
    assert bench.buses.sent == []


def test_a_lost_link_fails_with_its_reason(bench: FreeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any) -> list[str]:
        raise DeviceLost("the cable is off")

    monkeypatch.setattr(bench.buses, "query", lost)
    told = bench.ask("scpi.query", scpi("*IDN?"))
    assert (told.outcome, told.reason) == ("failed", "the cable is off")


def test_a_query_goes_over_the_bytes_of_a_real_device(simulators: Simulators) -> None:
    link = next(each for each in simulators.links() if each["name"] == "psb2")
    buses = LocalBuses()
    assert "PSB 10010-05 SIM" in buses.query(link, "*IDN?", 2.0)[0]
    assert buses.query(link, "NO:SUCH:THING 1", 0.2) == [], "a command has no answer, which is no error"
    assert buses.query(link, "SYST:ERR?", 2.0)[0].startswith("-")
    buses.write(link, "*CLS")
    buses.stop()


def test_a_query_uses_the_connection_that_a_driver_holds(simulators: Simulators) -> None:
    from wire import kinds

    link = next(each for each in simulators.links() if each["name"] == "psb2")
    buses = LocalBuses()
    device = buses.device(kinds.get("ea-psb-10010-05-sim"), link, "psb2")
    device.open()
    assert "PSB" in buses.query(link, "*IDN?", 2.0)[0]
    assert any(each.text == "*IDN?" for each in device.exchanges()), "it is in the black box too"
    assert device.read().voltage_v is not None
    buses.stop()


# --- CAN --------------------------------------------------------------------------------------------


def can(frame_id: int, payload: str = "", **more: Any) -> CanSend:
    """Return a frame."""
    return CanSend(link="can0", id=frame_id, payload=payload, **more)


def test_a_sent_frame_is_shown_with_what_was_heard_decoded(bench: FreeBench) -> None:
    bench.buses.frames = [
        Frame(at_s=1.5, id=0x13A, payload="53000009"),
        Frame(at_s=1.6, id=0x7FF, payload="00"),
    ]
    told = bench.ask("can.send", can(0x131, "00"))
    assert told.outcome == "done"
    assert told.result["sent"]["decoded"]["name"] == "EPC_REQUEST"
    first, second = told.result["frames"]
    assert (first["node"], first["message"], first["payload"]) == (0x13, 0xA, "53000009")
    assert first["decoded"]["name"] == "EPC_INFO"
    assert (second["decoded"], second["payload"]) == (None, "00"), "raw always"
    assert bench.buses.sent == [(0x131, "00")]


DANGEROUS = [
    (0x000, "0800000000000000", "node 0"),
    (0x00F, "", "node 0"),
    *((0x130 | message, "00", "message type") for message in range(0x8, 0x10)),
    (0x130, "08", "has 8 bytes, not 1"),
    (0x131, "0000", "has 1 bytes, not 2"),
    (0x132, "00", "has 4 bytes, not 1"),
    (0x137, "00", "has 6 bytes, not 1"),
]


@pytest.mark.parametrize(("frame_id", "payload", "said"), DANGEROUS)
def test_what_can_lock_or_reach_every_device_is_refused_unless_forced(
    bench: FreeBench, frame_id: int, payload: str, said: str
) -> None:
    with pytest.raises(Refusal, match=said):
        bench.send("can.send", can(frame_id, payload))
    assert bench.buses.sent == []
    assert bench.ask("can.send", can(frame_id, payload, force=True, listen_s=0.0)).outcome == "done"
    assert bench.buses.sent == [(frame_id, payload)]


@pytest.mark.parametrize("frame_id", [0x131, 0x138, 0x000])
def test_nothing_is_sent_on_a_can_bus_of_which_any_device_runs_not_even_forced(
    bench: FreeBench, frame_id: int
) -> None:
    run_on(bench, NODE)
    told = bench.ask("can.send", can(frame_id, "00", force=True))
    assert told.outcome == "refused"
    assert "while S1 (a test) runs there" in told.reason
    assert bench.buses.sent == []


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (can(0x800, "00", force=True), "id from 0 to 0x7FF"),
        (can(-1, "00", force=True), "id from 0 to 0x7FF"),
        (can(0x130, "00" * 9, force=True), "at most 8 bytes"),
        (can(0x131, "zz"), "is no hex"),
        (can(0x131, "00", listen_s=-1.0), "listen_s"),
        (CanSend(link="text", id=0x131, payload="00"), "not a CAN bus"),
    ],
)
def test_a_frame_that_is_none_is_refused_even_when_forced(
    bench: FreeBench, frame: CanSend, said: str
) -> None:
    with pytest.raises(Refusal, match=said):
        bench.send("can.send", frame)


def test_nobody_sends_while_a_detection_is_going_on(
    bench: FreeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cycler_unit.console.SCAN_WAIT_S", 0.05)
    bench.buses.scanning.clear()
    bench.buses.may_scan.clear()
    detecting = bench.send("detect", Detect(links=["can0"]))
    assert bench.buses.scanning.wait(10)
    told = bench.ask("can.send", can(0x131, "00"))
    assert (told.outcome, "detection" in told.reason) == ("refused", True)
    bench.buses.may_scan.set()
    until(lambda: detecting.outcome, 10)
    assert bench.ask("can.send", can(0x131, "00")).outcome == "done"


def test_a_test_that_begins_while_a_message_waits_for_a_detection_is_not_disturbed(bench: FreeBench) -> None:
    bench.buses.scanning.clear()
    bench.buses.may_scan.clear()
    detecting = bench.send("detect", Detect(links=["text"]))
    assert bench.buses.scanning.wait(10)
    told = bench.send("scpi.query", scpi("OUTP ON"))
    # It waits for the end of the detection on a thread of its own; the test begins meanwhile.
    run_on(bench, TEXT_LINK)
    bench.buses.may_scan.set()
    until(lambda: detecting.outcome and told.outcome, 10)
    assert (told.outcome, "is no pure question" in told.reason) == ("refused", True)


# --- listening --------------------------------------------------------------------------------------


def frames(first: int, count: int) -> list[Frame]:
    """Return numbered frames."""
    return [Frame(at_s=float(n), id=0x13C, payload=f"{n:012x}") for n in range(first, first + count)]


def listen(bench: FreeBench, after: int = 0, seconds: float = 5.0, most: int = 500) -> dict[str, Any]:
    """Ask for frames."""
    told = bench.ask("can.listen", CanListen(link="can0", seconds=seconds, after=after, most=most))
    assert told.outcome == "done", told.reason
    return told.result


def test_a_live_look_misses_nothing_between_two_questions(bench: FreeBench) -> None:
    bench.buses.frames = frames(0, 3)
    first = listen(bench, most=3)
    assert [each["payload"] for each in first["frames"]] == [f"{n:012x}" for n in range(3)]
    bench.buses.frames = frames(3, 2)
    until(lambda: not bench.buses.frames, 10, "they came while nobody asked")
    second = listen(bench, after=first["next"])
    assert [each["payload"] for each in second["frames"]] == [f"{n:012x}" for n in (3, 4)]
    assert second["lost"] == 0
    assert second["frames"][0]["decoded"]["name"] == "EPC_ELEC_MEAS"


def test_an_asker_who_waits_gets_a_frame_as_soon_as_it_comes(bench: FreeBench) -> None:
    first = listen(bench, seconds=0.05)
    assert first["frames"] == []
    began = time.monotonic()
    answered = bench.send("can.listen", CanListen(link="can0", seconds=20.0, after=first["next"]))
    bench.buses.frames = frames(7, 1)
    until(lambda: answered.outcome, 15)
    assert [each["payload"] for each in answered.result["frames"]] == [f"{7:012x}"]
    assert time.monotonic() - began < 15.0


def test_listening_is_allowed_while_a_test_runs(bench: FreeBench) -> None:
    run_on(bench, NODE)
    bench.buses.frames = frames(0, 1)
    assert len(listen(bench, most=1)["frames"]) == 1


@pytest.mark.parametrize(("seconds", "most"), [(0.0, 10), (1000.0, 10), (1.0, 0), (1.0, 10**6)])
def test_a_look_has_its_bounds(bench: FreeBench, seconds: float, most: int) -> None:
    told = bench.ask("can.listen", CanListen(link="can0", seconds=seconds, most=most))
    assert told.outcome == "refused"


def test_a_bus_that_is_gone_is_said(bench: FreeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any) -> list[Frame]:
        raise DeviceLost("the adapter was pulled")

    monkeypatch.setattr(bench.buses, "listen", lost)
    told = bench.ask("can.listen", CanListen(link="can0", seconds=5.0))
    assert (told.outcome, told.reason) == ("failed", "the adapter was pulled")


# --- the unit itself ----------------------------------------------------------------------------------


def test_the_log_is_returned_and_its_level_set_from_afar(bench: FreeBench) -> None:
    logs.recent.emit(logs.logging.LogRecord("cycler_unit.x", 20, "", 0, "event=hello n=%d", (7,), None))
    told = bench.ask("unit.log", UnitLog(lines=1, level="cycler_unit.never_used=DEBUG"))
    assert told.result["lines"][0].endswith("INFO cycler_unit.x event=hello n=7")
    assert told.result["levels"]["cycler_unit.never_used"] == "DEBUG"
    with pytest.raises(Refusal, match="no level"):
        bench.send("unit.log", UnitLog(level="LOUD"))


def test_a_restart_is_refused_while_anything_runs_unless_forced(bench: FreeBench) -> None:
    run_on(bench, TEXT_LINK)
    with pytest.raises(Refusal, match=r"S1 \(a test\) runs; force it"):
        bench.send("unit.restart", UnitRestart())
    assert bench.ask("unit.restart", UnitRestart(force=True)).result == {"restarting": True}
    until(lambda: bench.restarts, 10, "the unit restarts after its answer")


def test_a_detection_answers_with_every_link_and_tells_how_far_it_is(bench: FreeBench) -> None:
    told = bench.ask("detect", Detect())
    assert told.outcome == "done"
    assert [(each["link"], each["outcome"], each["found"]) for each in told.result["links"]] == [
        ("relay", "ok", 1), ("supply", "ok", 1), ("text", "ok", 0), ("can0", "ok", 0),
    ]  # fmt: skip
    assert {each["model"] for each in told.result["devices_found"]} == {"test-relay", "test-supply"}
    progress = [each["detail"] for each in bench.events("progress")]
    assert progress[-1]["done"] == progress[-1]["of"] == 400
    assert len({each["command"] for each in progress}) == 1
    assert bench.published, "the report goes out too"


def test_a_detection_of_an_unknown_link_is_refused(bench: FreeBench) -> None:
    told = bench.ask("detect", Detect(links=["nowhere"]))
    assert (told.outcome, told.reason) == ("refused", "this unit has no link 'nowhere'")


def test_a_period_that_makes_no_sense_is_refused(bench: FreeBench) -> None:
    with pytest.raises(Refusal, match=r"0\.5 to 86400 s"):
        bench.send("unit.readings", UnitReadings(periods=[ReadingPeriod(where=RELAY, every_s=0.01)]))
