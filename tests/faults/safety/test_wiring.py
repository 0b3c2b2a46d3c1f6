"""Rules 4 and 15: what is wrong with the wiring or the cell is found before or while it is charged."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.faults.safety.marks import Row, rows
from tests.faults.safety.rigs import CURRENT_A, RIGS, WAYS
from tests.faults.safety.unit import SafetyLab, cc
from tests.stack.waiting import until

# Name, fault of the circuit, its options, what the refusal says, rigs on which `make test` runs it.
WRONG: list[tuple[str, str, dict[str, Any], str, tuple[str, ...]]] = [
    ("reversed", "reversed", {}, "sign|reversed|voltage|polarity|outside", ("psb", "epc")),
    ("empty", "wrong_cell", {"absent": True}, "voltage|no cell|empty|outside", ("ps+el",)),
    ("another-cell", "wrong_cell", {"soc": 0.95}, "rest|expected|record", ("kel103",)),
    ("capacitor", "capacitor", {"farad": 0.02}, "pulse|resistance|voltage|capacitor", ("psb", "ps+kel103")),
]


def table() -> list[Row]:
    """Return every kind of wrong wiring on every rig."""
    return rows(
        (rig, fault, options, words, f"{rig}-{name}", rig in usual)
        for rig in RIGS
        for name, fault, options, words, usual in WRONG
    )


@pytest.mark.parametrize(("lab", "fault", "options", "words"), table(), indirect=["lab"])
def test_a_wrong_cell_or_wiring_is_refused_and_nothing_is_left_on(
    lab: SafetyLab, fault: str, options: dict[str, Any], words: str
) -> None:
    lab.let_neighbour_run()
    message = lab.message(cc(CURRENT_A[WAYS[lab.rig.name][0]]), pulse="record")
    assert lab.simulators.ask(circuit="cell", fault=fault, **options)["ok"]
    reply = lab.ask_start(message)
    until(lab.is_off, 20, "off")
    told = f"{reply.reason} {[each['text'] for each in lab.alarms(message.experiment)]}"
    assert reply.outcome in ("refused", "failed"), told
    assert re.search(words, told), told
    until(lambda: lab.state() == "tripped", 20, "latched")
    lab.neighbour_goes_on()


@pytest.mark.parametrize(
    ("lab", "way"),
    rows((rig, way, f"{rig}-{way}", rig in ("psb", "kel103")) for rig, ways in WAYS.items() for way in ways),
    indirect=["lab"],
)  # fmt: skip
def test_more_charge_than_the_battery_holds_trips_and_quarantines(lab: SafetyLab, way: Any) -> None:
    # Ten times the capacity shows in the charge alone: its voltage hardly moves.
    lab.simulators.ask(circuit="cell", fault="capacity_x10")
    started = lab.run(way, safety={"q_abs_max_ah": 0.0008})
    detail = lab.ended(started.experiment)
    assert detail["status"] == "error"
    assert "charge" in (detail["end_reason"]["quantity"] or ""), detail
    until(lambda: lab.state() == "tripped", 20)
    until(lambda: lab.alarms(started.experiment), 20)
    assert lab.alarms(started.experiment)[0]["detail"]["quarantine"] is True
    assert lab.is_off()
    lab.neighbour_goes_on()
    lab.complete(started.experiment)
