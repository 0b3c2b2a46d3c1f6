"""Find devices: open the links of the unit's file, ask who is there, match the catalogue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from cycler_unit import drivers
from cycler_unit.clock import iso
from cycler_unit.drivers.base import Identity, PowerDevice
from cycler_unit.drivers.errors import DriverError
from wire import kinds
from wire.catalogue import Kind
from wire.messages import DeviceReport, ReportedDevice, StationDevice

logger = logging.getLogger("cycler_unit.devices")

Identify = Callable[[dict[str, Any]], Identity]


def identify(link: dict[str, Any]) -> Identity:
    """Ask who is at a link; raises the errors of drivers."""
    from cycler_unit.buses import visa  # on use: PyVISA is large, and a unit without it may have other links

    return visa.identify(link)


def name_of(link: dict[str, Any]) -> str:
    """Return a link as a person writes it."""
    return str(link.get("name") or link.get("resource") or link.get("port") or link.get("kind"))


def make(kind: Kind, link: dict[str, Any], name: str) -> PowerDevice:
    """Return the driver of a device, not opened; raises the errors of drivers."""
    device: PowerDevice = drivers.load(kind.driver)({**kind.link_settings, **link}, name=name)
    return device


@dataclass
class Found:
    """A device as it was seen last."""

    kind: Kind | None
    identity: Identity | None
    link: dict[str, Any]
    connected: bool
    detail: str = ""


class Devices:
    """All devices of this unit. Links that a station holds open are never touched by a scan."""

    def __init__(self, links: list[dict[str, Any]], identify: Identify = identify) -> None:
        self._links = links
        self._identify = identify
        self._found: dict[str, Found] = {}
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._scanning = threading.Lock()
        self.scanned_at = iso(time.time())

    # --- what stations do with them -------------------------------------------------------------

    def link_of(self, device: StationDevice) -> dict[str, Any]:
        """Return where this device was seen last: a serial port's name may have changed."""
        with self._lock:
            for found in self._found.values():
                if not found.connected or found.kind is None or found.identity is None:
                    continue
                if (found.kind.key, found.identity.serial_number) == (device.model, device.serial_number):
                    return found.link
        return device.link

    def hold(self, link: dict[str, Any]) -> None:
        """Keep scans off this link."""
        with self._lock:
            self._held.add(_key(link))

    def release(self, link: dict[str, Any]) -> None:
        """Let scans use this link again."""
        with self._lock:
            self._held.discard(_key(link))

    def seen(self, link: dict[str, Any], kind: Kind, identity: Identity) -> None:
        """Note that a station reached its device."""
        with self._lock:
            self._found[_key(link)] = Found(kind, identity, link, True)

    def missed(self, link: dict[str, Any], why: str) -> None:
        """Note that a station lost its device."""
        with self._lock:
            if found := self._found.get(_key(link)):
                found.connected, found.detail = False, why

    # --- scanning -------------------------------------------------------------------------------

    def scan(self, *, make_safe: bool) -> DeviceReport:
        """Ask at every free link; with ``make_safe`` each device of a known model is switched off too.

        That is what a starting unit does: it cannot know what it left on (safety.md rule 10).
        """
        with self._scanning:
            for link in self._links:
                with self._lock:
                    held = _key(link) in self._held
                if not held:
                    found = self._ask(link, make_safe)
                    with self._lock:
                        if _key(link) not in self._held:
                            self._found[_key(link)] = found
            self.scanned_at = iso(time.time())
        return self.report()

    def _ask(self, link: dict[str, Any], make_safe: bool) -> Found:
        before = self._found.get(_key(link))
        try:
            identity = self._identify(link)
        except DriverError as error:
            logger.warning("event=device_missing link='%s' reason='%s'", name_of(link), error)
            if before and before.identity:
                return Found(before.kind, before.identity, link, False, str(error))
            return Found(None, None, link, False, str(error))
        text = ", ".join((identity.maker, identity.model, identity.serial_number, identity.firmware))
        kind = kinds.match(text)
        if kind is None:
            logger.warning("event=device_unknown link='%s' identity='%s'", name_of(link), text)
            return Found(None, identity, link, True, f"no catalogue entry fits: {text}")
        logger.info(
            "event=device_found link='%s' model=%s serial=%s", name_of(link), kind.key, identity.serial_number
        )
        return Found(kind, identity, link, True, self._switch_off(kind, link) if make_safe else "")

    def _switch_off(self, kind: Kind, link: dict[str, Any]) -> str:
        try:
            device = make(kind, link, name_of(link))
            try:
                device.open()  # sends off first and confirms it
            finally:
                device.close()
        except DriverError as error:
            logger.error("event=off_not_confirmed link='%s' reason='%s'", name_of(link), error)
            return f"not confirmed off: {error}"
        return ""

    def report(self) -> DeviceReport:
        """Return what is known of all devices, for the site."""
        with self._lock:
            devices = [
                ReportedDevice(
                    model=found.kind.key if found.kind else found.identity.model,
                    serial_number=found.identity.serial_number,
                    link_name=name_of(found.link),
                    connected=found.connected,
                    detail=found.detail,
                    link=found.link,
                )
                for found in self._found.values()
                if found.identity is not None
            ]
            rows = {
                found.kind.key: msgspec.to_builtins(found.kind)
                for found in self._found.values()
                if found.kind
            }
        return DeviceReport(scanned_at=self.scanned_at, devices=devices, kinds=list(rows.values()))


def _key(link: dict[str, Any]) -> str:
    """Two descriptions of the same place are one link: its resource, port or channel."""
    place = {name: link[name] for name in ("kind", "resource", "port", "channel", "node") if name in link}
    return msgspec.json.encode(place, order="sorted").decode()
