"""The API on a real web server: live delay, resuming, waiting commands, many streams, a quick end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median

import httpx
import psutil
import pytest

from tests.stack.process import ROOT, Process
from tests.stack.waiting import free_port, until

pytestmark = pytest.mark.stack


class Writer:
    """The other process that writes into the database."""

    def __init__(self, env, log):
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "tests.web_server.stream_lab"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            env=env,
        )
        self.ids = self.hear()
        self.seq = 0

    def hear(self):
        return json.loads(self.popen.stdout.readline())

    def order(self, text):
        self.popen.stdin.write(text + "\n")
        self.popen.stdin.flush()

    def samples(self, count=1):
        """Store samples; return when they were committed."""
        self.order(f"samples {self.seq + 1} {count}")
        self.seq += count
        return self.hear()["at"]

    def close(self):
        self.popen.stdin.close()
        self.popen.wait(10)
        self.popen.stdout.close()


class Site:
    """A gunicorn on a database of its own."""

    def __init__(self, folder):
        self.port = free_port()
        self.env = {
            "CELLYARD_STATE_DIR": str(folder),
            "CELLYARD_DATABASE_URL": f"sqlite:///{folder}/site.sqlite3",
            "CELLYARD_WEB_PORT": str(self.port),
            "DJANGO_SETTINGS_MODULE": "web_server.settings",
        }
        command = [sys.executable, "-m", "gunicorn", "web_server.asgi:application"]
        self.web = Process("web", command, folder / "web.log", self.env)
        self.log = (folder / "writer.log").open("w")
        self.writer = Writer({**self.web.env}, self.log)
        self.start()
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Token {self.writer.ids['token']}"},
            timeout=20,
        )

    def start(self):
        self.web.start()
        until(lambda: httpx.get(f"http://127.0.0.1:{self.port}/healthz").status_code == 200)

    def stream(self, last=None, **query):
        headers = {"Last-Event-ID": last} if last else {}
        return self.http.stream("GET", "/api/v1/stream/", params=query, headers=headers)

    def worker(self):
        return psutil.Process(self.web.pid).children()[0]

    def close(self):
        self.http.close()
        self.writer.close()
        self.web.stop()
        self.log.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.close()


def messages(answer):
    """Yield (kind, body, id) of each message as it comes."""
    kind, last = "", ""
    for line in answer.iter_lines():
        name, _, text = line.partition(": ")
        if name == "event":
            kind = text
        elif name == "id":
            last = text
        elif name == "data":
            yield kind, json.loads(text), last


def next_samples(stream):
    """Return the next sample message's numbers and id."""
    for kind, body, last in stream:
        if kind == "sample":
            return body["columns"]["seq"], last
    raise AssertionError("the stream ended")


def wait_for_ping(stream):
    """Read until the stream is quiet: everything it begins with was told."""
    for kind, _, _ in stream:
        if kind == "ping":
            return


def test_a_sample_reaches_an_open_stream_within_half_a_second(site):
    experiment = site.writer.ids["experiment"]
    delays = []
    with site.stream(experiment=experiment) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        stream = messages(answer)
        wait_for_ping(stream)
        for _ in range(8):
            committed = site.writer.samples()
            assert next_samples(stream)[0] == [site.writer.seq]
            delays.append(time.time() - committed)
    assert median(delays) < 0.25, delays


def test_a_stream_goes_on_where_it_was_cut(site):
    experiment = site.writer.ids["experiment"]
    with site.stream(experiment=experiment) as answer:
        stream = messages(answer)
        wait_for_ping(stream)
        site.writer.samples(3)
        seen, last = next_samples(stream)
    site.writer.samples(2)
    site.writer.samples(2)
    heard = []
    with site.stream(last=last, experiment=experiment) as answer:
        stream = messages(answer)
        while not heard or heard[-1] < site.writer.seq:
            heard += next_samples(stream)[0]
    assert heard == list(range(seen[-1] + 1, site.writer.seq + 1))


def test_a_quiet_stream_gives_a_sign_of_life_twice_within_5_s(site):
    began = time.monotonic()
    with site.stream(command="11111111-1111-1111-1111-111111111111") as answer:
        stream = messages(answer)
        wait_for_ping(stream)
        wait_for_ping(stream)
    assert time.monotonic() - began < 5


def test_a_waiting_command_answers_within_milliseconds_of_its_reply(site):
    address = f"/api/v1/stations/{site.writer.ids['station']}/commands/"
    took = []
    with ThreadPoolExecutor(1) as pool:
        for _ in range(10):
            site.writer.order("answer")
            asked = pool.submit(site.http.post, address, params={"wait": 5}, json={"kind": "device.read"})
            closed = site.writer.hear()["at"]
            body = asked.result().json()
            took.append(time.time() - closed)
            assert body["status"] == "done"
            assert body["result"] == {"voltage_v": 3.7}
    assert median(took) < 0.03, took


def test_a_command_nobody_answers_is_still_queued_after_the_wait(site):
    began = time.monotonic()
    address = f"/api/v1/units/{site.writer.ids['unit']}/detect/"
    body = site.http.post(address, params={"wait": 0.3}, json={}).json()
    assert body["status"] == "queued"
    assert 0.3 <= time.monotonic() - began < 1.5


def test_twenty_streams_hold_neither_twenty_threads_nor_twenty_files(site):
    worker = site.worker()
    with ExitStack() as open_streams:
        readers = []
        for _ in range(20):
            answer = open_streams.enter_context(site.stream(experiment=site.writer.ids["experiment"]))
            readers.append(messages(answer))
        for stream in readers:
            wait_for_ping(stream)
        databases = [file for file in worker.open_files() if file.path.endswith("site.sqlite3")]
        assert worker.num_threads() < 12
        assert len(databases) <= 3
        site.writer.samples(1)
        for stream in readers:
            assert next_samples(stream)[0] == [site.writer.seq]


def test_after_the_last_stream_nothing_polls_any_more(site):
    worker = site.worker()
    until(lambda: not [f for f in worker.open_files() if f.path.endswith("site.sqlite3")], 10)


def test_the_server_ends_quickly_with_a_stream_open_and_a_new_one_goes_on(site):
    experiment = site.writer.ids["experiment"]
    with site.stream(experiment=experiment) as answer:
        stream = messages(answer)
        wait_for_ping(stream)
        site.writer.samples(1)
        _, last = next_samples(stream)
        began = time.monotonic()
        site.web.popen.terminate()
        assert list(stream) == []
        site.web.popen.wait(10)
        assert time.monotonic() - began < 2
    site.writer.samples(1)
    site.start()
    with site.stream(last=last, experiment=experiment) as answer:
        assert next_samples(messages(answer))[0] == [site.writer.seq]
