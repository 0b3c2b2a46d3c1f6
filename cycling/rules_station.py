"""Rules of a battery in its station: ways of current, devices left alone, leaks, ranges of outputs.

safety.md rules 3, 14 and 17; they need the station, its devices and the battery.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from cycling.contract import BatteryLimits, DeviceLimits, StationLimits
from cycling.envelope import energy_wh
from cycling.findings import Known
from cycling.numbering import Numbered, number
from cycling.plan import direction, longest_s
from cycling.problem import Problem
from cycling.steps import CC, CCCV, CP, CR, CV, Drive, Profile, Rest, Scan

# safety.md rule 17: a rest may lose this share of the capacity to the station's leak.
DRAIN_OF_CAPACITY = 0.05
Way = Literal["charge", "discharge"]
_WAYS: tuple[Way, Way] = ("charge", "discharge")


def check(known: Known, here: Numbered) -> None:
    """Note what the step may not do in this station."""
    if known.station is None:
        return
    for way in ways(here):
        _quadrant(known, here, way)
        _left_alone(known, here, way)
    if isinstance(here.step, Rest):
        _drains(known, here, here.step)
    for name, value in here.step.outputs.items():
        _in_range(known, here, name, value, f"outputs.{name}")
    if here.step.temperature_c is not None and here.step.__struct_config__.tag not in (
        "wait_for",
        "group",
        "note",
    ):
        _in_range(known, here, "temperature_c", here.step.temperature_c, "temperature_c")


def unguarded(
    profile: Profile, station: StationLimits, devices: Sequence[DeviceLimits], battery: BatteryLimits
) -> list[Problem]:
    """Return the steps whose direction nothing ends when the unit is silent (safety.md rule 3).

    A device that does not bound it, no dead-man output, and a battery that holds more than the station's
    ``unguarded_max_wh``.
    """
    known = Known(
        profile=profile, numbered=number(profile), station=station, devices=devices, battery=battery
    )
    for here in known.numbered:
        for way in ways(here):
            _left_alone(known, here, way)
    return known.errors


def bare_ways(station: StationLimits, devices: Sequence[DeviceLimits], battery: BatteryLimits) -> list[Way]:
    """Return the directions in which this battery must not be left alone in this station (rule 3)."""
    holds_wh = energy_wh(battery)
    if station.dead_man or (holds_wh is not None and holds_wh <= station.unguarded_max_wh):
        return []
    return [way for way in _WAYS if _bare(devices, way)]


def ways(here: Numbered) -> list[Way]:
    """Return the directions in which a step may let current flow."""
    step = here.step
    if isinstance(step, Drive) and step.of != "voltage":
        values = [x * step.scale for _, x in step.points]
        found: list[Way] = ["charge"] if any(x > 0 for x in values) else []
        return [*found, "discharge"] if any(x < 0 for x in values) else found
    if not isinstance(step, (CC, CCCV, CV, CP, CR, Drive, Scan)):
        return []
    sign = direction(step)
    return ["charge"] if sign > 0 else ["discharge"] if sign < 0 else ["charge", "discharge"]


def _only_holds(here: Numbered) -> bool:
    """Say whether the step holds a voltage without saying which way: the station bounds it to its own."""
    return direction(here.step) == 0 and not (isinstance(here.step, Drive) and here.step.of != "voltage")


def _quadrant(known: Known, here: Numbered, way: Way) -> None:
    """Refuse a direction that the station does not have (rule 14)."""
    assert known.station is not None
    only = known.station.quadrants
    if only == "both" or way == only or _only_holds(here):
        return
    known.error(here, "direction", f"It would {way}, but the station can only {only}: take another station.")


def _left_alone(known: Known, here: Numbered, way: Way) -> None:
    """Refuse a direction that no device bounds by itself when the battery holds much (rule 3)."""
    station, battery = known.station, known.battery
    if station is None or battery is None or known.devices is None or station.dead_man:
        return
    if station.quadrants not in ("both", way):
        return
    bare = _bare(known.devices, way)
    if not bare or way not in bare_ways(station, known.devices, battery):
        return
    holds_wh = energy_wh(battery)
    holds = (
        "nobody knows how much the battery holds"
        if holds_wh is None
        else f"the battery holds {holds_wh:g} Wh"
    )
    known.error(
        here,
        "direction",
        f"Left alone, {bare[0]} does not end a {way} by itself and {holds}, more than "
        f"{station.unguarded_max_wh:g} Wh: give the station a dead-man output or take another one.",
    )


def _bare(devices: Sequence[DeviceLimits], way: Way) -> list[str]:
    drives = [d for d in devices if d.measures == "power" and _drives(d, way)]
    return [d.name for d in drives if not getattr(d, f"guards_{way}")]


def _drives(device: object, way: Way) -> bool:
    limit = getattr(device, "current_max_a" if way == "charge" else "current_min_a")
    return limit is None or (limit > 0 if way == "charge" else limit < 0)


def _drains(known: Known, here: Numbered, step: Rest) -> None:
    """Refuse a rest in which the station's leak drains too much (rule 17)."""
    assert known.station is not None
    leak_a = known.station.leak_a
    capacity_ah = known.battery.capacity_ah if known.battery is not None else None
    capacity_ah = capacity_ah or known.capacity()
    if not leak_a or step.isolate or capacity_ah is None:
        return
    times = [end.value for end in step.end if end.quantity == "time_s"]
    longest = min([*times, longest_s(step, known.profile)])
    drained = abs(leak_a) * longest / 3600.0 / capacity_ah
    if drained <= DRAIN_OF_CAPACITY + 1e-9:
        return
    how = "set isolate" if known.station.isolator else "make it shorter, or take a station with an isolator"
    known.error(
        here,
        "isolate",
        f"The station's leak of {leak_a:g} A drains {100 * drained:.3g} % of the capacity in {longest:g} s, "
        f"more than 5 %: {how}.",
    )


def _in_range(known: Known, here: Numbered, name: str, value: float, field: str) -> None:
    assert known.station is not None
    low, high = known.station.output_ranges.get(name, (None, None))
    if (low is not None and value < low - 1e-9) or (high is not None and value > high + 1e-9):
        span = f"{'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'}"
        known.error(here, field, f"The output {name} takes {span}, not {value:g}: change it.")
