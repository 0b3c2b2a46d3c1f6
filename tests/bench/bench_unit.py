"""A whole unit of several stations for the figures of reaction: broker, simulators, manager, its processes."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cycler_unit import dbc
from cycler_unit.buses.protocol import bus_key
from cycling import envelope
from cycling.check import load
from cycling.envelope import BatteryLimits
from tests.cycler_unit.bench import start_message
from tests.cycler_unit.lab import key_of
from tests.cycler_unit.manager import Manager
from tests.cycler_unit.unit_process import HARDWARE_ID, Unit
from tests.stack import backend
from tests.stack.simulated import MODEL, Simulators
from tests.stack.waiting import free_port, until
from wire import kinds
from wire.limits import device_limits, station_limits
from wire.messages import (
    BatteryRef,
    ExperimentStart,
    ExperimentStop,
    Reply,
    StationAcknowledge,
    StationConfigure,
    StationDevice,
    StationMeasure,
)

PERIOD_S = 0.01
CURRENT_A = 0.1
CELL = {"chemistry": "NMC", "capacity_ah": 5.0, "r0_ohm": 0.05, "soc": 0.5}
# The battery's 2.8 V trips at 2.79 V; one reading beyond its absolute limit is enough. Below, because above a
# supply's own over-voltage protection, one step beyond the trip limit, may be quicker than a slow link.
TRIP_V, ABSOLUTE_V = 2.79, 2.4
LIMITS = BatteryLimits(
    voltage_min_v=2.8, voltage_max_v=4.3, voltage_abs_min_v=ABSOLUTE_V, current_min_a=-1.0, current_max_a=1.0,
    capacity_ah=5.0,
)  # fmt: skip
SAFETY = {"v_max_v": 4.2}
FIRST_NODE = 0x13
# As devops/systemd/cellyard-unit.service starts the unit. The simulators stand for hardware, which waits for no
# other program: they go first, on the unit's account. Bench and broker come after both, but before what else runs:
# its load shall not decide how long a thousand tests take.
BENCH_PRIORITY, UNIT_PRIORITY, HARDWARE_PRIORITY = 5, 10, 20
LINKS = {"scpi": "SCPI over TCP", "can": "CAN", "serial": "SCPI over a serial line (pty)"}


@dataclass(frozen=True)
class Pace:
    """How soon tests follow each other, in s; a reading and a trip are as always.

    ``rests_s``: the check at rest. The shortest setting is 0.5 s; a thousand tests shall take minutes.
    ``unasked_s``: between two read-backs (rule 13). It is 2 s, and a test of a fifth of a second would never have
    one: twenty times as often, they meet violations more often than in a long test.
    ``waits_s``: from the start's answer to the violation, least and most; the output is on by then.
    """

    rests_s: float
    unasked_s: float
    waits_s: tuple[float, float]


PACES = {
    "scpi": Pace(0.1, 0.1, (0.05, 0.2)),
    "can": Pace(0.1, 0.1, (0.1, 0.25)),
    # 50 ms between two messages: a start takes half a second, and read-backs as often would be all it does.
    "serial": Pace(0.5, 2.0, (1.0, 3.0)),
}


def priority(level: int) -> list[str]:
    """Return what to put before a command for a real-time priority; nothing where that is not allowed."""
    chrt = shutil.which("chrt")
    command = [chrt, "--rr", str(level)] if chrt else []
    allowed = command and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return command if allowed else []


@contextlib.contextmanager
def at_priority(level: int) -> Iterator[None]:
    """Run this thread, and what it starts meanwhile, at a real-time priority where that is allowed."""
    if not priority(level):
        yield
        return
    policy, given = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(level))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, given)


def changed(command: list[str], lines: str, level: int) -> list[str]:
    """Return a program's command (``python -m MODULE ...``) with some lines run before it, at a priority."""
    python, _, module, *options = command
    before = f"{lines}; import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    return [*priority(level), python, "-c", before, *options]


class Told(Manager):
    """A manager that keeps of the events only which alarm ended which experiment: runs are long."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.alarms: dict[str | None, dict[str, Any]] = {}

    def _events(self, topic: str, payload: bytes) -> None:
        super()._events(topic, payload)
        for key in list(self.events):
            event = self.events.pop(key)
            if event["kind"] == "alarm":
                self.alarms.setdefault(event.get("experiment"), event["detail"] | {"text": event["text"]})


class BenchUnit:
    """``count`` stations of one power device each on one kind of link, every 10 ms, and one device in none.

    ``monitor`` (CAN): the first station has a cell monitor too, which speaks once a second. ``hurried``: tests
    follow each other at the link's pace.
    """

    def __init__(
        self,
        folder: Path,
        link: str,
        count: int,
        log: int = 400,
        *,
        monitor: bool = False,
        hurried: bool = True,
    ) -> None:
        self.link, self.count, self.folder = link, count, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.names = [f"{link}{number}" for number in range(1, count + 1)]
        place = {"interface": "udp_multicast", "channel": "239.74.163.2", "port": free_port()}
        devices = [self._device(name, number, place) for number, name in enumerate(self.names)]
        self.monitor = monitor
        if monitor:
            devices.append(
                {
                    "name": "bms",
                    "model": "bms-plak",
                    "unit": 1,
                    "spread_mv": 0,
                    "circuit": self.names[0],
                    **place,
                }
            )
        spare: dict[str, Any] = {"name": "spare", "model": MODEL, "circuit": "spare", "port": 0}
        self.simulators = Simulators(
            folder / "simulators", [], devices=[*devices, spare],
            circuits=[{"name": name, "cell": CELL} for name in (*self.names, "spare")],
        )  # fmt: skip
        # The shipped program with a longer memory of its messages: a minute at the full rate.
        lines = f"from cycler_unit.simulators import device; device.EXCHANGES = {log}"
        self.simulators.process.command = changed(self.simulators.process.command, lines, HARDWARE_PRIORITY)
        self.broker = backend.broker(folder / "broker").start()
        self.simulators.start()
        self.described = {each["name"]: each for each in self.simulators.ask(query="devices")["devices"]}
        self.stations = [self._station(name) for name in self.names]
        self.manager = Told(self.broker.url("manager"), HARDWARE_ID)
        self.unit = Unit(
            folder / "unit", self.broker.url("bench"), self.simulators, links=self._links(),
            loop_period_s=PERIOD_S, idle_period_s=0.1, wiring_check_s=0.5,
        )  # fmt: skip

        lines = self._hurried() if hurried else "pass"
        self.unit.process.command = changed(self.unit.process.command, lines, UNIT_PRIORITY)

    def _hurried(self) -> str:
        """Return the lines that give the unit this link's pace."""
        pace = PACES[self.link]
        return (
            "import msgspec; from cycler_unit import config, guards; load = config.load; "
            f"config.load = lambda path: msgspec.structs.replace(load(path), wiring_check_s={pace.rests_s}); "
            f"guards.UNASKED_S = {pace.unasked_s}"
        )

    def _device(self, name: str, number: int, place: dict[str, Any]) -> dict[str, Any]:
        if self.link == "can":
            node = FIRST_NODE + number
            return {
                "name": name,
                "model": "epc",
                "node": node,
                "serial_number": node,
                "circuit": name,
                **place,
            }
        more = {"pty": str(self.folder / f"tty-{name}")} if self.link == "serial" else {"port": 0}
        return {"name": name, "model": MODEL, "serial_number": f"25381{number:05d}", "circuit": name, **more}

    def _links(self) -> list[dict[str, Any]]:
        found = {bus_key(link): link for each in self.described.values() for link in each["links"]}
        return [{**link, "name": f"bus{number}"} for number, link in enumerate(found.values())]

    def place(self, name: str) -> dict[str, Any]:
        """Return a device's link with its place on the bus."""
        found: dict[str, Any] = self.described[name]["links"][0]
        if name == "bms":
            return {**found, "unit": 1}
        return found | ({"node": self.node(name)} if self.link == "can" else {})

    def node(self, name: str) -> int:
        """Return a device's node."""
        return FIRST_NODE + self.names.index(name)

    def _station(self, name: str) -> StationConfigure:
        devices, measures = [self._in_station(name, "power")], []
        if self.monitor and name == self.names[0]:
            devices.append(self._in_station("bms", "bms"))
            measures.append(StationMeasure(device=key_of("bms"), measure="vcell1_v", name="vcell1_v"))
        return StationConfigure(
            station=str(uuid.uuid5(uuid.NAMESPACE_OID, name)), name=name, version=1, devices=devices,
            measures=measures, loop_period_s=PERIOD_S,
        )  # fmt: skip

    def _in_station(self, name: str, role: Any) -> StationDevice:
        found = self.described[name]
        return StationDevice(
            device=key_of(name), role=role, model=found["model"], serial_number=found["serial_number"],
            link=self.place(name), name=name,
        )  # fmt: skip

    # --- start and end ----------------------------------------------------------------------------

    def up(self) -> BenchUnit:
        """Start the unit and give it its stations."""
        self.manager.start()
        self.unit.start()
        self.manager.online(40)
        for station in self.stations:
            reply = self.manager.ask("station.configure", station, 60)
            assert reply.outcome == "done", reply.reason
        until(self._all_idle, 40, "all stations are idle")
        return self

    def _all_idle(self) -> bool:
        return all(self.manager.state(each.station) == "idle" for each in self.stations)

    def stop(self) -> None:
        """End everything."""
        self.unit.stop()
        self.manager.stop()
        self.simulators.stop()
        self.broker.stop()

    # --- experiments ------------------------------------------------------------------------------

    def start(self, station: StationConfigure, every_s: float = 0.1) -> ExperimentStart:
        """Let a station charge; returns when it does."""
        step = {"kind": "cc", "current_a": CURRENT_A, "end": [{"quantity": "time_s", "value": 3600.0}]}
        given = {"name": "bench", "record": {"every_s": every_s}, "steps": [step], "safety": SAFETY}
        found, problems = load(given)
        assert found is not None, problems
        devices = [device_limits(kinds.get(each.model), each.name, each.role) for each in station.devices]
        limits = envelope.compute(LIMITS, devices, station_limits(station), found.safety)
        battery = BatteryRef(battery=str(uuid.uuid4()), name="Cell", technology="lithium", capacity_ah=5.0)
        message = start_message(station.station, given, text=envelope.canonical(limits))
        message = msgspec.structs.replace(message, battery=battery, capacity_ah=5.0)
        reply = self.manager.ask("experiment.start", message, 60)
        assert reply.outcome == "done", reply.reason
        return message

    def stop_test(self, message: ExperimentStart) -> Reply:
        """Stop a test."""
        return self.manager.ask("experiment.stop", ExperimentStop(experiment=message.experiment, how="now"))

    def acknowledge(self, station: StationConfigure, alarm: str) -> None:
        """Release a station's latch."""
        reply = self.manager.ask(
            "station.acknowledge", StationAcknowledge(station=station.station, alarm=alarm)
        )
        assert reply.outcome == "done", reply.reason

    # --- the wire ---------------------------------------------------------------------------------

    def tells(self, name: str, voltage_v: float) -> None:
        """Let a device tell a cell voltage, whatever the cell has."""
        if self.link == "can":
            request: dict[str, Any] = {"fault": "misread", "voltage_v": voltage_v}
        else:
            at_rest_v = self.simulators.ask(circuit=name, query="truth")["at_rest_v"]
            request = {"fault": "drift", "offset_v": voltage_v - at_rest_v}
        answer = self.simulators.ask(device=name, **request)
        assert answer["ok"], answer

    def mend(self, name: str) -> None:
        """Let a device tell the truth again."""
        assert self.simulators.ask(device=name, clear=True)["ok"]

    def exchanges(self, name: str, since_s: float) -> list[dict[str, Any]]:
        """Return the device's own log of messages after a time."""
        found = self.simulators.ask(device=name, query="exchanges")["exchanges"]
        return [each for each in found if each["at_s"] >= since_s]

    def voltage(self, name: str, text: str) -> float | None:
        """Return the voltage that a message to the host tells, None for other messages."""
        if self.link == "can":
            frame_id, _, payload = text.partition(" ")
            if int(frame_id, 16) != self.node(name) << 4 | 0xC:
                return None
            return float(dbc.read("EPC_ELEC_MEAS", bytes.fromhex(payload))["LsVolt"]) / 1000.0
        first, comma, _ = text.partition(" V,")
        return float(first) if comma else None

    def is_off(self, name: str, text: str) -> bool:
        """Say whether a message to the device switches it off."""
        if self.link == "can":
            return text == f"{self.node(name) << 4:03X} 08 00 00 00 00 00 00 00"
        return text.startswith("OUTP OFF")

    def is_read(self, name: str, text: str) -> bool:
        """Say whether a message to the device asks for voltage and current."""
        if self.link == "can":
            return text == f"{self.node(name) << 4 | 1:03X} 03"
        return text.startswith("MEAS:ARR?")

    def metric(self, name: str) -> dict[str, float]:
        """Return a metric of the unit by station."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.unit.http_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        found = [line.rpartition(" ") for line in lines if line.startswith(f"{name}{{")]
        return {head.split('"')[1]: float(value) for head, _, value in found}


def together(workers: list[threading.Thread]) -> None:
    """Run some threads to their end."""
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def pause(waits: random.Random, least_s: float, most_s: float) -> None:
    """Wait some time, so that nothing keeps step with a control period."""
    time.sleep(waits.uniform(least_s, most_s))
