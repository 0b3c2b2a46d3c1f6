"""The kinds of device there are: strings and numbers only (design: devices.md section 10).

The unit imports a driver on use; the site seeds its device models from it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class KindMeasure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A quantity the device offers. ``accuracy`` = absolute + ``accuracy_rel`` x reading."""

    name: str
    unit: str
    resolution: float = 0.0
    accuracy: float = 0.0
    accuracy_rel: float = 0.0
    sentinels: tuple[float, ...] = ()
    max_age_s: float | None = None
    frozen_s: float | None = None
    period_s: float | None = None


class KindControl(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something a person or a step can set on the device: a relay, a ramp, a temperature, a duty.

    ``switch``: 0 is off and 1 is on. ``safe`` is what Down, a trip and a lost lease write; None leaves
    it as it is (a ramp). ``order``: Down writes controls by rising order. ``measure`` names the
    measure that reads the control back, where the device has one.
    """

    name: str
    label: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    step: float = 0.0
    switch: bool = False
    safe: float | None = None
    measure: str = ""
    order: int = 0


class Off(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What off means for a power device (safety.md rule 6)."""

    command: str
    i_off_a: float
    t_off_s: float
    stays_connected: str = ""
    after_power_on: str = ""
    communication_timeout_s: float | None = None
    high_cutoff: str = ""
    low_cutoff: str = ""
    guards_charge: bool = True
    """Left alone, the device itself keeps a charge inside the trip limits (safety.md rule 3)."""
    guards_discharge: bool = True
    """Left alone, the device itself ends a discharge at the trip limit."""


class Kind(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One device model. ``key`` is what ``ReportedDevice.model`` carries; ``driver`` is
    ``module:Class``; ``identity`` is a regular expression on the device's own identity text.

    ``probe`` is what detection sends on a text link to learn that identity; empty where the family is
    found otherwise (CAN ids, an address in the unit's file). ``settings`` are options of the driver,
    for example ``limit_byte_order`` or a register map.
    """

    key: str
    label: str
    maker: str
    model: str
    type: Literal[
        "Source", "BiSource", "Load", "Meter", "Epc", "Bms", "Bk", "Flow",
        "Hv", "Relay", "Chamber", "Input", "Lamp", "Gas",
    ]  # fmt: skip
    family: str
    driver: str
    role: Literal["power", "meter", "bms", "flow", "isolator", "auxiliary"]
    link: Literal["visa", "can", "serial", "http", "modbus", "caen"]
    link_settings: dict[str, Any] = {}
    identity: str = ""
    probe: str = "*IDN?"
    voltage_min_v: float | None = None
    voltage_max_v: float | None = None
    current_min_a: float | None = None
    current_max_a: float | None = None
    power_min_w: float | None = None
    power_max_w: float | None = None
    measures: tuple[KindMeasure, ...] = ()
    controls: tuple[KindControl, ...] = ()
    off: Off | None = None
    settings: dict[str, Any] = {}
