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
        ("40 mL/min", 40.0),
        ("21.5 °C", 21.5),
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


@pytest.mark.parametrize(
    "text", ["3.71234E", "3.71E+", "9.9E", "3.7e-", "12.50 V12.60 V", "12.50 V 3", "3.7 1V"]
)
def test_a_number_cut_short_or_run_together_is_missing(text: str) -> None:
    assert numbers.value(text) is None


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("7.4486V", "V", 7.4486),
        ("7.4486", "V", 7.4486),
        ("7.4486 v", "V", 7.4486),
        ("3.2A", "V", None),
        ("415 mV", "V", None),
    ],
)
def test_another_unit_is_the_answer_to_another_question(text: str, unit: str, value: float | None) -> None:
    assert numbers.value(text, unit) == value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("12.50 V, 1.50 A, 18.8 W", [12.5, 1.5, 18.8]),
        ("12.50, 1.50, 18.8", [12.5, 1.5, 18.8]),
        ("12.50 V, 9.9E37, 18.8 W", [12.5, None, 18.8]),
        ("1.50 A, 12.50 V, 18.8 W", [None, None, 18.8]),
        ("12.50 V, 1.50 A", [None, None, None]),
        ("12.50 V, 1.50 A, 18.8 W, 3", [None, None, None]),
        ("", [None, None, None]),
    ],
)
def test_a_list_is_read_only_as_the_list_that_was_asked_for(text: str, found: list[float | None]) -> None:
    assert numbers.values(text, ("V", "A", "W")) == found


def test_rounding_forgives_float_dust() -> None:
    assert numbers.down(4.2, 0.01) == pytest.approx(4.2)
    assert numbers.up(4.2, 0.0001) == pytest.approx(4.2)
    assert numbers.up(4.2001, 0.01) == pytest.approx(4.21)
    assert numbers.down(4.2099, 0.01) == pytest.approx(4.2)


@pytest.mark.parametrize(("step", "places"), [(1.0, 0), (0.1, 1), (0.01, 2), (0.0001, 4), (0.5, 1)])
def test_decimals_print_a_step_exactly(step: float, places: int) -> None:
    assert numbers.decimals(step) == places
