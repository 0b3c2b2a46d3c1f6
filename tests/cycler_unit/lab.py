"""A station of several simulated devices on one cell, behind their real protocols."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from cycler_unit.devices import Devices
from cycler_unit.hub import Hub
from cycler_unit.spool import Spool, StoredRun
from cycler_unit.spool_reader import SpoolReader
from cycler_unit.station import Station
from cycler_unit.stations import Kept, Latch, StationFolder
from cycling import envelope
from cycling.check import load
from cycling.envelope import BatteryLimits, Envelope
from tests.cycler_unit.bench import Bench, config, start_message
from tests.stack.simulated import Simulators
from wire import kinds
from wire.limits import device_limits, station_limits
from wire.messages import (
    BatteryRef,
    ExperimentStart,
    StationBattery,
    StationConfigure,
    StationDevice,
    Zone,
)

# A cell for devices of some ampere.
LIMITS = BatteryLimits(
    voltage_min_v=2.8, voltage_max_v=4.3, current_min_a=-2.0, current_max_a=2.0, capacity_ah=2.5
)


def key_of(name: str) -> str:
    """Return the UUID of a device by its name."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


class Lab(Bench):
    """One station; ``roles``: role by the simulated device's name, the first power device first."""

    def __init__(
        self,
        folder: Path,
        simulators: Simulators,
        roles: dict[str, str],
        *,
        name: str = "S1",
        circuit: str | None = None,
        battery: StationBattery | None = None,
        hub: Hub | None = None,
        settings: dict[str, Any] | None = None,
        **configure: Any,
    ) -> None:
        self.folder, self.simulators = folder, simulators
        self.supply = next(name for name, role in roles.items() if role == "power")
        self.circuit, self.battery = circuit, battery
        self.settings = settings or {}
        self.shared = hub
        self.configure = StationConfigure(
            station=str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
            name=name,
            version=1,
            devices=[self.device(each, role) for each, role in roles.items()],
            loop_period_s=0.05,
            **configure,
        )
        self.link = self.configure.devices[0].link
        self.station: Station | None = None
        self.began_ah = 0.0
        self.build()

    def device(self, name: str, role: str) -> StationDevice:
        """Return a simulated device as a station has it."""
        described = self.simulators.ask(query="devices")["devices"]
        found = next(each for each in described if each["name"] == name)
        return StationDevice(
            device=key_of(name), role=role, model=found["model"], serial_number="", link=found["links"][0], name=name
        )  # fmt: skip

    def build(
        self,
        latches: list[Latch] | None = None,
        pending: StoredRun | None = None,
        battery: StationBattery | None = None,
    ) -> Lab:
        """Make spool and station as a starting unit does; call again after ``stop``."""
        if self.shared is None:
            self.spool = Spool(self.folder / "spool.sqlite3")
            self.spool.start()
            self.hub = Hub(
                config(self.folder, **self.settings), self.spool, Devices([]), StationFolder(self.folder / "stations")
            )  # fmt: skip
        else:
            self.hub, self.spool = self.shared, self.shared.spool
        self.reader = SpoolReader(self.spool.path)
        kept = next(
            iter(each for each in self.hub.folder.load() if each.configure.name == self.configure.name), None
        )
        if kept is None:
            kept = Kept(configure=self.configure, latches=latches or [], battery=battery or self.battery)
        self.station = Station(kept, self.hub, pending)
        self.station.start()
        return self

    def stop(self) -> None:
        """Stop as SIGTERM does."""
        if self.station is not None:
            self.station.stop()
            self.station = None
            self.reader.close()
            if self.shared is None:
                self.spool.stop()

    def clear(self) -> None:
        """Repair all devices."""
        for each in self.configure.devices:
            self.simulators.ask(device=each.name, clear=True)

    def of(self, name: str) -> dict[str, Any]:
        """Return what is really so with one device."""
        return self.simulators.ask(device=name, query="truth")

    def break_(self, name: str, fault: str, **more: Any) -> None:
        """Break one device."""
        answer = self.simulators.ask(device=name, fault=fault, **more)
        assert answer["ok"], answer

    def wire(self, name: str) -> list[str]:
        """Return what was sent to one device, in order."""
        found = self.simulators.ask(device=name, query="exchanges")["exchanges"]
        return [each["text"] for each in found if each["to"] == "device"]

    def limits(self, given: dict[str, Any], battery: BatteryLimits = LIMITS) -> Envelope:
        """Return the envelope as the site computes it."""
        found, problems = load(given)
        assert found is not None, problems
        path = [kinds.get(each.model) for each in self.configure.devices if each.role == "power"]
        devices = [
            device_limits(kinds.get(each.model), each.name, each.role, path)
            for each in self.configure.devices
        ]
        return envelope.compute(battery, devices, station_limits(self.configure), found.safety)

    def message(self, *steps: dict[str, Any], limits: BatteryLimits = LIMITS, **more: Any) -> ExperimentStart:
        """Return a start of these steps."""
        given = {"name": "test", "record": {"every_s": 0.1}, "steps": list(steps)}
        text = envelope.canonical(self.limits(given, limits))
        values = {"capacity_ah": 2.5, "text": text, "battery": limits, **more}
        return start_message(self.configure.station, given, **values)

    def go(self, *steps: dict[str, Any], **more: Any) -> ExperimentStart:
        """Start these steps and wait until they run."""
        message = self.message(*steps, **more)
        answered = self.ask("start", message, 60.0)
        assert answered.outcome == "done", answered.reason
        return message


def loaded(station: str, limits: Envelope | None, name: str = "Cell 1", **more: Any) -> StationBattery:
    """Return the message that a battery is loaded; None: ejected."""
    if limits is None:
        return StationBattery(station=station)
    text = envelope.canonical(limits)
    values: dict[str, Any] = {"capacity_ah": 2.5, **more}
    ref = BatteryRef(battery=key_of(name), name=name, technology="lithium", **values)
    return StationBattery(station=station, battery=ref, envelope=text, envelope_sha256=envelope.sha256(text))


def cc(current_a: float, seconds: float = 600.0, **more: Any) -> dict[str, Any]:
    """Return a step of constant current."""
    return {"kind": "cc", "current_a": current_a, "end": [{"quantity": "time_s", "value": seconds}], **more}


def rest(seconds: float = 600.0, **more: Any) -> dict[str, Any]:
    """Return a rest."""
    return {"kind": "rest", "end": [{"quantity": "time_s", "value": seconds}], **more}


__all__ = ["LIMITS", "Lab", "Zone", "cc", "key_of", "loaded", "rest"]
