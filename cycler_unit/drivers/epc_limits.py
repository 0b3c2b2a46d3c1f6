"""The limits that an EPC holds: what it held when it was opened, what protects the cell, the mark.

Every write is compared with its echo; a device in an error of its own refuses limits silently.
"""

from __future__ import annotations

from cycler_unit.drivers import epc_frames as frames
from cycler_unit.drivers.base import Protections
from cycler_unit.drivers.epc_frames import HARD, LS_CURR, LS_PWR, LS_VOLT, TEMP_LIM
from cycler_unit.drivers.epc_phases import down, up
from cycler_unit.drivers.epc_port import EpcPort
from cycler_unit.drivers.errors import DeviceRefused

Span = tuple[int, int]

# The mark that a start removes, in 0.1 °C, low and high.
MARK: Span = (-160, 659)
# Its converter shows up to two steps of current at 0 A, and noise.
CURRENT_ROOM_MA = 40


class EpcLimits:
    """Limits by message, each (low, high) in the device's units."""

    def __init__(self, port: EpcPort, byte_order: str) -> None:
        if byte_order not in ("big", "little"):
            raise DeviceRefused(f"limit_byte_order is big or little, not {byte_order!r}")
        self._port, self._byte_order = port, byte_order
        self.held: dict[int, Span] = {}
        """As reported or confirmed last."""
        self.protecting: dict[int, Span] = {}
        """What ``protect`` wrote: in force whenever the output is on."""

    def forget(self) -> None:
        """Know nothing, as before opening."""
        self.held, self.protecting = {}, {}

    def ask(self) -> None:
        """Ask for all of them."""
        answers = self._port.ask(*frames.BOOT)
        self.held |= {message: frames.limits(message, payload) for message, payload in answers.items()}

    def write(self, message: int, wanted: Span) -> None:
        """Write one pair and see its echo; raise ``DeviceRefused``."""
        self._port.command(
            message,
            frames.encode_limits(message, *wanted, self._byte_order),
            lambda echo: frames.limits(message, echo) == wanted,
            f"{frames.LIMIT_SIGNALS[message]} limits {wanted[0]} to {wanted[1]}",
        )
        self.held[message] = wanted

    @property
    def marked(self) -> bool:
        """Tell whether the mark was set."""
        return self.held.get(TEMP_LIM) == MARK

    @property
    def narrow(self) -> bool:
        """Tell whether the voltage limits are tighter than the hardware's."""
        return self.held.get(LS_VOLT, HARD[LS_VOLT]) != HARD[LS_VOLT]

    def widen(self) -> None:
        """Give the whole voltage range back."""
        self.write(LS_VOLT, HARD[LS_VOLT])

    def let_go(self) -> None:
        """Give the whole voltage range back without waiting for an answer."""
        self._port.send(LS_VOLT, frames.encode_limits(LS_VOLT, *HARD[LS_VOLT], self._byte_order))

    def restore(self) -> None:
        """Write mark and protections again where the device does not hold them any more."""
        for message, wanted in {TEMP_LIM: MARK, **self.protecting}.items():
            if self.held.get(message) != wanted:
                self.write(message, wanted)

    def protect(self, wanted: Protections) -> Protections:
        """Write what protects the cell, rounded outwards within the hard range; return what is held."""
        spans = _spans(wanted)
        for message, span in spans.items():
            self.write(message, span)
        self.protecting = spans
        (v_min, v_max), (i_min, i_max) = spans[LS_VOLT], spans[LS_CURR]
        return Protections(
            voltage_max_v=v_max / 1000.0,
            voltage_min_v=v_min / 1000.0,
            charge_current_max_a=i_max / 1000.0,
            discharge_current_max_a=-i_min / 1000.0,
            power_max_w=spans[LS_PWR][1] / 10.0,
        )

    def differing(self, answers: dict[int, bytes]) -> str | None:
        """Return which reported limits are not what was written, or None."""
        for message, payload in answers.items():
            found = frames.limits(message, payload)
            if found != self.held[message]:
                name = frames.LIMIT_SIGNALS[message]
                return f"holds {name} limits {found}, not {self.held[message]}: a reboot?"
        return None


def _spans(wanted: Protections) -> dict[int, Span]:
    low_mv = None if wanted.voltage_min_v is None else down(wanted.voltage_min_v, 1000)
    high_mv = None if wanted.voltage_max_v is None else up(wanted.voltage_max_v, 1000)
    charge, discharge = _current(wanted.charge_current_max_a), _current(wanted.discharge_current_max_a)
    power = None if wanted.power_max_w is None else up(wanted.power_max_w, 10)
    return {
        LS_VOLT: _within(HARD[LS_VOLT], low_mv, high_mv),
        LS_CURR: _within(HARD[LS_CURR], None if discharge is None else -discharge, charge),
        LS_PWR: _within(HARD[LS_PWR], None if power is None else -power, power),
    }


def _current(value: float | None) -> int | None:
    return None if value is None else max(up(value, 1000), CURRENT_ROOM_MA)


def _within(hard: Span, low: int | None, high: int | None) -> Span:
    return (
        hard[0] if low is None else max(low, hard[0]),
        hard[1] if high is None else min(high, hard[1]),
    )
