"""The VISA bus: one answer per question, a dead link is lost at once, a small memory."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cycler_unit.buses.shared import SharedLink
from cycler_unit.buses.visa import VisaLink, identify, parse_identity
from cycler_unit.drivers.errors import DeviceLost
from tests.stack.waiting import free_port, until

ROOT = Path(__file__).resolve().parents[2]
# How long a late answer is waited for in tests: a busy machine may hold the thread back that sends it.
PATIENT_S = 10.0


class Talker:
    """A server that answers each line as ``answer`` says; None says nothing."""

    def __init__(self) -> None:
        self.answer: Callable[[str], bytes | None] = lambda line: b"42\n"
        self.greeting = b""
        self.heard: list[str] = []
        self.connections: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.resource = f"TCPIP::127.0.0.1::{self._server.getsockname()[1]}::SOCKET"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections.append(connection)
            if self.greeting:
                connection.sendall(self.greeting)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            for line in connection.makefile("rb"):
                self.heard.append(line.decode())
                answer = self.answer(line.decode().strip())
                if answer is not None:
                    connection.sendall(answer)
        except (OSError, ValueError):
            return

    def close(self) -> None:
        self._server.close()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def talker() -> Iterator[Talker]:
    server = Talker()
    yield server
    server.close()


@pytest.fixture
def link(talker: Talker) -> Iterator[VisaLink]:
    made = VisaLink({"resource": talker.resource, "timeout_s": 0.3, "spacing_s": 5.0})
    made.open()
    yield made
    made.close()


def test_messages_end_as_the_link_says_and_answers_come_without_it(talker: Talker, link: VisaLink) -> None:
    assert link.query("WHO?") == "42"
    assert talker.heard == ["WHO?\n"]


def test_a_terminator_may_be_written_as_two_characters(talker: Talker) -> None:
    made = VisaLink({"resource": talker.resource, "terminator": "\\r\\n"})
    made.open()
    made.write("X")
    until(lambda: talker.heard == ["X\r\n"], 3)
    made.close()


def test_spacing_is_for_serial_only(link: VisaLink) -> None:
    began = time.monotonic()
    for _ in range(5):
        link.query("WHO?")
    assert time.monotonic() - began < 1.0


def test_what_an_earlier_user_left_unread_is_drained_at_opening(talker: Talker) -> None:
    talker.greeting = b"stale\nstale again\n"
    made = VisaLink({"resource": talker.resource})
    made.open()
    assert made.query("WHO?") == "42"
    made.close()


def test_an_answer_that_came_too_late_is_not_taken_for_the_next(talker: Talker, link: VisaLink) -> None:
    gate = threading.Event()

    def slow(line: str) -> bytes | None:
        if line == "SLOW?":
            gate.wait(5)
            return b"late\nand more\n"
        return b"42\n"

    talker.answer = slow
    with pytest.raises(DeviceLost, match=r"'SLOW\?' within 0\.3 s"):
        link.query("SLOW?")
    gate.set()
    until(lambda: link._pending(0.0), 3, "the late answer arrives")
    assert link.query("WHO?") == "42"


@pytest.mark.parametrize("way", ["socket", "serial"])
@pytest.mark.parametrize(
    ("in_time", "late"), [(b"", b"3.7125\n"), (b"3.7", b"125\n")], ids=["whole", "its rest"]
)
def test_what_comes_late_is_never_the_answer_to_the_next_question(
    talker: Talker,
    terminal: tuple[int, str],
    way: str,
    in_time: bytes,
    late: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cycler_unit.buses.visa.LATE_S", PATIENT_S)
    master, path = terminal
    asked = threading.Event()

    def answer(line: str) -> bytes | None:
        if line == "SLOW?":
            threading.Thread(target=say_late).start()
            return in_time or None
        return None if line == "ORDER" else b"42\n"

    def say_late() -> None:
        assert asked.wait(5)
        if way == "serial":
            os.write(master, late)
        else:
            talker.connections[-1].sendall(late)

    talker.answer = answer
    if way == "serial":
        threading.Thread(target=_answer_lines, args=(master, answer), daemon=True).start()
    resource = f"ASRL{path}::INSTR" if way == "serial" else talker.resource
    link = VisaLink({"resource": resource, "timeout_s": 0.6})
    link.open()
    with pytest.raises(DeviceLost, match=r"'SLOW\?' within 0\.6 s"):
        link.query("SLOW?")
    # Now it comes: while the next question is on its way.
    threading.Timer(0.1, asked.set).start()
    began_s = time.monotonic()
    link.write("ORDER")
    assert time.monotonic() - began_s < PATIENT_S / 2
    assert link.query("WHO?") == "42"
    link.close()


def test_a_vendors_backend_is_given_the_time_for_a_late_answer_and_then_told_to_forget_it(
    talker: Talker, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    link = VisaLink({"resource": talker.resource})
    link._resource = SimpleNamespace(flush=flushed.append)
    looks: list[float] = []
    monkeypatch.setattr(link, "_pending", looks.append)
    link._owed_until_s = until_s = time.monotonic() + 0.1
    link._forget_stale()
    assert time.monotonic() >= until_s
    assert flushed
    assert looks == [0.0], "it does not spin"


def _answer_lines(master: int, answer: Callable[[str], bytes | None]) -> None:
    heard = b""
    with contextlib.suppress(OSError):
        while True:
            heard += os.read(master, 100)
            while b"\n" in heard:
                line, _, heard = heard.partition(b"\n")
                said = answer(line.decode())
                if said is not None:
                    os.write(master, said)


def test_a_device_that_never_stops_talking_is_lost(talker: Talker) -> None:
    stop = threading.Event()

    def chatter() -> None:
        while not stop.is_set():
            for connection in list(talker.connections):
                with contextlib.suppress(OSError):
                    connection.sendall(b"noise\n")
            time.sleep(0.005)

    thread = threading.Thread(target=chatter, daemon=True)
    thread.start()

    def lost() -> bool:
        # A busy machine may hold the talker's thread back for longer than the silence that is waited for.
        link = VisaLink({"resource": talker.resource})
        try:
            link.open()
        except DeviceLost as error:
            return "without being asked" in str(error)
        finally:
            link.close()
        return False

    try:
        until(lost, 20, "a device that talks all the time is refused")
    finally:
        stop.set()
        thread.join()


def test_a_closed_connection_is_lost_at_once(talker: Talker, link: VisaLink) -> None:
    talker.answer = lambda line: talker.connections[0].shutdown(socket.SHUT_RDWR)
    began = time.monotonic()
    with pytest.raises(DeviceLost):
        link.query("WHO?")
    assert time.monotonic() - began < 0.2


@pytest.mark.parametrize(
    ("resource", "why"),
    [
        ("", "no resource"),
        ("nonsense", "nonsense cannot be opened"),
        # A name of its own: workers that run side by side must collect the same tests.
        pytest.param(f"TCPIP::127.0.0.1::{free_port()}::SOCKET", "refused", id="closed port"),
        ("ASRL/dev/no-such-port::INSTR", "cannot be opened"),
    ],
)
def test_what_cannot_be_opened_is_lost_with_a_sentence(resource: str, why: str) -> None:
    with pytest.raises(DeviceLost, match=why):
        VisaLink({"resource": resource}).open()


def test_a_missing_backend_is_a_sentence() -> None:
    with pytest.raises(DeviceLost, match="@nobody is not available"):
        VisaLink({"resource": "TCPIP::127.0.0.1::1::SOCKET", "backend": "@nobody"}).open()


def test_a_link_that_is_not_open_is_lost(talker: Talker) -> None:
    made = VisaLink({"resource": talker.resource})
    made.close()
    with pytest.raises(DeviceLost, match="not open"):
        made.query("WHO?")


def test_threads_never_get_each_others_answers(talker: Talker, link: VisaLink) -> None:
    talker.answer = lambda line: line.encode() + b"\n"
    wrong: list[str] = []

    def ask(name: str) -> None:
        wrong.extend(name for _ in range(50) if link.query(name) != name)

    threads = [threading.Thread(target=ask, args=(f"T{n}?",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    master, slave = os.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_serial_messages_keep_their_distance_and_no_parity_is_no_obstacle(terminal: tuple[int, str]) -> None:
    master, path = terminal
    settings: dict[str, Any] = {
        "resource": f"ASRL{path}::INSTR",
        "parity": "odd",
        "baud_rate": 9600,
        "spacing_s": 0.05,
    }
    made = VisaLink(settings)
    made.open()
    began = time.monotonic()
    for text in ("A", "B", "C"):
        made.write(text)
    assert time.monotonic() - began >= 0.1
    heard = b""
    while not heard.endswith(b"C\n"):
        heard += os.read(master, 100)
    assert heard == b"A\nB\nC\n"
    os.write(master, b"stale\n")
    time.sleep(0.02)

    def answer() -> None:
        assert os.read(master, 100) == b"D?\n"
        os.write(master, b"fresh\n")

    thread = threading.Thread(target=answer)
    thread.start()
    assert made.query("D?") == "fresh"
    thread.join()
    made.close()


def test_identify_returns_the_four_parts(talker: Talker) -> None:
    talker.answer = lambda line: b"EA, PSB 10060-60, 2538, V3, rack 4\n"
    identity = identify({"resource": talker.resource})
    assert (identity.maker, identity.model, identity.serial_number, identity.firmware) == (
        "EA",
        "PSB 10060-60",
        "2538",
        "V3",
    )
    assert talker.heard == ["*IDN?\n"]


def test_an_identity_without_commas_is_no_error() -> None:
    assert parse_identity("RND 320-KEL103 V2.60 SN:01234567").model == ""


def test_a_unit_stays_small_without_numpy() -> None:
    program = (
        "import sys\n"
        "from cycler_unit.buses.visa import VisaLink\n"
        "assert 'pyvisa' not in sys.modules, 'imported before it is used'\n"
        "try:\n    VisaLink({'resource': 'TCPIP::127.0.0.1::1::SOCKET'}).open()\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
        "print('numpy' in sys.modules)\n"
        "import psutil\nprint(psutil.Process().memory_info().rss < 40e6)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=30, check=True
    )
    assert done.stdout.split() == ["DeviceLost", "False", "True"]


@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_an_answer_of_several_lines_is_read_line_by_line(
    talker: Talker, link: VisaLink, pause_s: float
) -> None:
    def answer(line: str) -> bytes | None:
        if not pause_s:
            return b"WHO?\r\n42\r\n"
        talker.connections[-1].sendall(b"WHO?\r\n")
        time.sleep(pause_s)
        return b"42\r\n"

    talker.answer = answer
    assert link.query("WHO?") == "WHO?"
    assert link.read() == "42"
    with pytest.raises(DeviceLost, match="the next line"):
        link.read()


def test_the_last_exchanges_are_kept_with_what_failed(talker: Talker, link: VisaLink) -> None:
    link.query("WHO?")
    talker.answer = lambda line: None
    with pytest.raises(DeviceLost):
        link.query("AND NOW?")
    kept = [(each.to, each.text) for each in link.ring.last()]
    assert kept == [
        ("device", "WHO?"),
        ("host", "42"),
        ("device", "AND NOW?"),
        ("host", "nothing within 0.3 s"),
    ]
    assert abs(link.ring.last()[0].at_s - time.time()) < 10
    for _ in range(300):
        link.write("X")
    assert len(link.ring.last()) == 200


def test_two_devices_share_one_connection_and_open_it_again_together(talker: Talker) -> None:
    settings = {"resource": talker.resource, "timeout_s": 0.3, "kind": "visa"}
    one, two = SharedLink({**settings, "channel_no": 1}), SharedLink({**settings, "channel_no": 2})
    one.open()
    two.open()
    assert (one.query("1"), two.query("2")) == ("42", "42")
    assert len(talker.connections) == 1
    assert one.wire is two.wire
    assert not one.alone
    talker.connections[0].shutdown(socket.SHUT_RDWR)
    with pytest.raises(DeviceLost):
        one.query("1")
    two.open()
    assert (one.query("1"), two.query("2")) == ("42", "42")
    assert len(talker.connections) == 2
    one.close()
    one.close()
    assert two.query("2") == "42"
    assert two.alone
    two.close()
    assert not two.wire.is_open


def test_a_late_answer_for_one_output_is_never_the_others_reading(
    talker: Talker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cycler_unit.buses.visa.LATE_S", PATIENT_S)
    late = threading.Event()

    def answer(line: str) -> bytes | None:
        if line.endswith("(@2)"):
            return b"12.00 V\n"
        threading.Thread(target=say_late).start()
        return None

    def say_late() -> None:
        assert late.wait(5)
        talker.connections[-1].sendall(b"3.70 V\n")

    talker.answer = answer
    settings = {"resource": talker.resource, "timeout_s": 0.6, "kind": "visa"}
    one, two = SharedLink({**settings, "channel_no": 1}), SharedLink({**settings, "channel_no": 2})
    one.open()
    two.open()
    with pytest.raises(DeviceLost, match="does not answer"):
        one.query("MEAS:VOLT? (@1)")
    threading.Timer(0.05, late.set).start()
    assert two.query("MEAS:VOLT? (@2)") == "12.00 V"
    one.close()
    two.close()


def test_what_a_person_asks_is_not_answered_by_what_came_late(
    talker: Talker, link: VisaLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cycler_unit.buses.visa.LATE_S", PATIENT_S)
    talker.answer = lambda line: None if line == "SLOW?" else b"42\n"
    assert link.converse("SLOW?", 0.05) == []
    threading.Timer(0.05, lambda: talker.connections[-1].sendall(b"late\n")).start()
    assert link.converse("WHO?", 5.0) == ["42"]
