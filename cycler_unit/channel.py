"""A source and a load as one bidirectional power device (safety.md rule 14).

Never on together; another direction is off, measured off, then on. Both are read in each period and
the signed sum of their currents is the cell's. The source must see the cell (sense leads, no series
diode): at rest both voltages have to agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from cycler_unit.drivers.base import Exchange, Identity, Measured, PowerDevice, Protections, Target
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DriverError
from cycler_unit.power import DEFAULT_OFF, Power, direction
from wire.catalogue import Kind


@dataclass
class Part:
    """One half: its own power device with what it measured last."""

    power: Power
    measured: Measured | None = None

    @property
    def device(self) -> PowerDevice:
        """Return the driver."""
        return self.power.device


class Channel(PowerDevice):
    """Source and load in turns, used like any power device."""

    kind = "channel"

    def __init__(self, source: Power, load: Power) -> None:
        super().__init__({}, name=f"{source.device.name} + {load.device.name}")
        self.source, self.load = Part(source), Part(load)
        self.identities: list[Identity] = []
        self._active: Part | None = None
        """The half that may be on; None after both were made safe."""

    @property
    def parts(self) -> tuple[Part, Part]:
        """Return both halves."""
        return self.source, self.load

    # --- opening and closing ----------------------------------------------------------------------

    def open(self) -> Identity:
        """Open both, each with off as the first thing sent; both are off, or it raises."""
        found, errors = [], []
        for part in self.parts:
            try:
                found.append(part.power.open())
            except DriverError as error:
                errors.append(error)  # the other one is switched off all the same
        if errors:
            self.close()
            raise errors[0]
        self._active = None
        self.identities = found
        return found[0]

    def close(self) -> None:
        """Disconnect both; safe twice."""
        for part in self.parts:
            part.power.close()

    # --- output -----------------------------------------------------------------------------------

    def make_safe(self) -> None:
        """Switch both off, the one that may be on first; the second also when the first one fails."""
        first = self._active or self.source
        second = self.load if first is self.source else self.source
        errors = [error for part in (first, second) if (error := _try(part.device.make_safe)) is not None]
        if errors:
            # A lost half says more than one that refuses.
            raise next((each for each in errors if isinstance(each, DeviceLost)), errors[0])
        self._active = None

    def output_is_on(self) -> bool:
        """Say whether either of them is on."""
        return self.source.device.output_is_on() or self.load.device.output_is_on()

    def apply(self, target: Target) -> None:
        """Let the half of the target's direction act; the other one is off and measured off before."""
        if target.mode == "off":
            self.make_safe()
            return
        wanted = self._half(target)
        other = self.load if wanted is self.source else self.source
        if self._active is not wanted:
            result = other.power.off()
            if not result.confirmed:
                raise DeviceFault(
                    f"{other.device.name} is not off, so {wanted.device.name} stays off: {result.text}"
                )
            self._active = wanted
        wanted.power.apply(_one_way(target, charge=wanted is self.source))

    def _half(self, target: Target) -> Part:
        way = direction(target)
        if way == "both":
            # A held voltage: whoever brings the cell there. The other way no current is needed.
            voltage_v = (self.load.measured or self.load.device.read()).voltage_v
            if voltage_v is None:
                raise DeviceFault(f"{self.load.device.name} measures no voltage to choose a direction by")
            way = "charge" if (target.voltage_v or 0.0) >= voltage_v else "discharge"
        return self.source if way == "charge" else self.load

    # --- readings ---------------------------------------------------------------------------------

    def read(self) -> Measured:
        """Read both; the voltage is that of the one that acts, at rest the load's."""
        source = self.source.measured = self.source.device.read()
        load = self.load.measured = self.load.device.read()
        main = source if self._active is self.source else load
        current_a, power_w = _sum(source.current_a, load.current_a), _sum(source.power_w, load.power_w)
        return replace(
            main, current_a=current_a, power_w=power_w, began_s=min(source.began_s, load.began_s), extended={}
        )

    # --- protections, faults ----------------------------------------------------------------------

    def protect(self, protections: Protections) -> Protections:
        """Write each half's own; the floor is the load's, the ceiling the source's."""
        charge = self.source.device.protect(
            replace(protections, voltage_min_v=None, discharge_current_max_a=None)
        )
        discharge = self.load.device.protect(replace(protections, charge_current_max_a=None))
        return Protections(
            voltage_max_v=charge.voltage_max_v,
            voltage_min_v=discharge.voltage_min_v,
            charge_current_max_a=charge.charge_current_max_a,
            discharge_current_max_a=discharge.discharge_current_max_a,
            power_max_w=charge.power_max_w,
        )

    def fault(self) -> str | None:
        """Return the first error of either, with its name."""
        return self._first(lambda part: part.device.fault())

    def unasked(self) -> str | None:
        """Return what nobody asked of either; a half that is not to act must be off."""

        def look(part: Part) -> str | None:
            if part is self._active:
                return part.device.unasked()
            return "its output is on" if part.device.output_is_on() else None

        return self._first(look)

    def _first(self, ask: Callable[[Part], str | None]) -> str | None:
        for part in self.parts:
            if (said := ask(part)) is not None:
                return f"{part.device.name}: {said}"
        return None

    def exchanges(self) -> list[Exchange]:
        """Return both halves' last exchanges by their time."""
        return sorted(
            [*self.source.device.exchanges(), *self.load.device.exchanges()], key=lambda each: each.at_s
        )


class ChannelPower(Power):
    """The power device of a station with source and load: off means that each of them is off."""

    def __init__(self, source: Power, load: Power, quadrants: str = "both") -> None:
        self.channel = Channel(source, load)
        super().__init__(self.channel, combined(source.kind, load.kind), "", quadrants)

    def flowing_a(self, measured: Measured) -> float | None:
        """Return the larger of both currents: two that cancel out are not off."""
        found = [part.measured.current_a if part.measured else None for part in self.channel.parts]
        known = [each for each in found if each is not None]
        return max(known, key=abs) if len(known) == len(found) else None

    def _step(self, name: str) -> float:
        # Either half may hold it, and the coarser one rounds outwards by its own step.
        return max(part.power._step(name) for part in self.channel.parts)

    def devices(self) -> list[PowerDevice]:
        """Return source and load."""
        return [part.device for part in self.channel.parts]

    def parts(self, measured: Measured) -> list[Measured | None]:
        """Return what source and load measured in the last reading."""
        return [part.measured for part in self.channel.parts]


def combined(source: Kind, load: Kind) -> Kind:
    """Return source and load as one kind: what each of them guards, the larger bound of what is off."""
    first, second = source.off or DEFAULT_OFF, load.off or DEFAULT_OFF
    off = msgspec.structs.replace(
        second,
        command=f"{first.command}; {second.command}",
        i_off_a=max(first.i_off_a, second.i_off_a),
        t_off_s=max(first.t_off_s, second.t_off_s),
        stays_connected="; ".join(each for each in (first.stays_connected, second.stays_connected) if each),
        high_cutoff=first.high_cutoff,
        guards_charge=first.guards_charge,
        # A load that dies on is as unguarded as the one half that has no timeout.
        communication_timeout_s=_longest(first.communication_timeout_s, second.communication_timeout_s),
    )
    return msgspec.structs.replace(
        load,
        key=f"{source.key}+{load.key}",
        label=f"{source.label} + {load.label}",
        current_max_a=source.current_max_a,
        power_max_w=source.power_max_w,
        voltage_min_v=max(source.voltage_min_v or 0.0, load.voltage_min_v or 0.0),
        voltage_max_v=min(
            (each for each in (source.voltage_max_v, load.voltage_max_v) if each is not None), default=None
        ),
        off=off,
    )


def halves(kinds: list[Kind]) -> tuple[int, int] | None:
    """Return which of two power devices is the source and which the load; None when they are not that."""
    sources = [i for i, kind in enumerate(kinds) if not (kind.current_min_a or 0.0) < 0.0]
    loads = [i for i, kind in enumerate(kinds) if not (kind.current_max_a or 0.0) > 0.0]
    if len(kinds) != 2 or len(sources) != 1 or len(loads) != 1 or sources == loads:
        return None
    return sources[0], loads[0]


def _one_way(target: Target, *, charge: bool) -> Target:
    """Return the target without the other direction, which this half does not have."""
    if charge:
        return replace(target, direction="charge", discharge_current_max_a=0.0)
    return replace(target, direction="discharge", charge_current_max_a=0.0)


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def _longest(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else max(first, second)


def _try(work: Callable[[], None]) -> DriverError | None:
    try:
        work()
    except DriverError as error:
        return error
    return None


__all__ = ["Channel", "ChannelPower", "combined", "halves"]
