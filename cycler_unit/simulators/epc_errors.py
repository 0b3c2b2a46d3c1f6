"""The error flags of a simulated EPC: what raises one, and what they keep it from (device sheet 1.3 and 1.8)."""

from __future__ import annotations

from collections.abc import Mapping

from cycler_unit.simulators.epc_rules import COMM, ELECTRICAL, HS_V, INT, LS_I, LS_V, TEMP, over


class Errors:
    """Flags of STATUS with the value that tripped last; ``forced`` are raised by a fault of the bench."""

    def __init__(self) -> None:
        self.forced = 0
        self.clear()

    def clear(self) -> None:
        """Begin as after power-on."""
        self.flags = self.last_value = 0
        self.hot = False

    @property
    def any(self) -> bool:
        """Tell whether anything is wrong, with a flag or without one."""
        return bool(self.flags) or self.hot

    @property
    def electrical(self) -> bool:
        """Tell whether voltage, current or temperature is flagged."""
        return bool(self.flags & ELECTRICAL)

    @property
    def refusing(self) -> bool:
        """Tell whether set points and limits are refused for them."""
        return self.electrical or self.hot

    @property
    def status(self) -> bytes:
        """Return the STATUS frame's bytes."""
        return bytes([self.flags, 0]) + (self.last_value & 0xFFFF).to_bytes(2, "little")

    def set(self, flags: int, value: int) -> None:
        """Set exactly these flags."""
        self.flags, self.last_value = flags, value

    def lift(self, flag: int, value: int) -> None:
        """Raise one flag beside those there are."""
        self.set(self.flags | flag, value)

    def judge(
        self,
        electrical: tuple[int, int, int],
        warmth: tuple[int, int, int],
        limits: Mapping[int, tuple[int, int]],
    ) -> None:
        """Compare measurements with the limits in force; a flag goes when its cause goes."""
        mv, ma, hs_mv = electrical
        body, anode, ambient = warmth
        before = self.flags
        self.flags &= COMM | INT
        for flag, value, message in ((HS_V, hs_mv, 0x4), (LS_V, mv, 0x2), (LS_I, ma, 0x3)):
            if over(value, limits[message]) or self.forced & flag:
                self._found(flag, value, before)
        # Sheet 1.8: the ambient check overwrites what body and anode have found, in the flag only.
        self.hot = any(over(each, limits[0x6]) for each in (body, anode) if each)
        if (ambient and over(ambient, limits[0x6])) or self.forced & TEMP:
            self._found(TEMP, ambient, before)

    def _found(self, flag: int, value: int, before: int) -> None:
        self.flags |= flag
        if not before & flag:
            self.last_value = value
