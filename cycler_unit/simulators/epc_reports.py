"""The frames in which a simulated EPC tells who it is, what it measures and how often (device sheet 1.3)."""

from __future__ import annotations

from cycler_unit import dbc

# (enabled, counts of 10 ms) of heartbeat, electrical and thermal measurements, as PERIODIC has them.
Period = tuple[int, int]
MEASURED = {
    0xC: ("EPC_ELEC_MEAS", ("LsVolt", "LsCurr", "HsVolt")),
    0xD: ("EPC_TEMP_MEAS", ("TempBody", "TempAnode", "TempAmb")),
}


def info(
    *,
    node: int,
    firmware: int,
    revision: int,
    connector: int,
    sensors: tuple[int, int, int],
    serial_number: int,
) -> bytes:
    """Return the INFO frame; ``sensors`` are anode, body, ambient. The node has six bits there."""
    anode, body, ambient = sensors
    return dbc.encode(
        "EPC_INFO",
        {
            "DeviceId": node & 0x3F, "FwVersion": firmware, "HwRevision": revision, "HwVent": 0,
            "HwConnector": connector, "HwAnodeTemp": anode, "HwBodyTemp": body, "HwAmbTemp": ambient,
            "SerialNumber": serial_number,
        },
    )  # fmt: skip


def measured(message: int, values: tuple[int, int, int]) -> bytes:
    """Return ELEC_MEAS (0xC) or TEMP_MEAS (0xD)."""
    name, signals = MEASURED[message]
    return dbc.encode(name, dict(zip(signals, values, strict=True)))


def parse_periodic(payload: bytes) -> list[Period]:
    """Read the three words of PERIODIC."""
    words = [int.from_bytes(payload[place : place + 2], "little") for place in (0, 2, 4)]
    return [(word & 1, word >> 1) for word in words]


def periodic(*held: Period) -> bytes:
    """Return PERIODIC with what is held."""
    return b"".join((on | period << 1).to_bytes(2, "little") for on, period in held)
