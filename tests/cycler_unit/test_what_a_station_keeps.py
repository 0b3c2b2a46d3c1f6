"""Rule 7: a latch is not lost with the file that keeps it, nor with a station that could not be built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cycler_unit import stop_all
from cycler_unit.agent import Agent
from cycler_unit.buses.local import LocalBuses
from cycler_unit.stations import Kept, Latch, StationFolder
from tests.cycler_unit.bench import CHARGE, Bench, config, profile, start_message
from tests.stack.waiting import until
from wire.messages import StationAcknowledge

DOOR = Latch(alarm="a-1", code="interlock", text="the door is open", at="2026-01-01T00:00:00Z")


def file_of(bench: Bench) -> Path:
    """Return the station's file."""
    return bench.folder / "stations" / f"{bench.configure.station}.json"


@pytest.fixture
def unit(bench: Bench) -> Iterator[Agent]:
    """Return a unit that begins without the station, as one does that could not read or build it."""
    bench.stop()
    made = Agent(config(bench.folder), LocalBuses())
    made.spool.start()
    yield made
    for station in made.all():
        station.stop()
    made.spool.stop()
    made.hub.buses.stop()


def test_a_file_that_cannot_be_read_latches_its_station_and_says_so(bench: Bench, unit: Agent) -> None:
    StationFolder(file_of(bench).parent).save(Kept(configure=bench.configure, latches=[DOOR]))
    file_of(bench).write_bytes(file_of(bench).read_bytes()[:40])
    unit._start_stations()
    assert unit.all() == [], "it is not shown as idle: the site shows it as offline until it is configured"
    unit.put(Kept(configure=bench.configure))
    station = unit.get(bench.configure.station)
    assert station is not None
    until(lambda: station.taken is not None and station.unsafe is None, 10)
    assert station.state == "tripped"
    assert "whether it was tripped, and why, is lost" in (station.beat().detail or "")
    message = start_message(bench.configure.station, profile(CHARGE))
    bench.station = station
    assert bench.ask("start", message).outcome == "refused"
    assert [each.code for each in StationFolder(file_of(bench).parent).load()[0].latches] == ["record_lost"]
    assert file_of(bench).with_name(file_of(bench).name + ".unreadable").exists()
    released = bench.ask(
        "acknowledge", StationAcknowledge(station=station.id, alarm=station.kept.latches[0].alarm)
    )
    assert released.result["latched"] is False
    bench.station = None


def test_a_station_that_could_not_be_built_keeps_its_latch_when_it_can(bench: Bench, unit: Agent) -> None:
    strange = msgspec.structs.replace(
        bench.configure, devices=[msgspec.structs.replace(bench.configure.devices[0], model="not installed")]
    )
    StationFolder(file_of(bench).parent).save(Kept(configure=strange, latches=[DOOR]))
    unit._start_stations()
    assert unit.all() == []
    unit.put(Kept(configure=bench.configure))
    station = unit.get(bench.configure.station)
    assert station is not None
    assert [each.alarm for each in station.kept.latches] == [DOOR.alarm]
    assert StationFolder(file_of(bench).parent).load()[0].latches == [DOOR]


def test_a_new_station_without_a_file_begins_without_a_latch(bench: Bench, unit: Agent) -> None:
    file_of(bench).unlink(missing_ok=True)
    unit.put(Kept(configure=bench.configure))
    station = unit.get(bench.configure.station)
    assert station is not None
    assert not station.latched


def test_stop_all_without_a_unit_does_not_call_off_what_it_cannot_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stations").mkdir()
    (tmp_path / "stations" / "s-1.json").write_text("{half")
    assert stop_all.stop_all(config(tmp_path)) == 1
    said = capsys.readouterr().out
    assert "station s-1: NOT CONFIRMED OFF: what the unit kept of it cannot be read" in said
