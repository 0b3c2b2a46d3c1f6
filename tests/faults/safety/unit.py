"""The whole unit of one rig: broker, simulators, manager, the unit's processes, and a neighbour station."""

from __future__ import annotations

import signal
import uuid
from pathlib import Path
from typing import Any

import msgspec
import psutil

from cycler_unit.buses.protocol import bus_key
from cycler_unit.owner.leftovers import Kept
from cycler_unit.simulators.epc_rules import COMM
from cycling import envelope
from cycling.check import load
from cycling.envelope import Envelope
from tests.cycler_unit.bench import start_message
from tests.cycler_unit.lab import key_of
from tests.cycler_unit.manager import Manager
from tests.cycler_unit.unit_process import HARDWARE_ID, Unit
from tests.faults.safety.rigs import CELL, COUPLER, CURRENT_A, LIMITS, Rig, Way, text_device
from tests.stack.brokers import Broker
from tests.stack.proxy import Proxy
from tests.stack.simulated import MODEL, Simulators
from tests.stack.waiting import until
from wire import kinds
from wire.limits import device_limits, station_limits
from wire.messages import (
    BatteryRef,
    ExperimentStart,
    ExperimentStop,
    Interlock,
    Reply,
    StationAcknowledge,
    StationConfigure,
    StationDevice,
    Zone,
)

Step = dict[str, Any]
FLOWING_A = 0.4


def cc(current_a: float, seconds: float = 600.0) -> Step:
    """Return a step of constant current."""
    return {"kind": "cc", "current_a": current_a, "end": [{"quantity": "time_s", "value": seconds}]}


class SafetyLab:
    """One rig's unit; ``ready`` before each test repairs whatever the last one broke."""

    def __init__(self, folder: Path, rig: Rig, broker: Broker) -> None:
        self.rig, self.broker = rig, broker
        self.simulators = Simulators(
            folder / "simulators", [],
            circuits=[{"name": name, "cell": CELL} for name in ("cell", "spare", "other")],
            devices=[
                *rig.devices,
                text_device("next", MODEL, circuit="other"),
                {"name": "door", "model": COUPLER},
            ],
        ).start()  # fmt: skip
        self.described = {each["name"]: each for each in self.simulators.ask(query="devices")["devices"]}
        self.manager = Manager(broker.url("manager"), HARDWARE_ID).start()
        self.network = Proxy(broker.port).start()
        self.unit = Unit(
            folder / "unit", broker.url("bench", self.network.port), self.simulators, links=self._links()
        )  # fmt: skip
        names = [*rig.roles]
        self.station = StationConfigure(
            station=str(uuid.uuid5(uuid.NAMESPACE_OID, rig.name)), name=rig.name, version=1,
            devices=[self.device(name, rig.roles[name]) for name in names],
            measures=list(rig.measures), outputs=rig.outputs(), dead_man="dog" if rig.dead_man else None,
            # A load cannot raise its own terminals to the cell's voltage before the contact closes.
            limits={"isolator_max_v": 5.0} if rig.dead_man else {},
            loop_period_s=0.05, quadrants=rig.quadrants, zone=self._zone(),  # type: ignore[arg-type]
        )  # fmt: skip
        self.neighbour = StationConfigure(
            station=str(uuid.uuid5(uuid.NAMESPACE_OID, "neighbour")), name="neighbour", version=1,
            devices=[self.device("next", "power")], loop_period_s=0.05,
        )  # fmt: skip
        self.beside: ExperimentStart | None = None

    def _links(self) -> list[dict[str, Any]]:
        """Return each bus of the bench once."""
        found: dict[str, dict[str, Any]] = {}
        for each in self.described.values():
            for link in each["links"]:
                plain = {key: value for key, value in link.items() if key != "channel_no"}
                found.setdefault(bus_key(plain), plain)
        return [{**link, "name": f"bus{number}"} for number, link in enumerate(found.values())]

    def device(self, name: str, role: str) -> StationDevice:
        """Return a simulated device as a station has it."""
        found = self.described[name]
        where = self.rig.where.get(name, {})
        link = {**found["links"][0], **where}
        number = where.get("channel_no")
        serial = found["serial_number"] + (f"/{number}" if number else "")
        return StationDevice(
            device=key_of(name), role=role, model=found["model"], serial_number=serial, link=link, name=name
        )

    def _zone(self) -> Zone:
        door = self.device("door", "auxiliary")
        interlock = Interlock(name="door", device=door.device, measure="door_closed")
        return Zone(zone="room", name="Room", devices=[door], interlocks=[interlock])

    def stop(self) -> None:
        """End everything."""
        self.unit.stop()
        self.manager.stop()
        self.network.stop()
        self.simulators.stop()

    # --- repair -----------------------------------------------------------------------------------

    def ready(self) -> SafetyLab:
        """Repair all devices and the unit, put a half full cell in, and acknowledge every latch."""
        self.network.mend()
        if not self.unit.process.running:
            self.unit.start()
        self.manager.online(30)
        for name in self.described:
            self.ask(name, clear=True)
        for circuit in ("cell", "other"):
            self.simulators.ask(circuit=circuit, fault="wrong_cell", **CELL)
        if "epc" in self.described:
            # Its temperatures are a second old at most; a communication error ends with the first frame.
            until(lambda: not self.truth("epc")["flags"] & ~COMM, 10, "it sees that all is well")
        for configure in (self.station, self.neighbour):
            self._settle(configure)
        return self

    def _settle(self, configure: StationConfigure) -> None:
        if self.state(configure) is None:
            until(
                lambda: self.manager.online() and self._configured(configure), 60, "configured", every_s=1.0
            )
        until(lambda: self._released(configure), 60, f"{configure.name} is idle")

    def _configured(self, configure: StationConfigure) -> bool:
        if self.state(configure) is not None:
            return True
        reply = self.manager.ask("station.configure", configure)
        assert reply.outcome == "done", reply.reason
        return True

    def _released(self, configure: StationConfigure) -> bool:
        """Take one step to an idle station; True when it is one."""
        beat = self.beat(configure)
        if beat is None or beat.state == "unsafe":
            return False
        if beat.experiment is not None and self._unended(beat.experiment):
            self.manager.ask("experiment.stop", ExperimentStop(experiment=beat.experiment, how="now"))
            return False
        if beat.alarm is not None:
            seen = len(self.manager.heartbeats)
            self.manager.ask(
                "station.acknowledge", StationAcknowledge(station=configure.station, alarm=beat.alarm)
            )
            until(lambda: len(self.manager.heartbeats) > seen, 10)
            return False
        # A zone whose door was not read yet would trip the station in its first second.
        return bool(beat.state == "idle" and beat.detail is None)

    def _unended(self, experiment: str) -> bool:
        return self.manager.last_seq(experiment) is None

    # --- experiments ------------------------------------------------------------------------------

    def limits(self, given: dict[str, Any], configure: StationConfigure) -> Envelope:
        """Return the envelope as the site computes it."""
        found, problems = load(given)
        assert found is not None, problems
        path = [kinds.get(each.model) for each in configure.devices if each.role == "power"]
        devices = [
            device_limits(kinds.get(each.model), each.name, each.role, path) for each in configure.devices
        ]
        return envelope.compute(LIMITS, devices, station_limits(configure), found.safety)

    def message(
        self, *steps: Step, configure: StationConfigure | None = None, circuit: str = "cell",
        safety: dict[str, Any] | None = None, **more: Any,
    ) -> ExperimentStart:  # fmt: skip
        """Return a start of these steps, with the rest voltage that the cell was last seen at."""
        configure = configure or self.station
        given = {"name": "test", "record": {"every_s": 0.1}, "steps": list(steps), "safety": safety or {}}
        limits = self.limits(given, configure)
        rest_v = self.simulators.ask(circuit=circuit, query="truth")["at_rest_v"]
        ref = BatteryRef(
            battery=str(uuid.uuid4()), name="Cell 1", technology="lithium", capacity_ah=0.5,
            energy_wh=1.8, last_rest_voltage_v=rest_v,
        )  # fmt: skip
        values: dict[str, Any] = {"capacity_ah": 0.5, "battery": ref, **more}
        text = envelope.canonical(limits)
        message = start_message(configure.station, given, text=text)
        return msgspec.structs.replace(message, **values)

    def ask_start(self, message: ExperimentStart) -> Reply:
        """Send a start and return what the unit answered in the end.

        A unit that has just begun refuses until it has read the door once.
        """

        def answered() -> Reply | None:
            reply = self.manager.ask("experiment.start", message, 90.0)
            return None if "just been looked for" in (reply.reason or "") else reply

        reply = until(answered, 20, "the door is read", every_s=0.5)
        assert reply is not None
        return reply

    def run(self, way: Way, *steps: Step, **more: Any) -> ExperimentStart:
        """Let the rig charge or discharge and its neighbour charge; return the rig's test."""
        self.let_neighbour_run()
        message = self.message(*(steps or (cc(CURRENT_A[way]),)), **more)
        reply = self.ask_start(message)
        assert reply.outcome == "done", reply.reason
        self.flows(way)
        # Broken in the very first exchange after a set point, some faults are healed by the repeat of it.
        until(lambda: len(self.manager.seqs(message.experiment)) >= 3, 20, "samples of the running step")
        return message

    def let_neighbour_run(self) -> None:
        """Start the test of the other station."""
        message = self.message(cc(0.2), configure=self.neighbour, circuit="other")
        reply = self.ask_start(message)
        assert reply.outcome == "done", reply.reason
        until(lambda: self.truth("next")["output"], 20, "the neighbour charges")
        self.beside = message

    def stop_test(self, message: ExperimentStart) -> Reply:
        """Stop a test."""
        return self.manager.ask(
            "experiment.stop", ExperimentStop(experiment=message.experiment, how="now"), expires_at=None
        )

    # --- the truth --------------------------------------------------------------------------------

    def ask(self, device: str, **request: Any) -> dict[str, Any]:
        """Ask the simulator."""
        answer = self.simulators.ask(device=device, **request)
        assert answer["ok"], answer
        return answer

    def truth(self, device: str) -> dict[str, Any]:
        """Return what is really so with a device, or with the output of it that the rig uses."""
        found = self.ask(device, query="truth")
        second: dict[str, Any] | None = found.get("second")
        return (
            second if second is not None and self.rig.where.get(device, {}).get("channel_no") == 2 else found
        )

    def cell(self) -> dict[str, Any]:
        """Return the rig's cell."""
        return self.simulators.ask(circuit="cell", query="truth")

    def flows(self, way: Way) -> None:
        """Wait until current really flows into or out of the cell."""
        sign = 1.0 if way == "charge" else -1.0
        until(lambda: self.cell()["current_a"] * sign > FLOWING_A, 20, f"the cell {way}s")

    def is_off(self) -> bool:
        """Say whether every power device is really off, or the dead-man output open."""
        cell = self.cell()
        if not cell["connected"]:
            return True
        return not any(self.truth(name)["output"] for name in self.rig.power())

    def goes_off(self, timeout_s: float = 20.0) -> None:
        """Wait until nothing flows any more."""
        until(self.is_off, timeout_s, f"off; the unit says: {self.unit.process.output()[-2500:]}")

    def break_(self, device: str, fault: str, **more: Any) -> float:
        """Break a device; return the simulator's time just before."""
        at_s: float = self.cell()["at_s"]
        if self.rig.where.get(device, {}).get("channel_no"):
            more = {"channel_no": 2, **more}
        self.ask(device, fault=fault, **more)
        return at_s

    def sent(self, device: str, since_s: float) -> list[str]:
        """Return what was sent to a device after a time of the simulator, in order."""
        found = self.ask(device, query="exchanges")["exchanges"]
        return [each["text"] for each in found if each["to"] == "device" and each["at_s"] >= since_s]

    # --- what was told ----------------------------------------------------------------------------

    def beat(self, configure: StationConfigure | None = None) -> Any:
        """Return a station's part of the newest heartbeat."""
        configure = configure or self.station
        beats = self.manager.heartbeats[-1].stations if self.manager.heartbeats else []
        return next((each for each in beats if each.station == configure.station), None)

    def state(self, configure: StationConfigure | None = None) -> str | None:
        """Return a station's state as the site sees it."""
        beat = self.beat(configure)
        return beat.state if beat is not None else None

    def alarms(self, experiment: str | None = None) -> list[dict[str, Any]]:
        """Return the alarms, of one test if asked so."""
        return [
            event
            for _, event in sorted(self.manager.events.items(), key=lambda each: each[1]["at"])
            if event["kind"] == "alarm" and experiment in (None, event.get("experiment"))
        ]

    def black_box(self, experiment: str) -> list[dict[str, Any]]:
        """Return the parts of the black box that hold readings or exchanges of a test."""
        return [
            event["detail"]
            for event in self.manager.events.values()
            if event["kind"] == "black_box" and event.get("experiment") == experiment
            if event["detail"].get("exchanges") or event["detail"].get("readings")
        ]

    def ended(self, experiment: str) -> dict[str, Any]:
        """Wait for the end of a test and return its last status."""

        def final() -> dict[str, Any] | None:
            return next(
                (
                    event["detail"]
                    for event in self.manager.events.values()
                    if event.get("experiment") == experiment
                    and event["detail"].get("status") in ("finished", "stopped", "error")
                ),
                None,
            )

        return until(final, 40, f"the test ends; {self.unit.process.output()[-2500:]}") or {}

    def complete(self, experiment: str) -> None:
        """Wait until every sample to the last is stored: without hole, double or change."""
        until(lambda: self.manager.last_seq(experiment), 40, "the final status")
        last = self.manager.last_seq(experiment) or 0
        until(lambda: len(self.manager.seqs(experiment)) >= last, 40, f"all {last} samples")
        assert self.manager.seqs(experiment) == list(range(1, last + 1))
        assert not self.manager.conflicts

    def neighbour_goes_on(self) -> None:
        """Check that the other station still does its own test."""
        assert self.beside is not None
        assert self.truth("next")["output"], "the neighbour was switched off"
        assert self.manager.last_seq(self.beside.experiment) is None, "the neighbour's test has ended"
        assert not self.alarms(self.beside.experiment)

    # --- processes --------------------------------------------------------------------------------

    def processes(self) -> list[Kept]:
        """Return the unit's processes as it wrote them down."""
        body = (self.unit.folder / "state" / "processes.json").read_bytes()
        return msgspec.json.decode(body, type=list[Kept])

    def process(self, name: str) -> psutil.Process:
        """Return ``parent``, ``agent``, or the owner of the bus ``name``."""
        found = [each for each in self.processes() if each.name == name or each.name.endswith(name)]
        assert len(found) == 1, f"{name}: {self.processes()}"
        return psutil.Process(found[0].pid)

    def owner_of(self, device: str) -> psutil.Process:
        """Return the owner of a device's bus."""
        return self.process(bus_key(self.described[device]["links"][0]))

    def strike_all(self, how: int = signal.SIGKILL) -> list[psutil.Process]:
        """Kill or stop all processes of the unit before any of them can notice."""
        struck = [psutil.Process(each.pid) for each in self.processes()]
        for each in struck:
            each.suspend()
        if how == signal.SIGKILL:
            self.unit.kill()
            for each in struck:
                if each.is_running():
                    each.kill()
        return struck

    def forward(self, seconds: float, step_s: float = 10.0) -> dict[str, Any]:
        """Let simulated time pass; return what the rig's cell went through."""
        answer = self.simulators.ask(forward_s=seconds, step_s=step_s)
        assert answer["ok"], answer
        found: dict[str, Any] = answer["circuits"]["cell"]
        return found
