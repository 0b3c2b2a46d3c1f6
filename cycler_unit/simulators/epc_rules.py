"""What an EPC's firmware takes and refuses: tables and pure functions (device sheet 1.3 to 1.6)."""

from __future__ import annotations

from typing import Literal, NamedTuple

HS_V, LS_V, LS_I, COMM, TEMP, INT = 1, 2, 4, 8, 16, 32
# Flags by which commands are refused; communication and internal are not looked at.
ELECTRICAL = HS_V | LS_V | LS_I | TEMP
WAIT, CV, CC, CP, IDLE, ERROR = range(6)
TIME, VOLTAGE, CURRENT, POWER = range(4)

LENGTHS = {0x0: 8, 0x1: 1, 0x2: 4, 0x3: 4, 0x4: 4, 0x5: 4, 0x6: 4, 0x7: 6}
# Value of REQUEST -> message that answers; 5 has none.
REPORTS = {0: 0xA, 1: 0x0, 2: 0xB, 3: 0xC, 4: 0xD, 6: 0x2, 7: 0x3, 8: 0x4, 9: 0x5, 10: 0x6}
LIMIT_NAMES = {0x2: "LsVolt", 0x3: "LsCurr", 0x4: "HsVolt", 0x5: "LsPwr", 0x6: "Temp"}
SIGNED = (0x3, 0x5, 0x6)
# Low and high: mV, mA, mV, dW, 0.1 °C.
HARD = {
    0x2: (400, 5100), 0x3: (-15500, 15500), 0x4: (5300, 14100), 0x5: (-800, 800), 0x6: (-200, 700),
}  # fmt: skip
BOOT = {**HARD, 0x5: (-500, 500), 0x6: (-160, 660)}
# A limit on current or power counts only so long after a mode was applied.
SETTLE_MS = 100.0


class Point(NamedTuple):
    """A set point as the firmware holds it; a fresh one is IDLE."""

    on: int = 0
    mode: int = IDLE
    limit: int = TIME
    ref: int = 0
    limit_ref: int = 0

    def encode(self) -> bytes:
        """Return the MODE frame's bytes; reserved bits are 0."""
        first = self.on | self.mode << 1 | self.limit << 4
        words = self.ref.to_bytes(2, "little", signed=True) + self.limit_ref.to_bytes(
            4, "little", signed=True
        )
        return bytes([first, 0]) + words

    @staticmethod
    def decode(payload: bytes) -> Point:
        """Read eight bytes; reserved bits do not matter."""
        first = payload[0]
        return Point(
            first & 1,
            first >> 1 & 7,
            first >> 4 & 7,
            int.from_bytes(payload[2:4], "little", signed=True),
            int.from_bytes(payload[4:8], "little", signed=True),
        )


# Which limits hold a mode's reference, and a limit type's.
OF_MODE = {CV: 0x2, CC: 0x3, CP: 0x5}
OF_LIMIT = {VOLTAGE: 0x2, CURRENT: 0x3, POWER: 0x5}


def over(value: int, limits: tuple[int, int]) -> bool:
    """Tell whether a value lies outside its limits."""
    return not limits[0] <= value <= limits[1]


def refusal(wanted: Point, limits: dict[int, tuple[int, int]]) -> bool:
    """Tell whether a set point is refused for what it says (sheet 1.4, points 2 and 3)."""
    if wanted.mode > IDLE or wanted.limit > POWER:
        return True
    if wanted.mode in OF_MODE and over(wanted.ref, limits[OF_MODE[wanted.mode]]):
        return True
    if wanted.mode == WAIT and wanted.on:
        return True
    if wanted.mode in OF_MODE and OF_MODE[wanted.mode] == OF_LIMIT.get(wanted.limit):
        return True
    return wanted.limit != TIME and over(wanted.limit_ref, limits[OF_LIMIT[wanted.limit]])


def parse_limits(message: int, payload: bytes, byte_order: str) -> tuple[int, int]:
    """Read a limit frame from the host, maximum first; return (low, high)."""
    order: Literal["big", "little"] = "big" if byte_order == "big" else "little"
    signed = message in SIGNED
    high, low = (int.from_bytes(payload[place : place + 2], order, signed=signed) for place in (0, 2))
    return low, high


def acceptable_limits(message: int, low: int, high: int, hard: tuple[int, int]) -> bool:
    """Tell whether limits are taken: in order (maximum compared unsigned), and both in the hard range."""
    return as_signed(low) < high & 0xFFFF and not over(low, hard) and not over(high, hard)


def as_signed(value: int) -> int:
    """Return 16 bits as two's complement."""
    value &= 0xFFFF
    return value - 0x10000 if value & 0x8000 else value


def report_limits(message: int, limits: tuple[int, int]) -> bytes:
    """Return the device's report: little-endian, maximum first."""
    low, high = limits
    signed = message in SIGNED
    return high.to_bytes(2, "little", signed=signed) + low.to_bytes(2, "little", signed=signed)


def ended(point: Point, charging: bool, mv: int, ma: int, ran_ms: float) -> bool:
    """Tell whether a running mode has come to its own end (sheet 1.4)."""
    if point.limit == TIME:
        # Compared unsigned: a negative time is about 49 days.
        return ran_ms >= point.limit_ref & 0xFFFFFFFF
    if point.mode == WAIT:
        return False
    if point.limit == VOLTAGE:
        return mv >= point.limit_ref if charging else mv <= point.limit_ref
    if ran_ms < SETTLE_MS:
        return False
    value = ma if point.limit == CURRENT else int(ma * mv / 100_000)
    if point.mode in (CV, CP):
        return value <= point.limit_ref if charging else value >= point.limit_ref
    return value >= point.limit_ref
