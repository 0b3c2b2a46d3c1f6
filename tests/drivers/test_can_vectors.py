"""All vectors of the device sheet, both ways, through the DBC files and over a real bus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cycler_unit import dbc

from .can_wire import ON_EVERY_INTERFACE, Ear, two_ends

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "data" / "can_vectors.json").read_text()
)
IDS = [f"{number}-{vector['message']}" for number, vector in enumerate(VECTORS)]


@pytest.mark.parametrize("vector", VECTORS, ids=IDS)
def test_a_vector_is_made_and_read_as_the_sheet_says(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["hex"])
    assert dbc.encode(vector["message"], vector["signals"]) == payload
    assert dbc.read(vector["message"], payload) == vector["signals"]


@ON_EVERY_INTERFACE
def test_every_vector_that_fits_a_frame_crosses_a_bus_unchanged(interface: str) -> None:
    sent = [bytes.fromhex(vector["hex"]) for vector in VECTORS]
    frames = [(0x130 | number % 16, payload) for number, payload in enumerate(sent) if len(payload) <= 8]
    with two_ends(interface) as (host, device):
        ear = Ear(device)
        for frame_id, payload in frames:
            host.send(frame_id, payload, paced=False)
        assert ear.hears(len(frames)) == frames


def test_the_console_reads_frames_by_id_length_and_direction() -> None:
    command = dbc.decode(0x130, bytes.fromhex("1500E80368100000"), ours=True)
    assert command is not None
    assert (command["name"], command["node"]) == ("EPC_MODE", 0x13)
    assert command["signals"]["Mode"] == "CC"
    assert command["signals"]["LimitRef"] == 4200
    ours = dbc.decode(0x132, bytes.fromhex("125C03E8"), ours=True)
    theirs = dbc.decode(0x132, bytes.fromhex("5C12E803"))
    assert ours is not None
    assert theirs is not None
    assert ours["signals"] == theirs["signals"] == {"LsVoltMax": 4700, "LsVoltMin": 1000}
    assert theirs["units"] == {"LsVoltMax": "mV", "LsVoltMin": "mV"}
    fragment = dbc.decode(0x104, bytes.fromhex("6503FC03"))
    assert fragment is not None
    assert (fragment["name"], fragment["unit"], fragment["signals"]["FragIndex"]) == ("BMS_FRAGMENT", 4, 5)
    error = dbc.decode(0x104, bytes.fromhex("104552524F523A10"))
    assert error is not None
    assert error["signals"]["TempErr"] == 1


@pytest.mark.parametrize("frame", ["000 0800000000000000", "050 01", "138 01", "130 01", "7F0 01", "104 "])
def test_the_console_shows_raw_what_no_entry_fits(frame: str) -> None:
    frame_id, _, payload = frame.partition(" ")
    assert dbc.decode(int(frame_id, 16), bytes.fromhex(payload)) is None
