"""A control of a device is one output, though it has two names: two would fight for its value."""

from __future__ import annotations

from typing import Any

import pytest

from cycler_unit.drivers.errors import DeviceRefused
from cycler_unit.instruments import Write
from cycler_unit.outputs import Outputs
from wire import kinds
from wire.messages import StationConfigure, StationOutput


class Chamber:
    """What an output needs of an instrument: it takes each value at once."""

    kind = kinds.get("chamber-modbus-int16")
    why_not = None

    def __init__(self) -> None:
        self.held: dict[str, float] = {}
        self.written: list[tuple[str, float]] = []

    def write(self, control: str, value: float) -> Write:
        self.written.append((control, value))
        self.held[control] = value
        asked = Write(control, value, held=value)
        asked.done.set()
        return asked


OVEN = StationOutput(
    name="oven", device="c", control="set_point_c", minimum=10.0, maximum=60.0, safe=25.0, on_trip=20.0
)


def outputs(chamber: Chamber, *rows: StationOutput) -> Outputs:
    configure = StationConfigure(station="s", name="S", version=1, devices=[], outputs=list(rows))
    return Outputs(configure, {"c": chamber})  # type: ignore[dict-item]


@pytest.fixture
def chamber() -> Chamber:
    return Chamber()


@pytest.mark.parametrize(
    "rows", [(OVEN,), (OVEN, StationOutput(name="temperature_c", device="c", control="set_point_c"))]
)
def test_a_chambers_set_point_with_a_name_of_its_own_has_one_safe_value(chamber: Chamber, rows: Any) -> None:
    made = outputs(chamber, *rows)
    made.safe()
    assert [value for control, value in chamber.written if control == "set_point_c"] == [25.0]
    for _ in range(5):
        assert made.look() is None
    assert chamber.held["set_point_c"] == 25.0


def test_both_names_set_it_within_the_stations_range(chamber: Chamber) -> None:
    made = outputs(chamber, OVEN)
    assert made.names == {"oven", "temperature_c"}
    made.apply({"temperature_c": 35.0})
    assert chamber.held == {"set_point_c": 35.0, "run": 1.0}
    assert made.shown == {"oven": 35.0, "temperature_c": 35.0}
    with pytest.raises(DeviceRefused, match="10 to 60"):
        made.apply({"temperature_c": 70.0})
    made.apply({"oven": 40.0})
    assert chamber.held["set_point_c"] == 40.0


def test_a_step_that_wants_two_values_of_one_control_is_refused(chamber: Chamber) -> None:
    with pytest.raises(DeviceRefused, match="are one control"):
        outputs(chamber, OVEN).apply({"oven": 40.0, "temperature_c": 30.0})


def test_on_a_trip_it_takes_the_trip_value_of_the_row_that_was_made(chamber: Chamber) -> None:
    outputs(chamber, OVEN).trip()
    assert chamber.written == [("set_point_c", 20.0)]


def test_what_a_person_sets_of_an_output_is_that_output(chamber: Chamber) -> None:
    made = outputs(chamber, OVEN)
    made.set_by_hand(chamber, "c", "set_point_c")  # type: ignore[arg-type]
    made.safe()
    assert chamber.written == [("set_point_c", 25.0)]
