"""What all stations of a unit share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cycler_unit.buses.local import LocalBuses
from cycler_unit.buses.protocol import Buses
from cycler_unit.config import Config
from cycler_unit.devices import Devices
from cycler_unit.guards import Stores
from cycler_unit.spool import Spool
from cycler_unit.stations import StationFolder
from cycler_unit.zones import Zones


@dataclass
class Hub:
    """The unit's parts that a station needs; nothing here may ever wait for the network."""

    config: Config
    spool: Spool
    devices: Devices
    folder: StationFolder
    changed: Callable[[], None] = field(default=lambda: None)
    """Say that a state changed, so that a heartbeat goes out at once."""
    devices_changed: Callable[[], None] = field(default=lambda: None)
    """Say that a device was lost or found."""
    buses: Buses = field(default_factory=LocalBuses)
    """How devices are reached: in the running unit by the owner of each bus."""
    heard_within: Callable[[float], bool] = field(default=lambda seconds: True)
    """Say whether a manager answered a heartbeat in the last so many seconds (rule 9)."""
    restart: Callable[[], None] = field(default=lambda: None)
    """Start the agent again, outputs off first."""
    stores: Stores = field(default_factory=Stores)
    """The voltages of regenerative stores that several stations share (rule 14)."""

    def __post_init__(self) -> None:
        self.zones = Zones(self)
        """The zones with their interlocks; they begin and end with the stations in them (rule 18)."""
