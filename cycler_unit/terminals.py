"""Judge what is read while the output is on to bring the terminals to the cell's voltage (rule 5, ADR 7).

The isolator is still open then, so the station's own reading shows the cell's side or nothing. Here the
power device's own terminals are judged instead, and what monitors and sensors say of the battery.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from cycler_unit.drivers.errors import DeviceRefused
from cycling.contract import Envelope
from cycling.derived_limits import DERIVED
from cycling.judge import Watch
from cycling.sensors import TEMPERATURE

if TYPE_CHECKING:
    from cycler_unit.station import Station


class Terminals:
    """Read and judge for one closing of a switch; used by the station's thread only."""

    def __init__(self, station: Station, name: str) -> None:
        self._station, self._name = station, name
        limits = limits_now(station)
        self._watch = Watch(_what_counts(limits, station)) if limits is not None else None

    def read(self) -> None:
        """Read all devices and judge; a violation is off first, then the trip, then ``DeviceRefused``."""
        station = self._station
        taken = station.read()
        if self._watch is None:
            return
        own = station.measured.get(station.power_device.device)
        volts, amperes = (own.voltage_v, own.current_a) if own is not None else (None, None)
        seen = replace(taken, voltage_v=volts, current_a=amperes, power_w=None, isolated=False)
        reason = self._watch.judge(seen.reading(taken.taken_s, station.power.output_on))
        if reason is None:
            return
        text = f"while the {self._name} was to close: {reason.text}"
        station.trip(
            reason.code, text, quantity=reason.quantity, limit=reason.limit, measured=reason.measured
        )
        raise DeviceRefused(text)


def limits_now(station: Station) -> Envelope | None:
    """Return the limits that hold now: the test's, the person's, the loaded battery's; None without any."""
    run, lease = station.conductor.run, station.by_hand.lease
    if run is not None:
        return run.contract.envelope
    return lease.limits if lease is not None else station.watch.limits


def _what_counts(limits: Envelope, station: Station) -> Envelope:
    """Leave out the lowest voltage, from below which the terminals come, and what no device has said yet.

    A monitor that was just found is waited for by the check at rest; falling silent from here on counts.
    """
    taken = station.taken
    seen = {} if taken is None else {TEMPERATURE: taken.temperature_c, **taken.extended}
    kept = [
        limit
        for limit in limits.limits
        if (limit.quantity, limit.side) != ("voltage_v", "min")
        and limit.quantity not in DERIVED
        and seen.get(limit.quantity, 0.0) is not None
    ]
    return msgspec.structs.replace(limits, limits=tuple(kept))


__all__ = ["Terminals", "limits_now"]
