"""From a violating reading on a device's wire to the off command on it, by the device's own log.

The simulator writes down when each message came or went: the first answer to the host that shows the
violation, then the first off command. A reading beyond the absolute limit acts alone; one beyond the trip
limit needs two more (safety.md rule 1). Beside it: the bare exchange of the driver, in one process and
behind an owner.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cycler_unit.buses.local import LocalBuses
from cycler_unit.drivers.base import PowerDevice
from cycler_unit.owner.client import OwnedDevice
from tests.cycler_unit.owner_process import OwnerProcess
from tests.stack.waiting import until
from wire import kinds
from wire.messages import StationConfigure

from .bench_unit import (
    ABSOLUTE_V,
    LINKS,
    PACES,
    PERIOD_S,
    TRIP_V,
    UNIT_PRIORITY,
    BenchUnit,
    at_priority,
    pause,
    together,
)
from .figures import Figure, load, percentile, tail

COUNTS = (1, 8)
# Of each kind, for each link and number of stations: what a p99.9 needs.
EVENTS = 1000
# What the device tells, and how many readings in a row the rule asks for.
KINDS = {"beyond absolute": (ABSOLUTE_V - 0.1, 1), "beyond trip": (TRIP_V - 0.1, 3)}
EXCHANGES = 1000


@dataclass
class Found:
    """What the events of one kind were.

    ``device_first``: how often the device's own protection was quicker, which ends a test as the device's
    fault; ``lacking``: why others could not be read from the log.
    """

    device_first: int = 0
    reaction_s: list[float] = field(default_factory=list)
    readings: list[int] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)


def measure(
    folder: Path,
    events: int = EVENTS,
    links: tuple[str, ...] = ("scpi", "can"),
    counts: tuple[int, ...] = COUNTS,
) -> list[Figure]:
    """Measure all links with one and with eight stations."""
    figures: list[Figure] = []
    for link in links:
        exchange_s = 0.0
        for count in counts:
            print(f"reaction: {LINKS[link]}, {count} station(s)", file=sys.stderr, flush=True)
            unit = BenchUnit(folder / f"{link}-{count}", link, count)
            try:
                if not exchange_s:
                    with at_priority(UNIT_PRIORITY):
                        figures += bare(unit)
                    exchange_s = figures[-1].measured / 1000.0
                unit.up()
                figures += reactions(unit, events, exchange_s)
            finally:
                unit.stop()
    return figures


# --- the bare exchange ----------------------------------------------------------------------------------


def bare(unit: BenchUnit) -> list[Figure]:
    """Measure one reading by the driver alone: in this process, then behind an owner."""
    name, place = unit.names[0], unit.place(unit.names[0])
    kind = kinds.get(unit.described[name]["model"])
    local = LocalBuses()
    own = exchanges(local.device(kind, place, name))
    local.stop()
    owner = OwnerProcess()
    try:
        owned = exchanges(OwnedDevice(kind, place, name, owner.connect))
    finally:
        owner.stop()
    label = LINKS[unit.link]
    return [
        *tail(f"{label}: bare exchange behind an owner", owned, note=load()),
        *tail(f"{label}: bare exchange", own, note=load()),
    ]


def exchanges(device: PowerDevice, times: int = EXCHANGES) -> list[float]:
    """Return how long each of some readings took, one each control period."""
    took_s = []
    device.open()
    try:
        for _ in range(times):
            began_s = time.perf_counter()
            device.read()
            took_s.append(time.perf_counter() - began_s)
            time.sleep(max(0.0, PERIOD_S - took_s[-1]))
    finally:
        device.make_safe()
        device.close()
    return took_s


# --- events ---------------------------------------------------------------------------------------------


def reactions(unit: BenchUnit, events: int, exchange_s: float) -> list[Figure]:
    """Let the stations trip again and again, each on its own."""
    figures = []
    for kind, (told_v, readings) in KINDS.items():
        found = Found()
        share = -(-events // unit.count)
        together(
            [
                threading.Thread(target=_guarded, args=(unit, station, told_v, share, found), daemon=True)
                for station in unit.stations
            ]
        )
        assert found.reaction_s, found.lacking
        goal_s = readings * (PERIOD_S + exchange_s)
        used = f"{percentile(found.readings, 50):g} readings, {load()}"
        lacking = f"; {len(found.lacking)} not seen: {found.lacking[0]}" if found.lacking else ""
        if found.device_first:
            lacking += f"; {found.device_first} left out: the device's own protection was first"
        stations = in_words(unit.count)
        figures += tail(
            f"{LINKS[unit.link]}, {stations}, {kind}", found.reaction_s, goal_s, f"{used}{lacking}"
        )
    return figures


def in_words(stations: int) -> str:
    """Return how many stations there are."""
    return "1 station" if stations == 1 else f"{stations} stations"


def _guarded(unit: BenchUnit, station: StationConfigure, told_v: float, times: int, found: Found) -> None:
    waits = random.Random(station.name)
    for _ in range(times):
        try:
            _event(unit, station, told_v, waits, found)
        except AssertionError as error:
            found.lacking.append(str(error))


def _event(
    unit: BenchUnit, station: StationConfigure, told_v: float, waits: random.Random, found: Found
) -> None:
    """Start a test, let its device tell a violation, note what its wire says, acknowledge."""
    message = unit.start(station)
    pause(waits, *PACES[unit.link].waits_s)
    at_s = time.time()
    unit.tells(station.name, told_v)
    alarm = until(lambda: unit.manager.alarms.get(message.experiment), 20, "the alarm", every_s=0.005)
    log = unit.exchanges(station.name, at_s - 0.05)
    unit.mend(station.name)
    unit.acknowledge(station, alarm["id"])
    name = station.name
    if alarm["code"] == "device_fault":
        found.device_first += 1
        return
    try:
        seconds, readings = reaction(
            log, lambda text: unit.voltage(name, text), lambda text: unit.is_off(name, text)
        )
    except AssertionError as error:
        raise AssertionError(f"{error}; the alarm: {alarm['text']}") from None
    found.reaction_s.append(seconds)
    found.readings.append(readings)


def reaction(
    log: list[dict[str, object]], voltage: Callable[[str], float | None], is_off: Callable[[str], bool]
) -> tuple[float, int]:
    """Return seconds from the first violating answer to off, and how many such answers there were."""
    began_s: float | None = None
    readings = 0
    for each in log:
        text, at_s = str(each["text"]), float(str(each["at_s"]))
        if each["to"] == "host":
            told_v = voltage(text)
            if told_v is not None and told_v < TRIP_V:
                began_s = at_s if began_s is None else began_s
                readings += 1
        elif began_s is not None and is_off(text):
            return at_s - began_s, readings
    raise AssertionError("no violating reading with an off command after it in the device's log")
