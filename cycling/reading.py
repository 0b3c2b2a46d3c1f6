"""What goes into the interpreter and what comes out of it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Mode = Literal["rest", "cc", "cv", "cp", "cr", "drive", "scan", "wait", "off"]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One set of measured values. ``None`` means missing (safety.md rule 5), never zero."""

    time_us: int
    """UTC microseconds, the middle of the exchange that read the voltage."""
    elapsed_s: float
    """Seconds since the experiment began, pauses included; never falls."""
    voltage_v: float | None
    current_a: float | None
    power_w: float | None = None
    temperature_c: float | None = None
    extended: dict[str, float | None] = {}
    output_on: bool = False
    """The device's output as the runner knows it (confirmed), for the counters."""
    isolated: bool = False
    """An isolator cuts the devices off from the cell: what they cannot see is not missing."""


class SetPoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the device is asked to do until the next decision. Current and power are signed.

    ``voltage_max_v`` is the ceiling that a charging device holds by itself and ``voltage_min_v``
    the floor of a discharging one (safety.md rule 3); the two currents are magnitudes.
    """

    mode: Literal["off", "cc", "cv", "cp", "cr"]
    direction: Literal["charge", "discharge", "both"] = "both"
    current_a: float | None = None
    voltage_v: float | None = None
    power_w: float | None = None
    resistance_ohm: float | None = None
    voltage_max_v: float | None = None
    voltage_min_v: float | None = None
    charge_current_max_a: float = 0.0
    discharge_current_max_a: float = 0.0
    outputs: dict[str, float] = {}
    isolate: bool = False


class EndReason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why something ended, for normal ends too."""

    code: str
    text: str
    quantity: str | None = None
    limit: float | None = None
    measured: float | None = None
    since: float | None = None
    delay_s: float | None = None
    device: str | None = None
    seq: int | None = None
    person: str | None = None


class Happening(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something for the event list: kind as on the wire (status, step, alarm, device, note)."""

    kind: Literal["status", "step", "alarm", "device", "note"]
    text: str
    step: int | None = None
    detail: dict[str, Any] = {}


class StepRow(msgspec.Struct, frozen=True, kw_only=True):
    """One step as it was run (api.md, step row)."""

    step: int
    step_count: int
    label: str | None
    tags: list[str]
    cycle: int
    mode: str
    started_us: int
    duration_s: float
    """Without pauses."""
    voltage_start_v: float | None
    voltage_end_v: float | None
    current_end_a: float | None
    charge_in_ah: float
    charge_out_ah: float
    energy_in_wh: float
    energy_out_wh: float
    temperature_max_c: float | None
    dcir: list[dict[str, float]]
    end_reason: EndReason
    flags: int = 0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Where the experiment stands at one reading; with the reading it makes a sample."""

    step: int
    step_count: int
    cycle: int
    mode: Mode
    charge_in_ah: float
    charge_out_ah: float
    energy_in_wh: float
    energy_out_wh: float
    flags: int = 0


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The interpreter's answer to one reading.

    ``keep``: nothing to do. ``set``: send ``set_point`` now and read again. ``finished``: output
    off, a normal end. ``violation``: output off first, then everything else; ``end_reason`` names
    the limit.
    """

    action: Literal["keep", "set", "finished", "violation"]
    row: Row
    record: bool = False
    set_point: SetPoint | None = None
    end_reason: EndReason | None = None
    events: tuple[Happening, ...] = ()
    steps_ended: tuple[StepRow, ...] = ()


# Bits of Row.flags and of the samples' `flags` column (wire.md).
FLAG_RESUMED = 1
FLAG_CLIPPED = 2
FLAG_GAP = 4
FLAG_CLOCK = 8
FLAG_AMENDED = 16
