"""Which commands reach which station (safety.md rule 12, on the unit)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from cycler_unit.contract import Refusal
from cycler_unit.dispatch import Dispatcher
from cycler_unit.station import Station
from tests.cycler_unit.bench import CHARGE, Bench, profile, start_message
from wire import codec
from wire.messages import Command, ExperimentStart


class Unit:
    """Two stations; the second one's requests are only noted."""

    def __init__(self, *stations: Station) -> None:
        self._stations = {station.id: station for station in stations}

    def get(self, station: str) -> Station | None:
        """Return a station."""
        return self._stations.get(station)

    def all(self) -> list[Station]:
        """Return both."""
        return list(self._stations.values())


@pytest.fixture
def dispatcher(bench: Bench, neighbour: Bench) -> Iterator[Dispatcher]:
    """Return a dispatcher over two benches."""
    made = Dispatcher(bench.hub, Unit(bench.live, neighbour.live), lambda: None)  # type: ignore[arg-type]
    yield made
    made.stop()


def start(dispatcher: Dispatcher, args: ExperimentStart) -> list[Any]:
    """Send a start; return what was answered at once."""
    answered: list[Any] = []
    command = Command(
        id="c1",
        connection="now",
        kind="experiment.start",
        args=codec.raw(args),
        issued_at="2026-01-01T00:00:00Z",
    )
    dispatcher.do(command, args, lambda *answer: answered.append(answer))
    return answered


def test_a_battery_in_one_stations_test_is_not_started_on_another(
    bench: Bench, neighbour: Bench, dispatcher: Dispatcher
) -> None:
    running = bench.start(CHARGE)
    other = start_message(neighbour.configure.station, profile(CHARGE))
    with pytest.raises(Refusal, match="Cell 1 is in a test on S1"):
        start(dispatcher, msgspec.structs.replace(other, battery=running.battery))
    assert not neighbour.truth()["output"]
