"""What an EPC's frames mean: numbers of its messages, set points, identity, errors in words.

Source: the project's device sheet, sections 1.2 to 1.4. Bytes are made and read by ``epc.dbc``.
"""

from __future__ import annotations

from typing import NamedTuple

from cycler_unit import dbc
from cycler_unit.drivers.base import Identity

# Messages: the low four bits of the id.
MODE, REQUEST, LS_VOLT, LS_CURR, HS_VOLT, LS_PWR, TEMP_LIM, PERIODIC = range(8)
INFO, STATUS, ELEC, TEMP = 0xA, 0xB, 0xC, 0xD

# Values of REQUEST, by the message that answers.
ASK = {
    INFO: 0, MODE: 1, STATUS: 2, ELEC: 3, TEMP: 4,
    LS_VOLT: 6, LS_CURR: 7, HS_VOLT: 8, LS_PWR: 9, TEMP_LIM: 10,
}  # fmt: skip
HEARTBEAT = b"\x05"

WAIT, CV, CC, CP, IDLE, ERROR = range(6)
TIME, VOLTAGE, CURRENT, POWER = range(4)
MODES = ("WAIT", "CV", "CC", "CP", "IDLE", "ERROR")
LIMIT_TYPES = ("time", "voltage", "current", "power")

NAMES = {
    MODE: "EPC_MODE", LS_VOLT: "EPC_LS_VOLT_LIM", LS_CURR: "EPC_LS_CURR_LIM", HS_VOLT: "EPC_HS_VOLT_LIM",
    LS_PWR: "EPC_LS_PWR_LIM", TEMP_LIM: "EPC_TEMP_LIM", PERIODIC: "EPC_PERIODIC", INFO: "EPC_INFO",
    STATUS: "EPC_STATUS", ELEC: "EPC_ELEC_MEAS", TEMP: "EPC_TEMP_MEAS",
}  # fmt: skip
# Each limit frame's signals without Max and Min.
LIMIT_SIGNALS = {LS_VOLT: "LsVolt", LS_CURR: "LsCurr", HS_VOLT: "HsVolt", LS_PWR: "LsPwr", TEMP_LIM: "Temp"}
# What each is set to within: the firmware's hard range, and what it holds after a start (device sheet 1.5).
HARD = {
    LS_VOLT: (400, 5100), LS_CURR: (-15500, 15500), HS_VOLT: (5300, 14100), LS_PWR: (-800, 800),
    TEMP_LIM: (-200, 700),
}  # fmt: skip
BOOT = {**HARD, LS_PWR: (-500, 500), TEMP_LIM: (-160, 660)}

ERRORS = {
    "HsVoltErr": "high-side voltage out of limits",
    "LsVoltErr": "cell voltage out of limits",
    "LsCurrErr": "current out of limits",
    "CommErr": "communication (heartbeat missed or a bad frame)",
    "TempErr": "temperature out of limits",
    "IntErr": "internal error: locked until its power is cycled",
}


class SetPoint(NamedTuple):
    """A MODE frame. ``ref`` and ``limit_ref`` in mV, mA, dW or ms, by mode and limit type."""

    on: int
    mode: int
    limit: int = TIME
    ref: int = 0
    limit_ref: int = 0

    def encode(self) -> bytes:
        """Return the frame's eight bytes."""
        return dbc.encode(
            "EPC_MODE",
            {
                "OutputEnable": self.on, "Mode": self.mode, "LimitType": self.limit,
                "ModeRef": self.ref, "LimitRef": self.limit_ref,
            },
        )  # fmt: skip

    @property
    def words(self) -> str:
        """Return it as a person says it."""
        if self.mode not in (CV, CC, CP):
            return MODES[self.mode] if self.mode < len(MODES) else f"mode {self.mode}"
        unit = {CV: "mV", CC: "mA", CP: "dW"}[self.mode]
        until = ("ms", "mV", "mA", "dW")[self.limit] if self.limit < len(LIMIT_TYPES) else ""
        return f"{MODES[self.mode]} {self.ref} {unit} until {self.limit_ref} {until}"


OFF = SetPoint(0, IDLE)


def set_point(payload: bytes) -> SetPoint:
    """Read a MODE frame."""
    found = dbc.read("EPC_MODE", payload)
    return SetPoint(
        found["OutputEnable"], found["Mode"], found["LimitType"], found["ModeRef"], found["LimitRef"]
    )


def limits(message: int, payload: bytes) -> tuple[int, int]:
    """Read a report of limits; return (low, high) in the message's unit."""
    found = dbc.read(NAMES[message], payload)
    name = LIMIT_SIGNALS[message]
    return found[f"{name}Min"], found[f"{name}Max"]


def encode_limits(message: int, low: int, high: int, byte_order: str) -> bytes:
    """Return a limit frame from host to device; ``byte_order`` is big (the firmware) or little."""
    name = LIMIT_SIGNALS[message]
    signals = {f"{name}Max": high, f"{name}Min": low}
    entry = NAMES[message]
    return dbc.encode(entry.replace("EPC_", "EPC_SET_") if byte_order == "big" else entry, signals)


def periodic(*, heartbeat: int = 0, electrical: int = 0, temperature: int = 0) -> bytes:
    """Return a PERIODIC frame; 0 counts switches one off (it still carries the least period)."""
    counts = {"Heartbeat": heartbeat, "Elec": electrical, "Temp": temperature}
    signals = {f"{name}Enable": int(count > 0) for name, count in counts.items()}
    return dbc.encode(
        "EPC_PERIODIC", signals | {f"{name}Period": count or 10 for name, count in counts.items()}
    )


class Info(NamedTuple):
    """Who an EPC is and which sensors it has."""

    node: int
    firmware: int
    revision: str
    anode: bool
    body: bool
    ambient: bool
    serial_number: int

    @property
    def identity(self) -> Identity:
        """Return it as every driver does."""
        return Identity("Wattrex", f"EPC {self.revision}", str(self.serial_number), f"v{self.firmware}")


def info(payload: bytes) -> Info:
    """Read an INFO frame."""
    found = dbc.read("EPC_INFO", payload)
    return Info(
        node=found["DeviceId"],
        firmware=found["FwVersion"],
        revision="ABC"[found["HwRevision"]] if found["HwRevision"] < 3 else str(found["HwRevision"]),
        anode=found["HwAnodeTemp"] != 0,
        body=bool(found["HwBodyTemp"]),
        ambient=bool(found["HwAmbTemp"]),
        serial_number=found["SerialNumber"],
    )


def errors(payload: bytes) -> str | None:
    """Return a STATUS frame's errors in words, None for none."""
    found = dbc.read("EPC_STATUS", payload)
    causes = [words for flag, words in ERRORS.items() if found[flag]]
    if not causes:
        return None
    return f"{'; '.join(causes)} (last value {_last_value(found)})"


def _last_value(found: dict[str, int]) -> int:
    """Return the value that tripped: two's complement where it is a current or a temperature."""
    raw = found["LastErrVal"]
    signed = found["LsCurrErr"] or found["TempErr"]
    return raw - 0x10000 if signed and raw >= 0x8000 else raw
