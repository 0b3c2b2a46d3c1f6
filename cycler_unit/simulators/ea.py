"""An EA device as its SCPI shows it (devices.md 4.3 and 4.4): PS 2000 B source, PSB, EL load.

The second output of a 2384 is reached by ``(@2)`` after any command (``ea_outputs.py``).
"""

from __future__ import annotations

from functools import partial

from cycler_unit.simulators.ea_state import (
    ALARM_BITS,
    FIELDS,
    LOAD_FIELDS,
    PROTECTION_SHARE,
    SET_SHARE,
    SINK_FIELDS,
    EaState,
)
from cycler_unit.simulators.scpi import ScpiError, number

# Bits of the status registers beside the alarms'; of the same sources as those.
REMOTE_BIT, OUTPUT_BIT = 10, 11
REGULATION_BITS = {"cv": 8, "cc": 9, "cp": 10, "cr": 11}

# What an instrument answers for "not measured" (devices.md 6).
NOT_MEASURED = "9.9E37"


class EaSupply(EaState):
    """Answer a PSB's, a PS's or an EL's commands."""

    # --- headers ----------------------------------------------------------------------------------

    def _register(self) -> None:
        self.on("*IDN", None, self._identity)
        self.on("SYSTem:LOCK[:STATe]", self._lock)
        self.on("SYSTem:LOCK:OWNer", None, self._owner)
        self.on("INPut[:STATe]" if self.is_load else "OUTPut[:STATe]", self._switch, self._output)
        self.on("MEASure[:SCALar]:ARRay", None, self._measure_all)
        self.on("STATus:OPERation:CONDition", None, self._operation)
        self.on("STATus:QUEStionable:CONDition", None, self._questionable)
        fields = LOAD_FIELDS if self.is_load else FIELDS
        for index, (word, (field, unit, letter)) in enumerate(fields.items()):
            self.on(f"MEASure[:SCALar]:{word}[:DC]", None, partial(self._measured, index))
            self.on(f"SYSTem:NOMinal:{word}", None, partial(self._text, self.nominal[letter], letter, unit))
            self._settable(f"[SOURce:]{word}", field, unit, letter)
        if self.sinks:
            for word, (field, unit, letter) in SINK_FIELDS.items():
                self._settable(f"SINK:{word}", field, unit, letter)
            self._register_resistance("SINK:RESistance")
        elif self.is_load:
            self._register_resistance("RESistance")

    def _register_resistance(self, header: str) -> None:
        self.on(header, self._set_resistance, lambda: f"{self.sink_ohm:.3f} OHM")
        self.on("SYSTem:CONFig:MODE", self._set_mode, lambda: "UIR" if self.resistance_mode else "UIP")
        self.on("SYSTem:NOMinal:RESistance:MINimum", None, lambda: f"{self._least_ohm():.3f} OHM")
        self.on("SYSTem:NOMinal:RESistance:MAXimum", None, lambda: f"{self._most_ohm():.3f} OHM")

    def _settable(self, header: str, field: str, unit: str, letter: str) -> None:
        """Register a set point with its protection and its adjustment limits."""
        ceiling = PROTECTION_SHARE * self.nominal[letter]

        def write(text: str) -> None:
            self._need_obedience()
            low, high = self.limits[(field, "LOW")], self.limits[(field, "HIGH")]
            self._hold(field, round(number(text, unit, low, high), self.places[letter]))

        def protect(text: str) -> None:
            self._need_remote()
            self.regulator.advance()
            setattr(self.regulator.trips, field, round(number(text, unit, 0.0, ceiling), self.places[letter]))

        self.on(header, write, lambda: self._text(getattr(self.regulator.points, field), letter, unit))
        self.on(
            f"{header}:PROTection[:LEVel]",
            protect,
            lambda: self._text(getattr(self.regulator.trips, field), letter, unit),
        )
        for side in ("LOW", "HIGH"):
            if (letter, side) != ("w", "LOW"):
                self._limit(f"{header}:LIMit:{side}", field, side, unit, letter)

    def _limit(self, header: str, field: str, side: str, unit: str, letter: str) -> None:
        def write(text: str) -> None:
            self._need_remote()
            value = number(text, unit, 0.0, SET_SHARE * self.nominal[letter])
            held = getattr(self.regulator.points, field)
            if (held < value) if side == "LOW" else (held > value):
                raise ScpiError(-221)
            self.limits[(field, side)] = value

        self.on(header, write, lambda: self._text(self.limits[(field, side)], letter, unit))

    # --- answers ------------------------------------------------------------------------------------

    def _identity(self) -> str:
        kind, spec = self.kind, self.spec
        return f"EA Elektro-Automatik GmbH & Co. KG, {kind.model}, {spec.serial_number}, {spec.firmware}"

    def _text(self, value: float, letter: str, unit: str) -> str:
        text = f"{value:.{self.places[letter]}f} {unit}"
        return text[1:] if text.startswith("-") and not text.strip("-0. " + unit) else text

    def _measured(self, index: int) -> str:
        if self.regulator.faults.sensor_off:
            return f"{NOT_MEASURED} {'VAW'[index]}"
        value = self._shown()[index]
        return self._text(value, "vaw"[index], "VAW"[index])

    def _measure_all(self) -> str:
        if self.regulator.faults.sensor_off:
            return ", ".join(f"{NOT_MEASURED} {unit}" for unit in "VAW")
        return ", ".join(
            self._text(value, letter, letter.upper())
            for value, letter in zip(self._shown(), "vaw", strict=True)
        )

    def _shown(self) -> tuple[float, float, float]:
        """Return the readings; a load shows what it sinks without a sign."""
        volts, amps, watts = self.regulator.measure()
        return (volts, -amps, -watts) if self.is_load else (volts, amps, watts)

    def status_bits(self) -> int:
        """Return bit 3 while an alarm stands and bit 7 while it regulates."""
        self.regulator.advance()
        return bool(self.alarms) << 3 | bool(self.regulator.output) << 7

    def _operation(self) -> str:
        self.regulator.advance()
        bit = REGULATION_BITS.get(self.regulator.regulation)
        return str(0 if bit is None else 1 << bit)

    def _questionable(self) -> str:
        self.regulator.advance()
        value = sum(1 << ALARM_BITS[name] for name in self.alarms)
        return str(value | self.remote << REMOTE_BIT | self.regulator.output << OUTPUT_BIT)
