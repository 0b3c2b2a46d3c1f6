"""The HTTP bus: kept connections, times that hold, passwords that never show."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cycler_unit.buses.http import HttpLink
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused
from tests.drivers.scripted import ScriptedServer, http_answer, http_seen, http_whole
from tests.stack.waiting import free_port


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    running = ScriptedServer(http_whole, http_seen)
    yield running
    running.close()


def link_to(server: ScriptedServer, **more: object) -> HttpLink:
    link = HttpLink({"url": f"http://127.0.0.1:{server.port}", **more})
    link.open()
    return link


def test_one_connection_serves_many_exchanges(server: ScriptedServer) -> None:
    link = link_to(server)
    with server.expecting([(b"GET /info", http_answer("{}"))] * 3):
        for _ in range(3):
            assert link.get("/info").json() == {}
    assert server.connections == 1
    link.close()
    link.close()


def test_a_body_is_json_without_blanks_or_plain_text(server: ScriptedServer) -> None:
    link = link_to(server)
    with server.expecting(
        [
            (b'POST /relay {"channel":1,"state":1}', http_answer("done")),
            (b"POST /reset force_reset", http_answer("ok")),
            (b"POST /switch/a/turn_on", http_answer("")),
        ]
    ):
        link.post("/relay", {"channel": 1, "state": 1})
        link.post("/reset", "force_reset")
        link.post("/switch/a/turn_on")
    assert b"application/json" in server.raw[0]
    assert b"text/plain" in server.raw[1]
    link.close()


def test_a_connection_that_the_device_dropped_is_made_again(server: ScriptedServer) -> None:
    link = link_to(server)
    with server.expecting([(b"GET /info", http_answer("{}"))] * 2):
        link.get("/info")
        server.cut()
        link.get("/info")
    assert server.connections == 2
    link.close()


def test_the_password_goes_out_and_shows_nowhere(
    server: ScriptedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret-of-the-pump\n")
    with caplog.at_level(logging.DEBUG):
        link = link_to(server, user="lab", password_file=str(secret))
        with (
            server.expecting([(b"GET /sensor/t", http_answer("", 401))]),
            pytest.raises(DeviceRefused, match="user or password") as refused,
        ):
            link.get("/sensor/t")
        link.close()
    assert b"Authorization: Basic bGFiOnMzY3JldC1vZi10aGUtcHVtcA==" in server.raw[0] or (
        b"authorization: Basic bGFiOnMzY3JldC1vZi10aGUtcHVtcA==" in server.raw[0]
    )
    shown = str(refused.value) + caplog.text + " ".join(each.text for each in link.ring.last())
    assert "s3cret" not in shown
    assert "bGFiOn" not in shown


def test_a_password_in_the_address_is_refused_without_showing_it() -> None:
    link = HttpLink({"url": "http://lab:s3cret@127.0.0.1:1"})
    with pytest.raises(DeviceRefused, match="give user and password_file") as refused:
        link.open()
    assert "s3cret" not in str(refused.value)


def test_a_password_in_the_link_is_refused_too() -> None:
    link = HttpLink({"url": "http://127.0.0.1:1", "user": "lab", "password": "s3cret"})
    with pytest.raises(DeviceRefused, match="give password_file") as refused:
        link.open()
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "is no address such as"),
        ("192.168.1.4", "is no address such as"),
        ("ftp://a", "is no address such as"),
        ("http://a/info", "names a page"),
    ],
)
def test_a_wrong_address_is_said(url: str, said: str) -> None:
    with pytest.raises(DeviceRefused, match=said):
        HttpLink({"url": url}).open()


def test_a_password_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    link = HttpLink({"url": "http://127.0.0.1:1", "user": "lab", "password_file": str(tmp_path / "no")})
    with pytest.raises(DeviceRefused, match=r"password_file .*no cannot be read"):
        link.open()


def test_statuses_become_the_errors_of_drivers(server: ScriptedServer) -> None:
    link = link_to(server)
    with server.expecting(
        [
            (b"GET /a", http_answer("", 404)),
            (b"GET /b", http_answer("", 500)),
            (b"GET /c", http_answer("", 302)),
            (b"GET /d", http_answer("[1, 2]")),
        ]
    ):
        with pytest.raises(DeviceRefused, match="has no GET /a"):
            link.get("/a")
        with pytest.raises(DeviceFault, match="status 500"):
            link.get("/b")
        with pytest.raises(DeviceRefused, match="status 302"):
            link.get("/c")
        with pytest.raises(DeviceLost, match="no JSON object"):
            link.get("/d").json()
    link.close()


def test_nobody_there_is_lost_at_once() -> None:
    link = HttpLink({"url": f"http://127.0.0.1:{free_port()}"})
    link.open()
    with pytest.raises(DeviceLost, match=r"does not answer GET /info: it cannot be connected"):
        link.get("/info")
    link.close()
    with pytest.raises(DeviceLost, match="is not open"):
        link.get("/info")


def test_a_silent_device_is_lost_within_its_time(server: ScriptedServer) -> None:
    link = link_to(server, timeout_s=0.2)
    began_s = time.monotonic()
    with (
        server.expecting([(b"GET /info", None)]),
        pytest.raises(DeviceLost, match="silent for too long"),
    ):
        link.get("/info")
    assert time.monotonic() - began_s < 2.0
    link.close()


def test_a_device_that_trickles_cannot_outlast_its_time() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def trickle() -> None:
        connection, _ = server.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while not ended.wait(0.05):
                connection.sendall(b"1\r\nx\r\n")
        except OSError:
            pass
        connection.close()

    thread = threading.Thread(target=trickle)
    thread.start()
    link = HttpLink({"url": f"http://127.0.0.1:{server.getsockname()[1]}", "timeout_s": 0.5})
    link.open()
    began_s = time.monotonic()
    try:
        with pytest.raises(DeviceLost, match="silent for too long"):
            link.get("/info")
        assert time.monotonic() - began_s < 5.0
    finally:
        ended.set()
        thread.join()
        link.close()
        server.close()


def test_an_endless_answer_is_cut(server: ScriptedServer) -> None:
    link = link_to(server)
    with (
        server.expecting([(b"GET /info", http_answer("x" * 100_000))]),
        pytest.raises(DeviceLost, match="too long"),
    ):
        link.get("/info")
    link.close()


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"v":1}',
        b'HTTP/1.1 200 OK\r\n\r\n{"v":1',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{"v":1\r\n',
        b"HTTP/1.1 200 OK\r\nConte",
        b"",
    ],
)
def test_an_answer_cut_in_the_middle_is_lost(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_answer_and_hang_up, args=(listening, answer), daemon=True).start()
        link = HttpLink({"url": f"http://127.0.0.1:{listening.getsockname()[1]}", "timeout_s": 0.5})
        link.open()
        with pytest.raises(DeviceLost):
            link.get("/info").json()
        link.close()
        listening.shutdown(socket.SHUT_RDWR)


def _answer_and_hang_up(listening: socket.socket, answer: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)
