"""The seed's text form, in and out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cycling.check import check
from cycling.steps import CC, CP, CV, Rest
from cycling.text import CannotWrite, parse, write
from tests.cycling.invented import cc, envelope, group, profile, rest, time_end


def test_the_four_examples_are_read() -> None:
    text = "WAIT, 60\nCC, 1.5, VOLTAGE, 4.2\nCV, 4.2, CURRENT, 0.05\nCP, -20, TIME, 600\n"
    wanted, problems = parse(text, "seed")
    assert problems == []
    assert wanted is not None
    one, two, three, four = wanted.steps
    assert isinstance(one, Rest)
    assert isinstance(two, CC)
    assert isinstance(three, CV)
    assert isinstance(four, CP)
    assert (one.end[0].quantity, one.end[0].value) == ("time_s", 60.0)
    assert (two.current_a, two.end[0].quantity, two.end[0].op) == (1.5, "voltage_v", "above")
    assert (three.voltage_v, three.current_max_a) == (4.2, 1.5)
    assert (three.end[0].quantity, three.end[0].op, three.end[0].value) == ("current_abs_a", "below", 0.05)
    assert (four.power_w, four.end[0].value) == (-20.0, 600.0)
    assert wanted.origin is not None
    assert wanted.origin.text == text
    assert wanted.origin.losses == ["line 3: the CV's largest current is that of the CC before it, 1.5 A"]
    assert check(wanted, envelope(), 5.0).errors == []


def test_blanks_case_empty_lines_and_comments_do_not_matter() -> None:
    wanted, problems = parse("\n  # a comment\n wait ,60 # one minute\r\n\tCc,1.5 , Voltage,  4.2\n\n", "x")
    assert problems == []
    assert wanted is not None
    assert len(wanted.steps) == 2


def test_a_byte_order_mark_does_not_matter() -> None:
    wanted, problems = parse("\ufeffWAIT, 60", "x")
    assert (problems, wanted is not None) == ([], True)


def test_a_cv_without_a_cc_is_bounded_by_the_envelope_and_says_so() -> None:
    wanted, _ = parse("CV, 4.0, CURRENT, 0.05", "x")
    assert wanted is not None
    assert wanted.origin is not None
    assert "bounded by battery" in wanted.origin.losses[0]
    assert check(wanted, envelope(), 5.0).errors == []


@pytest.mark.parametrize(
    ("line", "quantity", "op"),
    [
        ("CC, -1, VOLTAGE, 3", "voltage_v", "below"),
        ("CC, 1, POWER, 5", "power_abs_w", "above"),
        ("CC, -1, POWER, 3", "power_abs_w", "below"),
        ("CC, -1, CAPACITY, 0.5", "charge_ah", "above"),
        ("CV, 4, POWER, 0.1", "power_abs_w", "below"),
        ("CP, 5, CURRENT, 1", "current_abs_a", "below"),
        ("CP, -5, CURRENT, 2", "current_abs_a", "above"),
        ("CP, -5, VOLTAGE, 3", "voltage_v", "below"),
        ("CC, 1, TIME, -1", "time_s", "above"),
        ("CC, -1, VOLTAGE, -1", "time_s", "above"),
    ],
)
def test_each_limit_is_met_from_the_side_that_makes_sense(line: str, quantity: str, op: str) -> None:
    wanted, problems = parse(line, "x")
    assert problems == []
    assert wanted is not None
    (end,) = wanted.steps[0].end
    assert (end.quantity, end.op) == (quantity, op)


def test_no_time_is_too_long_and_no_number_is_truncated() -> None:
    wanted, _ = parse("CC, 0.000123456789, TIME, 98765432.125", "x")
    assert wanted is not None
    step = wanted.steps[0]
    assert isinstance(step, CC)
    assert (step.current_a, step.end[0].value) == (0.000123456789, 98765432.125)
    assert write(wanted) == "CC, 0.000123456789, TIME, 98765432.125\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("CX, 1, TIME, 3", "'CX' is no mode"),
        ("CC, 1", "CC has a value, a limit and its value"),
        ("WAIT, 1, 2", "WAIT has one value"),
        ("WAIT", "WAIT has one value"),
        ("WAIT, 0", "must be above 0"),
        ("CC, one, TIME, 3", "'one' is no number"),
        ("CC, 1_0, TIME, 3", "is no number"),
        ("CC, nan, TIME, 3", "is no number"),
        ("CC, 1, TIME, inf", "is no number"),
        ("CC, 0, TIME, 3", "use WAIT"),
        ("CC, 1, HEAT, 3", "'HEAT' is no limit"),
        ("CC, 1, CURRENT, 3", "cannot end on it"),
        ("CV, 4, VOLTAGE, 3", "cannot end on it"),
        ("CP, 4, POWER, 3", "cannot end on it"),
        ("CC, 1, VOLTAGE, -4", "must be above 0"),
    ],
)
def test_an_error_names_its_line(line: str, words: str) -> None:
    wanted, problems = parse(f"WAIT, 1\n\n{line}\nCC, 1, TIME, 5\nnonsense", "x")
    assert wanted is None
    assert [problem.line for problem in problems] == [3, 5]
    assert words in problems[0].message
    assert str(problems[0]).startswith("line 3: ")


def test_an_empty_text_is_refused() -> None:
    assert parse("# nothing\n", "x")[1][0].message.startswith("The text has no instruction")


@given(st.text())
def test_nothing_raises(text: str) -> None:
    wanted, problems = parse(text, "x")
    assert (wanted is None) == bool(problems)


NUMBER = st.floats(1e-6, 1e9, allow_nan=False) | st.floats(1e-6, 10).map(lambda x: -x)
POSITIVE = st.floats(1e-6, 1e9)
LINES = st.lists(
    st.one_of(
        st.builds("WAIT, {!r}".format, POSITIVE),
        st.builds("CC, {!r}, VOLTAGE, {!r}".format, NUMBER, POSITIVE),
        st.builds("CC, {!r}, CAPACITY, {!r}".format, NUMBER, POSITIVE),
        st.builds("CV, {!r}, CURRENT, {!r}".format, POSITIVE, POSITIVE),
        st.builds("CP, {!r}, POWER, {!r}".format, NUMBER, POSITIVE).map(lambda s: s.replace("POWER", "TIME")),
    ),
    min_size=1,
    max_size=8,
)


@given(LINES)
def test_what_was_read_is_written_and_read_again_as_the_same_steps(lines: list[str]) -> None:
    wanted, problems = parse("\n".join(lines), "x")
    assert problems == []
    assert wanted is not None
    again, _ = parse(write(wanted), "x")
    assert again is not None
    assert again.steps == wanted.steps


def test_loops_are_unrolled_and_notes_become_comments() -> None:
    wanted = profile(group(2, {"kind": "note", "text": "round"}, rest(5), group(2, cc(-1.0))))
    one_round = "# round\nWAIT, 5\nCC, -1, TIME, 60\nCC, -1, TIME, 60\n"
    assert write(wanted) == one_round * 2


CV1 = {"kind": "cv", "voltage_v": 4.0, "current_max_a": 1.0, "end": [time_end(9)]}


@pytest.mark.parametrize(
    ("steps", "parts", "words"),
    [
        ([cc(1.0, time_end(5), time_end(9))], {}, "Step 1: The text form has one end, not 2"),
        (
            [rest(1), {"kind": "cccv", "current_a": 1, "voltage_v": 4, "end": [time_end(9)]}],
            {},
            "Step 2: .* no cccv",
        ),
        ([cc(1.0) | {"current_a": None, "rate": "C/2"}], {}, "no rates"),
        ([CV1], {}, "current of the CC before it"),
        ([cc(1.0, time_end(5, then="fail"))], {}, "plain ends"),
        ([cc(1.0, {"quantity": "soc", "value": 0.5})], {}, "no limit on soc"),
        ([cc(1.0, {"quantity": "voltage_v", "value": 4, "hold_s": 3})], {}, "no hold_s"),
        ([cc(1.0, clip={"v_max_v": 4})], {}, "no clip"),
        ([rest(1, outputs={"pump": 1})], {}, "no place for outputs"),
        ([rest(1)], {"finish": [rest(1)]}, "no finish"),
        ([rest(1)], {"stop": {"run_s": 5, "when": "now"}}, "no stop rule"),
        ([group(1000, group(1000, rest(1)))], {}, "more than 100000 lines"),
    ],
)
def test_what_the_text_form_cannot_say_is_refused_with_the_reason(
    steps: list[dict[str, Any]], parts: dict[str, Any], words: str
) -> None:
    with pytest.raises(CannotWrite, match=words):
        write(profile(*steps, **parts))
