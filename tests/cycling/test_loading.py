"""Loading: every problem found, none raised."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cycling.check import check, load
from cycling.numbering import number
from cycling.rates import parse
from tests.cycling.invented import cc, group, profile, rest


def found(data: object, strict: bool = True) -> str:
    """Return the problems of ``data`` as text."""
    loaded, problems = load(data, strict)
    assert (loaded is None) == bool(problems)
    return " | ".join(str(problem) for problem in problems)


def test_all_problems_come_at_once_with_number_and_label() -> None:
    text = found(
        {
            "name": "x",
            "colour": 1,
            "steps": [
                cc("1.5", label="charge"),  # type: ignore[arg-type]
                {"kind": "group", "steps": [{"kind": "warp"}, {"kind": "cv"}, 7]},
                {"label": "nothing"},
            ],
        }
    )
    assert "step 1 (charge): current_a must be a number or nothing, not text." in text
    assert "step 3: It has the unknown kind 'warp'" in text
    assert "step 4: voltage_v is missing." in text
    assert "step 5: A step is an object, not a number." in text
    assert "step 6 (nothing): It has no kind" in text
    assert "There is no field 'colour' here." in text


def test_unknown_fields_are_refused_at_any_depth_unless_not_strict() -> None:
    data = {"name": "x", "steps": [rest(1, end=[{"quantity": "time_s", "value": 1, "unit": "h"}])]}
    assert "There is no field 'end[0].unit' here." in found(data)
    assert found(data, strict=False) == ""


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_must_be_finite(bad: float) -> None:
    assert "end[0].value must be a finite number" in found({"name": "x", "steps": [rest(bad)]})


def test_deep_nesting_is_refused() -> None:
    data: dict[str, Any] = rest(1)
    for _ in range(2000):
        data = group(1, data)
    assert "nest deeper" in found({"name": "x", "steps": [data]})


def test_very_many_steps_are_refused() -> None:
    assert "More than" in found({"name": "x", "steps": [rest(1)] * 10_001})


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
FIELD = st.sampled_from(
    [
        "kind",
        "end",
        "steps",
        "count",
        "rate",
        "current_a",
        "voltage_v",
        "points",
        "of",
        "clip",
        "repeat",
        "store",
    ]
)


@given(st.dictionaries(st.sampled_from(["name", "steps", "safety", "stop", "finish"]), JSON) | JSON)
def test_nothing_raises(data: Any) -> None:
    load(data)


KINDS = st.sampled_from(["rest", "cc", "cv", "cccv", "cp", "cr", "drive", "wait_for", "group", "note"])


@given(st.lists(st.dictionaries(FIELD, JSON, max_size=5), max_size=3), KINDS)
def test_what_loads_can_be_checked(steps: list[dict[str, Any]], kind: str) -> None:
    loaded, _ = load({"name": "x", "steps": [{**step, "kind": kind} for step in steps]}, strict=False)
    if loaded is not None:
        check(loaded)


def test_a_profile_survives_its_own_text() -> None:
    wanted = profile(group(2, cc(1.0), rest(5, label="pause"), is_cycle=True), finish=[rest(1)])
    again, problems = load(msgspec.json.decode(msgspec.json.encode(wanted)))
    assert problems == []
    assert again == wanted


def test_steps_are_numbered_depth_first_with_groups_and_notes_and_finish_follows() -> None:
    wanted = profile(
        rest(1),
        group(2, {"kind": "note", "text": "hello"}, group(3, cc(1.0))),
        rest(1),
        finish=[rest(2)],
    )
    numbered = number(wanted)
    assert [(n.number, n.depth, n.step.__struct_config__.tag) for n in numbered] == [
        (1, 0, "rest"),
        (2, 0, "group"),
        (3, 1, "note"),
        (4, 1, "group"),
        (5, 2, "cc"),
        (6, 0, "rest"),
        (7, 0, "rest"),
    ]
    assert numbered[4].path == ("steps", 1, "steps", 1, "steps", 0)
    assert numbered[6].path == ("finish", 0)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("C", 1),
        ("1C", 1),
        ("C/5", 0.2),
        ("-2C", -2),
        ("D/2", -0.5),
        ("0.5c", 0.5),
        (" +C / 3 ", 1 / 3),
        ("3D", -3),
    ],
)
def test_a_rate_is_read(text: str, rate: float) -> None:
    assert parse(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "5", "C/0", "0C", "-D", "C5", "C/-2", "1e3C", "nanC"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|zero|sign"):
        parse(text)
