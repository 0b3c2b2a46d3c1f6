"""Switch everything off from this computer, with web, manager and broker dead (safety.md rule 18).

A running unit does it itself; without one the devices are opened here, off first.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cycler_unit import devices, loopback
from cycler_unit.agent import Control, control_of
from cycler_unit.config import Config
from cycler_unit.drivers.errors import DriverError
from cycler_unit.power import Power
from cycler_unit.stations import StationFolder
from wire import kinds
from wire.catalogue import Kind


def stop_all(settings: Config) -> int:
    """Switch all off and say so, line by line; returns 0 only when all are confirmed off."""
    control = control_of(settings.folder)
    if control is not None:
        try:
            return _by_unit(control)
        except OSError:
            print("the unit does not answer; switching the devices off directly")
    return _directly(settings)


def _by_unit(control: Control) -> int:
    status, body = loopback.ask(control.port, "POST", "/stop-all", control.secret)
    answer: dict[str, Any] = msgspec.json.decode(body) if status == 200 else {}
    if answer.get("outcome") is None:
        raise OSError(f"status {status}")
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
    failed = 0
    for name, kind, link in _devices(settings):
        try:
            text = _off(name, kind, link)
        except DriverError as error:
            text = str(error)
        failed += bool(text)
        print(f"{name}: {'NOT CONFIRMED OFF: ' + text if text else 'off, confirmed'}")
    print("NOT ALL CONFIRMED OFF" if failed else "all devices are confirmed off")
    return 1 if failed else 0


def _devices(settings: Config) -> list[tuple[str, Kind | None, dict[str, Any]]]:
    """Return all power devices that this unit could have left on: its stations', then its links'."""
    found: dict[str, tuple[str, Kind | None, dict[str, Any]]] = {}
    for kept in StationFolder(settings.folder / "stations").load():
        for device in kept.configure.devices:
            if device.role == "power":
                kind = next((each for each in kinds.KINDS if each.key == device.model), None)
                found[devices.name_of(device.link)] = (
                    f"{kept.configure.name} {device.model}",
                    kind,
                    device.link,
                )
    for link in settings.links:
        found.setdefault(devices.name_of(link), (devices.name_of(link), None, link))
    return list(found.values())


def _off(name: str, kind: Kind | None, link: dict[str, Any]) -> str:
    """Return why a device is not confirmed off, empty when it is; raises the errors of drivers."""
    if kind is None:
        identity = devices.identify(link)
        kind = kinds.match(
            ", ".join((identity.maker, identity.model, identity.serial_number, identity.firmware))
        )
        if kind is None:
            return f"unknown device {identity.model}"
    power = Power(devices.make(kind, link, name), kind, "")
    try:
        power.open()
        result = power.off()
        return "" if result.confirmed else result.text
    finally:
        power.close()
