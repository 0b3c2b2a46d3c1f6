"""Look for devices on all buses, one after the other, and say how far it is.

Which places: the links of the unit's file, and with ``discover`` what this computer lists itself:
serial ports (pyserial) and VISA resources (PyVISA).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from cycler_unit.buses.protocol import Buses, Link, Say, Seen, bus_key, device_key
from cycler_unit.drivers.errors import DriverError

logger = logging.getLogger("cycler_unit.detection")

# Progress of one link, so that a long scan of one bus moves the bar too.
STEPS = 100
# Buses asked at the same time.
AT_ONCE = 8


def quiet(done: int, of: int, text: str) -> None:
    """Tell nobody."""


@dataclass
class Place:
    """What came of asking at one link."""

    link: dict[str, Any]
    outcome: Literal["ok", "busy", "failed"]
    seen: list[Seen] = field(default_factory=list)
    reason: str = ""


def serial_ports() -> list[dict[str, Any]]:
    """Return this computer's serial ports as links."""
    from serial.tools import list_ports  # on use: a unit without serial devices does not need it

    return [
        {"kind": "serial", "port": port.device}
        for port in sorted(list_ports.comports(), key=lambda p: str(p.device))
    ]


def visa_resources() -> list[dict[str, Any]]:
    """Return the VISA resources that the default backend lists; serial ones are ``serial_ports``'."""
    from cycler_unit.buses import visa

    names = visa.resources()
    return [{"kind": "visa", "resource": name} for name in names if not name.upper().startswith("ASRL")]


LISTS: dict[str, Callable[[], list[dict[str, Any]]]] = {"serial": serial_ports, "visa": visa_resources}


class Bar:
    """Progress of all links together; it never goes back."""

    def __init__(self, say: Say, count: int) -> None:
        self._say, self._of = say, count * STEPS
        self._done = [0] * count
        self._lock = threading.Lock()

    def of(self, index: int, name: str) -> Say:
        """Return what one link tells its own progress to."""

        def step(done: int, of: int, text: str) -> None:
            with self._lock:
                self._done[index] = max(self._done[index], STEPS * done // max(1, of))
                self._say(min(sum(self._done), self._of - 1), self._of, f"{name}: {text}")

        return step

    def end(self, text: str) -> None:
        """Say that it is over."""
        self._say(self._of, self._of, text)


class Detection:
    """Scans; no bus sees more than its own questions."""

    def __init__(self, links: list[dict[str, Any]], buses: Buses, discover: tuple[str, ...] = ()) -> None:
        self._links, self._buses, self._discover = links, buses, discover
        self._listed: list[dict[str, Any]] = []

    def links(self) -> list[dict[str, Any]]:
        """Return the links of the unit's file and what this computer listed last."""
        return [*self._links, *self._listed]

    def run(
        self,
        say: Say,
        busy: Callable[[Link], list[dict[str, Any]]],
        only: set[str],
        take: Callable[[Place], None],
    ) -> list[Place]:
        """Ask at each link, hand each outcome to ``take`` and return them in the links' order.

        Buses are asked beside each other, the links of one bus one after the other. A place that is in
        use is not asked; on a bus of several devices only the free ones are.
        """
        self._list()
        links = [link for link in self.links() if not only or only & set(names(link))]
        buses: dict[str, list[int]] = {}
        for index, link in enumerate(links):
            buses.setdefault(bus_key(link), []).append(index)
        bar = Bar(say, len(links))
        places: dict[int, Place] = {}

        def ask(indices: list[int]) -> None:
            for index in indices:
                step = bar.of(index, names(links[index])[0])
                step(0, 1, "asking")
                places[index] = self._ask(links[index], step, busy(links[index]))
                take(places[index])
                step(1, 1, places[index].outcome)

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="detect") as pool:
            for asked in [pool.submit(ask, indices) for indices in buses.values()]:
                asked.result()
        bar.end(f"{len(links)} links asked")
        return [places[index] for index in sorted(places)]

    def _ask(self, link: dict[str, Any], say: Say, busy: list[dict[str, Any]]) -> Place:
        here = [each for each in busy if bus_key(each) == bus_key(link)]
        # A text line is in use as a whole, also when only one output of its instrument is.
        whole = link.get("kind") in ("visa", "serial")
        if any(whole or device_key(each) == device_key(link) for each in here):
            return Place(link, "busy", reason="a device is in use here")
        try:
            return Place(link, "ok", self._buses.scan(link, say, here))
        except DriverError as error:
            logger.warning("event=device_missing link='%s' reason='%s'", names(link)[0], error)
            return Place(link, "failed", reason=str(error))
        except Exception as error:
            # Whatever a driver does: a starting unit makes the devices of all other links safe.
            logger.exception("event=scan_failed link='%s'", names(link)[0])
            return Place(link, "failed", reason=f"the program failed: {type(error).__name__}: {error}")

    def _list(self) -> None:
        """Ask this computer for its ports; what the unit's file names already is not listed twice."""
        known = {alias for link in self._links for alias in _same(link)}
        found = []
        for what in self._discover:
            try:
                listed = LISTS[what]()
            except (ImportError, OSError, DriverError) as error:
                logger.warning("event=ports_not_listed what=%s reason='%s'", what, error)
                continue
            found += [link for link in listed if not known & _same(link)]
        self._listed = found


def name_of(link: Link) -> str:
    """Return a link as a person writes it; a device on a bus adds its address there."""
    base = link.get("name") or (_can_bus(link) if link.get("kind") == "can" else None)
    base = base or link.get("resource") or link.get("port") or link.get("url")
    if not base:
        base = ":".join(str(link[key]) for key in ("kind", "host", "address") if key in link)
    where = [
        f"{key} {_number(key, link[key])}" for key in ("node", "unit", "slot", "channel_no") if key in link
    ]
    return " ".join([str(base), *(where if link.get("kind") in ("can", "caen", "modbus") else ())])


def _can_bus(link: Link) -> str:
    """Return what a CAN bus without a name is called: ``CAN can0``, ``CAN 239.74.163.2:43113``."""
    place = str(link.get("channel", link.get("interface", "")))
    return " ".join(["CAN", f"{place}:{link['port']}" if "port" in link else place]).strip()


def _number(key: str, value: object) -> str:
    return f"0x{value:02X}" if key == "node" and isinstance(value, int) else str(value)


def names(link: Link) -> list[str]:
    """Return what a person may call a link, the plainest first."""
    return [name_of(link), bus_key(link)]


def _same(link: Link) -> set[str]:
    """Return all ways to say the same port: ``ASRL/dev/ttyUSB0::INSTR`` is the port ``/dev/ttyUSB0``."""
    found = {bus_key(link)}
    resource = str(link.get("resource", ""))
    if resource.upper().startswith("ASRL"):
        found.add(f"serial:{resource[4:].split('::')[0]}")
    # A port may be named by a link that survives being plugged in elsewhere: /dev/serial/by-id/...
    found |= {f"serial:{os.path.realpath(each[7:])}" for each in found if each.startswith("serial:/")}
    return found
