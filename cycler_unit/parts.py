"""What a station is made of: its power device (or source and load), the other devices, what is composed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from cycler_unit import catalogue, instruments, isolator, outputs
from cycler_unit.channel import ChannelPower, halves
from cycler_unit.drivers.base import SAFE_VALUES, Device, Measured, PowerDevice
from cycler_unit.drivers.errors import DriverError
from cycler_unit.hub import Hub
from cycler_unit.instruments import Instrument
from cycler_unit.power import Power
from cycler_unit.readings import Composer, Taken
from wire.catalogue import Kind
from wire.messages import StationConfigure, StationDevice

logger = logging.getLogger("cycler_unit.parts")

# What a BMS calls the voltage of the whole stack.
STACK = ("vstack_v", "vstack")
# A meter this far from the power device's voltage sits on the other side of an open isolator.
APART_V = 0.5
# safety.md rule 8: a permit is good for so many periods, at least so long.
PERMIT_PERIODS, PERMIT_MIN_S = 5.0, 0.5


class BadStation(Exception):
    """A station cannot be built from its configuration; the text says why."""


@dataclass
class Place:
    """Where a device of the current path is now."""

    device: StationDevice
    kind: Kind
    link: dict[str, Any]


class Parts:
    """A station's devices. Raises :class:`BadStation`; nothing is opened here."""

    def __init__(self, configure: StationConfigure, hub: Hub, period_s: float) -> None:
        self.configure, self._hub, self._period_s = configure, hub, period_s
        self.kinds = {each.device: _kind(each) for each in configure.devices}
        self._path = self._current_path()
        self.power_device = self._main()
        self.places: list[Place] = []
        self.power = self.make_power()
        self.instruments = {
            each.device: self._instrument(each, period_s)
            for each in configure.devices
            if each not in self._path
        }
        self.composer = Composer(configure, self._path[-1].device, self.kinds, period_s)
        if said := outputs.problems(configure):
            raise BadStation("; ".join(said))
        try:
            self.outputs = outputs.Outputs(configure, self.instruments)
            self.isolator = isolator.of(configure, self.instruments)
            self.dead_man = self._dead_man()
        except ValueError as error:
            raise BadStation(str(error)) from None

    def _dead_man(self) -> isolator.Isolator | None:
        """Return the output that opens when it is not refreshed (rule 3), a switch in the current path."""
        name = self.configure.dead_man
        if name is None:
            return None
        if name not in self.outputs.names:
            raise ValueError(f"the dead-man output {name!r} is no output of the station")
        output = self.outputs.get(name)
        return isolator.made(self.configure, output.instrument, output.row.control)

    @property
    def isolated(self) -> bool:
        """Say whether the power device is cut off from the cell: an isolator or dead-man output is open."""
        return any(each is not None and each.is_open for each in (self.isolator, self.dead_man))

    # --- the current path -------------------------------------------------------------------------

    def _current_path(self) -> list[StationDevice]:
        """Return the one power device, or source and load in this order."""
        power = [each for each in self.configure.devices if each.role == "power"]
        if len(power) == 1:
            return power
        order = halves([self.kinds[each.device] for each in power])
        if order is None:
            labels = ", ".join(self.kinds[each.device].label for each in power) or "none"
            raise BadStation(
                f"a station needs one power device, or one source and one load; this one has {labels}"
            )
        return [power[i] for i in order]

    def _main(self) -> StationDevice:
        """Return the device whose voltage counts at rest; its name says what all of them are."""
        last = self._path[-1]
        if len(self._path) == 1:
            return last
        return msgspec.structs.replace(last, name=" + ".join(each.name or each.device for each in self._path))

    def make_power(self) -> Power:
        """Return the power device at the place where it was seen last, not opened."""
        self.places = [
            Place(each, self.kinds[each.device], self._hub.devices.link_of(each)) for each in self._path
        ]
        made = [
            Power(self._power_device(place), place.kind, place.device.serial_number, self.configure.quadrants)
            for place in self.places
        ]
        return made[0] if len(made) == 1 else ChannelPower(made[0], made[1], self.configure.quadrants)

    def _power_device(self, place: Place) -> PowerDevice:
        device = self._device(place.device, place.kind, place.link)
        # A device of another process is none of our classes, but can do what one can.
        if not hasattr(device, "apply"):
            raise BadStation(f"{place.kind.label} cannot drive a cell: its role cannot be power")
        _refuse_slow_loop(place, self._period_s)
        if hasattr(device, "permit_s"):
            # The owner of its bus switches it off when this loop does not ask any more (rule 8).
            device.permit_s = max(PERMIT_MIN_S, PERMIT_PERIODS * self._period_s)
        return device  # type: ignore[return-value]

    def moved(self) -> bool:
        """Say whether a device of the current path turned up elsewhere: a serial port's name changed."""
        return any(self._hub.devices.link_of(place.device) != place.link for place in self.places)

    def hold(self) -> None:
        """Keep scans and idle readings off all links of this station."""
        for link in self.links():
            self._hub.devices.hold(link)

    def release(self) -> None:
        """Give the links back."""
        for link in self.links():
            self._hub.devices.release(link)

    def links(self) -> list[dict[str, Any]]:
        """Return the links of all devices of this station."""
        return [place.link for place in self.places] + [each.link for each in self.instruments.values()]

    # --- the others -------------------------------------------------------------------------------

    def _instrument(self, each: StationDevice, period_s: float) -> Instrument:
        kind = self.kinds[each.device]

        def driver(link: dict[str, Any]) -> Device:
            return self._device(each, kind, {**link, SAFE_VALUES: self._safe_values(each)})

        return instruments.of(self._hub, each, kind, driver, period_s)

    def _safe_values(self, device: StationDevice) -> dict[str, float]:
        """Return the station's own safe values: its owner must know them when this process dies."""
        path = {isolator.NAME, self.configure.dead_man}
        return {
            each.control: each.safe
            for each in self.configure.outputs
            if each.device == device.device and each.safe is not None
            and device.role != "isolator" and each.name not in path
        }  # fmt: skip

    def _device(self, each: StationDevice, kind: Kind, link: dict[str, Any]) -> Device:
        try:
            return self._hub.buses.device(kind, link, each.name)
        except DriverError as error:
            raise BadStation(str(error)) from None

    # --- reading ----------------------------------------------------------------------------------

    def read(self, power: Power) -> tuple[Taken, dict[str, Measured | None]]:
        """Read the power device now and take the others' newest; raises the errors of drivers."""
        main = power.read()
        measured: dict[str, Measured | None] = {
            place.device.device: part for place, part in zip(self.places, power.parts(main), strict=True)
        }
        measured |= {key: each.latest for key, each in self.instruments.items()}
        taken = self.composer.compose(measured, main if len(self.places) > 1 else None)
        if self.isolated and not power.output_on:
            # The device sees its own terminals; what lies on the cell's side is measured there or not at all.
            cell_v = self.cell_v(measured, taken.voltage_v)
            taken = replace(taken, voltage_v=cell_v, power_w=None, others={}, isolated=cell_v is None)
        return taken, measured

    def cell_v(self, measured: dict[str, Measured | None], device_v: float | None) -> float | None:
        """Return the cell's voltage behind an open isolator, as a BMS or meter there sees it.

        A meter that says the same as the power device may sit on the device's side too: it is no proof.
        """
        for key, each in self.instruments.items():
            found = measured.get(key)
            if found is None or each.kind.role not in ("meter", "bms"):
                continue
            value = found.voltage_v
            if each.kind.role == "bms" and value is None:
                value = next((found.extended[name] for name in STACK if found.extended.get(name)), None)
            apart = value is not None and device_v is not None and abs(value - device_v) > APART_V
            if value is not None and (each.kind.role == "bms" or apart):
                return value
        return None


def _refuse_slow_loop(place: Place, period_s: float) -> None:
    """Refuse a loop whose readings come too seldom for the heartbeat that they keep up (rule 3)."""
    beat_s = {**place.kind.settings, **place.link}.get("heartbeat_s")
    if beat_s is not None and period_s > float(beat_s) / 2.0:
        raise BadStation(
            f"{place.kind.label} switches itself off when it is not read for {float(beat_s):g} s: a control loop "
            f"every {period_s:g} s is too slow for it, at most {float(beat_s) / 2.0:g} s"
        )


def _kind(device: StationDevice) -> Kind:
    if device.kind is not None:
        # A model that an operator made on the site: this unit may never have detected with it.
        catalogue.learn([device.kind])
    try:
        return catalogue.get(device.model)
    except KeyError as error:
        raise BadStation(str(error.args[0])) from None
