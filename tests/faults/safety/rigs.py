"""One rig per power device: its simulated bench, its station, and what off looks like on its wire."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from cycling.envelope import BatteryLimits
from tests.cycler_unit.lab import key_of
from tests.stack.simulated import MODEL
from tests.stack.waiting import free_port
from wire.messages import StationMeasure, StationOutput

Way = Literal["charge", "discharge"]

COUPLER = "modbus-io-coupler"
# Small enough that a day empties or overfills it many times, large enough for currents that every device
# resolves: the load of 170 A calls everything below 0.35 A off.
CELL = {"chemistry": "NMC", "capacity_ah": 0.5, "r0_ohm": 0.08, "soc": 0.5, "temperature_c": 25.0}
LIMITS = BatteryLimits(
    voltage_min_v=2.8, voltage_max_v=4.3, current_min_a=-2.0, current_max_a=2.0, capacity_ah=0.5,
    energy_wh=1.8, temperature_max_c=50.0, temperature_min_c=0.0, temperature_slope_max_k_min=100.0,
)  # fmt: skip
CURRENT_A = {"charge": 1.0, "discharge": -1.0}


@dataclass(frozen=True)
class Rig:
    """A station of one power device, or of a source and a load; ``acts``: who acts which way."""

    name: str
    devices: tuple[dict[str, Any], ...]
    acts: dict[Way, str]
    roles: dict[str, str] = field(default_factory=dict)
    off: dict[str, str] = field(default_factory=dict)
    """What switches each power device off on its wire, as a regular expression."""
    quiet: str = r"\?$"
    """What only asks, as a regular expression."""
    where: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What is added to the bus's link to reach one device."""
    measures: tuple[StationMeasure, ...] = ()
    dead_man: bool = False
    sensor: bool = False
    """Whether the cell's temperature is measured."""
    frozen: bool = False
    """Whether equal readings can mean a frozen converter (catalogue: ``frozen_s``, or the driver counts)."""

    @property
    def ways(self) -> tuple[Way, ...]:
        """Return the directions that it can go."""
        return tuple(self.acts)

    @property
    def quadrants(self) -> str:
        """Return the same as a station declares it."""
        return self.ways[0] if len(self.acts) == 1 else "both"

    def power(self) -> list[str]:
        """Return the names of its power devices."""
        return [name for name, role in self.roles.items() if role == "power"]

    def outputs(self) -> list[StationOutput]:
        """Return the station's auxiliary outputs."""
        if not self.dead_man:
            return []
        return [
            StationOutput(name="dog", device=key_of("dog"), control="dead_man", on_trip=0.0, on_finish=0.0)
        ]

    def is_off(self, device: str, message: str) -> bool:
        """Say whether a message on the wire switches a device off."""
        return re.search(self.off[device], message) is not None

    def asks(self, message: str) -> bool:
        """Say whether a message only asks."""
        return re.search(self.quiet, message) is not None


def text_device(name: str, model: str, **more: Any) -> dict[str, Any]:
    """Return a device on a TCP port of its own, on the rig's cell."""
    # A serial number belongs to one device of a unit.
    serial = str(2538170000 + sum(name.encode()))
    return {"name": name, "model": model, "circuit": "cell", "port": 0, "serial_number": serial, **more}


DOG = {"name": "dog", "model": COUPLER, "circuit": "cell", "isolators": ["dead_man"]}


def can_place() -> dict[str, Any]:
    """Return a CAN bus of this rig alone, which never leaves this computer."""
    return {"interface": "udp_multicast", "channel": "239.74.163.2", "port": free_port(), "circuit": "cell"}


def psb() -> Rig:
    """A bidirectional supply."""
    return Rig(
        "psb", (text_device("psb", MODEL),), {"charge": "psb", "discharge": "psb"}, {"psb": "power"},
        {"psb": r"^OUTP OFF$"}, frozen=True,
    )  # fmt: skip


def ps_kel103() -> Rig:
    """A source, and a load that does not end a discharge by itself, behind a dead-man output."""
    return Rig(
        "ps+kel103",
        (text_device("ps", "ea-ps-2084-05-b"), text_device("kel", "rs-pro-kel103"), DOG),
        {"charge": "ps", "discharge": "kel"},
        {"ps": "power", "kel": "power", "dog": "auxiliary"},
        {"ps": r"^OUTP OFF$", "kel": r"^:INP 0$"}, dead_man=True,
    )  # fmt: skip


def ps_el() -> Rig:
    """A source and a load of the same maker."""
    return Rig(
        "ps+el",
        (text_device("ps", "ea-ps-2084-05-b"), text_device("el", "ea-el-9080-170-b")),
        {"charge": "ps", "discharge": "el"}, {"ps": "power", "el": "power"},
        {"ps": r"^OUTP OFF$", "el": r"^INP OFF$"},
    )  # fmt: skip


def ps2384() -> Rig:
    """The second output of a supply with two."""
    device = text_device("ps2", "ea-ps-2384-05-b", circuit="spare", circuit2="cell")
    return Rig(
        "ps2384", (device,), {"charge": "ps2"}, {"ps2": "power"}, {"ps2": r"^OUTP OFF \(@2\)$"},
        quiet=r"\?( \(@2\))?$", where={"ps2": {"channel_no": 2}},
    )  # fmt: skip


def epc() -> Rig:
    """A regenerative cycler with a cell monitor on one CAN bus."""
    place = can_place()
    return Rig(
        "epc",
        (
            {"name": "epc", "model": "epc", "node": 0x13, "serial_number": 42, **place},
            {"name": "bms", "model": "bms-plak", "unit": 1, "period_s": 0.2, "spread_mv": 0, **place},
        ),
        {"charge": "epc", "discharge": "epc"}, {"epc": "power", "bms": "bms"},
        {"epc": r"^130 08 00 00 00 00 00 00 00$"}, quiet=r"^13[1-9A-F] ",
        where={"epc": {"node": 0x13}, "bms": {"unit": 1}}, sensor=True, frozen=True,
        measures=(
            StationMeasure(device=key_of("epc"), measure="anode_c", name="temperature_c"),
            StationMeasure(device=key_of("bms"), measure="vcell1_v", name="vcell1_v"),
            StationMeasure(device=key_of("bms"), measure="temp1_c", name="temp1_c"),
        ),
    )  # fmt: skip


def kel103() -> Rig:
    """The load alone, behind a dead-man output."""
    return Rig(
        "kel103", (text_device("kel", "rs-pro-kel103"), DOG), {"discharge": "kel"},
        {"kel": "power", "dog": "auxiliary"}, {"kel": r"^:INP 0$"}, dead_man=True,
    )  # fmt: skip


def el() -> Rig:
    """The load that ends a discharge by itself, alone."""
    device = text_device("el", "ea-el-9080-170-b")
    return Rig("el", (device,), {"discharge": "el"}, {"el": "power"}, {"el": r"^INP OFF$"})


def psb60() -> Rig:
    """A bidirectional supply of the bench: 60 A where the simulated one has 5, and coarser steps."""
    return Rig(
        "psb60", (text_device("psb", "ea-psb-10060-60"),), {"charge": "psb", "discharge": "psb"}, {"psb": "power"},
        {"psb": r"^OUTP OFF$"},
    )  # fmt: skip


RIGS = {
    "psb": psb, "ps+kel103": ps_kel103, "ps+el": ps_el, "ps2384": ps2384, "epc": epc, "kel103": kel103, "el": el,
    "psb60": psb60,
}  # fmt: skip
# Rows of the catalogue that differ from one with a rig in their ranges alone.
LIKE = {"ea-psb-10060-120": "ea-psb-10060-60", "ea-psb-10200-25": "ea-psb-10060-60"}
WAYS: dict[str, tuple[Way, ...]] = {name: make().ways for name, make in RIGS.items()}
ACTING = [(name, way) for name, ways in WAYS.items() for way in ways]
