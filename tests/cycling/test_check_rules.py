"""Each rule of the step model: a profile that breaks it is refused with number, label and a sentence."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cycling.check import check
from cycling.steps import Safety
from tests.cycling.invented import SUPPLY, cc, envelope, group, profile, rest, time_end


def end(quantity: str, value: float, op: str = "auto", **more: Any) -> dict[str, Any]:
    """Return an end."""
    return {"quantity": quantity, "value": value, "op": op, **more}


def cv(voltage_v: float, *ends: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a constant voltage with 1 A of compliance."""
    return {
        "kind": "cv",
        "voltage_v": voltage_v,
        "current_max_a": 1.0,
        "end": list(ends) or [time_end(60)],
        **more,
    }


def cccv(current_a: float, voltage_v: float, *ends: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a constant current, then constant voltage."""
    ends = ends or (time_end(60),)
    return {"kind": "cccv", "current_a": current_a, "voltage_v": voltage_v, "end": list(ends), **more}


POINTS = [[0, 1.0], [10, -1.0]]
STORE = {"name": "c", "quantity": "charge_ah", "min_rel": 0.5, "max_rel": 1.2}

# (the step, words of the refusal)
STEPS: list[tuple[dict[str, Any], str]] = [
    # every step that does not end by itself has an end
    ({"kind": "rest"}, "It has no end"),
    (cc(1.0) | {"end": []}, "It has no end"),
    ({"kind": "wait_for", "operator": "look"}, "It has no end"),
    (
        {"kind": "wait_for", "operator": "look", "end": [end("voltage_v", 3.0, "above")]},
        "needs an end on time_s",
    ),
    ({"kind": "wait_for", "end": [time_end(5)]}, "waits for nothing"),
    ({"kind": "wait_for", "start_time": "tomorrow", "end": [time_end(5)]}, "is no time"),
    # not yet
    (
        {"kind": "scan", "from_v": 3, "to_v": 4, "rate_v_s": 0.1, "current_max_a": 1, "end": [time_end(9)]},
        "not yet",
    ),
    (
        {
            "kind": "eis",
            "mode": "galvano",
            "amplitude": 1,
            "from_hz": 1,
            "to_hz": 9,
            "per_decade": 5,
            "end": [time_end(9)],
        },
        "not yet",
    ),
    ({"kind": "drive", "of": "power", "table": {"name": "wltp", "sha256": "0"}}, "not yet"),
    (cc(1.0, store=STORE | {"quantity": "energy_wh"}), "not yet"),
    # set points
    (cc(0.0), "use the kind rest"),
    (cc(1.0, rate="C/2"), "either current_a or rate"),
    (cc(1.0) | {"current_a": None}, "either current_a or rate"),
    (cc(1.0) | {"current_a": None, "rate": "half"}, "is no rate"),
    (cc(1.0, direction="discharge"), "its direction says discharge"),
    (cv(4.0) | {"current_max_a": None}, "needs its largest current"),
    (cv(4.0, rate_max="1C"), "either current_max_a or rate_max"),
    (cv(4.0) | {"current_max_a": -1.0}, "must be above 0"),
    ({"kind": "cp", "power_w": 0, "end": [time_end(9)]}, "use the kind rest"),
    ({"kind": "cr", "resistance_ohm": 5, "current_max_a": 1, "end": [time_end(9)]}, "needs a direction"),
    ({"kind": "drive", "of": "current", "points": [[0, 1]]}, "at least two points"),
    ({"kind": "drive", "of": "current", "points": [[1, 1], [2, 1]]}, "must be at 0 s"),
    ({"kind": "drive", "of": "current", "points": [[0, 1], [2, 1], [2, 3]]}, "must rise"),
    ({"kind": "drive", "of": "current", "points": POINTS, "repeat": 0}, "at least once"),
    # inside the operating limits
    (cc(10.5), "above the limit 10 A (the battery's largest charge current)"),
    (cc(-21.0), "below the limit -20 A (the battery's largest discharge current)"),
    (cv(4.25), "above the limit 4.2"),
    (cv(4.0) | {"current_max_a": 30.0}, "lies above the limit"),
    (cccv(1.0, 4.3), "above the limit 4.2"),
    (cc(1.0, end("voltage_v", 4.21)), "above the limit 4.2"),
    (cc(-1.0, end("voltage_v", 2.4)), "below the limit 2.5"),
    (rest(9, end=[end("voltage_v", 1.0, "below"), time_end(9)]), "below the limit 2.5"),
    ({"kind": "cp", "power_w": 1600, "end": [time_end(9)]}, "above the limit 1500"),
    (
        {"kind": "cr", "resistance_ohm": 5, "direction": "charge", "current_max_a": 11, "end": [time_end(9)]},
        "limit 10",
    ),
    ({"kind": "drive", "of": "current", "points": [[0, 1.0], [10, -21.0]]}, "below the limit -20"),
    ({"kind": "drive", "of": "current", "points": POINTS, "scale": 11}, "above the limit 10"),
    ({"kind": "drive", "of": "rate", "points": POINTS, "scale": 3}, "above the limit 10"),
    (cc(1.0) | {"current_a": None, "rate": "2.1C"}, "above the limit 10"),
    (cc(1.0, end("current_abs_a", 25, "above")), "never be reached"),
    (cc(1.0, clip={"v_max_v": 4.4}), "clip.v_max_v 4.4 V lies above"),
    (cc(1.0, safety={"v_max_v": 4.3}), "can only tighten"),
    (cc(1.0, safety={"run_max_s": 9}), "limit of the whole profile"),
    (cc(1.0, safety={"delay_s": 9}), "longer needs a manager"),
    (cc(1.0, safety={"measures": [{"name": "mist", "max": 1}]}), "no measure mist"),
    # ends
    (cc(1.0, end("voltag", 4.0, "above")), "has no measure voltag"),
    (cccv(1.0, 4.1, end("voltage_v", 4.0)), "A cccv holds its voltage"),
    (rest(9, end=[end("voltage_v", 3.0)]), "not clear whether"),
    (cv(4.0, end("current_abs_a", 0.1)), "not clear whether"),
    (cc(1.0, end("time_s", 5, "below")), "grows from 0"),
    (cc(1.0, end("charge_ah", 0)), "must be above 0"),
    (cc(1.0, end("voltage_v", 4.0, over_s=5)), "over_s is for slopes"),
    (cc(1.0, end("voltage_v", 4.0, hold_s=-1)), "must not be below 0"),
    (cc(1.0, end("soc", 0.5)), "state of charge is not known"),
    (cc(1.0, end("charge_rel", 0.5, of="c")), "No earlier step stores 'c'"),
    (cc(1.0, end("charge_ah", 0.5, of="c")), "Only charge_rel and rate_abs"),
    (cc(1.0, end("voltage_v", 4.1), clip={"v_max_v": 4.0}), "It can never fire"),
    (cc(-1.0, end("voltage_v", 2.6), clip={"v_min_v": 2.7}), "It can never fire"),
    (cc(1.0, time_end(5, then={"goto": "nowhere"})), "no step labelled 'nowhere'"),
    # stored results
    (cc(1.0) | {"current_a": None, "rate": "1C", "rate_of": "c"}, "No earlier step stores 'c'"),
    (cc(1.0, rate_of="c"), "rate_of needs a rate"),
    (cc(1.0, store=STORE | {"min_rel": 2}), "0 < min_rel < max_rel"),
    # the rest
    (cc(1.0, dcir_at_s=[5, 1]), "dcir_at_s"),
    (cc(1.0, soc_after=50), "from 0 to 1"),
    (cc(1.0, settle_s=-1), "settle_s"),
    (cc(1.0, record={"every_s": 0}), "every_s 0 must be above"),
    (cc(1.0, record={"burst": [[5, 1], [2, 1]]}), "burst"),
    (cc(1.0, outputs={"pump": 1}), "no output pump"),
    (rest(9, isolate=True), "no isolator"),
    (cc(1.0, temperature_c=30), "no output temperature_c"),
    (group(0, rest(1)), "at least once"),
    (group(1), "is empty"),
    (group(1, rest(1), end=[time_end(5)]), "A group has no end"),
    (group(1, rest(1), temperature_c=0), "A group has no temperature_c"),
    ({"kind": "note", "text": "x", "end": [time_end(5)]}, "has no end"),
]


@pytest.mark.parametrize(
    ("step", "words"), STEPS, ids=[f"{i}-{words[:24]}" for i, (_, words) in enumerate(STEPS)]
)
def test_a_step_that_breaks_a_rule_is_refused_by_number_and_label(step: dict[str, Any], words: str) -> None:
    wanted = profile(rest(1), group(1, {**step, "label": "culprit"}))
    checked = check(wanted, envelope(), 5.0, measures=("flow",), outputs=("valve",), isolator=False)
    refusals = [p for p in checked.errors if words in p.message]
    assert refusals, [str(p) for p in checked.errors]
    assert (refusals[0].step, refusals[0].label) == (3, "culprit")
    assert refusals[0].message.endswith(".")


PROFILES: list[tuple[dict[str, Any], str]] = [
    ({"steps": []}, "has no steps"),
    ({"name": " "}, "needs a name"),
    ({"format": "profile/9"}, "is not known"),
    ({"capacity": {"basis": "given"}}, "needs ah"),
    ({"capacity": {"basis": "measured"}}, "needs the experiment"),
    ({"record": {"every_s": -1}}, "every_s"),
    ({"safety": {"v_max_v": 3.0, "v_min_v": 3.5}}, "must be above v_min_v"),
    ({"safety": {"delay_s": 3}}, "needs the manager role"),
    ({"safety": {"delay_s": -1}}, "must not be below 0"),
    ({"safety": {"i_min_a": 1.0}}, "discharging is negative"),
    ({"safety": {"run_max_s": 0}}, "must be above 0"),
    ({"safety": {"temp_max_c": 40}}, "no measure temperature_c"),
    ({"safety": {"measures": [{"name": "flow"}]}}, "neither min nor max"),
    ({"safety": {"measures": [{"name": "mist", "max": 1}]}}, "no measure mist"),
    ({"stop": {}}, "says nothing"),
    ({"stop": {"cycles": 3}}, "no group counts cycles"),
    ({"stop": {"q_ah": 3}}, "no group counts cycles"),
    ({"stop": {"q_ah": -3, "when": "now"}}, "must be above 0"),
]


@pytest.mark.parametrize(("parts", "words"), PROFILES)
def test_a_profile_that_breaks_a_rule_is_refused(parts: dict[str, Any], words: str) -> None:
    wanted = profile(rest(1))
    for name, value in parts.items():
        changed = profile(rest(1), **{name: value}) if name not in ("steps", "name") else wanted
        setattr(wanted, name, value if name in ("steps", "name") else getattr(changed, name))
    checked = check(wanted, envelope(), 5.0, measures=("flow",))
    assert any(words in p.message for p in checked.errors), [str(p) for p in checked.errors]


def refused(*steps: dict[str, Any], capacity_ah: float | None = 5.0, **parts: Any) -> str:
    """Return the errors of a profile as text."""
    wanted = profile(*steps, **parts)
    return " | ".join(str(p) for p in check(wanted, envelope(wanted.safety), capacity_ah).errors)


def test_a_sound_profile_has_no_errors() -> None:
    assert (
        refused(cccv(1.0, 4.2, end("rate_abs", 0.05, "below"), time_end(9000, then="fail")), rest(60)) == ""
    )


def test_cycle_groups_do_not_nest() -> None:
    nested = group(2, group(2, rest(1), is_cycle=True), is_cycle=True)
    assert "inside step 1, which counts them too" in refused(nested)


def test_goto_finds_one_label_at_its_own_or_an_outer_level() -> None:
    jump = cc(1.0, time_end(5, then={"goto": "here"}))
    assert refused(group(1, jump), rest(1, label="here")) == ""
    assert "own or an outer level" in refused(jump, group(1, rest(1, label="here")))
    assert "Steps 2 and 3 are both labelled" in refused(jump, rest(1, label="here"), rest(1, label="here"))


def test_exit_group_needs_a_group() -> None:
    step = cc(1.0, time_end(5, then="exit_group"))
    assert "in no group" in refused(step)
    assert refused(group(2, step)) == ""


def test_going_back_needs_a_limit_on_the_whole_run() -> None:
    back = cc(1.0, time_end(5, then={"goto": "here"}))
    assert "give safety.run_max_s" in refused(rest(1, label="here"), back)
    assert refused(rest(1, label="here"), back, safety={"run_max_s": 600}) == ""


def test_a_stored_rate_is_checked_over_its_whole_range() -> None:
    source = cc(-1.0, store=STORE)
    pulse = cc(1.0) | {"current_a": None, "rate_of": "c"}
    assert refused(source, pulse | {"rate": "1.5C"}) == ""
    assert "above the limit 10" in refused(source, pulse | {"rate": "1.8C"})


def test_rates_need_a_capacity_once_the_limits_are_known() -> None:
    rate = cc(1.0) | {"current_a": None, "rate": "C/2"}
    assert "needs a capacity" in refused(rate, capacity_ah=None)
    assert refused(rate, capacity_ah=None, capacity={"basis": "given", "ah": 5.0}) == ""
    assert check(profile(rate)).errors == []


def test_an_end_on_soc_needs_a_start() -> None:
    step = cc(1.0, end("soc", 0.8))
    assert "not known here" in refused(step)
    assert check(profile(step), envelope(), 5.0, initial_soc_percent=50).errors == []
    assert refused(cc(1.0, soc_after=0.5), step) == ""


def test_a_discharge_end_lies_above_the_devices_cutoff() -> None:
    device = msgspec.structs.replace(SUPPLY, discharge_cutoff_v=2.8)
    at_cutoff = profile(cc(-1.0, end("voltage_v", 2.8)))
    text = " ".join(str(p) for p in check(at_cutoff, envelope(device=device), 5.0).errors)
    assert "step 1: The device itself stops at 2.8 V" in text
    above = profile(cc(-1.0, end("voltage_v", 2.81)))
    assert check(above, envelope(device=device), 5.0).errors == []


def test_a_current_whose_power_leaves_the_limits_is_refused() -> None:
    assert "are 25.2 W" in refused(cc(6.0), safety={"p_abs_max_w": 20})


@pytest.mark.parametrize(
    ("step", "power"),
    [
        (cv(4.0, current_max_a=6.0), "are 24 W"),
        (cv(3.0, current_max_a=6.0, direction="discharge"), "are -25.2 W"),
        (
            {"kind": "cr", "resistance_ohm": 0.6, "direction": "discharge", "current_max_a": 9}
            | {"end": [time_end(9)]},
            "are -29.4 W",
        ),
        ({"kind": "drive", "of": "current", "points": [[0, 1.0], [10, -6.0]]}, "are -25.2 W"),
    ],
)
def test_every_kind_of_step_is_held_to_the_power_limits(step: dict[str, Any], power: str) -> None:
    assert power in refused(step, safety={"p_abs_max_w": 20})


def test_a_charge_by_cv_is_judged_at_its_own_voltage() -> None:
    wanted = cv(2.8, current_max_a=7.0, direction="charge")
    assert refused(wanted, safety={"p_abs_max_w": 20}) == ""


@pytest.mark.parametrize("how", [{"temperature_c": 60}, {"outputs": {"temperature_c": 60}}])
def test_a_temperature_that_any_step_sets_lies_inside_the_limits(how: dict[str, Any]) -> None:
    found = check(profile(rest(9, **how), safety={"temp_max_c": 45})).errors
    assert [problem.step for problem in found] == [1]
    assert "temperature_c 60 °C lies above the limit 45" in found[0].message
    assert check(profile(rest(9, **how), safety={"temp_max_c": 65})).errors == []


def test_a_profile_is_held_to_its_own_safety_before_its_station_is_known() -> None:
    wanted = profile(cc(3.0), safety={"i_max_a": 2.0})
    assert "above the limit 2 A (the profile's own limit)" in check(wanted).errors[0].message


def test_a_long_delay_is_a_matter_for_a_manager() -> None:
    wanted = profile(rest(1), safety={"delay_s": 5})
    assert check(wanted).errors
    assert check(wanted, long_delays=True).errors == []


def test_the_summary_tells_what_the_profile_asks_for() -> None:
    wanted = profile(
        group(3, cccv(2.0, 4.1, time_end(100)), cc(-4.0, end("voltage_v", 2.8), time_end(50)), rest(10)),
        safety={"max_step_s": 1000},
    )
    summary = check(wanted).summary
    assert (summary.voltage_min_v, summary.voltage_max_v) == (2.8, 4.1)
    assert (summary.current_min_a, summary.current_max_a) == (-4.0, 2.0)
    assert summary.duration_max_s == 3 * 160


def test_a_step_without_a_time_is_bounded_by_the_longest_step() -> None:
    step = cc(-1.0, end("voltage_v", 2.8))
    assert check(profile(step)).summary.duration_max_s == 172_800
    assert check(profile(step, safety={"max_step_s": 500})).summary.duration_max_s == 500
    assert check(profile(step, safety={"run_max_s": 60})).summary.duration_max_s == 60
    assert Safety().max_step_s == 172_800
