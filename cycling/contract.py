"""What limits are made of, and the one text of an envelope: the contract between site and unit.

safety.md rule 2.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec


class BatteryLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A battery's limits as recorded; currents signed (``current_min_a`` is the discharge)."""

    cells_in_series: int = 1
    cell_voltage_min_v: float | None = None
    cell_voltage_max_v: float | None = None
    voltage_min_v: float | None = None
    voltage_max_v: float | None = None
    voltage_abs_min_v: float | None = None
    voltage_abs_max_v: float | None = None
    current_min_a: float | None = None
    current_max_a: float | None = None
    temperature_min_c: float | None = None
    temperature_max_c: float | None = None
    charge_temperature_min_c: float | None = None
    charge_temperature_max_c: float | None = None
    energy_wh: float | None = None
    capacity_ah: float | None = None
    cell_spread_max_v: float | None = None
    """Largest difference between two cells of a bound BMS; None: the rule's own (safety.md rule 1)."""
    temperature_rise_max_k: float | None = None
    """Over ambient; None: the rule's own (safety.md rule 16)."""
    temperature_slope_max_k_min: float | None = None
    """None: the rule's own (safety.md rule 16)."""


class DeviceLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one device of the station can do and how well it measures; currents signed."""

    name: str
    measures: Literal["power", "meter", "none"] = "power"
    """``power``: drives the cell; ``meter``: measures its voltage or current; ``none``: neither."""
    voltage_min_v: float | None = None
    voltage_max_v: float | None = None
    current_min_a: float | None = None
    current_max_a: float | None = None
    power_min_w: float | None = None
    power_max_w: float | None = None
    voltage_accuracy_v: float = 0.0
    voltage_resolution_v: float = 0.0
    current_accuracy_a: float = 0.0
    current_resolution_a: float = 0.0
    temperature_accuracy_c: float = 0.0
    temperature_resolution_c: float = 0.0
    cell_voltage_accuracy_v: float = 0.0
    """Of a BMS's cell voltages, one resolution step included."""
    discharge_cutoff_v: float | None = None
    """The device's own lowest voltage while discharging; an end below it is never reached."""
    store_voltage_min_v: float | None = None
    store_voltage_max_v: float | None = None
    """Of the regenerative store that the device shares with others, the measure ``hs_voltage_v``."""
    guards_charge: bool = True
    """Left alone, the device keeps a charge inside the trip limits, or switches off (safety.md rule 3)."""
    guards_discharge: bool = True


class StationLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits that the station itself adds (wires, holder, fuse), and the measures it offers."""

    voltage_min_v: float | None = None
    voltage_max_v: float | None = None
    current_min_a: float | None = None
    current_max_a: float | None = None
    power_abs_max_w: float | None = None
    temperature_min_c: float | None = None
    temperature_max_c: float | None = None
    measures: tuple[str, ...] = ()
    """Names of the extended measures; ``temperature_c`` among them if a sensor is bound."""
    outputs: tuple[str, ...] = ()
    output_ranges: dict[str, tuple[float | None, float | None]] = {}
    """Least and largest value of the outputs that have them."""
    isolator: bool = False
    store_min_v: float | None = None
    store_max_v: float | None = None
    """Of the regenerative store that the station shares with others, the measure ``hs_voltage_v``."""
    quadrants: Literal["charge", "discharge", "both"] = "both"
    """Which way current may flow (safety.md rule 14)."""
    leak_a: float | None = None
    """What the station draws from a resting battery (safety.md rule 17)."""
    dead_man: bool = False
    """An output opens when the unit no longer refreshes it (safety.md rule 3)."""
    unguarded_max_wh: float = 5.0


# The limits that an operator types for a station; the other fields follow from how it is composed.
STATION_BOUNDS = (
    "voltage_min_v",
    "voltage_max_v",
    "current_min_a",
    "current_max_a",
    "power_abs_max_w",
    "temperature_min_c",
    "temperature_max_c",
    "store_min_v",
    "store_max_v",
)


class Limit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One bound: ``side`` max or min of ``quantity``, in its SI unit.

    ``delay_s`` None means three readings in a row. ``source`` names who gave the tightest value.
    ``acts`` says whether going beyond ``trip`` ends the experiment or only warns.
    """

    quantity: str
    side: Literal["max", "min"]
    operating: float
    trip: float
    absolute: float | None = None
    delay_s: float | None = None
    frozen_s: float | None = None
    when: Literal["always", "current", "charge"] = "always"
    acts: Literal["trip", "warn"] = "trip"
    source: str = ""


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the measuring devices, for rounding before an end is judged."""

    voltage_v: float = 0.0
    current_a: float = 0.0


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All limits of one experiment. Its canonical text is the contract between site and unit."""

    limits: tuple[Limit, ...]
    resolution: Resolution
    run_max_s: float | None = None
    cells_in_series: int = 1
    reversal_ah: float | None = None
    """A reversal that moved this much begins the charge budget anew (safety.md rule 15)."""
    format: str = "envelope/1"


class EnvelopeError(ValueError):
    """The limits leave nothing, cross, or are not what they claim to be; ``problems`` says which."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def canonical(envelope: Envelope) -> str:
    """Return the one text of an envelope: sorted keys, no nulls (safety.md rule 2)."""
    return msgspec.json.encode(envelope, order="sorted").decode()


def sha256(text: str) -> str:
    """Return the hash of the text's UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def parse(text: str) -> Envelope:
    """Return the envelope that ``text`` is the canonical text of.

    Raises ``EnvelopeError`` for anything else: a field that is not understood would be a limit that
    is not kept.
    """
    try:
        envelope = msgspec.json.decode(text, type=Envelope)
    except (msgspec.DecodeError, RecursionError) as error:
        raise EnvelopeError([f"the envelope cannot be read: {error}"]) from None
    if envelope.format != "envelope/1":
        raise EnvelopeError([f"the envelope has the unknown format {envelope.format!r}"])
    if canonical(envelope) != text:
        raise EnvelopeError(["the envelope's text is not canonical: it has fields that are not understood"])
    return envelope
