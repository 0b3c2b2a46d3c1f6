"""Rule 18: while a unit starts nothing may begin in a zone, and nothing is latched before its inputs were read."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from cycler_unit.drivers.base import Measured
from cycler_unit.zones import GRACE_S, Watch
from wire.messages import Interlock, StationDevice, Zone


def device(name: str) -> StationDevice:
    """Return a coupler of the zone."""
    link = {"kind": "modbus", "host": name}
    return StationDevice(
        device=name, role="auxiliary", model="modbus-io-coupler", serial_number="", link=link, name=name
    )


@pytest.fixture
def watch() -> Watch:
    """Return the watch of a zone with a door and a smoke detector, on two devices that were not reached yet."""
    zone = Zone(
        zone="z",
        name="Room 1",
        devices=[device("one"), device("two")],
        interlocks=[
            Interlock(name="door", device="one", measure="door_closed"),
            Interlock(name="smoke", device="two", measure="door_closed"),
        ],
        outputs=[],
    )
    hub = SimpleNamespace(
        devices=SimpleNamespace(link_of=lambda each: each.link),
        buses=SimpleNamespace(device=lambda kind, link, name: SimpleNamespace(name=name)),
    )
    return Watch(zone, hub)  # type: ignore[arg-type]


def told(watch: Watch) -> list[str | None]:
    """Return what a station of the zone hears from now on."""
    heard: list[str | None] = []
    watch.join_in("s", heard.append)
    return heard


def read(watch: Watch, name: str, closed: float) -> None:
    """Let a device be read."""
    each: Any = watch.instruments[name]
    each.opened, each.why_not, each.reads = 1, None, 1
    each.latest = Measured(None, None, None, time.monotonic(), 0, {"door_closed": closed})


def test_a_device_that_is_open_and_not_read_yet_latches_nothing_and_lets_nothing_start(watch: Watch) -> None:
    heard = told(watch)
    watch._look(time.monotonic())
    watch.instruments["one"].opened = 1
    watch._look(time.monotonic())
    assert heard == []
    assert "not reached yet" in (watch.why or "")


def test_one_of_two_devices_that_was_read_first_latches_nothing(watch: Watch) -> None:
    heard = told(watch)
    read(watch, "one", 1.0)
    watch._look(time.monotonic())
    assert heard == []
    assert "smoke" in (watch.why or ""), "nothing starts before the other was read"
    read(watch, "two", 1.0)
    watch._look(time.monotonic())
    assert watch.why is None


def test_an_open_door_acts_at_once_though_the_other_device_was_not_read_yet(watch: Watch) -> None:
    heard = told(watch)
    read(watch, "one", 0.0)
    watch._look(time.monotonic())
    assert heard == ["interlock door of zone Room 1 is open"]


def test_a_device_that_does_not_answer_in_time_counts_as_open(watch: Watch) -> None:
    heard = told(watch)
    read(watch, "one", 1.0)
    watch._began_s = time.monotonic() - 0.5 * GRACE_S
    watch._look(time.monotonic())
    assert heard == []
    watch._began_s = time.monotonic() - GRACE_S
    watch._look(time.monotonic())
    assert [each is not None and "smoke" in each for each in heard] == [True]


def test_one_that_was_read_and_falls_silent_in_the_first_seconds_acts_at_once(watch: Watch) -> None:
    heard = told(watch)
    for name in ("one", "two"):
        read(watch, name, 1.0)
    watch._look(time.monotonic())
    assert watch.why is None
    watch.instruments["two"].latest = None
    watch._look(time.monotonic())
    assert len(heard) == 2
    assert "smoke" in (heard[1] or "")


def test_a_door_that_closes_again_makes_nothing_safe_before_the_other_device_was_read(watch: Watch) -> None:
    heard = told(watch)
    read(watch, "one", 0.0)
    watch._look(time.monotonic())
    read(watch, "one", 1.0)
    watch._look(time.monotonic())
    assert None not in heard, "stations are not told that the zone is safe"
    assert "smoke" in (watch.why or "")
    read(watch, "two", 1.0)
    watch._look(time.monotonic())
    assert (heard[-1], watch.why) == (None, None)


@pytest.mark.parametrize(
    "model", ["chamber-modbus-int16", "pp-sba-5", "esp32-relay-board", "modbus-io-coupler"]
)
def test_an_output_of_a_slow_device_keeps_its_permit_from_one_reading_to_the_next(model: str) -> None:
    link = {"kind": "modbus", "host": "slow"}
    slow = StationDevice(device="d", role="auxiliary", model=model, serial_number="", link=link, name="d")
    zone = Zone(zone="z", name="Room 1", devices=[slow], interlocks=[], outputs=[], max_age_s=1.0)
    hub = SimpleNamespace(
        devices=SimpleNamespace(link_of=lambda each: each.link),
        buses=SimpleNamespace(device=lambda kind, link, name: SimpleNamespace(name=name, permit_s=None)),
    )
    each: Any = Watch(zone, hub).instruments["d"]  # type: ignore[arg-type]
    assert each.device.permit_s >= max(1.0, 2.0 * each.period_s)
