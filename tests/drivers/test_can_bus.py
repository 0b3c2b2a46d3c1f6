"""The CAN bus that drivers share: own frames, listeners, bursts, broken interfaces."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import can as python_can
import pytest

from cycler_unit.buses import can
from cycler_unit.drivers.epc import Epc
from cycler_unit.drivers.errors import DeviceLost
from tests.stack.waiting import until

from .can_lab import place
from .can_wire import ON_EVERY_INTERFACE, Ear, two_ends

COMMAND = bytes.fromhex("1500E80368100000")


@ON_EVERY_INTERFACE
def test_a_sender_never_hears_its_own_frames_but_the_equal_answers(interface: str) -> None:
    with two_ends(interface) as (host, device):
        ear = Ear(host)
        device.subscribe(
            lambda frame_id: frame_id == 0x130, lambda frame_id, payload: device.send(frame_id, payload)
        )
        for _ in range(5):
            host.send(0x130, COMMAND)
        host.send(0x131, b"\x00")
        device.send(0x13A, b"last")
        # Exactly one of each pair of equal frames: the EPC's echo, not the own copy.
        until(lambda: ear.frames.count((0x130, COMMAND)) == 5, 5, "five echoes")
        until(lambda: (0x13A, b"last") in ear.frames, 5, "the last frame")
        assert len(ear.frames) == 6


@ON_EVERY_INTERFACE
def test_a_dead_epc_fails_the_echo_check(interface: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cycler_unit.drivers.epc_port.ECHO_S", 0.05)
    with two_ends(interface) as (_, other):
        # The other end is on the bus, listens, and says nothing: so frames are acknowledged, not answered.
        where = {**place(interface)} if interface == "socketcan" else _where(other)
        dead = Epc({**where, "node": 0x13, "timeout_s": 0.05})
        with pytest.raises(DeviceLost, match="does not answer IDLE"):
            dead.open()
        assert [each.to for each in dead.exchanges()] == ["device", "device"]
        dead.close()


def _where(bus: can.CanBus) -> dict[str, object]:
    where: dict[str, object] = {"interface": bus.interface, "channel": bus.channel}
    multicast = getattr(bus._bus, "_multicast", None)
    return where | ({"port": multicast.port} if multicast is not None else {})


def test_an_own_copy_that_the_kernel_lost_costs_one_answer_at_most() -> None:
    bus = can.CanBus(place("udp_multicast"))
    try:
        now_s = time.time()
        assert bus._own is not None
        bus._own.append((now_s - 5.0, 0x130, COMMAND))
        # A frame of now: the copy of five seconds ago will not come any more, and must not eat this.
        assert not bus._is_own(0x130, COMMAND, now_s)
        assert not bus._own
    finally:
        bus.shut()


def test_late_copies_after_a_long_stop_of_the_process_are_still_known_as_own() -> None:
    bus = can.CanBus(place("udp_multicast"))
    try:
        assert bus._own is not None
        sent_s = time.time() - 60.0
        bus._own.append((sent_s, 0x130, COMMAND))
        # The kernel stamped the copy when it was sent, whenever this process gets to read it.
        assert bus._is_own(0x130, COMMAND, sent_s + 0.001)
    finally:
        bus.shut()


def test_after_an_answer_two_more_go_at_once_and_the_third_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = can.shared({"kind": "can", "interface": "virtual", "channel": "answered"})
    waited: list[float] = []
    # The clock stands still: what waits does so for the burst's whole time.
    still = SimpleNamespace(sleep=waited.append, monotonic=lambda: 1000.0, time=time.time)
    monkeypatch.setattr(can, "time", still)
    try:
        for _ in range(can.BURST):
            bus.send(0x131, b"\x03")
        bus.answered(0x13)
        bus.send(0x131, b"\x03")
        bus.send(0x131, b"\x03")
        assert waited == []
        bus.send(0x131, b"\x03")
        assert waited == [pytest.approx(can.BURST_S)]
    finally:
        monkeypatch.undo()
        bus.close()


def test_bursts_to_one_node_are_spaced_and_other_nodes_are_not_held_up() -> None:
    with two_ends("virtual") as (host, device):
        at_s: dict[int, list[float]] = {0x13: [], 0x14: []}
        device.subscribe(
            lambda frame_id: True, lambda frame_id, payload: at_s[frame_id >> 4].append(time.monotonic())
        )
        sender = threading.Thread(target=lambda: [host.send(0x131, bytes([n])) for n in range(12)])
        sender.start()
        began_s = time.monotonic()
        for _ in range(3):
            host.send(0x141, b"\x00")
        assert time.monotonic() - began_s < can.BURST_S
        sender.join()
        until(lambda: len(at_s[0x13]) == 12, 5, "all frames")
        times = at_s[0x13]
        # The fourth after any frame comes no earlier than 10 ms after it (sent so; heard a little later).
        assert times[11] - times[0] >= 3 * 0.010


def test_both_directions_are_drained_without_a_rate_limit() -> None:
    # The original moved at most 25 frames a second each way: 40 s for these (device sheet 0.5).
    with two_ends("virtual") as (host, device):
        near, far = Ear(host), Ear(device)
        began_s = time.monotonic()
        for number in range(1000):
            device.send(0x13C, number.to_bytes(6, "little"), paced=False)
            host.send((0x13 + number % 45) << 4 | 1, b"\x00")
        until(lambda: len(near.frames) == 1000 and len(far.frames) == 1000, 20, "all frames, both ways")
        assert time.monotonic() - began_s < 20.0
        assert [payload for _, payload in near.frames] == [n.to_bytes(6, "little") for n in range(1000)]


def test_each_frame_goes_to_all_who_match_and_one_that_fails_deafens_nobody() -> None:
    with two_ends("virtual") as (host, device):
        heard: list[int] = []

        def fails(frame_id: int, payload: bytes) -> None:
            raise ValueError("a listener's fault")

        host.subscribe(lambda frame_id: True, fails)
        end = host.subscribe(
            lambda frame_id: frame_id >> 4 == 0x13, lambda frame_id, payload: heard.append(frame_id)
        )
        ear = Ear(host)
        device.send(0x13A, b"1")
        device.send(0x14A, b"2")
        ear.hears(2)
        assert heard == [0x13A]
        end()
        device.send(0x13B, b"3")
        ear.hears(3)
        assert heard == [0x13A]


def test_a_bus_is_shared_and_closed_by_the_last_who_has_it() -> None:
    where = place("virtual")
    first, second = can.shared(where), can.shared(where)
    assert first is second
    first.close()
    second.send(0x131, b"\x00")
    second.close()
    with pytest.raises(DeviceLost, match="closed"):
        second.send(0x131, b"\x00")
    third = can.shared(where)
    assert third is not first
    third.close()


def test_a_bus_that_broke_is_opened_anew_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    where = place("virtual")
    broken = can.shared(where)

    def gone(timeout: float) -> None:
        raise python_can.CanOperationError("the adapter was pulled")

    monkeypatch.setattr(broken._bus, "recv", gone)
    until(lambda: broken.broken is not None, 5, "the bus knows")
    with pytest.raises(DeviceLost, match="adapter was pulled"):
        broken.send(0x131, b"\x00")
    fresh = can.shared(where)
    assert fresh is not broken
    broken.close()
    fresh.send(0x131, b"\x00")
    fresh.close()


def test_an_interface_that_is_not_there_is_lost_in_one_sentence() -> None:
    with pytest.raises(DeviceLost, match="CAN bus socketcan:nocan7 cannot be opened"):
        can.shared({"interface": "socketcan", "channel": "nocan7"})
    with pytest.raises(DeviceLost, match="cannot be opened"):
        can.shared({"interface": "no-such-thing", "channel": "x"})


def test_multicast_stays_on_this_computer_and_carries_classic_frames_only() -> None:
    settings = can.settings({"port": 40000}, "udp_multicast", can.GROUP)
    assert settings == {
        "interface": "udp_multicast", "channel": "239.74.163.2", "hop_limit": 0, "fd": False, "port": 40000,
    }  # fmt: skip
    assert "bitrate" not in can.settings({}, "socketcan", "can0")
    assert can.settings({}, "slcan", "/dev/ttyACM0")["bitrate"] == 125_000


def test_rubbish_on_the_multicast_port_breaks_nothing() -> None:
    import socket

    where = place("udp_multicast")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        bus, other = can.CanBus(where), can.CanBus(where)
        stranger.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        ear = Ear(bus)
        for _ in range(5):
            stranger.sendto(b"\xffrubbish", (where["channel"], where["port"]))
        other.send(0x13A, b"fine")
        assert ear.hears(1) == [(0x13A, b"fine")]
        bus.shut()
        other.shut()
