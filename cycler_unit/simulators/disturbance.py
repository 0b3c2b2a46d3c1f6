"""What may be wrong with a sensor that still answers: its readings drift, or scatter more than they should."""

from __future__ import annotations

import random

from cycler_unit.simulators.device import Asked, Clock


class Disturbance:
    """Faults ``drift`` (``offset``, ``rate_per_s``) and ``noise`` (``scatter``: one standard deviation).

    All in the unit of the reading; ``usual`` is what each does when nothing is said.
    """

    def __init__(self, clock: Clock, seed: int, *, usual: float) -> None:
        self._clock, self._usual = clock, usual
        self._random = random.Random(seed)
        self.clear()

    def clear(self) -> None:
        """Read truly again."""
        self._drift: tuple[float, float, float] | None = None
        self._scatter = 0.0

    def fault(self, name: str, asked: Asked) -> bool:
        """Begin a drift or a noise; False for any other fault."""
        if name == "drift":
            rate = float(asked.get("rate_per_s", 0.0 if "offset" in asked else self._usual / 10.0))
            self._drift = (float(asked.get("offset", 0.0)), rate, self._clock())
        elif name == "noise":
            self._scatter = float(asked.get("scatter", self._usual))
        else:
            return False
        return True

    def shown(self, value: float) -> float:
        """Return what the sensor makes of a true value."""
        if self._drift is not None:
            offset, rate, since_s = self._drift
            value += offset + rate * (self._clock() - since_s)
        return value + self._random.gauss(0.0, self._scatter) if self._scatter else value
