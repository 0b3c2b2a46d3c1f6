"""What the simulated devices on a CAN bus have in common: joining it, falling silent, their circuit."""

from __future__ import annotations

from collections import deque
from typing import Any

from cycler_unit.simulators.can_host import CanHost, host
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import EXCHANGES, Asked, Clock, Say


class CanDevice:
    """Base; subclasses implement ``hears``, ``take``, ``step``, ``due_s`` and ``break_it``."""

    def __init__(
        self,
        name: str,
        model: str,
        link: dict[str, Any],
        where: dict[str, Any],
        *,
        clock: Clock,
        circuit: Circuit | None,
    ) -> None:
        self.name, self.model, self.clock, self.circuit = name, model, clock, circuit
        self.link, self.where = link, where
        self.serial_number = ""
        self.exchanges: deque[dict[str, Any]] = deque(maxlen=EXCHANGES)
        self.silent_until_s = 0.0
        self._host: CanHost | None = None

    async def open(self, say: Say) -> None:
        """Join the bus; raise ``CannotStart``."""
        self._host = host(self.link, self.clock)
        self._host.join(self)  # type: ignore[arg-type]
        say(f"ready {self.name} {self.model} {self.resources[0]}")

    def close(self) -> None:
        """Leave the bus; safe twice."""
        joined, self._host = self._host, None
        if joined is not None:
            joined.leave(self)  # type: ignore[arg-type]

    def links(self) -> list[dict[str, Any]]:
        """Return the link of its bus, as unit.yaml has it; the scan finds the device on it."""
        return [dict(self.link)]

    @property
    def resources(self) -> list[str]:
        """Return where it is, as one text."""
        place = ":".join(str(self.link[key]) for key in ("interface", "channel", "port") if key in self.link)
        return [f"CAN:{place}:" + ":".join(f"{key}={value}" for key, value in self.where.items())]

    @property
    def silent(self) -> bool:
        """Tell whether its cable is out just now."""
        return self.clock() < self.silent_until_s

    def tick(self) -> None:
        """Let the circuit move on; frames have their own timer."""
        if self.circuit is not None:
            self.circuit.advance()

    def truth(self) -> dict[str, Any]:
        """Return the circuit's truth."""
        return self.circuit.truth() if self.circuit is not None else {}

    def fault(self, name: str, asked: Asked) -> bool:
        """Break link, device or circuit; False for an unknown fault."""
        if name in ("silent", "drop_link"):
            for_s = asked.get("for_s")
            self.silent_until_s = float("inf") if for_s is None else self.clock() + float(for_s)
            return True
        return self.break_it(name, asked) or (self.circuit is not None and self.circuit.fault(name, asked))

    def break_it(self, name: str, asked: Asked) -> bool:
        """Break the device itself; subclasses."""
        return False

    def repair(self) -> None:
        """Repair the device itself; subclasses."""

    def mend(self) -> None:
        """Clear every fault and put the first cell back."""
        self.silent_until_s = 0.0
        self.repair()
        if self.circuit is not None:
            self.circuit.mend()
