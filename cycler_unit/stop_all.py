"""Switch everything off from this computer, with web, manager and broker dead (safety.md rule 18).

A running unit does it itself; without one the devices are opened here, off first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from cycler_unit import catalogue, loopback
from cycler_unit.agent import control_of
from cycler_unit.buses.local import LocalBuses
from cycler_unit.buses.protocol import bus_key, device_key
from cycler_unit.config import Config
from cycler_unit.drivers.base import Device, PowerDevice
from cycler_unit.drivers.errors import DriverError
from cycler_unit.owner import leftovers
from cycler_unit.power import Power
from cycler_unit.stations import StationFolder
from wire.catalogue import Kind


def stop_all(settings: Config) -> int:
    """Switch all off and say so, line by line; returns 0 only when all are confirmed off.

    1. the running unit does it; 2. one that does not answer is ended, which makes the owners of its
    buses switch off and free the ports, and the devices are opened here; 3. what could not be opened
    is asked of the unit once more: its supervisor may have started it again, which holds the ports.
    """
    if (done := _by_unit(settings)) is not None:
        return done
    if leftovers.alive(settings.folder):
        print("the unit does not answer; ending it")
        leftovers.kill(settings.folder)
    failed = _directly(settings)
    if failed and (done := _by_unit(settings)) is not None:
        return done
    return failed


def _by_unit(settings: Config) -> int | None:
    """Let the running unit do it; None when there is none or it does not answer."""
    control = control_of(settings.folder)
    if control is None:
        return None
    try:
        status, body = loopback.ask(control.port, "POST", "/stop-all", control.secret)
    except OSError:
        return None
    answer: dict[str, Any] = msgspec.json.decode(body) if status == 200 else {}
    if answer.get("outcome") is None:
        return None
    names = answer.get("names", {})
    for station, result in ((answer.get("result") or {}).get("stations") or {}).items():
        print(
            f"{names.get(station, station)}: {'off, confirmed' if result.get('off') else 'NOT CONFIRMED OFF'}"
        )
    if answer["outcome"] != "done":
        print(f"NOT ALL CONFIRMED OFF: {answer.get('reason')}")
        return 1
    print("all stations are confirmed off")
    return 0


def _directly(settings: Config) -> int:
    print("switching the devices off directly")
    failed = 0
    buses = LocalBuses()
    try:
        for name, device in _devices(settings, buses):
            text = device if isinstance(device, str) else _off(device)
            failed += bool(text)
            print(f"{name}: {'NOT CONFIRMED OFF: ' + text if text else 'off, confirmed'}")
    finally:
        buses.stop()
    print("NOT ALL CONFIRMED OFF" if failed else "all devices are confirmed off")
    return 1 if failed else 0


def _devices(settings: Config, buses: LocalBuses) -> Iterator[tuple[str, tuple[Kind, Device] | str]]:
    """Yield all devices that this unit could have left on: its stations', then what its links reach.

    A text instead of a device says why it cannot be reached.
    """
    known: set[str] = set()
    # Also what operators and other packages added.
    catalogue.restore(settings.folder / "kinds.json")
    folder = StationFolder(settings.folder / "stations")
    stations = folder.load()
    for station, why in folder.unreadable.items():
        yield (
            f"station {station}",
            f"what the unit kept of it cannot be read, so its devices are unknown: {why}",
        )
    rows = [(kept.configure, each) for kept in stations for each in kept.configure.devices]
    catalogue.learn(each.kind for _, each in rows if each.kind is not None)
    # What moves current first: opening a relay board opens the isolator, which switches at zero current only.
    for configure, each in sorted(rows, key=lambda row: row[1].role != "power"):
        known.add(device_key(each.link))
        kind = _kind(each.model)
        name = f"{configure.name} {each.model}"
        yield name, _made(kind, each.link, name, buses) if kind else f"unknown model {each.model}"
    for kept in stations:
        # What guards a zone stays as it is: it moves no current, and an exhaust may be needed now.
        zone = kept.configure.zone
        known |= {device_key(each.link) for each in (zone.devices if zone is not None else [])}
    for link in settings.links:
        if device_key(link) in known:
            continue
        name = str(link.get("name") or bus_key(link))
        try:
            found = buses.scan(link, lambda done, of, text: None, [])
        except DriverError as error:
            yield name, str(error)
            continue
        for seen in found:
            if device_key(seen.link) in known:
                continue
            kind = _kind(seen.kind)
            label = f"{name} {seen.model or seen.answered}"
            yield label, _made(kind, seen.link, label, buses) if kind else "nobody knows this device"


def _kind(key: str) -> Kind | None:
    with contextlib.suppress(KeyError):
        return catalogue.get(key)
    return None


def _made(kind: Kind, link: dict[str, Any], name: str, buses: LocalBuses) -> tuple[Kind, Device] | str:
    try:
        return kind, buses.device(kind, link, name)
    except DriverError as error:
        return str(error)


def _off(made: tuple[Kind, Device]) -> str:
    """Return why a device is not confirmed off, empty when it is."""
    kind, device = made
    try:
        if isinstance(device, PowerDevice):
            power = Power(device, kind, "")
            power.open()
            result = power.off()
            return "" if result.confirmed else result.text
        device.open()  # makes safe and confirms it
        return ""
    except DriverError as error:
        return str(error)
    finally:
        device.close()
