"""The database or the broker is away, at the start and in the middle of a run."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from tests.faults import whole
from tests.faults.bench import Bench
from tests.stack.waiting import until

# Longer than the 20 s for which SQLite waits for a lock, and than the manager's lease.
LOCKED_S = 22.0


@contextmanager
def locked(bench: Bench) -> Iterator[None]:
    """Lock the SQLite file as a program that never lets go of it does."""
    holder = sqlite3.connect(bench.lab.state / "cellyard.sqlite3", isolation_level=None, timeout=20)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


def test_a_database_locked_for_long_costs_one_line_and_nothing_else(make: Callable[..., Bench]) -> None:
    bench = make("embedded").start()
    experiment = bench.run(30)
    with locked(bench):
        # Whoever wants to write hears after a while, in words, that it cannot be done now.
        answer = bench.api.client.post(f"experiments/{experiment}/notes/", json={"text": "hm"}, timeout=60)
        assert answer.status_code == 503, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        bench.lab.manager.says("event=database_away", LOCKED_S)
        assert bench.flows(), "the unit goes on by itself"
        assert bench.api.get(f"experiments/{experiment}/")["status"] == "running", "reading works"
    bench.lab.manager.says("event=database_back", 30)
    whole.ended(bench.api, experiment, "finished")
    assert len(bench.lines(bench.lab.manager, "event=database_away")) == 1
    assert whole.statuses(bench.api, experiment) == ["queued", "starting", "running", "finished"]
    bench.no_traceback(bench.lab.manager, bench.lab.unit, bench.lab.web)


def test_a_database_that_hangs_dies_and_comes_back_costs_nothing(make: Callable[..., Bench]) -> None:
    bench = make("lab").start()
    server = bench.lab.own_database
    assert server is not None
    experiment = bench.run(25)
    stored = bench.api.get(f"experiments/{experiment}/")["sample_count"]
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    # Nobody answers and nothing is refused, as with a server whose disk hangs.
    until(lambda: bench.lab.unit.running and bench.flows(), 10, "the unit goes on")
    server.process.kill()
    bench.lab.manager.says("event=database_away", 30)
    until(lambda: httpx.get(f"{bench.lab.address}/readyz", timeout=10).status_code == 503, 20, "not ready")
    assert httpx.get(f"{bench.lab.address}/healthz", timeout=10).is_success
    server.start()
    bench.lab.manager.says("event=database_back", 30)
    ended = whole.ended(bench.api, experiment, "finished")
    assert ended["sample_count"] > stored
    assert len(bench.lines(bench.lab.manager, "event=database_away")) == 1
    assert whole.statuses(bench.api, experiment) == ["queued", "starting", "running", "finished"]
    bench.no_traceback(bench.lab.manager, bench.lab.unit)


def test_a_broker_that_comes_late_and_goes_away_costs_one_line_each_time(make: Callable[..., Bench]) -> None:
    bench = make()
    lab = bench.lab
    lab.prepare()
    for process in (lab.manager, lab.web, lab.unit):
        process.start()
    for process in (lab.manager, lab.unit):
        process.says("event=broker_away")
    lab.wait_for_site()
    lab.broker.start()
    lab.wait_for_unit()
    bench.furnish()
    experiment = bench.run(20)
    lab.broker.kill()
    for process in (lab.manager, lab.unit):
        until(lambda process=process: "connection lost" in process.output(), 20, "the loss is said")
    until(lambda: not bench.api.get("units/")["results"][0]["online"] or bench.flows(), 30, "it goes on")
    lab.broker.start()
    lab.wait_for_unit()
    whole.ended(bench.api, experiment, "finished")
    assert whole.statuses(bench.api, experiment) == ["queued", "starting", "running", "finished"]
    # Away at the start and away in the middle; a unit that was cut says so of each of its connections.
    assert len(bench.lines(lab.manager, "event=broker_away")) == 2
    assert len(bench.lines(lab.unit, "event=broker_away")) == 2
    bench.no_traceback(lab.manager, lab.unit, lab.web)


def test_everything_starts_without_the_database_and_goes_on_when_it_comes(make: Callable[..., Bench]) -> None:
    bench = make("lab")
    lab, server = bench.lab, bench.lab.own_database
    assert server is not None
    lab.prepare()
    lab.broker.start()
    server.stop()
    for process in (lab.manager, lab.web, lab.unit):
        process.start()
    lab.manager.says("event=database_away")
    server.start()
    lab.manager.says("event=database_back", 30)
    lab.wait_for_site()
    lab.wait_for_unit()
    assert len(bench.lines(lab.manager, "event=database_away")) == 1
    bench.no_traceback(lab.manager, lab.unit, lab.web)
