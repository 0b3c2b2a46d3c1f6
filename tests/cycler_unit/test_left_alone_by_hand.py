"""Safety rules 3 and 20: by hand too, a load that does not end a discharge by itself needs a dead-man output."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cycling import envelope
from cycling.envelope import Envelope
from tests.cycler_unit.bench import profile
from tests.cycler_unit.lab import Lab, cc, key_of, loaded
from tests.stack.simulated import Simulators
from tests.stack.waiting import until
from wire.messages import DeviceLease, DeviceSet, StationBattery, StationOutput

TYPED = {
    "voltage_min_v": 2.8, "voltage_max_v": 4.3, "current_min_a": -1.0, "current_max_a": 0.0, "duration_s": 600.0,
}  # fmt: skip
DEAD_MAN = StationOutput(name="dog", device=key_of("dog"), control="dead_man", on_trip=0.0, safe=0.0)


@pytest.fixture(scope="module")
def bench_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    """A cell behind the contact of a coupler, and a load."""
    running = Simulators(
        tmp_path_factory.mktemp("bench"),
        [],
        circuits=[{"name": "cell", "cell": {"capacity_ah": 2.5, "soc": 0.5}}],
        devices=[
            {"name": "load", "model": "rs-pro-kel103", "circuit": "cell", "port": 0},
            {"name": "dog", "model": "modbus-io-coupler", "circuit": "cell", "isolators": ["dead_man"]},
        ],
    ).start()
    yield running
    running.stop()


@pytest.fixture
def made(tmp_path: Path, bench_of: Simulators) -> Iterator[Any]:
    """Return a maker of stations; they end with the test."""
    labs: list[Lab] = []

    def make(holds_wh: float | None, *, guarded: bool, battery: bool = True) -> Lab:
        more: dict[str, Any] = {"limits": {"isolator_max_v": 5.0}, "outputs": [DEAD_MAN]}
        if guarded:
            more["dead_man"] = "dog"
        roles = {"load": "power", "dog": "auxiliary"}
        lab = Lab(tmp_path / f"unit{len(labs)}", bench_of, roles, quadrants="discharge", **more)
        labs.append(lab)
        lab.idle()
        if battery:
            answered = lab.ask("battery", _battery(lab, holds_wh))
            assert answered.outcome == "done", answered.reason
        return lab

    yield make
    for lab in labs:
        lab.clear()
        lab.stop()


def _battery(lab: Lab, holds_wh: float | None) -> StationBattery:
    return loaded(lab.configure.station, _limits(lab), energy_wh=holds_wh, last_rest_voltage_v=3.72)


def _limits(lab: Lab) -> Envelope:
    limits: Envelope = lab.limits(profile(cc(-0.5)))
    return limits


def discharge(lab: Lab, **typed: Any) -> Any:
    """Take the lease, with the loaded battery or typed limits, and ask for half an ampere out of it."""
    text = envelope.canonical(_limits(lab))
    agreed = {"connected": "battery", "envelope": text, "envelope_sha256": envelope.sha256(text)}
    lease = DeviceLease(
        lease=str(uuid.uuid4()), person="ada", station=lab.configure.station, **(typed or agreed)
    )
    taken = lab.ask("lease", lease)
    assert taken.outcome == "done", taken.reason
    values: dict[str, float | str] = {"mode": "cc", "current_a": -0.5}
    set_ = DeviceSet(lease=lease.lease, device=key_of("load"), values=values, person="ada")
    return lab.ask("manual_set", set_, 30.0)


def test_a_large_battery_is_refused_without_a_dead_man(made: Any) -> None:
    lab = made(40.0, guarded=False)
    answered = discharge(lab)
    assert answered.outcome == "refused"
    assert "does not end a discharge by itself" in (answered.reason or "")
    assert "dead-man output" in (answered.reason or "")
    assert not lab.of("load")["output"]


def test_something_of_which_nobody_knows_how_much_it_holds_is_refused(made: Any) -> None:
    lab = made(None, guarded=False, battery=False)
    answered = discharge(lab, **TYPED)
    assert answered.outcome == "refused"
    assert "nobody knows" in (answered.reason or "")
    assert not lab.of("load")["output"]


def test_a_small_battery_may_be_discharged_by_hand(made: Any, bench_of: Simulators) -> None:
    lab = made(4.0, guarded=True)
    answered = discharge(lab)
    assert answered.outcome == "done", answered.reason
    until(lambda: lab.of("load")["output"], 10, "it discharges")


def test_with_a_dead_man_a_large_battery_may_be_discharged_and_the_loop_keeps_it_closed(made: Any) -> None:
    lab = made(40.0, guarded=True)
    answered = discharge(lab)
    assert answered.outcome == "done", answered.reason
    until(lambda: lab.of("load")["output"] and lab.of("dog")["connected"], 10, "it discharges")
    began_s = lab.live.taken.taken_s  # type: ignore[union-attr]
    # Longer than the watchdog's own 5 s, shorter than the lease: only refreshing keeps it closed.
    until(lambda: lab.live.taken.taken_s > began_s + 6.0, 20)  # type: ignore[union-attr]
    assert lab.of("dog")["connected"]
    assert lab.live.state == "manual"
