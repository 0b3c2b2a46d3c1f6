"""How soon a control loop gets its turn among the threads of its process."""

from __future__ import annotations

import sys

# A thread that computes gives way after this. Python's own 5 ms is half a control period at 100 Hz: one station
# that encodes its black box would hold the reading of all others up for so long, time and again.
TURN_S = 0.0005


def short() -> None:
    """Let every thread of this process give way soon."""
    sys.setswitchinterval(TURN_S)
