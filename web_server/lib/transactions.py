"""Transactions that begin again when the database chose them to end a deadlock.

InnoDB ends a deadlock by rolling one of the transactions back as a whole, and leaves it to its sender to
send it once more. A stop that a person asked for must not fail because a unit's report came meanwhile.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import tenacity
from django.db import OperationalError, connection, transaction

# ER_LOCK_DEADLOCK of MariaDB and MySQL.
DEADLOCK = 1213
TRIES = 5
# A moment by chance between two tries, so that the same two do not meet again.
WAIT_MAX_S = 0.05

P = ParamSpec("P")
R = TypeVar("R")


def atomic(act: Callable[P, R]) -> Callable[P, R]:
    """Let ``act`` run in one transaction, again from its beginning after a deadlock, five times at most.

    Inside another transaction it is a part of that one, which is rolled back whole and begun again by
    whoever opened it. What ``act`` does besides the database is done once a try.
    """
    once = transaction.atomic(act)

    @functools.wraps(act)
    def whole(*args: P.args, **kwargs: P.kwargs) -> R:
        if connection.in_atomic_block:
            return once(*args, **kwargs)
        return _tries()(once, *args, **kwargs)

    return whole


def _tries() -> tenacity.Retrying:
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_deadlock),
        stop=tenacity.stop_after_attempt(TRIES),
        wait=tenacity.wait_random(0.0, WAIT_MAX_S),
        reraise=True,
    )


def _is_deadlock(error: BaseException) -> bool:
    return isinstance(error, OperationalError) and error.args[:1] == (DEADLOCK,)
