"""Rules 13 B, 4 running and 14: what nobody asked for, devices that disagree, a common store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from cycler_unit.drivers.base import Measured
from cycler_unit.guards import FAULT_S, UNASKED_S, YIELDS_S, Guards, Stores
from cycler_unit.readings import Taken
from cycler_unit.sense import Sense
from tests.cycler_unit.bench import CHARGE, Bench
from tests.cycler_unit.lab import Lab, cc, key_of
from tests.stack.simulated import MODEL, Simulators
from tests.stack.waiting import until
from wire import kinds

PSB = kinds.get(MODEL)

# --- rule 13 B: read back every 2 s -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [({"output": False}, "output"), ({"voltage_v": 5.0}, "VOLT"), ({"source_a": 0.8}, "CURR")],
)
def test_a_change_at_the_front_panel_is_an_error(bench: Bench, change: dict[str, Any], words: str) -> None:
    bench.start(CHARGE)
    bench.flows()
    bench.fault("panel_change", **change)
    detail = bench.ended()
    assert detail["status"] == "error"
    assert words in detail["end_reason"]["text"]
    assert not bench.truth()["output"]
    assert bench.live.state == "tripped"


def test_a_device_that_rebooted_is_an_error(bench: Bench) -> None:
    bench.start(CHARGE)
    bench.flows()
    bench.fault("reboot")
    assert bench.ended()["status"] == "error"
    assert not bench.truth()["output"]


def test_mains_lost_and_back_is_an_error_and_the_output_stays_off(bench: Bench) -> None:
    bench.start(CHARGE)
    bench.flows()
    bench.fault("mains_lost", for_s=1.0)
    assert bench.ended(30)["status"] == "error"
    until(lambda: bench.live.state == "tripped", 15)
    assert not bench.truth()["output"]


# --- rule 4 running, with invented readings -----------------------------------------------------------


def sense(**more: Any) -> Sense:
    """Return a comparison of a supply with a meter of the same make."""
    return Sense(PSB, {"meter": ("meter", PSB)}, **more)


def feed(sense: Sense, main_of: Any, meter_of: Any, seconds: float, every_s: float = 0.1, meter_every: int = 1) -> tuple[float, str] | None:  # fmt: skip
    """Feed readings; return when and what was said. ``meter_every``: the meter is slower by so much."""
    meter: Measured | None = None
    for i in range(int(seconds / every_s)):
        at_s = i * every_s
        voltage_v, current_a = main_of(at_s)
        if i % meter_every == 0:
            meter_v, meter_a = meter_of(at_s)
            meter = Measured(meter_v, meter_a, None, at_s, 0)
        taken = Taken(0, at_s, voltage_v, current_a, None, None, {}, {"meter": meter} if meter else {})
        if said := sense.add(taken):
            return at_s, said
    return None


def test_voltages_that_disagree_for_a_second_are_named() -> None:
    found = feed(sense(), lambda t: (3.7, 1.0), lambda t: (3.7 if t < 2 else 3.75, 1.0), 10)
    assert found is not None
    assert 2.9 < found[0] < 3.3
    assert "3.700 V and 3.750 V (meter), allowed are 0.020 V" in found[1]


def test_a_shorter_disagreement_is_none() -> None:
    assert feed(sense(), lambda t: (3.7, 1.0), lambda t: (3.8 if 2 < t < 2.8 else 3.7, 1.0), 10) is None


def test_source_and_meter_currents_that_disagree_are_named() -> None:
    watched = Sense(PSB, {"meter": ("meter", msgspec.structs.replace(PSB, role="meter"))})
    found = feed(watched, lambda t: (3.7, 1.0), lambda t: (3.7, 0.5), 10)
    assert found is not None
    assert "currents" in found[1]


def test_a_slow_meter_that_lags_behind_a_step_does_not_disagree() -> None:
    def pulsed(at_s: float) -> tuple[float, float]:
        on = int(at_s) % 2 == 0
        return (3.8, 1.0) if on else (3.6, 0.0)

    slow = sense(slowest_s=1.0)
    assert feed(slow, pulsed, lambda t: pulsed(max(0.0, t - 0.4)), 30, meter_every=10) is None


def test_a_meter_that_is_not_read_any_more_says_nothing_new() -> None:
    assert feed(sense(), lambda t: (3.7 if t < 1 else 3.9, 1.0), lambda t: (3.7, 1.0), 10, meter_every=1000) is None  # fmt: skip


def test_with_two_wires_the_drop_of_the_leads_is_no_disagreement() -> None:
    main = lambda t: (3.9, 1.0) if t < 5 else (3.7, 0.0)  # noqa: E731
    assert feed(sense(sensing=2), main, lambda t: (3.7, 1.0), 10) is None
    assert feed(sense(sensing=2), lambda t: (3.9, 0.0), lambda t: (3.7, 0.0), 10) is not None


# --- rule 4 running, on simulated devices ---------------------------------------------------------------


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    """A supply, and a second one that only measures, on one cell."""
    running = Simulators(
        tmp_path_factory.mktemp("metered"),
        [],
        circuits=[{"name": "cell", "cell": {"capacity_ah": 2.5, "soc": 0.5}}],
        devices=[
            {"name": "psb", "model": MODEL, "circuit": "cell", "port": 0},
            {"name": "meter", "model": MODEL, "circuit": "cell", "port": 0},
        ],
    ).start()
    yield running
    running.stop()


@pytest.fixture
def lab(tmp_path: Path, metered: Simulators) -> Iterator[Lab]:
    lab = Lab(tmp_path / "unit", metered, {"psb": "power", "meter": "meter"})
    try:
        lab.clear()
        yield lab.idle()  # type: ignore[misc]
    finally:
        lab.clear()
        lab.stop()


def seen(lab: Lab) -> bool:
    """Say whether the meter is read."""
    found = lab.live.measured.get(key_of("meter"))
    return found is not None and found.voltage_v is not None


def test_a_running_test_trips_when_its_two_voltages_part(lab: Lab) -> None:
    until(lambda: seen(lab), 10)
    lab.go(cc(1.0))
    until(lambda: lab.of("psb")["output"], 10)
    lab.break_("meter", "drift", offset_v=0.08)
    detail = lab.ended(20)
    assert (detail["status"], detail["end_reason"]["code"]) == ("error", "sense")
    assert "(meter)" in detail["end_reason"]["text"]
    assert lab.events("alarm")[0]["detail"]["class"] == "trip"
    assert not lab.of("psb")["output"]


def test_sense_leads_that_come_off_trip(lab: Lab) -> None:
    until(lambda: seen(lab), 10)
    lab.go(cc(-0.5))
    until(lambda: lab.of("psb")["output"], 10)
    lab.break_("psb", "sense_open", share=0.97)
    assert lab.ended(20)["status"] == "error"
    assert not lab.of("psb")["output"]


def test_a_meter_that_agrees_trips_nothing(lab: Lab) -> None:
    until(lambda: seen(lab), 10)
    lab.go(cc(1.0, 1.0), cc(-1.0, 1.0), cc(1.0, 1.0))
    assert lab.ended(30)["status"] == "finished"


# --- off comes before questions -----------------------------------------------------------------------


class Asked:
    """As much of a station as the questions of rule 13 need; counts them."""

    def __init__(self) -> None:
        self.questions: list[str] = []
        self.busy, self.period_s = True, 0.01
        self.interpreter = SimpleNamespace(violating=False)
        self.conductor = SimpleNamespace(run=SimpleNamespace(interpreter=self.interpreter))
        device = SimpleNamespace(fault=lambda: self._ask("fault"), unasked=lambda: self._ask("unasked"))
        self.power = SimpleNamespace(kind=PSB, output_on=True, device=device)
        self.parts = SimpleNamespace(kinds={}, places=[1], instruments={}, isolated=False)
        self.kept = SimpleNamespace(configure=SimpleNamespace(devices=[], sensing=4, limits={}))
        self.guards = Guards(self)  # type: ignore[arg-type]

    def _ask(self, what: str) -> None:
        self.questions.append(what)

    def round(self) -> list[str]:
        """Return what a round asks beside its reading."""
        self.questions.clear()
        self.guards.faults()
        self.guards._unasked()
        return list(self.questions)


def test_questions_wait_for_the_readings_that_decide_about_a_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    station = Asked()
    assert station.round() == ["fault", "unasked"]
    for due in (["fault"], ["fault", "unasked"]):
        now_s += 1.1
        station.interpreter.violating = True
        assert station.round() == []
        station.interpreter.violating = False
        assert station.round() == due


def test_readings_that_come_seldom_do_not_put_the_questions_off(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    station = Asked()
    station.round()
    station.interpreter.violating = True
    now_s += 2.6
    assert station.round() == ["fault", "unasked"]


def test_noise_at_a_limit_never_puts_the_questions_off_for_more_than_half_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s, asked = 1000.0, {"fault": [1000.0], "unasked": [1000.0]}
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    station = Asked()
    station.round()
    for n in range(3000):
        now_s += 0.01
        # One or two of three readings are outside, again and again; and worst of all whenever a question is due.
        station.interpreter.violating = (
            n % 3 != 0 or now_s - min(asked["fault"][-1], asked["unasked"][-1]) > 0.9
        )
        for what in station.round():
            asked[what].append(now_s)
    for what, every_s in (("fault", FAULT_S), ("unasked", UNASKED_S)):
        gaps = [after - before for before, after in pairwise(asked[what])]
        assert max(gaps) <= every_s + YIELDS_S + 0.02
        assert len(gaps) >= 30.0 / (every_s + YIELDS_S + 0.02) - 1


# --- rule 14: the common store --------------------------------------------------------------------------


class Channel:
    """As much of a station as the guard of the store needs."""

    def __init__(self, stores: Stores, station: str, **limits: Any) -> None:
        self.id, self.period_s, self.busy = station, 0.1, False
        self.trips: list[tuple[str, str]] = []
        self.hub = SimpleNamespace(stores=stores)
        self.power = SimpleNamespace(kind=PSB, output_on=True)
        self.parts = SimpleNamespace(kinds={}, places=[1], instruments={})
        configure = SimpleNamespace(devices=[], sensing=4, limits={"store": "hs1", **limits})
        self.kept = SimpleNamespace(configure=configure)
        self.guards = Guards(self)  # type: ignore[arg-type]

    def trip(self, code: str, text: str, **_: Any) -> None:
        self.trips.append((code, text))

    def read(self, hs_voltage_v: float | None, times: int = 3) -> None:
        for _ in range(times):
            extended = {} if hs_voltage_v is None else {"hs_voltage_v": hs_voltage_v}
            self.guards.take(Taken(0, time.monotonic(), 3.7, 1.0, None, None, extended, {}))


def test_the_stores_voltage_is_a_limit_of_each_of_its_channels() -> None:
    stores = Stores()
    measures = Channel(stores, "a", store_max_v=14.0)
    blind = Channel(stores, "b", store_max_v=14.0)
    measures.read(13.0)
    blind.read(None)
    assert (measures.trips, blind.trips) == ([], [])
    measures.read(14.5)
    blind.read(None)
    assert [code for code, _ in measures.trips] == [code for code, _ in blind.trips] == ["store"]
    assert "above 14 V" in blind.trips[0][1]


def test_a_store_that_nobody_measures_any_more_stops_its_channels() -> None:
    stores = Stores()
    blind = Channel(stores, "b", store_max_v=14.0)
    blind.read(None)
    assert blind.trips
    assert "missing" in blind.trips[0][1]


def test_one_reading_of_the_store_is_no_trip_and_another_store_is_none_of_ours() -> None:
    stores = Stores()
    channel = Channel(stores, "a", store_min_v=10.0)
    channel.read(9.0, 2)
    channel.read(12.0, 1)
    assert channel.trips == []
    stores.put("hs2", "c", 5.0, time.monotonic())
    channel.read(12.0)
    assert channel.trips == []
