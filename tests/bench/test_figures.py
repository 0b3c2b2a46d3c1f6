"""What the figures of `make bench` are made of; no test here looks at a time of its own."""

from __future__ import annotations

import pytest

from .bench_unit import TRIP_V
from .figures import percentile, tail
from .reaction import reaction


def voltage(text: str) -> float | None:
    return float(text) if text[0].isdigit() else None


def said(*messages: tuple[float, str, str]) -> list[dict[str, object]]:
    return [{"at_s": at_s, "to": to, "text": text} for at_s, to, text in messages]


def test_a_reaction_is_from_the_first_violating_answer_to_the_first_off() -> None:
    log = said(
        (1.00, "device", "OFF"), (1.10, "host", "3.7"), (1.20, "host", "2.5"), (1.21, "device", "READ"),
        (1.22, "host", "2.5"), (1.23, "device", "OFF"), (1.24, "host", "2.5"), (1.25, "device", "OFF"),
    )  # fmt: skip
    seconds, readings = reaction(log, voltage, lambda text: text == "OFF")
    assert seconds == pytest.approx(0.03)
    assert readings == 2


def test_a_log_without_a_violation_or_without_an_off_is_no_reaction() -> None:
    for log in (said((1.0, "host", str(TRIP_V)), (1.1, "device", "OFF")), said((1.0, "host", "2.0"))):
        with pytest.raises(AssertionError, match="no violating reading"):
            reaction(log, voltage, lambda text: text == "OFF")


def test_a_percentile_is_the_nearest_rank() -> None:
    hundred = list(range(1, 101))
    assert [percentile(hundred, each) for each in (50, 95, 99, 99.9)] == [50, 95, 99, 100]
    assert percentile(list(range(1, 2001)), 99.9) == 1998


def test_the_slowest_of_a_thousand_is_named_so_only_with_a_thousand() -> None:
    few = [each.name for each in tail("x", [0.001] * 999, 0.010)]
    many = tail("x", [0.001] * 1000, 0.010)
    assert few == ["x, p50", "x, p99", "x, maximum"]
    assert [each.name for each in many] == ["x, p50", "x, p99", "x, maximum", "x, p99.9"]
    assert [each.goal for each in many] == [None, None, None, 10.0]
