"""The frames of EPC and BMS as DBC files, loaded once, and frames decoded for people.

The entries are written for node and unit 0 and hold facts of the devices only. ``EPC_SET_*``,
``BMS_SNAPSHOT`` and ``BMS_ERROR`` are virtual: fetched by name, never matched on the bus.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import cantools

# Nodes in which an EPC can name itself, the ids of cell monitors, and the message field of an EPC's id.
EPC_NODES = range(0x13, 0x40)
BMS_IDS = range(0x100, 0x121)
EPC_MESSAGES = (0x0, 0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0xA, 0xB, 0xC, 0xD)
LIMITS = range(0x2, 0x7)
ERROR_TAG = b"ERROR"


@cache
def epc() -> Any:
    """Return the EPC's database."""
    return _load("epc.dbc")


@cache
def bms() -> Any:
    """Return the cell monitor's database."""
    return _load("bms.dbc")


def _load(name: str) -> Any:
    text = resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
    return cantools.database.load_string(text, database_format="dbc")


@cache
def message(name: str) -> Any:
    """Return a message by its name, EPC's or BMS's; raise ``KeyError``."""
    return (bms() if name.startswith("BMS_") else epc()).get_message_by_name(name)


def encode(name: str, signals: dict[str, int]) -> bytes:
    """Return a message's payload; raises ``cantools`` errors for a signal that does not fit."""
    payload: bytes = message(name).encode(signals, strict=True)
    return payload


def read(name: str, payload: bytes) -> dict[str, int]:
    """Return a payload's raw numbers by signal; the payload has the message's length."""
    signals: dict[str, int] = message(name).decode(payload, decode_choices=False)
    return signals


def decode(frame_id: int, payload: bytes, *, ours: bool = False) -> dict[str, Any] | None:
    """Return a frame as a person reads it, None where no entry fits it.

    ``ours``: host to device, which tells the two meanings of an EPC's limit frames apart. The answer
    has ``name``, ``node`` (EPC) or ``unit`` (BMS), ``signals`` (numbers, or the words of a choice) and
    their ``units``.
    """
    if frame_id in BMS_IDS:
        error = payload[1:6] == ERROR_TAG and len(payload) == 8
        return _shown("BMS_ERROR" if error else "BMS_FRAGMENT", payload, unit=frame_id - BMS_IDS.start)
    node, nibble = frame_id >> 4, frame_id & 0xF
    if node not in EPC_NODES or nibble not in EPC_MESSAGES:
        return None
    name = epc().get_message_by_frame_id(nibble).name
    if ours and nibble in LIMITS:
        name = name.replace("EPC_", "EPC_SET_")
    return _shown(name, payload, node=node)


def _shown(name: str, payload: bytes, **whose: int) -> dict[str, Any] | None:
    entry = message(name)
    short = len(payload) < entry.length
    if len(payload) > entry.length or (short and name != "BMS_FRAGMENT") or not payload:
        return None
    # A BMS's last fragment is short: only its byte count says how much of it there is.
    signals = entry.decode(payload, decode_choices=True, allow_truncated=short)
    return {
        "name": name,
        **whose,
        "signals": {key: each if isinstance(each, int) else str(each) for key, each in signals.items()},
        "units": {each.name: each.unit for each in entry.signals if each.unit},
    }
