"""One answer from the answers of several stations."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from cycler_unit.mail import Outcome, Reply


class Gather:
    """Collect one answer from each of several stations, then tell once."""

    def __init__(self, count: int, told: Callable[[list[Any]], None], order: list[str] | None = None) -> None:
        self._left, self._told, self._order = count, told, order
        self._answers: dict[str, Any] = {}
        self._lock = threading.Lock()

    def reply(self, key: str) -> Reply:
        """Return what the station ``key`` is to call."""

        def answer(outcome: Outcome, result: dict[str, Any] | None, why: str | None) -> None:
            with self._lock:
                self._answers[key] = (outcome, result, why)
                self._left -= 1
                done = self._left == 0
            if done:
                keys = self._order or list(self._answers)
                self._told([self._answers[each] for each in keys])

        return answer
