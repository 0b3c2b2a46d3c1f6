"""A manager's parts around the test database, with a link that only remembers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from mn_manager.broker_users import Static
from mn_manager.counters import Counters
from mn_manager.dispatch import Dispatch
from mn_manager.enrol import Enrol
from mn_manager.inbox import Received
from mn_manager.leases import Leases
from mn_manager.receive import Receive
from tests.web_server import factories
from web_server.experiments.models import Experiment
from web_server.lab.models import Station, Unit
from wire import messages

PREFIX = "cellyard/v1"


@dataclass
class SilentLink:
    """Stands for the broker where a test asks what would be published."""

    connected: bool = True
    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    retained: list[str] = field(default_factory=list)

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> bool:
        self.sent.append((topic, json.loads(payload)))
        if retain:
            self.retained.append(topic)
        return True

    def take(self, leaf: str) -> list[dict[str, Any]]:
        """Return and forget what went to topics that end so."""
        found = [body for topic, body in self.sent if topic.endswith(leaf)]
        self.sent = [each for each in self.sent if not each[0].endswith(leaf)]
        return found


@dataclass
class Bridge:
    """One manager without its loop."""

    link: SilentLink
    leases: Leases
    dispatch: Dispatch
    receive: Receive
    counters: Counters

    def hear(self, topic: str, payload: bytes | messages.Message, at: datetime | None = None) -> None:
        """Let a message come in on ``topic`` (below the prefix)."""
        if isinstance(payload, messages.Message):
            payload = msgspec.json.encode(payload)
        self.receive.take(Received(f"{PREFIX}/{topic}", payload, at or datetime.now(UTC)))

    def unit_says(self, unit: Unit, leaf: str, payload: bytes | messages.Message, **more: Any) -> None:
        """Let a message come in from a unit."""
        self.hear(f"units/{unit.uuid}/{leaf}", payload, **more)


def make_bridge(name: str = "manager-a") -> Bridge:
    """Return a manager with this name."""
    link, counters = SilentLink(), Counters()
    leases = Leases(name)
    dispatch = Dispatch(link, PREFIX, leases)  # type: ignore[arg-type]
    receive = Receive(link, PREFIX, leases, dispatch, Enrol(leases, Static()), counters)  # type: ignore[arg-type]
    return Bridge(link, leases, dispatch, receive, counters)


@pytest.fixture
def bridge(db: None) -> Bridge:
    return make_bridge()


@pytest.fixture
def station(bridge: Bridge) -> Station:
    """An idle station of a unit that the manager serves."""
    station = factories.make_station(factories.make_unit())
    bridge.leases.renew()
    bridge.dispatch.look_around()
    return station


@pytest.fixture
def experiment(station: Station) -> Experiment:
    """An experiment that was just sent to its unit: starting."""
    from web_server.cells import services as cells
    from web_server.experiments import services as experiments

    by = factories.make_person("otto", "operator")
    battery = factories.make_battery()
    cells.load(by, battery, station)
    filed = experiments.file(
        by, name="E1", battery=battery, profile=factories.make_profile(), station=station
    )
    assert experiments.start_next(station) is not None
    filed.refresh_from_db()
    return filed


def batch(
    experiment: Experiment, first_seq: int = 1, count: int = 10, **columns: Any
) -> messages.SampleBatch:
    """Return ``count`` samples at 1 s: a charge with 0.5 A in cycle 1; ``columns`` replace whole columns."""
    seqs = range(first_seq, first_seq + count)
    base = {
        "time_us": [1_700_000_000_000_000 + seq * 1_000_000 for seq in seqs],
        "elapsed_s": [float(seq) for seq in seqs],
        "step": [1] * count,
        "step_count": [1] * count,
        "cycle": [1] * count,
        "mode": ["cc"] * count,
        "voltage_v": [3.5 + seq / 1000 for seq in seqs],
        "current_a": [0.5] * count,
        "power_w": [None] * count,
        "temperature_c": [None] * count,
        "charge_in_ah": [seq * 0.5 / 3600 for seq in seqs],
        "charge_out_ah": [0.0] * count,
        "energy_in_wh": [seq * 1.75 / 3600 for seq in seqs],
        "energy_out_wh": [0.0] * count,
        "flags": [0] * count,
    }
    return messages.SampleBatch(
        experiment=str(experiment.uuid), first_seq=first_seq, count=count, columns=base | columns
    )


def beat(station: Station, *, experiment: Any = None, state: str = "idle", **more: Any) -> messages.Heartbeat:
    """Return a heartbeat with this one station; ``more`` goes to the station, ``spool`` to the unit."""
    spool = more.pop("spool", 0)
    version = more.pop("version", station.version)
    told = messages.StationBeat(
        station=str(station.uuid),
        version=version,
        state=state,  # type: ignore[arg-type]
        experiment=str(experiment.uuid) if experiment else None,
        **more,
    )
    return messages.Heartbeat(
        sent_at=datetime.now(UTC).isoformat(),
        uptime_s=1.0,
        load=0.1,
        disk_free_bytes=10**9,
        spool_batches=spool,
        rejected_batches=0,
        stations=[told],
        connection="c1",
    )


@pytest.fixture
def events() -> Callable[..., messages.EventBatch]:
    """Make batches of events that follow one another."""
    state = {"next": 1}

    def make(*told: messages.Event, first_seq: int | None = None) -> messages.EventBatch:
        first = first_seq or state["next"]
        state["next"] = first + len(told)
        return messages.EventBatch(
            spool="11111111-1111-4111-8111-111111111111", first_seq=first, events=list(told)
        )

    return make


def event(
    kind: str, experiment: Experiment | None = None, text: str = "it happened", **detail: Any
) -> messages.Event:
    """Return an event of an experiment on its station."""
    return messages.Event(
        at=datetime.now(UTC).isoformat(),
        kind=kind,  # type: ignore[arg-type]
        text=text,
        station=str(experiment.station.uuid) if experiment and experiment.station else None,
        experiment=str(experiment.uuid) if experiment else None,
        detail=detail,
    )
