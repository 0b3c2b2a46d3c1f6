"""Whose IDLE an EPC's IDLE is: frames counted, without a bus."""

from __future__ import annotations

import pytest

from cycler_unit.drivers.epc_frames import CC, ERROR, MODE, OFF, REQUEST, STATUS, TIME, WAIT, SetPoint
from cycler_unit.drivers.epc_state import ASK_MODE, EpcState

CHARGE = SetPoint(1, CC, TIME, 1000, 3000)


def charging() -> EpcState:
    """Return a state whose command was taken: echo and notification."""
    state = EpcState()
    with state.commanding(CHARGE):
        state.heard(MODE, CHARGE.encode())
        state.heard(MODE, CHARGE.encode())
    return state


def asks(state: EpcState, *answers: SetPoint) -> None:
    """Ask for MODE once; what comes meanwhile."""
    with state.expecting():
        state.sent(REQUEST, ASK_MODE)
        for answer in answers:
            state.heard(MODE, answer.encode())


def test_its_own_end_is_told_once_and_answered_as_often_as_asked() -> None:
    state = charging()
    asks(state, CHARGE)
    state.heard(MODE, OFF.encode())
    assert state.suspect
    asks(state, OFF)
    asks(state, OFF)
    assert not state.ended_by_another


def test_an_end_in_the_round_of_an_answer_is_its_own() -> None:
    state = charging()
    asks(state, OFF, OFF)
    assert not state.ended_by_another


def test_a_command_of_another_host_is_heard_answered_and_told() -> None:
    state = charging()
    # Asked, answered, and then another host's command comes: the frame, its echo, the notification.
    asks(state, CHARGE, OFF)
    for _ in range(2):
        state.heard(MODE, OFF.encode())
    assert state.ended_by_another


def test_requests_of_another_host_are_answered_too() -> None:
    state = charging()
    state.heard(MODE, OFF.encode())
    for _ in range(4):
        state.heard(REQUEST, ASK_MODE)
        state.heard(MODE, OFF.encode())
    assert not state.ended_by_another


def test_the_refusal_of_a_first_try_is_no_end() -> None:
    state = EpcState()
    with state.commanding(CHARGE):
        state.heard(MODE, OFF.encode())
        state.heard(MODE, CHARGE.encode())
    state.heard(MODE, OFF.encode())
    assert not state.ended_by_another


def test_a_set_point_of_another_host_is_kept_until_the_next_order() -> None:
    state = charging()
    state.heard(MODE, SetPoint(0, WAIT, TIME, 0, 1).encode())
    state.heard(MODE, OFF.encode())
    assert state.foreign == SetPoint(0, WAIT, TIME, 0, 1)
    state.order(OFF)
    assert state.foreign is None


@pytest.mark.parametrize("order", [(MODE, STATUS), (STATUS, MODE)])
def test_an_error_while_on_is_kept_with_its_cause_in_either_order(order: tuple[int, int]) -> None:
    payloads = {STATUS: bytes.fromhex("02005014"), MODE: SetPoint(0, ERROR).encode()}
    state = charging()
    for message in order:
        state.heard(message, payloads[message])
    assert (state.error or state.told or "").startswith("cell voltage out of limits")
    state.order(OFF)
    assert state.error is None
