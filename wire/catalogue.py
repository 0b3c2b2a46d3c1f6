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


class Kind(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One device model. ``key`` is what ``ReportedDevice.model`` carries; ``driver`` is
    ``module:Class``; ``identity`` is a regular expression on the device's own identity text."""

    key: str
    label: str
    maker: str
    model: str
    type: Literal[
        "Source", "BiSource", "Load", "Meter", "Epc", "Bms", "Bk", "Flow", "Hv", "Relay", "Chamber", "Input"
    ]
    family: str
    driver: str
    role: Literal["power", "meter", "bms", "flow", "isolator", "auxiliary"]
    link: Literal["visa", "can", "serial", "http", "modbus"]
    link_settings: dict[str, Any] = {}
    identity: str = ""
    voltage_min_v: float | None = None
    voltage_max_v: float | None = None
    current_min_a: float | None = None
    current_max_a: float | None = None
    power_min_w: float | None = None
    power_max_w: float | None = None
    measures: tuple[KindMeasure, ...] = ()
    off: Off | None = None
    settings: dict[str, Any] = {}
