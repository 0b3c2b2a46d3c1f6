"""Numbers as instruments print them."""

from __future__ import annotations

import pytest

from cycler_unit.drivers import numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.50 V", 12.5),
        ("12.50V", 12.5),
        ("-1.5 A", -1.5),
        ("+3", 3.0),
        (" 84.00 V ", 84.0),
        (".5", 0.5),
        ("1.5e-3 A", 0.0015),
        ("1.5E+2", 150.0),
        ("100 W", 100.0),
        ("10.000OHM", 10.0),
    ],
)
def test_sign_fraction_exponent_blank_and_unit_are_optional(text: str, value: float) -> None:
    assert numbers.value(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "V", "ON", "12.50 V, 1.00 A", "1 2", "9.9E37", "nan", "inf", "--1"])
def test_what_is_no_single_number_is_missing(text: str) -> None:
    assert numbers.value(text) is None


@pytest.mark.parametrize(
    ("text", "digit"), [("12.50 V", 0.01), ("100 W", 1.0), ("1.5e-3", 1e-4), ("1.50E2", 1.0)]
)
def test_the_last_printed_digit_is_known(text: str, digit: float) -> None:
    printed = numbers.parse(text)
    assert printed is not None
    assert printed.digit == pytest.approx(digit)


def test_rounding_forgives_float_dust() -> None:
    assert numbers.down(4.2, 0.01) == pytest.approx(4.2)
    assert numbers.up(4.2, 0.0001) == pytest.approx(4.2)
    assert numbers.up(4.2001, 0.01) == pytest.approx(4.21)
    assert numbers.down(4.2099, 0.01) == pytest.approx(4.2)


@pytest.mark.parametrize(("step", "places"), [(1.0, 0), (0.1, 1), (0.01, 2), (0.0001, 4), (0.5, 1)])
def test_decimals_print_a_step_exactly(step: float, places: int) -> None:
    assert numbers.decimals(step) == places
