"""Safety rule 5: what is missing is None, never zero and never old."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from cycler_unit.drivers.base import Measured
from cycler_unit.readings import Composer, MissingJudge
from wire.catalogue import Kind, KindMeasure
from wire.messages import StationConfigure, StationDevice, StationMeasure

KIND = Kind(
    key="k", label="k", maker="m", model="m", type="BiSource", family="f", driver="d:D", role="power", link="visa",
    measures=(
        KindMeasure(name="voltage_v", unit="V", frozen_s=1.0),
        KindMeasure(name="temperature_c", unit="°C", sentinels=(-255.0,), period_s=1.0),
        KindMeasure(name="slow_c", unit="°C", max_age_s=10.0),
    ),
)  # fmt: skip


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), -float("inf")])
def test_no_number_is_missing(value: float | None) -> None:
    assert MissingJudge(KIND, 0.1).clean("current_a", value, 0.0, 0.0) is None


def test_a_sentinel_of_its_device_is_missing() -> None:
    judge = MissingJudge(KIND, 0.1)
    assert judge.clean("temperature_c", -255.0, 0.0, 0.0) is None
    assert judge.clean("temperature_c", 25.0, 0.0, 0.0) == 25.0
    assert judge.clean("current_a", 0.0, 0.0, 0.0) == 0.0, "zero is a value where no sentinel says otherwise"


def test_too_old_is_missing_by_its_own_periods_and_at_least_half_a_second() -> None:
    judge = MissingJudge(KIND, 0.1)
    assert judge.clean("current_a", 1.0, 0.0, 0.5) == 1.0
    assert judge.clean("current_a", 1.0, 0.0, 0.51) is None
    assert judge.clean("temperature_c", 1.0, 0.0, 2.9) == 1.0
    assert judge.clean("temperature_c", 1.0, 0.0, 3.1) is None
    assert judge.clean("slow_c", 1.0, 0.0, 9.9) == 1.0
    assert MissingJudge(KIND, 1.0).clean("current_a", 1.0, 0.0, 2.9) == 1.0


def test_bit_identical_for_too_long_is_missing_until_it_moves() -> None:
    judge = MissingJudge(KIND, 0.1)
    seen = [judge.clean("voltage_v", 3.7, t / 10, t / 10) for t in range(12)]
    assert seen == [3.7] * 10 + [None] * 2
    assert judge.clean("voltage_v", 3.7001, 1.2, 1.2) == 3.7001


def measured(**more: Any) -> Measured:
    """Return what a device read just now."""
    now = time.monotonic()
    values: dict[str, Any] = {
        "voltage_v": 3.7, "current_a": 0.5, "power_w": 1.85, "began_s": now, "time_us": int(time.time() * 1e6),
    }  # fmt: skip
    return Measured(**{**values, **more})


def composer() -> Composer:
    """Return a station with a power device and a thermometer."""
    device = StationDevice(device="p", role="power", model="k", serial_number="1", link={})
    station = StationConfigure(
        station="s", name="S", version=1,
        devices=[device, msgspec.structs.replace(device, device="t", role="auxiliary")],
        measures=[
            StationMeasure(device="t", measure="temperature_c", name="temperature_c"),
            StationMeasure(device="t", measure="slow_c", name="ambient_c"),
            StationMeasure(device="t", measure="voltage_v", name="sense_v"),
        ],
    )  # fmt: skip
    return Composer(station, "p", {"p": KIND, "t": KIND}, 0.1)


def test_measures_carry_the_stations_names() -> None:
    taken = composer().compose(
        {"p": measured(), "t": measured(voltage_v=3.71, extended={"temperature_c": 24.5, "slow_c": 21.0})}
    )
    assert (taken.voltage_v, taken.current_a, taken.temperature_c) == (3.7, 0.5, 24.5)
    assert taken.extended == {"ambient_c": 21.0, "sense_v": 3.71}


def test_a_device_that_does_not_answer_leaves_its_measures_missing() -> None:
    taken = composer().compose({"p": measured(), "t": None})
    assert taken.temperature_c is None
    assert taken.extended == {"ambient_c": None, "sense_v": None}
    assert taken.voltage_v == 3.7


def test_the_time_of_a_reading_is_the_middle_of_its_exchange_whatever_the_wall_clock_does() -> None:
    exchange = measured()
    assert composer().compose({"p": exchange, "t": None}).taken_s == pytest.approx(exchange.began_s, abs=0.01)
    jumped = measured(time_us=int((time.time() + 3600) * 1e6))
    taken = composer().compose({"p": jumped, "t": None})
    assert jumped.began_s <= taken.taken_s <= time.monotonic()
