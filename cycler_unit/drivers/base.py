"""What a driver must offer, and what the base does for all of them.

``Device``: reads measures, and takes settings (``controls`` of its catalogue row) where it has any.
``PowerDevice``: moves current through the cell.

A driver states facts about its device; timeout, one repeat, locking and validation sit here.
Constructors store, ``open()`` connects, ``close()`` is safe twice, ``make_safe()`` is its own method.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal

from cycler_unit.drivers.errors import DeviceRefused

# The link setting that names other safe values of controls than the catalogue's: {control: value}.
SAFE_VALUES = "safe_values"


@dataclass(frozen=True)
class Identity:
    """Who the device says it is."""

    maker: str
    model: str
    serial_number: str
    firmware: str

    @property
    def text(self) -> str:
        """Return the identity as one line, as the catalogue's patterns expect it."""
        return f"{self.maker}, {self.model}, {self.serial_number}, {self.firmware}"


@dataclass(frozen=True)
class Measured:
    """One exchange's values. ``None`` is missing. Times are ``time.monotonic()`` and UTC seconds.

    Positive current charges the battery. ``began_s`` is the beginning of the exchange (age counts
    from it), ``time_us`` the UTC middle of the exchange that read the voltage.
    """

    voltage_v: float | None
    current_a: float | None
    power_w: float | None
    began_s: float
    time_us: int
    extended: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """What the device shall do; the same fields as the interpreter's set point."""

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


@dataclass(frozen=True)
class Protections:
    """The device's own trips, set between our trip and the absolute limit (safety.md rule 3).

    ``None`` = leave the device's own maximum. Currents are magnitudes.
    """

    voltage_max_v: float | None = None
    voltage_min_v: float | None = None
    charge_current_max_a: float | None = None
    discharge_current_max_a: float | None = None
    power_max_w: float | None = None


@dataclass(frozen=True)
class Exchange:
    """One message to or from a device, for the black box; ``at_s`` is UTC, ``text`` the text or hex."""

    at_s: float
    to: Literal["device", "host"]
    text: str


class Device(ABC):
    """Anything that answers on a link: a meter, a BMS, a relay board, a chamber, a power device.

    All methods may raise the errors of ``cycler_unit.drivers.errors``: ``DeviceLost`` (the link
    does not answer: retry by reopening), ``DeviceRefused`` (echo differs after one repeat: do not
    retry), ``DeviceFault`` (the device reports an error of its own).
    """

    kind: str = ""

    def __init__(self, link: dict[str, Any], *, name: str = "") -> None:
        self.link = link
        self.name = name
        # A model that a person added to the catalogue: this driver, with that model's name and ratings.
        for attribute, value in dict(link.get("rated") or {}).items():
            if hasattr(type(self), attribute):
                setattr(self, attribute, value)

    @abstractmethod
    def open(self) -> Identity:
        """Connect, make safe first, confirm it by reading back, identify."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect; safe twice; never raises."""

    @abstractmethod
    def read(self) -> Measured:
        """Read all measures; what is no electrical quantity of the cell goes into ``extended``."""

    def make_safe(self) -> None:  # noqa: B027 - a meter has nothing to switch
        """Bring every control to its safe value; nothing to do for what only measures."""

    def set(self, name: str, value: float) -> float:
        """Set one control of the catalogue row, confirm it, return what the device holds.

        Raises ``DeviceRefused`` for a control that this device does not have or does not take.
        """
        raise DeviceRefused(f"{self.name or self.kind} has no setting {name!r}")

    def held(self) -> dict[str, float]:
        """Read back what the device holds of its controls; empty where it has none."""
        return {}

    def exchanges(self) -> list[Exchange]:
        """Return the last exchanges with the device, oldest first, for the black box."""
        return []


class PowerDevice(Device):
    """A device that can move current through the cell."""

    @abstractmethod
    def make_safe(self) -> None:
        """Switch the output off; works also when remote control was lost."""

    @abstractmethod
    def read(self) -> Measured:
        """Read voltage and current by one command where the device has it."""

    @abstractmethod
    def apply(self, target: Target) -> None:
        """Set the device to ``target`` and confirm every set point by its echo.

        Order matters: bounds before the output goes on; see each driver. ``mode='off'`` is
        ``make_safe()``.
        """

    @abstractmethod
    def output_is_on(self) -> bool:
        """Ask the device whether its output is on."""

    @abstractmethod
    def protect(self, protections: Protections) -> Protections:
        """Write the device's own protections, read them back, return what the device holds."""

    @abstractmethod
    def fault(self) -> str | None:
        """Ask for the device's own error state: None, or its cause in words."""

    def unasked(self) -> str | None:
        """Read mode, output, set points and boot count back (rule 13): None, or what nobody asked for.

        Called every 2 s while the output may be on. Compares with what ``apply`` sent last.
        """
        return None
