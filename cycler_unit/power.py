"""The power device of a station: off first, off confirmed, lost means not off (rules 6 and 13)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace

from cycler_unit.drivers.base import Identity, Measured, PowerDevice, Protections, Target
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused, DriverError
from cycling.reading import SetPoint
from wire.catalogue import Kind, Off

logger = logging.getLogger("cycler_unit.power")

# A device model without its own numbers in the catalogue: 1 % of 1 A, and half a second.
DEFAULT_OFF = Off(command="off", i_off_a=0.01, t_off_s=0.5)
# Off is sent this often at once before the station is called unsafe; then every second.
OFF_TRIES = 2
# The device's own protections, as they are called on its panel, in the order of their weight.
PROTECTIONS = {
    "voltage_max_v": ("overvoltage protection", "V"),
    "charge_current_max_a": ("overcurrent protection of the charge", "A"),
    "discharge_current_max_a": ("overcurrent protection of the discharge", "A"),
    "power_max_w": ("overpower protection", "W"),
    "voltage_min_v": ("undervoltage protection", "V"),
}
# Between two looks at a current that has not gone yet.
CONFIRM_S = 0.02


@dataclass(frozen=True)
class OffResult:
    """Whether off is measured off; ``text`` says what contradicts it."""

    confirmed: bool
    measured: Measured | None
    text: str = ""


class Power:
    """One power device between its driver and the station's loop; used by one thread only."""

    def __init__(self, device: PowerDevice, kind: Kind, serial_number: str, quadrants: str = "both") -> None:
        self.device = device
        self.quadrants = quadrants
        """What the station declares (rule 14): charge, discharge or both."""
        self.kind = kind
        self.serial_number = serial_number
        self.off_rule = kind.off or DEFAULT_OFF
        self.is_open = False
        self.output_on = False
        """As confirmed; after a loss what it was last."""
        self.last = "off"
        """The last set point in words, for "may still be on"."""

    def open(self) -> Identity:
        """Connect with off as the first thing sent; raises the errors of drivers.

        A device with another serial number is switched off too, and then refused.
        """
        try:
            identity = self.device.open()
        except BaseException:
            self.close()
            raise
        if self.serial_number and identity.serial_number != self.serial_number:
            self.device.close()
            raise DeviceFault(
                f"the device at this link is {identity.model} {identity.serial_number},"
                f" not {self.serial_number}: was it exchanged?"
            )
        self.is_open = True
        return identity

    def close(self) -> None:
        """Disconnect; safe twice."""
        self.is_open = False
        self.device.close()

    def read(self) -> Measured:
        """Read; raises the errors of drivers."""
        return self.device.read()

    def apply(self, target: Target) -> None:
        """Send a set point that is not off; raises the errors of drivers.

        One outside the station's quadrants is refused before anything is sent (rule 14).
        """
        if self.quadrants != "both":
            target = within(target, self.quadrants)
        self.last = words(target)
        self.output_on = True  # from here on it may be on, whatever is raised
        self.device.apply(target)

    def off(self) -> OffResult:
        """Switch off and confirm: accepted, read back off, measured off. Raises ``DeviceLost`` only."""
        result = OffResult(False, None, "")
        for _ in range(OFF_TRIES):
            try:
                self.device.make_safe()
                result = self._confirm()
            except DeviceLost:
                raise
            except DriverError as error:
                result = OffResult(False, None, str(error))
            if result.confirmed:
                self.output_on = False
                self.last = "off"
                return result
        return result

    def _confirm(self) -> OffResult:
        deadline_s = time.monotonic() + self.off_rule.t_off_s
        if self.device.output_is_on():
            return OffResult(False, None, "the device still says that its output is on")
        while True:
            measured = self.device.read()
            current_a = self.flowing_a(measured)
            if current_a is not None and abs(current_a) < self.off_rule.i_off_a:
                return OffResult(True, measured)
            if time.monotonic() > deadline_s:
                flows = "an unknown current" if current_a is None else f"{current_a:.3f} A"
                return OffResult(
                    False, measured, f"{flows} still flows {self.off_rule.t_off_s:g} s after off"
                )
            time.sleep(CONFIRM_S)

    def flowing_a(self, measured: Measured) -> float | None:
        """Return the current that must be gone for off to be measured off, in A."""
        return measured.current_a

    def devices(self) -> list[PowerDevice]:
        """Return the devices of the current path."""
        return [self.device]

    def parts(self, measured: Measured) -> list[Measured | None]:
        """Return what each device of the current path measured in this reading."""
        return [measured]

    def protect(self, wanted: Protections) -> str | None:
        """Write the device's own protections; return what it did not take, None when all is right."""
        held = self.device.protect(wanted)
        for name in PROTECTIONS:
            asked, got = getattr(wanted, name), getattr(held, name)
            if asked is None or (got is None and name == "voltage_min_v"):
                continue  # a low cut-off that it cannot hold is carried by each set point (rule 3)
            if got is None or abs(got - asked) > self._step(name):
                what, unit = PROTECTIONS[name]
                back = "nothing" if got is None else f"{got:g} {unit}"
                return f"its own {what} was set to {asked:g} {unit} and reads back {back}"
        return None

    def _step(self, name: str) -> float:
        measure = (
            "voltage_v"
            if name.startswith("voltage")
            else "power_w"
            if name.startswith("power")
            else "current_a"
        )
        return (
            1.01 * next((each.resolution for each in self.kind.measures if each.name == measure), 0.0) + 1e-9
        )

    def may_be_on(self) -> str:
        """Say what a device that is not confirmed off may still be doing."""
        return f"may still be on, last set point {self.last}" if self.output_on else "was off when last heard"


def target(point: SetPoint) -> Target:
    """Return the interpreter's set point as the driver's target."""
    return Target(
        mode=point.mode,
        direction=point.direction,
        current_a=point.current_a,
        voltage_v=point.voltage_v,
        power_w=point.power_w,
        resistance_ohm=point.resistance_ohm,
        voltage_max_v=point.voltage_max_v,
        voltage_min_v=point.voltage_min_v,
        charge_current_max_a=point.charge_current_max_a,
        discharge_current_max_a=point.discharge_current_max_a,
    )


def direction(each: Target) -> str:
    """Return where a target's current may flow: charge, discharge, or both (a held voltage)."""
    wanted = each.current_a if each.mode == "cc" else each.power_w if each.mode == "cp" else None
    if wanted:
        return "charge" if wanted > 0.0 else "discharge"
    if each.mode == "cr" and each.direction == "both":
        return "discharge"
    if each.mode in ("cc", "cp") and each.direction == "both":
        # Nothing flows either way; the bound at hand says which device keeps it.
        return "charge" if each.voltage_max_v is not None else "discharge"
    return each.direction


def within(target: Target, quadrants: str) -> Target:
    """Return a target that stays in the station's quadrants; raise ``DeviceRefused`` for one that cannot."""
    way = direction(target)
    if way == "both":
        if quadrants == "charge":
            return replace(target, direction="charge", discharge_current_max_a=0.0)
        return replace(target, direction="discharge", charge_current_max_a=0.0)
    idle = not (target.current_a or target.power_w) and target.mode in ("cc", "cp")
    if way != quadrants and not idle:
        raise DeviceRefused(f"{words(target)} would {way}, and this station may only {quadrants}")
    return target


def words(each: Target) -> str:
    """Return a target as a person says it: ``1.0 A to 4.20 V``."""
    bound_v = each.voltage_min_v if each.direction == "discharge" else each.voltage_max_v
    to = f" to {bound_v:.2f} V" if bound_v is not None else ""
    if each.mode == "cv":
        limit_a = max(each.charge_current_max_a, each.discharge_current_max_a)
        return f"{each.voltage_v:.2f} V with at most {limit_a:g} A"
    if each.mode == "cp":
        return f"{each.power_w:g} W{to}"
    if each.mode == "cr":
        return f"{each.resistance_ohm:g} Ohm{to}"
    return f"{each.current_a:g} A{to}" if each.mode == "cc" else "off"
