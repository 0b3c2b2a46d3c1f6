"""Why a step ended is read by people: units and names, no field names."""

from __future__ import annotations

import pytest

from cycling import words


@pytest.mark.parametrize(
    ("quantity", "above", "limit", "measured", "text"),
    [
        ("time_s", True, 18.0, 18.0005, "after 18 s"),
        ("voltage_v", True, 4.2, 4.2003, "voltage rose to 4.2 V (measured 4.2003 V)"),
        ("voltage_v", False, 2.5, 2.4999, "voltage fell to 2.5 V (measured 2.4999 V)"),
        ("current_abs_a", False, 0.05, 0.0498, "current fell to 0.05 A (measured 0.0498 A)"),
        ("rate_abs", False, 0.05, None, "rate fell to 0.05 C"),
        ("flow_main", True, 100.0, 101.0, "flow main rose to 100 (measured 101)"),
    ],
)
def test_an_end_reads_as_people_say_it(
    quantity: str, above: bool, limit: float, measured: float | None, text: str
) -> None:
    assert words.reached(quantity, above, limit, measured) == text


def test_a_charge_relative_to_a_stored_result_names_it() -> None:
    assert words.reached("charge_rel", True, 0.5, None, "c_rpt") == "charge rose to 0.5 of c_rpt"
