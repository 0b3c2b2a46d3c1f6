"""Quantities and times are written with just the digits that mean something."""

from datetime import UTC, datetime, timedelta

import pytest

from web_server.lib import numbers

# (value, unit, text): `tests/browser/` holds the script's writing to the same table.
WRITTEN = [
    (3.70116, "V", "3.7012 V"),
    (12.34567, "V", "12.346 V"),
    (0.0512, "V", "51.2 mV"),
    (-0.5, "A", "−0.500 A"),
    (1.23456, "A", "1.235 A"),
    (0.00004, "A", "40.0 µA"),
    (0.0, "A", "0.000 A"),
    (150.0, "A", "150.0 A"),
    (0.05, "Ah", "50.0 mAh"),
    (12500.0, "W", "12.50 kW"),
    (24.04, "°C", "24.0 °C"),
    (0.05, "°C", "0.1 °C"),
    (3.0, "", "3"),
    (3.5, "", "3.500"),
    (None, "V", "–"),
    (float("nan"), "V", "–"),
]
SET = [
    (4.2, "V", "4.2 V"),
    (0.05, "A", "50 mA"),
    (0.05, "C", "0.05 C"),
    (-1.0, "A", "−1 A"),
    (None, "V", "–"),
]
DURATIONS = [
    (0.1, "0.1 s"),
    (0, "0 s"),
    (59, "59 s"),
    (61, "1 min 1 s"),
    (7800, "2 h 10 min"),
    (3600, "1 h"),
    (90061, "1 d 1 h"),
    (-0.02, "0.0 s"),
    (-0.14, "−0.1 s"),
]
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(("value", "unit", "text"), WRITTEN)
def test_a_measured_value_has_unit_prefix_and_digits(value, unit, text):
    assert numbers.quantity(value, unit) == text


@pytest.mark.parametrize(("value", "unit", "text"), SET)
def test_a_set_value_keeps_the_digits_it_was_given(value, unit, text):
    assert numbers.setting(value, unit) == text


@pytest.mark.parametrize(("seconds", "text"), DURATIONS)
def test_a_length_of_time_is_written_in_its_two_largest_parts(seconds, text):
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("away", "text"),
    [(7800, "in 2 h 10 min"), (-300, "5 min ago"), (2, "now"), (-45, "45 s ago"), (-10 * 86400, "10 d ago")],
)
def test_a_time_is_written_as_seen_from_now(away, text):
    assert numbers.relative(NOW + timedelta(seconds=away), NOW) == text


def test_a_copied_number_is_plain_si():
    assert numbers.plain(0.0512) == "0.0512"
    assert numbers.plain(3.0) == "3"
