"""A scan of a CAN bus: who is told apart, and who is shown as unknown."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import can
import pytest

from cycler_unit import catalogue
from cycler_unit.buses import can_scan
from cycler_unit.buses.local import LocalBuses
from cycler_unit.devices import Devices
from cycler_unit.drivers import bms_frames
from tests.drivers.can_lab import lab
from wire.kinds import bms


def test_a_stranger_among_the_nodes_of_cyclers_is_shown_with_what_it_said() -> None:
    with lab() as bench:
        bench.add("epc", node=0x13)
        stranger = can.Bus(**bench.place)
        done = threading.Event()

        def speak() -> None:
            while not done.wait(0.02):
                stranger.send(can.Message(arbitration_id=0x2A5, data=b"\xca\xfe", is_extended_id=False))

        voice = threading.Thread(target=speak)
        voice.start()
        try:
            found = can_scan.scan(bench.link, lambda done, of, text: None, [], listen_s=0.3)
        finally:
            done.set()
            voice.join()
            stranger.shutdown()
    assert [(each.kind, each.link["node"], each.answered) for each in found] == [
        ("epc", 0x13, "id 0x13A: 53803801"),
        ("", 0x2A, "id 0x2A5: cafe"),
    ]


WIDE = [f"vcell{n}" for n in range(1, 26)] + ["vstack", "-", *(f"temp{n}" for n in range(1, 7)), "pres1"]


@pytest.fixture
def forgetful() -> Iterator[None]:
    yield
    catalogue.forget()


@pytest.mark.usefixtures("forgetful")
def test_a_monitor_with_other_words_is_a_model_of_its_own_with_their_measures() -> None:
    with lab() as bench:
        bench.add("bms-plak", unit=4, period_s=0.1, words=WIDE, values={"vcell25": 3456, "temp6": -15})
        buses = LocalBuses()
        devices = Devices([{**bench.link, "words": WIDE}], buses)
        report = devices.scan(make_safe=False)
        buses.stop()
    [row] = report.kinds
    assert report.devices[0].model == row["key"] != "bms-plak"
    names = [each["name"] for each in row["measures"]]
    assert names == [each.measure for each in bms_frames.words(WIDE) if each.measure] + ["status"]
    assert row["label"] == "BMS plak cell monitor (CAN), 25 cells, 6 temperatures"
    assert devices.known()[0].kind == catalogue.get(row["key"])


def test_the_usual_words_are_the_shipped_model() -> None:
    assert bms.with_words(bms_frames.usual_words()) is bms.BMS_PLAK
    names = [each.name for each in bms.BMS_PLAK.measures]
    assert names == [each.measure for each in bms_frames.words(bms.USUAL)] + ["status"]


def test_a_wrong_word_list_is_told_where_the_monitor_is_shown() -> None:
    with lab() as bench:
        bench.add("bms-plak", unit=4, period_s=0.1)
        [seen] = can_scan.scan(
            {**bench.link, "words": ["humidity1"]}, lambda done, of, text: None, [], listen_s=0.5
        )
    assert seen.kind == ""
    assert "'humidity1' begins with none of vcell" in seen.answered
