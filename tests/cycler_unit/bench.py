"""A station of the agent on a simulated supply: what the tests of safety and of running share."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import msgspec

from cycler_unit.config import Config, parse
from cycler_unit.devices import Devices
from cycler_unit.hub import Hub
from cycler_unit.mail import Ask
from cycler_unit.power import OffResult
from cycler_unit.spool import Spool, StoredRun, connect
from cycler_unit.spool_reader import SpoolReader
from cycler_unit.station import Station
from cycler_unit.stations import Kept, Latch, StationFolder
from cycling import envelope
from cycling.check import load
from cycling.envelope import BatteryLimits, Envelope, StationLimits
from tests.stack.simulated import MODEL, Simulators
from tests.stack.waiting import until
from wire import kinds
from wire.limits import device_limits
from wire.messages import BatteryRef, ExperimentStart, StationBattery, StationConfigure, StationDevice

BATTERY = BatteryLimits(
    voltage_min_v=2.8, voltage_max_v=4.3, current_min_a=-1.0, current_max_a=1.0, capacity_ah=0.05
)
CHARGE = {"kind": "cc", "current_a": 0.5, "end": [{"quantity": "time_s", "value": 600.0}]}
REST = {"kind": "rest", "end": [{"quantity": "time_s", "value": 600.0}]}


def config(folder: Path, **more: Any) -> Config:
    """Return settings that make tests quick."""
    given = {"state_dir": str(folder), "loop_period_s": 0.05, "idle_period_s": 0.1, "wiring_check_s": 0.5}
    return parse({**given, **more}, {})


def profile(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a profile of these steps that records every 0.1 s."""
    return {"name": "test", "record": {"every_s": 0.1}, "steps": list(steps), **more}


def limits_of(given: dict[str, Any], battery: BatteryLimits = BATTERY, model: str = MODEL) -> Envelope:
    """Return the envelope as the site computes it."""
    found, problems = load(given)
    assert found is not None, problems
    device = device_limits(kinds.get(model), "psb", "power")
    return envelope.compute(battery, [device], StationLimits(), found.safety)


def start_message(station: str, given: dict[str, Any], **more: Any) -> ExperimentStart:
    """Return a start as the site sends it; ``battery`` overrides its limits, ``text`` the envelope's."""
    limits = limits_of(given, more.pop("battery", BATTERY))
    text = more.pop("text", envelope.canonical(limits))
    values: dict[str, Any] = {
        "experiment": str(uuid.uuid4()),
        "name": "Test run",
        "station": station,
        "station_version": 1,
        "battery": BatteryRef(
            battery=str(uuid.uuid4()), name="Cell 1", technology="lithium", capacity_ah=0.05
        ),
        "profile": given,
        "capacity_ah": 0.05,
        "envelope": text,
        "envelope_sha256": envelope.sha256(text),
    }
    return ExperimentStart(**{**values, **more})


class Answered:
    """What a station answered to one request."""

    def __init__(self) -> None:
        self.outcome: str | None = None
        self.result: dict[str, Any] = {}
        self.reason: str | None = None

    def __call__(self, outcome: str, result: dict[str, Any] | None, reason: str | None) -> None:
        assert self.outcome is None, "answered twice"
        self.result, self.reason = result or {}, reason
        self.outcome = outcome


class Bench:
    """One station with its own spool in its own folder; its supply belongs to the simulators."""

    def __init__(self, folder: Path, simulators: Simulators, supply: str = "psb1", **settings: Any) -> None:
        self.folder, self.simulators, self.supply = folder, simulators, supply
        self.settings = settings
        self.link = next(each for each in simulators.links() if each["name"] == supply)
        serial = next(each["serial_number"] for each in simulators.supplies if each["name"] == supply)
        self.configure = StationConfigure(
            station=str(uuid.uuid5(uuid.NAMESPACE_OID, supply)),
            name="S1",
            version=1,
            devices=[
                StationDevice(
                    device=str(uuid.uuid5(uuid.NAMESPACE_DNS, supply)), role="power", model=MODEL,
                    serial_number=serial, link=self.link, name="psb",
                )
            ],
            loop_period_s=0.05,
        )  # fmt: skip
        self.station: Station | None = None
        self.began_ah: float = self.truth()["charge_in_ah"]
        self.build()

    # --- the unit -------------------------------------------------------------------------------

    def build(
        self,
        latches: list[Latch] | None = None,
        pending: StoredRun | None = None,
        battery: StationBattery | None = None,
    ) -> Bench:
        """Make spool and station as a starting unit does; call again after ``kill``."""
        self.spool = Spool(self.folder / "spool.sqlite3")
        self.spool.start()
        self.hub = Hub(
            config(self.folder, **self.settings),
            self.spool,
            Devices([self.link]),
            StationFolder(self.folder / "stations"),
        )
        self.reader = SpoolReader(self.spool.path)
        if pending is None:
            pending = next(iter(self.reader.runs()), None)
        kept = Kept(configure=self.configure, latches=latches or [], battery=battery)
        self.station = Station(kept, self.hub, pending)
        self.station.start()
        return self

    def idle(self) -> Bench:
        """Wait until the station is confirmed off and read."""
        until(lambda: self.live.unsafe is None and self.live.taken is not None, 10, "the station is idle")
        return self

    @property
    def live(self) -> Station:
        """Return the running station."""
        assert self.station is not None
        return self.station

    def stop(self) -> None:
        """Stop as SIGTERM does."""
        if self.station is not None:
            self.station.stop()
            self.station = None
            self.spool.stop()
            self.reader.close()

    def kill(self) -> None:
        """Die as by kill -9: nothing is switched off, nothing more is written."""
        station = self.live
        station.power.off = lambda: OffResult(True, None)  # type: ignore[method-assign]
        station.conductor.suspend = lambda: None  # type: ignore[method-assign]
        station.power.device.close = lambda: None  # type: ignore[method-assign]
        station.stop()
        self.spool.stop()
        self.reader.close()
        # What the process held open ends with it.
        type(station.power.device).close(station.power.device)
        self.station = None

    # --- requests -------------------------------------------------------------------------------

    def ask(self, do: str, args: Any, wait_s: float = 15.0, urgent: bool = False) -> Answered:
        """Ask the station and wait for its answer."""
        answered = Answered()
        self.live.mail.put(Ask(do, args, answered, urgent))
        until(lambda: answered.outcome, wait_s, f"an answer to {do}")
        return answered

    def start(
        self, *steps: dict[str, Any], safety: dict[str, Any] | None = None, **more: Any
    ) -> ExperimentStart:
        """Start these steps and wait until they run."""
        given = profile(*steps, **({"safety": safety} if safety else {}))
        message = start_message(self.configure.station, given, **more)
        answered = self.ask("start", message)
        assert answered.outcome == "done", answered.reason
        return message

    def flows(self, at_least_a: float = 0.4) -> None:
        """Wait until current is seen by the simulator itself."""
        until(lambda: abs(self.truth()["current_a"]) >= at_least_a, 10, "current flows")

    # --- the truth ------------------------------------------------------------------------------

    def truth(self) -> dict[str, Any]:
        """Return what the simulated supply really does."""
        return self.simulators.ask(device=self.supply, query="truth")

    def fault(self, fault: str, **more: Any) -> None:
        """Break the supply."""
        answer = self.simulators.ask(device=self.supply, fault=fault, **more)
        assert answer["ok"], answer

    def clear(self) -> None:
        """Repair the supply."""
        self.simulators.ask(device=self.supply, clear=True)

    def exchanges(self, since_s: float = 0.0) -> list[dict[str, Any]]:
        """Return the supply's own log of messages after ``since_s`` of its clock."""
        answer = self.simulators.ask(device=self.supply, query="exchanges")
        found: list[dict[str, Any]] = answer["exchanges"]
        return [each for each in found if each["at_s"] > since_s]

    def sent(self, since_s: float = 0.0) -> list[str]:
        """Return what was sent to the supply, in order."""
        return [each["text"] for each in self.exchanges(since_s) if each["to"] == "device"]

    def last_at_s(self) -> float:
        """Return the supply's own time of the last message."""
        at_s: float = self.exchanges()[-1]["at_s"]
        return at_s

    # --- what was kept --------------------------------------------------------------------------

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the events of the spool in order."""
        self.spool.commit(5.0)
        db = connect(self.spool.path)
        bodies = [msgspec.json.decode(row[0]) for row in db.execute("SELECT body FROM events ORDER BY seq")]
        db.close()
        return [each for each in bodies if kind is None or each["kind"] == kind]

    def statuses(self) -> list[str]:
        """Return the statuses in order."""
        return [each["detail"]["status"] for each in self.events("status")]

    def rows(self, experiment: str) -> list[dict[str, Any]]:
        """Return the samples of the spool in order, with ``seq``."""
        self.spool.commit(5.0)
        found: list[dict[str, Any]] = []
        after = 0
        while (batch := self.reader.samples(experiment, after, 500)) is not None:
            for i in range(batch.count):
                found.append({"seq": batch.first_seq + i, **{k: v[i] for k, v in batch.columns.items()}})
            after = batch.first_seq + batch.count - 1
        return found

    def ended(self, timeout_s: float = 15.0) -> dict[str, Any]:
        """Wait for the end of the test and return its last status event's detail."""
        until(lambda: self.live.conductor.experiment is None, timeout_s, "the test has ended")
        detail: dict[str, Any] = self.events("status")[-1]["detail"]
        return detail


def seconds(since: float) -> float:
    """Return the time since ``since`` (monotonic)."""
    return time.monotonic() - since
