"""The limits that one experiment may never leave: battery with devices with station with profile.

safety.md rules 1 and 2. This is the door to all of it; the structs and their text are in ``contract``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cycling import derived_limits, givers, sensors, words
from cycling.contract import (
    BatteryLimits,
    DeviceLimits,
    Envelope,
    EnvelopeError,
    Limit,
    Resolution,
    StationLimits,
    canonical,
    parse,
    sha256,
)
from cycling.limits import Bound, Side, bound, exceeds, find, tightest, widest
from cycling.steps import MeasureLimit, Safety

__all__ = [
    "BatteryLimits",
    "DeviceLimits",
    "Envelope",
    "EnvelopeError",
    "Limit",
    "Resolution",
    "StationLimits",
    "canonical",
    "compute",
    "energy_wh",
    "margins",
    "needs_temperature_waiver",
    "parse",
    "sha256",
    "unwatched",
    "wider_than",
]

# safety.md rule 1: the least distance of a trip from its operating limit.
VOLTAGE_MARGIN_V_PER_CELL = 0.010
CURRENT_MARGIN_OF_RANGE = 0.005
TEMPERATURE_MARGIN_C = 2.0
# safety.md rule 16: above this a battery without a temperature sensor needs a manager's waiver.
BLIND_MAX_WH = 20.0

# The device ends a discharge itself at this field's voltage.
CUTOFF = "discharge_cutoff_v"

UNITS = {"voltage_v": "V", "current_a": "A", "power_w": "W", "temperature_c": "°C", "charge_net_abs_ah": "Ah"}


def compute(
    battery: BatteryLimits, devices: Sequence[DeviceLimits], station: StationLimits, safety: Safety
) -> Envelope:
    """Return battery with every device with station with profile, as operating and trip values.

    Raises ``EnvelopeError`` whose problems name each limit that is missing, empty or crossed, and who
    gave its values.
    """
    maker = _Maker(battery, devices, station, safety)
    limits = [*maker.voltage(), *maker.current(), *maker.power(), *maker.temperature(), *maker.measures()]
    limits += maker.charge()
    limits += derived_limits.heating(battery, devices, station)
    limits += derived_limits.cells(battery, devices, station)
    limits += derived_limits.store(devices, station)
    if safety.run_max_s is not None and not safety.run_max_s > 0:
        maker.problems.append("the profile's longest run (run_max_s) must be above 0 s")
    if maker.problems:
        raise EnvelopeError(maker.problems)
    return Envelope(
        limits=tuple(limits),
        resolution=_resolution(devices),
        run_max_s=None if safety.run_max_s is None else float(safety.run_max_s),
        cells_in_series=battery.cells_in_series,
        reversal_ah=maker.reversal_ah,
    )


def energy_wh(battery: BatteryLimits) -> float | None:
    """Return what the battery holds at most, in Wh: as recorded, or else its capacity at its highest voltage."""
    if battery.energy_wh is not None:
        return battery.energy_wh
    cell = battery.cell_voltage_max_v
    highest_v = battery.voltage_max_v
    if highest_v is None and cell is not None:
        highest_v = cell * battery.cells_in_series
    if battery.capacity_ah is None or highest_v is None:
        return None
    return battery.capacity_ah * highest_v


def needs_temperature_waiver(battery: BatteryLimits, station: StationLimits) -> bool:
    """Say whether only a manager may let this battery run in a station that does not see its temperature.

    Without a sensor on the cell above 20 Wh, or when nobody knows how much it holds (safety.md rule 16).
    """
    if sensors.cell_temperatures(station.measures):
        return False
    holds_wh = energy_wh(battery)
    return holds_wh is None or holds_wh > BLIND_MAX_WH


def unwatched(battery: BatteryLimits, station: StationLimits) -> list[str]:
    """Name the battery's temperature limits that no sensor of the station watches."""
    if sensors.cell_temperatures(station.measures):
        return []
    names = ("temperature_max_c", "temperature_min_c", "charge_temperature_max_c", "charge_temperature_min_c")
    return [name for name in names if getattr(battery, name) is not None]


def margins(cells_in_series: int, devices: Sequence[DeviceLimits]) -> dict[str, float]:
    """Return how far a trip lies outside its operating limit, by quantity, in its unit.

    The largest of the measuring devices' accuracy plus one resolution step, 10 mV per cell, 0.5 % of
    the current range, 2 degrees; power follows from voltage and current.
    """
    measuring = [d for d in devices if d.measures != "none"]
    voltage_v = max((d.voltage_accuracy_v + d.voltage_resolution_v for d in measuring), default=0.0)
    current_a = max((d.current_accuracy_a + d.current_resolution_a for d in measuring), default=0.0)
    # The measuring device's range: a meter with a smaller shunt resolves more than the source.
    range_a = max((abs(i) for d in measuring for i in (d.current_min_a, d.current_max_a) if i), default=0.0)
    range_v = max((abs(v) for d in measuring for v in (d.voltage_max_v,) if v), default=0.0)
    voltage_v = max(voltage_v, VOLTAGE_MARGIN_V_PER_CELL * cells_in_series)
    current_a = max(current_a, CURRENT_MARGIN_OF_RANGE * range_a)
    temperature_c = max((d.temperature_accuracy_c + d.temperature_resolution_c for d in devices), default=0.0)
    return {
        "voltage_v": float(voltage_v),
        "current_a": float(current_a),
        "power_w": float(voltage_v * range_a + current_a * range_v),
        "temperature_c": float(max(temperature_c, TEMPERATURE_MARGIN_C)),
    }


def wider_than(envelope: Envelope, devices: Sequence[DeviceLimits]) -> list[str]:
    """Name each limit that lies outside the unit's own devices', or trips too late for them."""
    problems: list[str] = []
    own = margins(envelope.cells_in_series, devices)
    for quantity in ("voltage_v", "current_a", "power_w"):
        for side in _SIDES:
            device = _devices_bound(quantity, side, devices)
            limit = find(envelope, quantity, side)
            if device is None:
                continue
            if limit is None:
                problems.append(
                    f"{_named(quantity, side)} is missing; "
                    f"{device.source} is {words.amount(quantity, device.value)}"
                )
            elif exceeds(side, limit.operating, device.value):
                problems.append(
                    f"{_named(quantity, side)} of {words.amount(quantity, limit.operating)} is wider than "
                    f"{device.source}, {words.amount(quantity, device.value)}"
                )
    for limit in envelope.limits:
        problems += _late(limit, own.get(limit.quantity))
    return problems


def _late(limit: Limit, margin: float | None) -> list[str]:

    def amount(value: float) -> str:
        return words.amount(limit.quantity, value)

    name = _named(limit.quantity, limit.side)
    trip, outside = amount(limit.trip), abs(limit.trip - limit.operating)
    if exceeds(limit.side, limit.operating, limit.trip):
        return [f"{name} trips at {trip}, inside its operating limit {amount(limit.operating)}"]
    if limit.absolute is not None and exceeds(limit.side, limit.trip, limit.absolute):
        return [f"{name} trips at {trip}, beyond the battery's absolute limit {amount(limit.absolute)}"]
    if margin is not None and outside > margin + 1e-6:
        return [f"{name} trips {amount(outside)} outside; this unit allows {amount(margin)}"]
    return []


_SIDES: tuple[Side, Side] = ("max", "min")
_LIMITS: dict[Side, str] = {"max": "highest", "min": "lowest"}
_FIELDS = {"voltage_v": "voltage_{}_v", "current_a": "current_{}_a", "power_w": "power_{}_w"}


def _named(quantity: str, side: Side) -> str:
    """Return a limit's name: ``largest charge current``, ``lowest voltage of cell 3``."""
    field = _FIELDS.get(quantity)
    return givers.words(field.format(side)) if field else f"{_LIMITS[side]} {words.name(quantity)}"


def _devices_bound(quantity: str, side: Side, devices: Sequence[DeviceLimits]) -> Bound | None:
    """Return what the devices together allow.

    Power devices take turns, so the widest of them counts for current and power (a source and a load);
    their voltages and the ranges of meters all count.
    """
    field = _FIELDS[quantity].format(side)

    def of(device: DeviceLimits) -> Bound | None:
        return bound(getattr(device, field), givers.of_device(device.name, field))

    power = [d for d in devices if d.measures == "power"]
    meters = [of(d) for d in devices if d.measures == "meter"]
    if quantity != "voltage_v":
        return tightest(side, [widest(side, [of(d) for d in power]), *meters])
    cutoffs: list[Bound | None] = []
    if side == "min":
        cutoffs = [bound(d.discharge_cutoff_v, givers.of_device(d.name, CUTOFF)) for d in power]
    return tightest(side, [*(of(d) for d in power), *meters, *cutoffs])


def _resolution(devices: Sequence[DeviceLimits]) -> Resolution:
    measuring = [d for d in devices if d.measures != "none"]
    return Resolution(
        voltage_v=float(max((d.voltage_resolution_v for d in measuring), default=0.0)),
        current_a=float(max((d.current_resolution_a for d in measuring), default=0.0)),
    )


def _of_cells(cells: int, side: Side) -> str:
    own = givers.of_battery(f"cell_voltage_{side}_v")
    return own if cells == 1 else f"{cells} x {own}"


class _Maker:
    """Collect the limits of one experiment and what is wrong with them."""

    def __init__(
        self,
        battery: BatteryLimits,
        devices: Sequence[DeviceLimits],
        station: StationLimits,
        safety: Safety,
    ) -> None:
        self.battery, self.devices, self.station, self.safety = battery, devices, station, safety
        self.problems: list[str] = []
        self.reversal_ah: float | None = None
        self.margins = margins(battery.cells_in_series, devices)
        if battery.cells_in_series < 1:
            self.problems.append("battery cells_in_series must be 1 or more")
        if not any(device.measures == "power" for device in devices):
            self.problems.append("the station has no device that can drive the battery")
        self._refuse_strange_numbers()

    def _refuse_strange_numbers(self) -> None:
        parts: list[tuple[str, object]] = [("battery", self.battery), ("station", self.station)]
        parts += [(f"device {d.name}", d) for d in self.devices] + [("profile safety", self.safety)]
        for name, part in parts:
            for field in part.__struct_fields__:  # type: ignore[attr-defined]
                value = getattr(part, field)
                if isinstance(value, float) and bound(value, "") is None:
                    self.problems.append(f"{name} {field} is not a number")

    def _pair(
        self, quantity: str, sides: dict[Side, list[Bound | None]], *, required: bool = True
    ) -> list[Limit]:
        """Return the tightest maximum and minimum, or note that nothing is left between them."""
        found = {side: tightest(side, bounds) for side, bounds in sides.items()}
        name, unit = quantity.rsplit("_", 1)[0].replace("_", " "), UNITS.get(quantity, "")
        high, low = found.get("max"), found.get("min")
        if required:
            for side, value in (("maximum", high), ("minimum", low)):
                if value is None:
                    self.problems.append(f"{name}: nobody gives a {side}")
        if high and low and not high.value > low.value:
            self.problems.append(
                f"{name}: nothing is left between at least {low.value:g} {unit} ({low.source}) "
                f"and at most {high.value:g} {unit} ({high.source})"
            )
        return [self._limit(quantity, side, value) for side, value in found.items() if value is not None]

    def _limit(self, quantity: str, side: Side, given: Bound, absolute: Bound | None = None) -> Limit:
        margin = self.margins.get(quantity, 0.0)
        trip = given.value + (margin if side == "max" else -margin)
        if absolute is not None:
            if exceeds(side, given.value, absolute.value):
                self.problems.append(
                    f"{words.name(quantity)}: {words.amount(quantity, given.value)} ({given.source}) lies beyond "
                    f"{absolute.source}, {words.amount(quantity, absolute.value)}"
                )
            trip = min(trip, absolute.value) if side == "max" else max(trip, absolute.value)
        # 9 decimals: the sum must not carry binary noise into the contract's text.
        return Limit(
            quantity=quantity,
            side=side,
            operating=given.value,
            trip=round(trip, 9),
            absolute=None if absolute is None else absolute.value,
            delay_s=None if self.safety.delay_s is None else float(self.safety.delay_s),
            source=given.source,
        )

    def voltage(self) -> list[Limit]:
        """Return the voltage limits; a pack without any is refused."""
        sides: dict[Side, list[Bound | None]] = {}
        for side in _SIDES:
            cell = getattr(self.battery, f"cell_voltage_{side}_v")
            pack = getattr(self.battery, f"voltage_{side}_v")
            if cell is None and pack is None:
                self.problems.append(
                    f"voltage: the battery has neither a {_LIMITS[side]} voltage (voltage_{side}_v) "
                    f"nor a {_LIMITS[side]} cell voltage (cell_voltage_{side}_v)"
                )
            cells = self.battery.cells_in_series
            sides[side] = [
                bound(pack, givers.of_battery(f"voltage_{side}_v")),
                bound(None if cell is None else cell * cells, _of_cells(cells, side)),
                _devices_bound("voltage_v", side, self.devices),
                bound(getattr(self.station, f"voltage_{side}_v"), givers.of_station(f"voltage_{side}_v")),
                bound(getattr(self.safety, f"v_{side}_v"), givers.of_profile(f"v_{side}_v")),
            ]
        pair = self._pair("voltage_v", sides, required=False)
        return [self._absolute(limit) for limit in pair]

    def _absolute(self, limit: Limit) -> Limit:
        name = f"voltage_abs_{limit.side}_v"
        absolute = bound(getattr(self.battery, name), givers.of_battery(name))
        given = Bound(value=limit.operating, source=limit.source)
        return self._limit(limit.quantity, limit.side, given, absolute)

    def current(self) -> list[Limit]:
        """Return the current limits, signed."""
        sides: dict[Side, list[Bound | None]] = {}
        for side in _SIDES:
            sides[side] = [
                bound(getattr(self.battery, f"current_{side}_a"), givers.of_battery(f"current_{side}_a")),
                _devices_bound("current_a", side, self.devices),
                bound(getattr(self.station, f"current_{side}_a"), givers.of_station(f"current_{side}_a")),
                bound(getattr(self.safety, f"i_{side}_a"), givers.of_profile(f"i_{side}_a")),
                self._quadrants(side),
            ]
        limits = self._pair("current_a", sides)
        return self._around_zero(limits)

    def _quadrants(self, side: Side) -> Bound | None:
        """Return 0 for the direction in which the station lets no current flow (safety.md rule 14)."""
        only = self.station.quadrants
        if (only, side) in (("charge", "min"), ("discharge", "max")):
            return Bound(value=0.0, source=f"the station only {only}s")
        return None

    def _around_zero(self, limits: list[Limit]) -> list[Limit]:
        """Refuse limits that exclude a rest: discharge limits are negative, charge limits positive."""
        for limit in limits:
            if exceeds("min" if limit.side == "max" else "max", limit.operating, 0.0):
                self.problems.append(
                    f"{words.name(limit.quantity)}: {words.amount(limit.quantity, limit.operating)} ({limit.source}) excludes 0; "
                    "charging is positive, discharging negative"
                )
        return limits

    def power(self) -> list[Limit]:
        """Return the power limits, signed; none at all is allowed."""
        sides: dict[Side, list[Bound | None]] = {}
        for side, sign in (("max", 1.0), ("min", -1.0)):
            station, profile = self.station.power_abs_max_w, self.safety.p_abs_max_w
            key: Side = "max" if side == "max" else "min"
            sides[key] = [
                _devices_bound("power_w", key, self.devices),
                bound(None if station is None else sign * station, givers.of_station("power_abs_max_w")),
                bound(None if profile is None else sign * profile, givers.of_profile("p_abs_max_w")),
                self._quadrants(key),
            ]
        return self._around_zero(self._pair("power_w", sides, required=False))

    def temperature(self) -> list[Limit]:
        """Return the temperature limits, those while charging apart; without a sensor there are none."""
        asked = self.safety.temp_max_c is not None or self.safety.temp_min_c is not None
        if not sensors.cell_temperatures(self.station.measures):
            if asked:
                self.problems.append(
                    "temperature: the profile limits it, but the station has no measure temperature_c"
                )
            return []
        limits = self._temperatures()
        own = limits if sensors.TEMPERATURE in self.station.measures else []
        return own + derived_limits.sensors_too(limits, self.station)

    def _temperatures(self) -> list[Limit]:
        sides: dict[Side, list[Bound | None]] = {}
        for side in _SIDES:
            sides[side] = [
                bound(
                    getattr(self.battery, f"temperature_{side}_c"), givers.of_battery(f"temperature_{side}_c")
                ),
                bound(
                    getattr(self.station, f"temperature_{side}_c"), givers.of_station(f"temperature_{side}_c")
                ),
                bound(getattr(self.safety, f"temp_{side}_c"), givers.of_profile(f"temp_{side}_c")),
            ]
        always = self._pair("temperature_c", sides, required=False)
        for side in _SIDES:
            name = f"charge_temperature_{side}_c"
            sides[side] = [*sides[side], bound(getattr(self.battery, name), givers.of_battery(name))]
        if self.problems:
            return always
        charging = self._pair("temperature_c", sides, required=False)
        known = {(limit.side, limit.operating) for limit in always}
        tighter = [limit for limit in charging if (limit.side, limit.operating) not in known]
        return always + [msgspec.structs.replace(limit, when="charge") for limit in tighter]

    def measures(self) -> list[Limit]:
        """Return the profile's limits on extended measures."""
        limits: list[Limit] = []
        for asked in self.safety.measures:
            if asked.name not in self.station.measures:
                self.problems.append(f"{asked.name}: the station has no such measure")
            elif asked.min is None and asked.max is None and asked.frozen_s is None:
                self.problems.append(f"{asked.name}: give min, max or both")
            elif asked.min is not None and asked.max is not None and not asked.max > asked.min:
                self.problems.append(f"{asked.name}: nothing is left between {asked.min:g} and {asked.max:g}")
            else:
                limits += _measure(asked)
        return limits

    def charge(self) -> list[Limit]:
        """Return the limits on the net charge from the start and on the charge that flows one way.

        The counters have no noise, so there is no margin.
        """
        limits: list[Limit] = []
        given = self.safety.q_abs_max_ah
        if given is not None:
            if not given > 0:
                self.problems.append(
                    "charge: the profile's largest net charge (q_abs_max_ah) must be above 0 Ah"
                )
                return []
            source = Bound(value=float(given), source=givers.of_profile("q_abs_max_ah"))
            limits.append(self._limit("charge_net_abs_ah", "max", source))
        try:
            budget, self.reversal_ah = derived_limits.budget(self.battery, self.safety)
        except derived_limits.NoBudget as error:
            self.problems.append(str(error))
            return limits
        return [*limits, budget]


def _measure(asked: MeasureLimit) -> list[Limit]:
    """Return the limits of one extended measure; its sensor's accuracy is unknown, so no margin."""
    limits: list[Limit] = []
    pairs: tuple[tuple[Side, float | None], ...] = (("max", asked.max), ("min", asked.min))
    for side, value in pairs:
        if value is not None:
            limits.append(
                Limit(
                    quantity=asked.name,
                    side=side,
                    operating=float(value),
                    trip=float(value),
                    delay_s=None if asked.delay_s is None else float(asked.delay_s),
                    frozen_s=None if asked.frozen_s is None else float(asked.frozen_s),
                    when=asked.when,
                    source="the profile's own limit",
                )
            )
    return limits
