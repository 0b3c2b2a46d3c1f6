"""Hold an answer until it is known what came of a test."""

from __future__ import annotations

import time

from web_server.notices.models import Delivery

PERIOD_S = 0.1
_OPEN = (Delivery.State.DUE, Delivery.State.SENDING)


def until_known(delivery: Delivery, seconds: float) -> Delivery:
    """Return ``delivery`` as it is once a manager has tried it, or after ``seconds``."""
    until = time.monotonic() + seconds
    while delivery.state in _OPEN and time.monotonic() < until:
        time.sleep(min(PERIOD_S, max(0.0, until - time.monotonic())))
        delivery.refresh_from_db()
    return delivery
