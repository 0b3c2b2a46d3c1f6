"""A scan of a CAN bus: who is told apart, and who is shown as unknown."""

from __future__ import annotations

import threading

import can

from cycler_unit.buses import can_scan
from tests.drivers.can_lab import lab


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
