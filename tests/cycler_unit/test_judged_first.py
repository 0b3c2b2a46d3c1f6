"""Rule 5: every reading is judged before anything else is done, also while terminals are raised to the cell."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from cycler_unit import guards
from cycler_unit.drivers.base import Measured
from cycler_unit.drivers.errors import DeviceRefused
from cycler_unit.terminals import Terminals
from cycling.contract import Envelope, Limit, Resolution
from tests.cycler_unit.bench import CHARGE, Bench
from tests.cycler_unit.lab import Lab, cc
from tests.cycler_unit.test_loaded_battery import taken
from tests.stack.simulated import MODEL, Simulators
from tests.stack.waiting import until

LIMITS = Envelope(
    limits=(
        Limit(quantity="voltage_v", side="max", operating=4.2, trip=4.21, absolute=4.3, source="b"),
        Limit(quantity="voltage_v", side="min", operating=2.8, trip=2.79, source="b"),
        Limit(quantity="current_a", side="max", operating=1.0, trip=1.01, source="b"),
        Limit(quantity="vcell1_v", side="max", operating=4.2, trip=4.21, source="b"),
    ),
    resolution=Resolution(voltage_v=0.001, current_a=0.001),
)


class Raising:
    """As much of a station as raising its terminals needs: what its devices read, and what it trips on."""

    def __init__(self, limits: Envelope | None = LIMITS, cell_v: float | None = None) -> None:
        run = None if limits is None else SimpleNamespace(contract=SimpleNamespace(envelope=limits))
        self.conductor = SimpleNamespace(run=run)
        self.by_hand = SimpleNamespace(lease=None)
        self.watch = SimpleNamespace(limits=None)
        self.power = SimpleNamespace(output_on=True)
        self.power_device = SimpleNamespace(device="psb")
        self.trips: list[tuple[str, dict[str, Any]]] = []
        self.at_s = 0.0
        self.see(0.0, cell_v)

    def see(self, own_v: float | None, cell_v: float | None, own_a: float = 0.0) -> None:
        """Let the devices read: the power device at its terminals, a monitor on the cell's side."""
        self.at_s += 0.02
        self.measured = {"psb": Measured(own_v, own_a, None, self.at_s, 0)}
        seen = taken(None, self.at_s)
        self.taken = type(seen)(**{**seen.__dict__, "extended": {"vcell1_v": cell_v}, "isolated": True})

    def read(self) -> Any:
        return self.taken

    def trip(self, code: str, text: str, **detail: Any) -> None:
        self.trips.append((code, detail))


def test_terminals_on_their_way_up_from_nothing_are_no_violation() -> None:
    station = Raising(cell_v=3.7)
    terminals = Terminals(station, "isolator")  # type: ignore[arg-type]
    for volts in (0.0, 1.0, 2.0, 3.0, 3.7):
        station.see(volts, 3.7)
        terminals.read()
    assert station.trips == []


@pytest.mark.parametrize(
    ("own_v", "own_a", "cell_v", "quantity", "after"),
    [
        (4.25, 0.0, 3.7, "voltage_v", 3),
        (4.5, 0.0, 3.7, "voltage_v", 1),
        (None, 0.0, 3.7, "voltage_v", 3),
        (3.7, 1.5, 3.7, "current_a", 3),
        (3.7, 0.0, 4.4, "vcell1_v", 3),
        (3.7, 0.0, None, "vcell1_v", 3),
    ],
    ids=["overshoot", "beyond the absolute limit", "no reading", "a current", "a cell too high", "monitor silent"],
)  # fmt: skip
def test_a_violation_while_terminals_are_raised_trips(
    own_v: float | None, own_a: float, cell_v: float | None, quantity: str, after: int
) -> None:
    station = Raising(cell_v=3.7)
    terminals = Terminals(station, "isolator")  # type: ignore[arg-type]
    for _ in range(after - 1):
        station.see(own_v, cell_v, own_a)
        terminals.read()
    station.see(own_v, cell_v, own_a)
    with pytest.raises(DeviceRefused, match="while the isolator was to close"):
        terminals.read()
    assert [detail["quantity"] for _, detail in station.trips] == [quantity]


def test_a_monitor_that_has_not_spoken_yet_is_waited_for_by_the_check_at_rest() -> None:
    station = Raising(cell_v=None)
    terminals = Terminals(station, "isolator")  # type: ignore[arg-type]
    for _ in range(5):
        station.see(3.0, None)
        terminals.read()
    assert station.trips == []


def test_a_persons_limits_or_the_loaded_batterys_count_where_no_test_runs() -> None:
    for owner in ("by_hand", "watch"):
        station = Raising(None, cell_v=3.7)
        if owner == "by_hand":
            station.by_hand = SimpleNamespace(lease=SimpleNamespace(limits=LIMITS))
        else:
            station.watch = SimpleNamespace(limits=LIMITS)
        station.see(4.5, 3.7)
        with pytest.raises(DeviceRefused):
            Terminals(station, "isolator").read()  # type: ignore[arg-type]


@pytest.fixture
def isolated(tmp_path: Path) -> Iterator[Lab]:
    """Return a station whose cell lies behind an isolator."""
    simulators = Simulators(
        tmp_path / "simulators",
        [],
        circuits=[{"name": "cell", "cell": {"capacity_ah": 2.5, "soc": 0.5}}],
        devices=[
            {"name": "psb", "model": MODEL, "circuit": "cell", "port": 0},
            {"name": "switch", "model": "modbus-io-coupler", "circuit": "cell", "isolators": ["isolator"]},
        ],
    ).start()
    lab = Lab(tmp_path / "unit", simulators, {"psb": "power", "switch": "isolator"})
    yield lab.idle()  # type: ignore[misc]
    lab.stop()
    simulators.stop()


def test_terminals_that_rise_above_the_batterys_limit_trip_and_its_isolator_stays_open(isolated: Lab) -> None:
    lab = isolated
    message = lab.message(cc(1.0))
    battery = msgspec.structs.replace(message.battery, last_rest_voltage_v=3.70)
    lab.break_("psb", "drift", offset_v=1.0)
    answered = lab.ask("start", msgspec.structs.replace(message, battery=battery), 60.0)
    assert answered.outcome == "refused"
    assert "while the isolator was to close: voltage" in (answered.reason or "")
    assert not lab.of("psb")["output"]
    assert not lab.of("switch")["outputs"]["isolator"]
    alarm = lab.events("alarm")[0]["detail"]
    assert (alarm["code"], alarm["class"], alarm["quantity"]) == ("limit", "trip", "voltage_v")
    assert alarm["quarantine"] is True, "nobody knows what the cell saw"
    assert lab.live.latched


def test_questions_to_the_device_come_after_the_reading_was_judged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "FAULT_S", 0.0)
    bench.start(CHARGE)
    bench.flows()
    station, order = bench.live, []
    read, take, fault = station.read, station.conductor.take, station.power.device.fault

    def noted(name: str, do: Any) -> Any:
        def doing(*args: Any) -> Any:
            order.append(name)
            return do(*args)

        return doing

    station.conductor.take = noted("judge", take)  # type: ignore[method-assign]
    station.power.device.fault = noted("ask", fault)  # type: ignore[method-assign]
    station.read = noted("read", read)  # type: ignore[method-assign]
    rounds = station.rounds
    until(lambda: station.rounds > rounds + 5, 10)
    seen = order[order.index("read") :]
    assert "ask" in seen
    assert all(before == "judge" for before, name in pairwise(seen) if name == "ask")
