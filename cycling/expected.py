"""Estimate when the experiment will end: what each step took last time, or else a guess."""

from __future__ import annotations

from cycling.plan import Plan, Planned
from cycling.setpoints import drive_pass_s
from cycling.state import State
from cycling.steps import Drive, Group

# A constant-voltage tail after a charge, as a share of an hour at the step's rate.
CV_TAIL_S = 1800.0


def left_s(plan: Plan, state: State) -> float:
    """Return what is left of the running step, in s."""
    if state.step is None:
        return 0.0
    return max(_takes_s(plan.steps[state.step.index], plan, state) - state.step.time_s, 0.0)


def later_s(plan: Plan, state: State) -> float:
    """Return how long everything after the running step takes, in s; changes only with the step."""
    if state.step is None:
        return 0.0
    node = plan.steps[state.step.index]
    total_s = 0.0
    depth = len(state.groups)
    while True:
        total_s += _list_s(node.after, plan, state)
        if node.parent is None:
            break
        depth -= 1
        node = plan.steps[node.parent]
        if isinstance(node.step, Group) and 0 <= depth < len(state.groups):
            rounds = node.step.count - state.groups[depth][1]
            total_s += rounds * _list_s(node.first, plan, state)
    return total_s if node.finishing else total_s + _list_s(plan.finish, plan, state)


def _list_s(index: int | None, plan: Plan, state: State) -> float:
    total_s = 0.0
    while index is not None:
        total_s += _takes_s(plan.steps[index], plan, state)
        index = plan.steps[index].after
    return total_s


def _takes_s(node: Planned, plan: Plan, state: State) -> float:
    if isinstance(node.step, Group):
        return node.step.count * _list_s(node.first, plan, state)
    learned_s = state.learned_s.get(str(node.number))
    return _guess_s(node, plan) if learned_s is None else learned_s


def _guess_s(node: Planned, plan: Plan) -> float:
    """Guess from the step itself: its time, its charge over its current, a full charge, a tail."""
    if node.kind == "note":
        return 0.0
    if isinstance(node.step, Drive):
        return min(drive_pass_s(node.step) * node.step.repeat, node.max_s)
    times = [end.value for end in node.ends if end.quantity == "time_s"]
    longest_s = min([*times, node.max_s])
    if node.kind == "wait_for":
        return 0.0
    if node.kind == "cv":
        return min(CV_TAIL_S, longest_s)
    if node.kind not in ("cc", "cccv"):
        return longest_s
    amperes = abs(node.current_a or (node.rate or 0.0) * (plan.capacity_ah or 0.0))
    if not amperes:
        return longest_s
    charges = [end.value for end in node.ends if end.quantity == "charge_ah"]
    charges += [
        end.value * plan.capacity_ah for end in node.ends if end.quantity == "charge_rel" and plan.capacity_ah
    ]
    if plan.capacity_ah and any(
        end.quantity in ("voltage_v", "rate_abs", "current_abs_a") for end in node.ends
    ):
        charges.append(plan.capacity_ah)
    guess_s = min((ah / amperes * 3600.0 for ah in charges), default=longest_s)
    return min(guess_s + (CV_TAIL_S if node.kind == "cccv" else 0.0), longest_s)
