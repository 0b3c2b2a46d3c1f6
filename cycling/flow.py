"""Which step comes next: groups and their rounds, cycles, goto, and the profile's stop rule."""

from __future__ import annotations

from cycling.counters import copy
from cycling.plan import Plan, Planned
from cycling.reading import FLAG_RESUMED, EndReason
from cycling.reasons import STOP_RULE
from cycling.state import State
from cycling.steps import Group, Stop


def enter(index: int, plan: Plan, state: State) -> int:
    """Enter the step at ``index``; a group begins its round 1. Return the leaf that is reached."""
    node = plan.steps[index]
    while node.kind == "group":
        assert node.first is not None  # an empty group is refused by the check
        state.groups.append([node.index, 1])
        _begin_round(node, state)
        node = plan.steps[node.first]
    return node.index


def after(index: int, plan: Plan, state: State) -> tuple[int | None, EndReason | None]:
    """Return the node that follows, or None at the end of the list; and the stop rule if it acts."""
    node = plan.steps[index]
    while node.after is None:
        if node.parent is None:
            return None, None
        group = plan.steps[node.parent]
        stop = _end_round(group, plan, state)
        if stop is not None:
            return None, stop
        frame = state.groups[-1]
        if isinstance(group.step, Group) and frame[1] < group.step.count:
            frame[1] += 1
            _begin_round(group, state)
            return group.first, None
        state.groups.pop()
        node = group
    return node.after, None


def exit_group(index: int, plan: Plan, state: State) -> tuple[int | None, EndReason | None]:
    """Leave the innermost group; return what follows it, as ``after`` does."""
    parent = plan.steps[index].parent
    assert parent is not None  # refused by the check
    stop = _end_round(plan.steps[parent], plan, state)
    if stop is not None:
        return None, stop
    state.groups.pop()
    return after(parent, plan, state)


def leave_for(target: int, plan: Plan, state: State) -> None:
    """Drop the groups that the target of a goto is not in, with their counters.

    A cycle left in its middle moved too little charge to be compared with others: the stop rule does
    not look at it.
    """
    parent = plan.steps[target].parent
    while state.groups and state.groups[-1][0] != parent:
        state.groups.pop()


def leave_all(state: State) -> None:
    """Drop all groups, before the finish steps."""
    state.groups.clear()


def in_cycle(plan: Plan, state: State) -> bool:
    """Say whether a group that counts cycles is open."""
    groups = (plan.steps[index].step for index, _ in state.groups)
    return any(isinstance(group, Group) and group.is_cycle for group in groups)


def _begin_round(node: Planned, state: State) -> None:
    if isinstance(node.step, Group) and node.step.is_cycle:
        state.cycle += 1
        state.cycle_start = copy(state.total)


def _end_round(node: Planned, plan: Plan, state: State) -> EndReason | None:
    group = node.step
    if not isinstance(group, Group) or not group.is_cycle:
        return None
    state.flags &= ~FLAG_RESUMED
    rule = plan.profile.stop
    if rule is None or state.phase != "running":
        return None
    return _at_cycle_end(rule, group, plan, state)


def _at_cycle_end(rule: Stop, group: Group, plan: Plan, state: State) -> EndReason | None:
    moved_ah = (
        state.total.charge_out_ah - state.cycle_start.charge_out_ah
        if rule.measure == "discharge"
        else state.total.charge_in_ah - state.cycle_start.charge_in_ah
    )
    if rule.capacity_percent is not None and (rule.tag is None or rule.tag in group.tags):
        state.references.setdefault("first", moved_ah)
        if rule.of == state.cycle:
            state.references["cycle"] = moved_ah
        reference = {"first": state.references["first"], "nominal": plan.capacity_ah}.get(
            rule.of if isinstance(rule.of, str) else "", state.references.get("cycle")
        )
        if reference and moved_ah <= reference * rule.capacity_percent / 100.0:
            percent = 100.0 * moved_ah / reference
            return _stop(
                f"cycle {state.cycle} gave {moved_ah:.6g} Ah, {percent:.1f} % of {reference:.6g} Ah",
                "capacity_percent",
                rule.capacity_percent,
                percent,
            )
    if rule.cycles is not None and state.cycle >= rule.cycles:
        return _stop(f"{state.cycle} cycles done", "cycles", rule.cycles, state.cycle)
    return counted(rule, state)


def counted(rule: Stop, state: State) -> EndReason | None:
    """Return why the rule's charge or time stops the test, or None."""
    throughput_ah = state.total.charge_in_ah + state.total.charge_out_ah
    if rule.q_ah is not None and throughput_ah >= rule.q_ah - 1e-12:
        return _stop(f"{throughput_ah:.6g} Ah have flowed", "q_ah", rule.q_ah, throughput_ah)
    if rule.run_s is not None and state.run_s >= rule.run_s - 1e-6:
        return _stop(f"it has run for {state.run_s:.6g} s", "run_s", rule.run_s, state.run_s)
    return None


def _stop(text: str, quantity: str, limit: float, measured: float) -> EndReason:
    return EndReason(
        code=STOP_RULE, text=f"stop rule: {text}", quantity=quantity, limit=limit, measured=measured
    )
