"""The cell monitor's driver: the sheet's bytes by hand, then a simulated monitor on a bus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from cycler_unit import dbc
from cycler_unit.buses.can import CanBus
from cycler_unit.drivers import bms_frames
from cycler_unit.drivers.base import Measured
from cycler_unit.drivers.bms import Bms
from cycler_unit.drivers.errors import DeviceLost, DeviceRefused
from cycler_unit.readings import MissingJudge
from cycler_unit.simulators.bms_device import fragments
from cycler_unit.simulators.circuit import Circuit
from cycling.cell import Cell
from tests.stack.waiting import until
from wire import kinds

from .can_lab import INTERFACES, CanLab, lab
from .can_wire import two_ends

# The worked example of the device sheet (2.6).
EXAMPLE = [
    "60 E4 0C E5 0C E6 0C E7", "61 0C E8 0C E9 0C EA 0C", "62 EB 0C EC 0C ED 0C EE",
    "63 0C EF 0C F2 9A FB 00", "64 FC 00 FD 00 FE 00 F5", "65 03 FC 03",
]  # fmt: skip
TEMPERATURE_ERROR = "10 45 52 52 4F 52 3A 10"


class Hand:
    """The other end of the bus, and the driver that listens to what it sends by hand."""

    def __init__(self, host: CanBus, device: CanBus, bms: Bms) -> None:
        self.bus, self.bms, self.sent = device, bms, 0

    def send(self, *frames: str) -> None:
        """Send frames and wait until the driver has them."""
        for frame in frames:
            self.bus.send(0x104, bytes.fromhex(frame), paced=False)
        self.sent += len(frames)
        until(lambda: len(self.bms.exchanges()) == self.sent, 5, "the driver heard it")

    def values(self) -> dict[str, float | None]:
        return self.bms.read().extended


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hand]:
    with two_ends("virtual") as (host, device):
        monkeypatch.setattr("cycler_unit.buses.can.shared", lambda link: host)
        monkeypatch.setattr(host, "close", lambda: None)
        host.heard_s[0x104] = time.monotonic()
        bms = Bms({"unit": 4}, name="monitor")
        bms.open()
        yield Hand(host, device, bms)
        bms.close()


def test_the_worked_example_gives_19_values(hand: Hand) -> None:
    hand.send(*EXAMPLE)
    values = hand.values()
    assert [values[f"vcell{n}_v"] for n in range(1, 13)] == [round(3.3 + n / 1000, 3) for n in range(12)]
    assert values["vstack_v"] == 39.666
    assert [values[f"temp{n}_c"] for n in range(1, 5)] == [25.1, 25.2, 25.3, 25.4]
    assert (values["pres1_mbar"], values["pres2_mbar"], values["status"]) == (1013.0, 1020.0, 0.0)
    assert hand.bms.identity.text == "Liftec, BMS plak, 260, "
    assert hand.bms.read().voltage_v is None


def test_the_values_are_those_of_the_dbc(hand: Hand) -> None:
    whole = b"".join(bytes.fromhex(frame)[1:] for frame in EXAMPLE)
    named = dbc.read("BMS_SNAPSHOT", whole)
    words = bms_frames.words(bms_frames.usual_words())
    assert list(bms_frames.values(words, whole).values()) == [
        round(named[name] * word.scale, 6) for name, word in zip(named, words, strict=True)
    ]
    assert [frame.hex(" ").upper() for frame in fragments(whole)] == EXAMPLE


def test_a_cold_cell_is_cold_and_not_hot(hand: Hand) -> None:
    frames = list(EXAMPLE)
    frames[3] = "63 0C EF 0C F2 9A F6 FF"
    hand.send(*frames)
    assert hand.values()["temp1_c"] == -1.0


def test_a_lost_fragment_drops_the_snapshot_until_the_next_whole_one(hand: Hand) -> None:
    hand.send(*EXAMPLE)
    hand.send(*EXAMPLE[:2], *EXAMPLE[3:])
    values = hand.values()
    assert values["status"] == -1.0
    assert values["vcell1_v"] is None
    assert "fragment 3 of 6 where 2 was due" not in (hand.bms.fault() or "")
    hand.send(*EXAMPLE)
    assert hand.values()["status"] == 0.0
    assert hand.bms.fault() is None


def test_index_0_always_begins_anew(hand: Hand) -> None:
    # The last fragments of one are lost and the next follows at once: the original loses that one too.
    hand.send(*EXAMPLE[:4], *EXAMPLE)
    assert hand.values()["vcell12_v"] == 3.311
    assert hand.values()["status"] == 0.0


def test_a_half_snapshot_keeps_the_last_values_while_they_are_young(hand: Hand) -> None:
    hand.send(*EXAMPLE)
    hand.send(*EXAMPLE[:3])
    assert hand.values()["vcell1_v"] == 3.3


@pytest.mark.parametrize("last", ["65 03 FC 03 00 00 00 00", "65 03 FC", "55 03 FC 03", "66 03 FC 03", "65"])
def test_a_wrong_last_fragment_is_an_error_and_never_zeros(hand: Hand, last: str) -> None:
    hand.send(*EXAMPLE)
    hand.send(*EXAMPLE[:5], last)
    values = hand.values()
    assert values["vcell1_v"] is None
    assert values["status"] == -1.0
    assert "communication" in (hand.bms.fault() or "")


def test_nothing_but_zeros_is_missing(hand: Hand) -> None:
    hand.send(*fragments_of(bytes(38)))
    assert set(hand.values().values()) == {None, -1.0}
    assert "nothing but zeros" in (hand.bms.fault() or "")


def fragments_of(whole: bytes) -> list[str]:
    return [frame.hex(" ") for frame in fragments(whole)]


@pytest.mark.parametrize(
    ("code", "words", "missing"),
    [
        (0x10, "temperature", False),
        (0x08, "leakage", False),
        (0x24, "stack voltages, pressure", False),
        (0x01, "hardware", True),
        (0x02, "communication", True),
        (0x40, "code 0x40", False),
    ],
)
def test_an_error_frame_is_told_in_words(hand: Hand, code: int, words: str, missing: bool) -> None:
    hand.send(*EXAMPLE, f"10 45 52 52 4F 52 3A {code:02X}")
    assert hand.bms.fault() == f"error: {words}"
    values = hand.values()
    assert values["status"] == float(code)
    assert (values["vcell1_v"] is None) is missing
    hand.send("10 45 52 52 4F 52 3A 00")
    assert hand.bms.fault() is None
    assert hand.values()["vcell1_v"] == 3.3


def test_an_error_frame_between_fragments_does_not_disturb_them(hand: Hand) -> None:
    hand.send(*EXAMPLE[:3], TEMPERATURE_ERROR, *EXAMPLE[3:])
    assert hand.values()["vcell12_v"] == 3.311


def test_an_error_that_is_not_repeated_is_forgotten(hand: Hand) -> None:
    hand.send(*EXAMPLE, TEMPERATURE_ERROR)
    hand.bms._error = (time.monotonic() - 31.0, 0x10)
    assert hand.bms.fault() is None


def test_a_snapshot_counts_from_its_first_fragment(hand: Hand) -> None:
    before_s = time.monotonic()
    hand.send(*EXAMPLE[:3])
    after_s = time.monotonic()
    hand.send(*EXAMPLE[3:])
    assert before_s <= hand.bms.read().began_s <= after_s


def test_a_monitor_that_fell_silent_is_missing_by_age_and_then_lost(hand: Hand) -> None:
    hand.send(*EXAMPLE)
    measured = hand.bms.read()
    judge = MissingJudge(kinds.get("bms-plak"), 0.1)
    assert judge.clean("vcell1_v", 3.3, measured.began_s, measured.began_s + 3.0) == 3.3
    assert judge.clean("vcell1_v", 3.3, measured.began_s, measured.began_s + 4.0) is None
    hand.bms.timeout_s = 0.0
    with pytest.raises(DeviceLost, match="no whole snapshot for 0 s"):
        hand.bms.read()


def test_a_word_list_of_another_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"vcell{n}" for n in range(1, 26)] + ["vstack", "-", *(f"temp{n}" for n in range(1, 7)), "pres1"]
    with two_ends("virtual") as (host, device):
        monkeypatch.setattr("cycler_unit.buses.can.shared", lambda link: host)
        monkeypatch.setattr(host, "close", lambda: None)
        host.heard_s[0x104] = time.monotonic()
        bms = Bms({"unit": 4, "words": words})
        bms.open()
        hand = Hand(host, device, bms)
        payload = b"".join((3000 + n).to_bytes(2, "little") for n in range(len(words)))
        hand.send(*fragments_of(payload))
        values = hand.values()
        assert values["vcell25_v"] == 3.024
        assert values["temp6_c"] == 303.2
        assert len(values) == len(words) - 1 + 1  # one unused, and the status
        # The usual 38 bytes are wrong for this list.
        hand.send(*EXAMPLE)
        assert hand.values()["status"] == -1.0
        bms.close()


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ({}, "needs a unit"),
        ({"unit": 0x21}, "0 to 0x20, not 33"),
        ({"unit": "four"}, "needs a unit"),
        ({"unit": 4, "words": ["vcell1", "humidity1"]}, "'humidity1' begins with none of"),
    ],
)
def test_a_wrong_link_names_itself(link: dict[str, Any], words: str) -> None:
    with pytest.raises(DeviceRefused, match=words):
        Bms(link)


# --- a simulated monitor ----------------------------------------------------------------------------


def monitor(bench: CanLab, **options: Any) -> tuple[Any, Bms]:
    bench.circuits["pack"] = Circuit(Cell("NMC", 2.5, 0.03, 0.5, 4), clock=bench.clock)
    dut = bench.add("bms-plak", "bms", unit=4, period_s=0.05, circuit="pack", **options)
    bms = Bms({**bench.link, "unit": 4, "period_s": 0.5, "timeout_s": 5.0})
    bms.open()
    return dut, bms


def reads(bms: Bms, wanted: Any, what: str) -> Measured:
    until(lambda: wanted(bms.read().extended), 5, what)
    return bms.read()


@pytest.mark.parametrize("interface", INTERFACES)
def test_it_measures_the_cells_of_a_circuit(interface: str) -> None:
    with lab(interface) as bench:
        _, bms = monitor(bench)
        values = reads(bms, lambda found: found["status"] == 0.0, "a snapshot").extended
        each_v = Cell("NMC", 2.5, 0.03, 0.5).at_rest_v
        for n in range(1, 5):
            assert values[f"vcell{n}_v"] == pytest.approx(each_v, abs=0.005)
        judge = MissingJudge(kinds.get("bms-plak"), 0.1)
        now_s = time.monotonic()
        assert judge.clean("vcell5_v", values["vcell5_v"], now_s, now_s) is None
        assert values["vstack_v"] == pytest.approx(4 * each_v, abs=0.01)
        assert values["temp1_c"] == pytest.approx(25.0, abs=0.2)
        bms.close()


def test_its_faults_are_noticed() -> None:
    with lab() as bench:
        dut, bms = monitor(bench)
        reads(bms, lambda found: found["status"] == 0.0, "a snapshot")
        for name, asked, wanted in (
            (
                "lost_fragment",
                {"index": 3},
                lambda found: found["status"] == -1.0 and found["vcell1_v"] is None,
            ),
            ("zeros", {}, lambda found: found["status"] == -1.0 and found["vstack_v"] is None),
            ("error", {"code": 0x20}, lambda found: found["status"] == 32.0),
            ("sensor_off", {}, lambda found: found["temp1_c"] == 0.0),
            (
                "drift",
                {"cell": "vcell2", "offset_v": 0.3},
                lambda found: found["vcell2_v"] > found["vcell1_v"] + 0.2,
            ),
        ):
            assert bench.do(lambda name=name, asked=asked: dut.fault(name, asked))
            reads(bms, wanted, name)
            bench.do(dut.mend)
            bms._error = (0.0, 0)
            reads(bms, lambda found: found["status"] == 0.0 and found["temp1_c"] == 25.0, f"{name} mended")
        bms.close()


def test_a_frozen_monitor_repeats_itself_though_its_cells_move() -> None:
    with lab() as bench:
        dut, bms = monitor(bench)
        before = reads(bms, lambda found: found["status"] == 0.0, "a snapshot").extended["vcell1_v"]
        bench.do(lambda: dut.fault("freeze", {}))
        bench.do(lambda: setattr(dut.circuit.cell, "soc", 0.9))
        seen = len(bms.exchanges())
        until(lambda: len(bms.exchanges()) > min(seen + 12, 190), 5, "two more snapshots")
        assert bms.read().extended["vcell1_v"] == before
        bms.close()


def test_a_silent_monitor_is_lost_and_a_known_bus_does_not_wait_for_it() -> None:
    with lab() as bench:
        dut, bms = monitor(bench)
        reads(bms, lambda found: found["status"] == 0.0, "a snapshot")
        bms.timeout_s = 0.3
        bench.do(lambda: dut.fault("silent", {}))
        until(lambda: _is_lost(bms), 5, "the driver says so")
        bms.period_s = 0.01
        began_s = time.monotonic()
        with pytest.raises(DeviceLost, match="not heard"):
            bms.open()
        # Called by a loop that has other things to do: it must not listen for seconds again.
        assert time.monotonic() - began_s < 0.2
        bms.period_s = 0.5
        bench.do(dut.mend)
        until(lambda: not _is_unheard(bms), 5, "it is heard again")
        bms.close()


def _is_lost(bms: Bms) -> bool:
    try:
        bms.read()
    except DeviceLost:
        return True
    return False


def _is_unheard(bms: Bms) -> bool:
    try:
        bms.open()
    except DeviceLost:
        return True
    return False


def test_nobody_there_is_lost() -> None:
    with lab() as bench:
        bms = Bms({**bench.link, "unit": 7, "period_s": 0.05})
        with pytest.raises(DeviceLost, match=r"BMS \(id 0x107\) is not heard"):
            bms.open()
        bms.close()
        bms.close()
