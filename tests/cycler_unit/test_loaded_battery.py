"""Rule 17: a loaded battery is watched from load to eject, whatever its station does."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from cycler_unit import watch as watching
from cycler_unit.contract import Refusal
from cycler_unit.readings import Taken
from cycler_unit.stations import StationFolder
from cycler_unit.watch import Found, Watch
from tests.cycler_unit.bench import CHARGE, Bench, limits_of, profile, start_message
from tests.cycler_unit.lab import loaded
from tests.stack.waiting import until
from wire.messages import ExperimentRef, ExperimentStart, StationAcknowledge, StationBattery

LIMITS = limits_of(profile(CHARGE))
STATION = "s1"


def taken(voltage_v: float | None, at_s: float, current_a: float | None = 0.0) -> Taken:
    """Return a reading at rest."""
    return Taken(0, at_s, voltage_v, current_a, None, None, {}, {})


def watch(leak_a: float | None = None, **more: Any) -> Watch:
    """Return a watch of a battery that was loaded at 0 s."""
    found = Watch(leak_a=leak_a, i_off_a=0.01)
    found.load(loaded(STATION, LIMITS, **more), 0.0)
    return found


def feed(watched: Watch, voltage_of: Any, hours: float, **more: Any) -> tuple[float, Found] | None:
    """Give a reading every second; return when and what was found."""
    for at_s in range(0, int(hours * 3600), 1):
        reading = taken(voltage_of(at_s), float(at_s), more.get("current_a", 0.0))
        if found := watched.look(reading, output_on=False, now_s=float(at_s)):
            return at_s, found
    return None


def looks(watched: Watch, seconds: range) -> list[int]:
    """Return when the watch really looked."""
    seen = []
    for at_s in seconds:
        if watched.due(float(at_s)):
            seen.append(at_s)
        watched.look(taken(3.7, float(at_s)), output_on=False, now_s=float(at_s))
    return seen


def test_it_looks_every_10_s_and_after_an_hour_every_60_s() -> None:
    seen = looks(watch(), range(5400))
    first = [at for at in seen if at < 3600]
    later = [at for at in seen if at >= 3660]
    assert {b - a for a, b in itertools.pairwise(first)} == {10}
    assert {b - a for a, b in itertools.pairwise(later)} == {60}


def test_a_battery_at_rest_is_no_alarm() -> None:
    assert feed(watch(), lambda t: 3.7 - 0.001 * t / 3600, 12) is None


def test_a_battery_that_relaxes_after_a_charge_is_no_alarm() -> None:
    watched = watch()
    watched.look(taken(4.2, 0.0, 1.0), output_on=True, now_s=0.0)
    assert feed(watched, lambda t: 4.1 + 0.1 * 2.718 ** (-t / 600.0), 6) is None


def test_a_battery_out_of_its_limits_is_draining() -> None:
    found = feed(watch(), lambda t: 2.5, 0.1)
    assert found is not None
    assert found[1].code == "draining"
    assert "out of its limits" in found[1].text
    assert found[0] <= 30


def test_a_battery_that_falls_faster_than_the_leak_is_draining() -> None:
    found = feed(watch(), lambda t: 3.7 - 0.02 * t / 3600, 6)
    assert found is not None
    assert found[1].code == "draining"
    assert "its station's leak explains 10 mV" in found[1].text


def test_the_stations_measured_leak_explains_what_it_takes() -> None:
    # 10 mA out of 2.5 Ah are 0.4 % an hour: ten times that of a window of 1.5 V are 60 mV.
    assert feed(watch(leak_a=0.010), lambda t: 3.7 - 0.02 * t / 3600, 6) is None
    assert feed(watch(leak_a=0.010), lambda t: 3.7 - 0.08 * t / 3600, 6) is not None


def test_a_sudden_fall_does_not_wait_for_the_hour() -> None:
    found = feed(watch(), lambda t: 3.7 if t < 1500 else 3.7 - 0.0005 * (t - 1500), 1.0)
    assert found is not None
    assert found[0] < 2100


def test_a_current_that_nobody_switched_on_is_draining() -> None:
    found = feed(watch(), lambda t: 3.7, 0.1, current_a=-0.05)
    assert found is not None
    assert "-0.050 A flow" in found[1].text


def test_a_battery_that_cannot_be_read_is_said_to_be_unwatched() -> None:
    watched = watch()
    found = [watched.look(None, output_on=False, now_s=10.0 * i) for i in range(6)]
    told = [each for each in found if each is not None]
    assert [each.code for each in told] == ["unwatched"]


def test_the_same_trouble_is_told_once_until_acknowledged() -> None:
    watched = watch()
    found = [watched.look(taken(2.5, 10.0 * i), output_on=False, now_s=10.0 * i) for i in range(20)]
    assert len([each for each in found if each]) == 1
    watched.acknowledged()
    assert watched.look(taken(2.5, 300.0), output_on=False, now_s=300.0) is not None


def test_behind_an_open_isolator_the_device_sees_no_battery() -> None:
    watched = watch()
    assert all(
        watched.look(taken(0.0, 10.0 * i), output_on=False, now_s=10.0 * i, isolated=True) is None for i in range(20)
    )  # fmt: skip


def test_limits_that_were_not_agreed_are_refused() -> None:
    wrong = loaded(STATION, LIMITS)
    with pytest.raises(Refusal, match="SHA-256"):
        Watch(leak_a=None, i_off_a=0.01).load(
            StationBattery(
                station=STATION, battery=wrong.battery, envelope=wrong.envelope, envelope_sha256="0" * 64
            )
        )


# --- a station --------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look ten times a second."""
    monkeypatch.setattr(watching, "FIRST_S", 0.1)


def load(bench: Bench) -> None:
    """Load a battery."""
    answered = bench.ask("battery", loaded(bench.configure.station, LIMITS))
    assert answered.outcome == "done", answered.reason


def drained(bench: Bench) -> dict[str, Any]:
    """Wait for the alarm."""
    found = until(
        lambda: [each for each in bench.events("alarm") if each["detail"]["code"] == "draining"], 15
    )
    detail: dict[str, Any] = found[0]["detail"]
    return detail


def test_an_idle_station_watches_and_shows_its_battery(bench: Bench, quick: None) -> None:
    load(bench)
    assert bench.live.beat().battery == bench.live.watch.id is not None
    bench.fault("drift", offset_v=-1.3)
    detail = drained(bench)
    assert detail["battery"] == bench.live.watch.id
    until(lambda: bench.live.state == "tripped", 5)


def test_ejecting_ends_the_watch(bench: Bench, quick: None) -> None:
    load(bench)
    assert bench.ask("battery", loaded(bench.configure.station, None)).result == {"battery": None}
    bench.fault("drift", offset_v=-1.3)
    rounds = bench.live.rounds
    until(lambda: bench.live.rounds > rounds + 20, 10)
    assert bench.events("alarm") == []
    assert bench.live.beat().battery is None


def test_the_watch_survives_a_restart(bench: Bench, quick: None) -> None:
    load(bench)
    watched = bench.live.watch.id
    bench.stop()
    kept = StationFolder(bench.folder / "stations").load()[0]
    assert kept.battery is not None
    bench.build(battery=kept.battery)
    assert bench.live.watch.id == watched
    bench.fault("drift", offset_v=-1.3)
    assert drained(bench)["battery"] == watched


def test_a_tripped_station_goes_on_watching(bench: Bench, quick: None) -> None:
    load(bench)
    bench.fault("drift", offset_v=-1.3)
    drained(bench)
    alarm = bench.live.kept.latches[0].alarm
    # Acknowledged while it is no better: it is said again.
    bench.ask("acknowledge", StationAcknowledge(station=bench.configure.station, alarm=alarm))
    until(lambda: len(bench.events("alarm")) >= 2, 15, "it is said again")


def test_a_paused_test_is_watched_too(bench: Bench, quick: None) -> None:
    load(bench)
    message = start_message(bench.configure.station, profile(CHARGE))
    ref = replace_battery(message, bench)
    assert bench.ask("start", ref).outcome == "done"
    bench.flows()
    assert bench.ask("pause", ExperimentRef(experiment=ref.experiment)).result == {"state": "paused"}
    bench.fault("drift", offset_v=-1.3)
    until(lambda: bench.live.state == "tripped", 15)


def replace_battery(message: ExperimentStart, bench: Bench) -> ExperimentStart:
    """Return the start with the battery that is loaded."""
    assert bench.live.watch.battery is not None
    assert bench.live.watch.battery.battery is not None
    return msgspec.structs.replace(message, battery=bench.live.watch.battery.battery)


def test_another_battery_than_the_loaded_one_is_not_started(bench: Bench) -> None:
    load(bench)
    answered = bench.ask("start", start_message(bench.configure.station, profile(CHARGE)))
    assert answered.outcome == "refused"
    assert "another battery is loaded" in (answered.reason or "")
