"""A lease of a station by hand (rule 20): what is connected, within which envelope, and for how long.

It names the loaded battery, whose envelope the site computed, or nothing or another object with typed
voltage, current and duration: device limits alone never suffice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cycler_unit import hand_limits
from cycler_unit.contract import Refusal
from cycler_unit.drivers.base import Target
from cycling import envelope, judge
from cycling.contract import Envelope, EnvelopeError
from wire.messages import LEASE_S, DeviceLease

if TYPE_CHECKING:
    from cycler_unit.station import Station

# Nobody stands beside an improvised set-up for longer than a working day.
LONGEST_S = 8 * 3600.0


@dataclass
class Lease:
    """Who holds the station, until when, and what may flow."""

    id: str
    person: str
    limits: Envelope
    connected: str
    until_s: float
    ends_s: float
    """When the typed duration is over; infinite for a loaded battery."""
    judge: judge.Watch
    began_s: float
    target: Target | None = None


def of(station: Station, args: DeviceLease) -> Lease:
    """Return a new lease with its envelope; raises :class:`Refusal` for what is not named, or cannot be."""
    now_s = time.monotonic()
    if args.connected == "battery":
        limits, connected, ends_s = (
            _of_battery(station, args),
            f"battery {station.watch.name}",
            float("inf"),
        )
    else:
        limits, connected, ends_s = _typed(station, args)
        ends_s += now_s
    watch = judge.Watch(limits)
    return Lease(args.lease, args.person, limits, connected, now_s + LEASE_S, ends_s, watch, now_s)


def _of_battery(station: Station, args: DeviceLease) -> Envelope:
    loaded = station.watch.id
    if loaded is None:
        raise Refusal("no battery is loaded in the station: say what is connected, with its limits", 20)
    if args.battery not in (None, loaded):
        raise Refusal("another battery is loaded in the station", 12)
    if envelope.sha256(args.envelope) != args.envelope_sha256:
        raise Refusal("the envelope is not the one that was agreed: its SHA-256 differs", 2)
    try:
        limits = envelope.parse(args.envelope)
    except EnvelopeError as error:
        raise Refusal(str(error), 2) from None
    if wider := envelope.wider_than(limits, station.conductor.wake.limits()):
        raise Refusal(f"the envelope is wider than this unit's devices: {'; '.join(wider)}", 2)
    return limits


def _typed(station: Station, args: DeviceLease) -> tuple[Envelope, str, float]:
    """Return the envelope of typed limits, what is connected, and the duration in s."""
    if station.watch.id is not None:
        raise Refusal(
            f"battery {station.watch.name} is loaded in the station: control it as that battery", 20
        )
    named = {
        "voltage_min_v": args.voltage_min_v,
        "voltage_max_v": args.voltage_max_v,
        "current_min_a": args.current_min_a,
        "current_max_a": args.current_max_a,
    }
    missing = [name for name, value in named.items() if value is None]
    if missing or args.duration_s is None:
        missing += ["duration_s"] if args.duration_s is None else []
        raise Refusal(f"type {', '.join(missing)}: device limits alone never suffice", 20)
    if not 0.0 < args.duration_s <= LONGEST_S:
        raise Refusal(f"duration_s must be above 0 and at most {LONGEST_S:g} s", 20)
    limits = hand_limits.typed(
        {name: float(value) for name, value in named.items() if value is not None},
        station.conductor.wake.limits(),
        station.power.kind,
    )
    words = f"something with {args.voltage_min_v:g} to {args.voltage_max_v:g} V"
    return limits, words, args.duration_s
