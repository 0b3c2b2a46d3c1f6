"""What the console may not send (wire.md): what acts on a bus that runs, and what harms on every CAN bus."""

from __future__ import annotations

import re

# Ids 0x000 to 0x00F: node 0, which every EPC obeys.
NODE_0 = range(0x010)
# Questions that do something, in short and long form, and what: they are refused while a device runs.
ACTING = (
    (re.compile(r"\*TST\?"), "a self-test may move the output"),
    (re.compile(r"(\*CAL|CAL(IBRATION)?(:\w+)*)\?"), "a calibration may move the output"),
    (re.compile(r"\*ESR\?"), "reading the event register empties it"),
    (
        re.compile(r"SYST(EM)?:ERR(OR)?(:(NEXT|ALL|CODE(:(NEXT|ALL))?))?\?"),
        "reading the error queue empties it, and the control loop would never see the error",
    ),
)


def acts(text: str) -> str | None:
    """Say what a message does beside asking, None when every part of it is a pure question."""
    for part in text.split(";"):
        header = part.split()[0].upper().lstrip(":") if part.strip() else ""
        if not header.endswith("?"):
            return f"{part.strip() or 'an empty part'} does not end its header with a question mark"
        for pattern, what in ACTING:
            if pattern.fullmatch(header):
                return what
    return None


def dangerous(frame_id: int, payload: bytes) -> str | None:
    """Return why a frame may not be sent unless forced, None when it may (wire.md)."""
    from cycler_unit.buses import can  # on use: a unit without CAN does not load python-can

    if frame_id in NODE_0:
        return f"id 0x{frame_id:03X} is node 0, which every EPC on the bus obeys"
    if frame_id & 0xF >= 8:
        return f"message type 0x{frame_id & 0xF:X} locks an EPC until its power is cycled"
    length = can.LENGTHS.get(frame_id & 0xF)
    if length is not None and len(payload) != length:
        return (
            f"message type 0x{frame_id & 0xF:X} has {length} bytes, not {len(payload)}: an EPC would lock up"
        )
    return None
