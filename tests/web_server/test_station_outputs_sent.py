"""The outputs of a station as its unit and the rules of profiles get them."""

from __future__ import annotations

import pytest

from tests.web_server import factories
from web_server.lab import composition
from web_server.lab.models import Device, Station, Unit

pytestmark = pytest.mark.django_db


@pytest.fixture
def unit() -> Unit:
    return factories.make_unit()


def _station(unit: Unit, other: Device, **body: object) -> Station:
    devices = [
        {"device": factories.make_device(unit, "p"), "role": "power"},
        {"device": other, "role": "auxiliary"},
    ]
    return factories.make_station(unit, devices=devices, **body)


def test_a_chamber_is_what_temperature_c_of_a_step_sets_within_its_own_range(unit: Unit) -> None:
    chamber = factories.make_device(unit, "c", model="chamber-modbus-int16")
    station = _station(unit, chamber)
    [sent] = composition.configuration(station).outputs
    assert (sent.name, sent.device, sent.control) == ("temperature_c", str(chamber.uuid), "set_point_c")
    assert (sent.minimum, sent.maximum) == (-40.0, 180.0)
    # The rules of profiles see the same.
    limits = composition.limits_of_station(station)
    assert limits.outputs == ("temperature_c",)
    assert limits.output_ranges["temperature_c"] == (-40.0, 180.0)


def test_an_output_of_that_name_is_taken_as_it_was_made(unit: Unit) -> None:
    chamber = factories.make_device(unit, "c", model="chamber-modbus-int16")
    own = {
        "name": "temperature_c", "device": str(chamber.uuid), "control": "set_point_c", "minimum": 0, "maximum": 60,
    }  # fmt: skip
    [sent] = composition.configuration(_station(unit, chamber, outputs=[own])).outputs
    assert (sent.minimum, sent.maximum) == (0.0, 60.0)


def test_a_chamber_that_has_another_name_is_temperature_c_within_the_same_range(unit: Unit) -> None:
    chamber = factories.make_device(unit, "c", model="chamber-modbus-int16")
    own = {
        "name": "oven", "device": str(chamber.uuid), "control": "set_point_c", "minimum": 10, "maximum": 60, "safe": 25,
    }  # fmt: skip
    station = _station(unit, chamber, outputs=[own])
    oven, same = composition.configuration(station).outputs
    assert (oven.name, same.name) == ("oven", "temperature_c")
    assert (same.minimum, same.maximum, same.safe) == (10.0, 60.0, 25.0)
    assert composition.limits_of_station(station).output_ranges["temperature_c"] == (10.0, 60.0)


def test_an_output_without_a_range_has_its_controls(unit: Unit) -> None:
    lamp = factories.make_device(unit, "l", model="esp32-pwm-lamp")
    output = {"name": "lamp", "device": str(lamp.uuid), "control": "duty_0_pct", "maximum": 80}
    [sent] = composition.configuration(_station(unit, lamp, outputs=[output])).outputs
    assert (sent.minimum, sent.maximum) == (0.0, 80.0)
