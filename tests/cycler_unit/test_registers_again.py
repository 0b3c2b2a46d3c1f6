"""A unit that is not let in asks again, and storms nobody."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from cycler_unit.agent import Agent
from tests.stack.waiting import until


@pytest.mark.parametrize("shut_out", [True, False], ids=["the broker knows no such user", "nobody answers"])
def test_a_unit_that_is_acknowledged_and_still_not_let_in_waits_before_it_asks_again(shut_out: bool) -> None:
    asked: list[Any] = []
    unit: Any = SimpleNamespace(
        _stopping=threading.Event(),
        identity=SimpleNamespace(unit="u1"),
        session=SimpleNamespace(link=SimpleNamespace(connected=not shut_out)),
        _shut_out=lambda: shut_out,
        _known=lambda: False,
        _answered=lambda: False,
        _register=asked.append,
    )
    unit._register_again = lambda enough: Agent._register_again(unit, enough)
    loop = threading.Thread(target=Agent._connect, args=(unit,), daemon=True)
    loop.start()
    try:
        until(lambda: asked, 10)
        loop.join(0.3)
        assert loop.is_alive()
        assert len(asked) == 1
    finally:
        unit._stopping.set()
        loop.join(10.0)
    assert not loop.is_alive(), "stopping does not wait"
