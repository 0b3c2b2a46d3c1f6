"""Messages that nobody should send, at the real broker while a test runs.

On one machine the broker has no rights by topic (wire.md): whoever knows a password may say anything.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mqtt_link import Link
from tests.faults import whole
from tests.faults.bench import Bench
from tests.stack.waiting import until
from wire import topics

FROM_UNIT = ("presence", "heartbeat", "devices", "replies", "samples", "events")
TO_UNIT = ("commands", "acks")


def rubbish(rng: random.Random) -> Iterator[bytes]:
    """Yield payloads of no type at all, and of wrong ones."""
    yield b""
    yield rng.randbytes(500)
    yield b"\x80\x04\x95" + rng.randbytes(50)
    yield b"[" * 100_000
    yield b'{"a":' * 50_000 + b"1" + b"}" * 50_000
    yield b'{"experiment": 5, "spool": [], "hardware_id": {}, "id": null, "stations": 7, "samples": "x"}'
    yield b'{"experiment": "e", "first_seq": -1, "count": 99999999, "columns": {}}'
    yield b'{"spool": "s", "first_seq": 1e300, "events": [[]]}'
    yield b'"' + b"x" * 900_000 + b'"'


@pytest.fixture
def stranger(bench: Bench) -> Iterator[Link]:
    """Connect to the broker as somebody who has learnt the manager's password."""
    link = Link(bench.lab.broker.url("manager"), "a-stranger")
    link.start()
    assert link.wait(10)
    yield link
    link.stop()


@pytest.fixture
def say(stranger: Link) -> Callable[..., None]:
    """Publish, waiting for room where the connection is full."""

    def say(topic: str, body: Any, retain: bool = False) -> None:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        until(lambda: stranger.publish(topic, payload, retain=retain), 20, f"room for {topic}")

    return say


def test_rubbish_everywhere_is_counted_and_harms_nothing(bench: Bench, say: Callable[..., None]) -> None:
    experiment = bench.run(20)
    unit = bench.api.get("units/")["results"][0]["id"]
    rng = random.Random(7)
    hardware = ["unit-under-test", "unheard-of", "x" * 200]
    for payload in rubbish(rng):
        for leaf in FROM_UNIT + TO_UNIT:
            say(topics.unit(topics.PREFIX, unit, leaf), payload)
        for name in hardware:
            say(topics.enrol_ask(topics.PREFIX, name), payload)
            say(topics.enrol_answer(topics.PREFIX, name), payload)
    bodies = {
        "events": {"experiment": experiment, "first_seq": 1, "count": 1, "columns": {"time_us": [1]}},
        "samples": {"spool": str(uuid.uuid4()), "first_seq": 1, "events": []},
        "heartbeat": {"id": str(uuid.uuid4()), "kind": "detect"},
    }
    for leaf, body in bodies.items():
        say(topics.unit(topics.PREFIX, unit, leaf), body)
        say(topics.unit(topics.PREFIX, str(uuid.uuid4()), leaf), body)
        say(topics.unit("cellyard/v2", unit, leaf), body)
    pids = (bench.lab.manager.pid, bench.lab.unit.pid)
    whole.ended(bench.api, experiment, "finished")
    assert whole.statuses(bench.api, experiment) == ["queued", "starting", "running", "finished"]
    assert (bench.lab.manager.running, bench.lab.unit.running) == (True, True)
    assert pids == (bench.lab.manager.pid, bench.lab.unit.pid)
    for process in (bench.lab.manager, bench.lab.unit):
        assert "event=message_dropped" in process.output()
        assert "event=fault" not in process.output()
        assert len(process.output()) < 300_000, "a flood of rubbish is no flood of lines"
    bench.no_traceback(bench.lab.manager, bench.lab.unit)
    assert bench.api.get("units/")["results"][0]["online"] or bench.lab.wait_for_unit()


def test_no_old_retained_or_replayed_command_acts(
    bench: Bench, stranger: Link, say: Callable[..., None]
) -> None:
    experiment = bench.run(14)
    unit = bench.api.get("units/")["results"][0]["id"]
    heard: list[dict[str, Any]] = []
    stranger.subscribe(
        topics.unit(topics.PREFIX, unit, "commands"),
        lambda _topic, payload: heard.append(json.loads(payload)),
    )
    skipped = {"experiment": experiment, "person": "a stranger"}
    stop = {"experiment": experiment, "how": "now", "reason": "", "person": "a stranger"}
    now = datetime.now(UTC)

    def command(kind: str, args: Any, connection: str, expires: datetime | None) -> dict[str, Any]:
        return {
            "id": str(uuid.uuid4()), "connection": connection, "kind": kind, "args": args,
            "issued_at": now.isoformat(), "expires_at": expires.isoformat() if expires else None,
            "issued_by": "a stranger",
        }  # fmt: skip

    until(lambda: stranger.connected, 10)
    # A true command, learnt and said again: seen before, so that it acts only once.
    done = bench.api.post(f"experiments/{experiment}/pause/?wait=10")
    assert done["command"]["status"] == "done"
    pause = until(lambda: next((each for each in heard if each["kind"] == "experiment.pause"), None), 10)
    resumed = bench.api.post(f"experiments/{experiment}/resume/?wait=20")
    assert resumed["command"]["status"] == "done", resumed["command"]
    here = pause["connection"]
    topic = topics.unit(topics.PREFIX, unit, "commands")
    say(topic, pause)
    # Of another connection, stops too; expired, or for ever; of no such kind; for an experiment not here.
    say(topic, command("experiment.stop", stop, str(uuid.uuid4()), None))
    say(topic, command("experiment.skip_step", skipped, here, now - timedelta(seconds=5)))
    say(topic, command("experiment.skip_step", skipped, here, None))
    soon = now + timedelta(seconds=60)
    say(topic, command("experiment.explode", skipped, here, soon))
    say(topic, command("experiment.skip_step", {"experiment": str(uuid.uuid4())}, here, soon))
    for why in (
        "earlier connection",
        "it expired",
        "it has no expiry",
        "event=message_dropped",
        "does not run on this unit",
    ):
        until(lambda why=why: bench.lines(bench.lab.unit, why), 10, f"refused: {why}")
    # Kept by the broker for the unit's next connection, which is another one.
    say(topic, command("experiment.stop", stop, here, None) | {"connection": "retained"}, retain=True)
    bench.lab.network.cut()
    bench.lab.network.mend()
    until(lambda: len(bench.lines(bench.lab.unit, "broker_connected")) >= 3, 30, "it connects again")
    until(lambda: bench.flows(), 10, "it goes on")
    whole.ended(bench.api, experiment, "finished")
    told = whole.statuses(bench.api, experiment)
    assert told == ["queued", "starting", "running", "paused", "running", "finished"]
    bench.no_traceback(bench.lab.manager, bench.lab.unit)


def test_what_a_unit_says_of_others_is_not_believed(bench: Bench, say: Callable[..., None]) -> None:
    experiment = bench.run(12)
    unit = bench.api.get("units/")["results"][0]["id"]
    before = bench.api.get(f"experiments/{experiment}/")
    at = datetime.now(UTC).isoformat()
    event = {
        "at": at,
        "kind": "status",
        "text": "over",
        "experiment": experiment,
        "detail": {"status": "finished"},
    }
    other = str(uuid.uuid4())
    for name in (other, "x" * 100):
        topic = topics.unit(topics.PREFIX, name, "events")
        say(topic, {"spool": str(uuid.uuid4()), "first_seq": 1, "events": [event]})
    # Samples of an experiment that does not exist, and numbers from outside this world.
    columns = {
        "time_us": [int(time.time() * 1e6)], "elapsed_s": [1.0], "step": [1], "step_count": [1], "cycle": [0],
        "mode": ["cc"], "voltage_v": [1e300], "current_a": [0.0], "charge_in_ah": [0.0],
        "charge_out_ah": [0.0], "energy_in_wh": [0.0], "energy_out_wh": [0.0], "flags": [0],
    }  # fmt: skip
    samples = topics.unit(topics.PREFIX, unit, "samples")
    say(samples, {"experiment": other, "first_seq": 1, "count": 1, "columns": columns})
    say(samples, {"experiment": experiment, "first_seq": 100_000, "count": 1, "columns": columns})
    reply = {"command": str(uuid.uuid4()), "outcome": "done"}
    say(topics.unit(topics.PREFIX, unit, "replies"), reply)
    ended = whole.ended(bench.api, experiment, "finished")
    assert ended["last_seq"] < 1000
    assert before["started_at"] == ended["started_at"]
    bench.lab.manager.says("event=message_dropped why=rejected")
    bench.lab.manager.says("event=message_dropped why=foreign")
    bench.no_traceback(bench.lab.manager, bench.lab.unit)
