"""What is true of every profile, every envelope and every reading."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cycling.check import check
from cycling.envelope import Envelope
from cycling.interpreter import CannotRun, Interpreter
from cycling.limits import operating
from cycling.reading import Decision, Reading, SetPoint
from cycling.steps import Profile
from tests.cycling.invented import envelope, every, feed, group, profile, reading, rest, running, time_end

CURRENT = st.floats(-25, 15).filter(lambda x: abs(x) > 1e-3)
VOLTAGE = st.floats(2.0, 4.6)
SECONDS = st.integers(1, 20).map(float)

ENDS = st.one_of(
    st.builds(lambda v: {"quantity": "voltage_v", "value": v, "op": "above"}, VOLTAGE),
    st.builds(lambda v: {"quantity": "voltage_v", "value": v, "op": "below", "hold_s": 2.0}, VOLTAGE),
    st.builds(lambda x: {"quantity": "current_abs_a", "value": x, "op": "below"}, st.floats(0, 5)),
    st.builds(lambda x: {"quantity": "charge_ah", "value": x}, st.floats(1e-4, 0.01)),
    st.builds(
        lambda x: {"quantity": "dv_dt_v_s", "value": x, "op": "below", "over_s": 4.0}, st.floats(0, 0.1)
    ),
    st.builds(lambda t, then: time_end(t, then=then), SECONDS, st.sampled_from(["next", "stop", "fail"])),
)
END_LISTS = st.builds(lambda ends, last: [*ends, time_end(last)], st.lists(ENDS, max_size=2), SECONDS)
STEPS = st.one_of(
    st.builds(lambda e: {"kind": "rest", "end": [x for x in e if x.get("op") != "auto"]}, END_LISTS),
    st.builds(lambda i, e: {"kind": "cc", "current_a": i, "end": e}, CURRENT, END_LISTS),
    st.builds(
        lambda i, e: {"kind": "cc", "current_a": i, "end": e, "clip": {"v_max_v": 4.1}}, CURRENT, END_LISTS
    ),
    st.builds(
        lambda v, i, e: {"kind": "cv", "voltage_v": v, "current_max_a": abs(i), "end": e},
        VOLTAGE,
        CURRENT,
        END_LISTS,
    ),
    st.builds(
        lambda v, i, e: {
            "kind": "cccv",
            "voltage_v": v,
            "current_a": i,
            "end": [x for x in e if x["quantity"] != "voltage_v"],
        },
        VOLTAGE,
        CURRENT,
        END_LISTS,
    ),
    st.builds(lambda p, e: {"kind": "cp", "power_w": p, "end": e}, CURRENT, END_LISTS),
    st.builds(
        lambda i, d, e: {
            "kind": "cr",
            "resistance_ohm": 3.0,
            "direction": d,
            "current_max_a": abs(i),
            "end": e,
        },
        CURRENT,
        st.sampled_from(["charge", "discharge"]),
        END_LISTS,
    ),
    st.builds(
        lambda a, b, n: {"kind": "drive", "of": "current", "points": [[0, a], [2, b]], "repeat": n},
        CURRENT,
        CURRENT,
        st.integers(1, 3),
    ),
    st.builds(lambda t: {"kind": "wait_for", "operator": "x", "end": [time_end(t, then="next")]}, SECONDS),
)
NESTED = st.recursive(
    STEPS,
    lambda inner: st.builds(
        lambda count, steps: group(count, *steps), st.integers(1, 3), st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)
PROFILES = st.builds(
    lambda steps, finish, run_max_s: profile(*steps, finish=finish, safety={"run_max_s": run_max_s}),
    st.lists(NESTED, min_size=1, max_size=4),
    st.lists(STEPS, max_size=1),
    st.integers(5, 80),
)
WORLDS = st.integers(0, 2**31)


class World:
    """Readings that follow the set points loosely, with noise, gaps and jumps; the same for one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.elapsed_s = 0.0
        self.current_a, self.on = 0.0, False

    def obey(self, target: SetPoint | None) -> None:
        """Follow a set point."""
        if target is not None:
            self.on = target.mode != "off"
            self.current_a = (target.current_a or self.random.uniform(-1, 1)) if self.on else 0.0

    def next(self) -> Reading:
        """Return the next reading, within the trip limits but for rare ones that are missing."""
        random = self.random
        self.elapsed_s += random.choice((0.1, 0.5, 1.0))
        return reading(
            self.elapsed_s,
            None if random.random() < 0.02 else random.choice((random.uniform(2.6, 4.1), 3.7)),
            self.current_a,
            on=self.on,
        )


def live(
    wanted: Profile, limits: Envelope, seed: int, most: int = 400
) -> tuple[Interpreter, list[Decision], tuple[float, float]]:
    """Run a profile in a world; return its decisions and the times of its first and last reading."""
    world, interpreter, decisions, first_s = World(seed), Interpreter(wanted, limits, 5.0), [], None
    for _ in range(most):
        seen = world.next()
        first_s = seen.elapsed_s if first_s is None else first_s
        decisions.append(interpreter.advance(seen))
        if decisions[-1].action in ("finished", "violation"):
            break
        world.obey(decisions[-1].set_point)
    return interpreter, decisions, (first_s or 0.0, world.elapsed_s)


def assert_inside(target: SetPoint, limits: Envelope) -> None:
    """Assert that a set point and its bounds lie inside the operating limits."""
    v_max, v_min = operating(limits, "voltage_v", "max"), operating(limits, "voltage_v", "min")
    i_max, i_min = operating(limits, "current_a", "max"), operating(limits, "current_a", "min")
    assert v_max is not None
    assert v_min is not None
    assert i_max is not None
    assert i_min is not None
    assert 0.0 <= target.charge_current_max_a <= i_max + 1e-9
    assert 0.0 <= target.discharge_current_max_a <= -i_min + 1e-9
    for voltage_v in (target.voltage_v, target.voltage_max_v, target.voltage_min_v):
        assert voltage_v is None or v_min - 1e-9 <= voltage_v <= v_max + 1e-9
    if target.current_a is not None:
        assert i_min - 1e-9 <= target.current_a <= i_max + 1e-9
    if target.mode != "off":
        assert target.voltage_max_v is not None
        assert target.voltage_min_v is not None


@settings(max_examples=150, deadline=None)
@given(PROFILES, WORLDS)
def test_it_never_asks_for_a_set_point_outside_the_envelope(wanted: Profile, seed: int) -> None:
    """Profiles here are not checked first: they may ask for what is not allowed."""
    limits = envelope(wanted.safety)
    for decision in live(wanted, limits, seed)[1]:
        if decision.set_point is not None:
            assert_inside(decision.set_point, limits)


@settings(max_examples=100, deadline=None)
@given(PROFILES, WORLDS)
def test_it_ends_within_run_max_s(wanted: Profile, seed: int) -> None:
    limits = envelope(wanted.safety)
    interpreter, decisions, (first_s, last_s) = live(wanted, limits, seed, most=2000)
    assert interpreter.state == "ended"
    assert decisions[-1].set_point is not None
    assert decisions[-1].set_point.mode == "off"
    assert limits.run_max_s is not None
    # Nobody pauses here, so the run's time is that between its first and last reading.
    assert interpreter.save()["run_s"] <= limits.run_max_s + 1.0 + 1e-9
    assert last_s - first_s <= limits.run_max_s + 1.0 + 1e-9


@settings(max_examples=100, deadline=None)
@given(PROFILES, WORLDS, st.integers(0, 60), st.booleans())
def test_saving_and_restoring_at_any_reading_changes_nothing(
    wanted: Profile, seed: int, when: int, paused: bool
) -> None:
    limits = envelope(wanted.safety)
    plain, saved = Interpreter(wanted, limits, 5.0), Interpreter(wanted, limits, 5.0)
    one, other = World(seed), World(seed)
    for place in range(150):
        if place == when:
            if paused:
                plain.pause()
                saved.pause()
            text = json.dumps(saved.save(), allow_nan=False)
            saved = Interpreter.restore(wanted, limits, 5.0, json.loads(text))
        if place == when + 5:
            plain.resume()
            saved.resume()
        first, second = plain.advance(one.next()), saved.advance(other.next())
        assert first == second
        if first.action in ("finished", "violation"):
            break
        one.obey(first.set_point)
        other.obey(second.set_point)
    assert plain.save() == saved.save()


@settings(max_examples=100, deadline=None)
@given(PROFILES)
def test_what_the_check_allows_can_be_run(wanted: Profile) -> None:
    limits = envelope(wanted.safety)
    if not check(wanted, limits, 5.0).errors:
        Interpreter(wanted, limits, 5.0)


@given(st.integers(1, 30), st.integers(1, 4))
def test_n_rounds_give_n_cycle_numbers(rounds: int, inner: int) -> None:
    wanted = profile(rest(1), group(rounds, group(inner, rest(1)), is_cycle=True))
    decisions = feed(running(wanted), every(1.0, 1000.0))
    cycles = [row.cycle for d in decisions for row in d.steps_ended]
    assert sorted(set(cycles)) == list(range(rounds + 1))
    assert all(cycles.count(n) == inner for n in range(1, rounds + 1))


@pytest.mark.parametrize("period_s", [0.01, 0.1, 1.0])
def test_each_steps_charge_is_its_set_point_times_its_time(period_s: float) -> None:
    """A thousand random pulse trains; the device needs a moment, and the runner reads again at once."""
    random = Random(round(period_s * 1000))
    for _ in range(1000):
        pulses = [
            (random.uniform(-20, 10), random.randint(2, 12) * period_s) for _ in range(random.randint(2, 6))
        ]
        steps: list[dict[str, Any]] = [
            {"kind": "cc", "current_a": a, "end": [time_end(round(s, 6))], "settle_s": 0} for a, s in pulses
        ]
        _pulse_train(profile(*steps), pulses, period_s, random)


def _pulse_train(wanted: Profile, pulses: list[tuple[float, float]], period_s: float, random: Random) -> None:
    interpreter = Interpreter(wanted, LIMITS, 5.0)
    now_s, current_a, rows = 0.0, 0.0, []
    while True:
        decision = interpreter.advance(reading(now_s, 3.7, current_a, on=current_a != 0.0))
        rows += decision.steps_ended
        if decision.action == "finished":
            break
        if decision.set_point is not None and decision.set_point.current_a is not None:
            current_a = decision.set_point.current_a
            now_s += random.uniform(0.0, 0.3) * period_s
        else:
            now_s += period_s
    assert len(rows) == len(pulses)
    for row, (set_a, set_s) in zip(rows, pulses, strict=True):
        charge_as = (row.charge_in_ah - row.charge_out_ah) * 3600
        assert abs(charge_as - set_a * set_s) <= abs(set_a) * period_s + 1e-9
        assert row.duration_s >= set_s - 1e-6


LIMITS = envelope()


def test_a_state_of_another_profile_is_refused() -> None:
    saved = running(profile(rest(5))).save()
    with pytest.raises(CannotRun, match="another profile"):
        Interpreter.restore(profile(rest(6)), LIMITS, 5.0, saved)
    with pytest.raises(CannotRun, match="cannot be read"):
        Interpreter.restore(profile(rest(5)), LIMITS, 5.0, {"phase": 7})


def test_after_a_gap_its_charge_counts_and_the_step_is_flagged() -> None:
    wanted = profile({"kind": "cc", "current_a": 1.0, "end": [time_end(10)]}, rest(3))
    interpreter = running(wanted)
    feed(interpreter, every(1.0, 4.0, current_a=1.0))
    again = Interpreter.restore(wanted, LIMITS, 5.0, json.loads(json.dumps(interpreter.save())))
    assert again.resumable
    again.after_gap(charge_in_ah=0.001)
    (back,) = feed(again, [reading(100.0, 3.7, 0.0, on=False)])
    assert back.set_point is not None
    assert back.set_point.current_a == 1.0
    decisions = feed(again, every(1.0, 120.0, start_s=100.0, current_a=1.0))
    row = next(row for d in decisions for row in d.steps_ended)
    assert row.duration_s == pytest.approx(10.0)
    assert row.charge_in_ah == pytest.approx(0.001 + 10 / 3600)
    assert row.flags & 1
    assert not decisions[-1].row.flags & 1


def test_a_gap_can_be_held_until_a_person_resumes() -> None:
    interpreter = running(profile(rest(10)))
    interpreter.after_gap(hold=True)
    feed(interpreter, every(1.0, 50.0))
    assert interpreter.state == "paused"
    interpreter.resume()
    assert feed(interpreter, every(1.0, 99.0, start_s=50.0))[-1].action == "finished"
