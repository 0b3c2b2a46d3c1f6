"""A simulated device that answers lines: its ports, its log of messages, and its broken cables."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import EXCHANGES, Asked, CannotStart, Clock, Refused, Say
from cycler_unit.simulators.links import Drop, Port, Pty
from wire import kinds


class TextDevice:
    """Base of the simulated devices on TCP ports and pseudo-terminals.

    Subclasses answer lines in ``handle`` and break themselves in ``break_it``; links and the circuit's
    own faults are broken here. ``serial`` is what unit.yaml says of a pseudo-terminal beside its name.
    """

    def __init__(
        self, name: str, model: str, ports: Sequence[Port], *, clock: Clock, circuit: Circuit | None = None
    ) -> None:
        self.name, self.model, self.ports = name, model, list(ports)
        self.clock, self.circuit = clock, circuit
        self.exchanges: deque[dict[str, Any]] = deque(maxlen=EXCHANGES)
        for port in self.ports:
            port.answer = self.answer

    # --- links ------------------------------------------------------------------------------------

    async def open(self, say: Say) -> None:
        """Listen on all ports; raise ``CannotStart``."""
        for port in self.ports:
            try:
                await port.open()
            except OSError as error:
                reason = error.strerror or error
                raise CannotStart(f"{self.name}: {port.where} cannot be used: {reason}") from error
            say(f"ready {self.name} {self.model} {self.place(port)}")

    def place(self, port: Port) -> str:
        """Return where the device is, as the unit's link says it."""
        return port.resource

    def close(self) -> None:
        """Stop listening."""
        for port in self.ports:
            port.close()

    def links(self) -> list[dict[str, Any]]:
        """Return one link of unit.yaml per port; a terminal with its model's serial settings."""
        kind = kinds.get(self.model)
        settings = {key: value for key, value in kind.link_settings.items() if key != "timeout_s"}
        found = []
        for port in self.ports:
            link: dict[str, Any] = {"name": self.name, "kind": "visa", "resource": port.resource}
            if not kind.probe or not kind.identity:
                link["model"] = self.model  # it says nothing of itself, or only its other half is found
            found.append({**link, **settings} if isinstance(port, Pty) else link)
        return found

    @property
    def resources(self) -> list[str]:
        """Return the VISA names of the ports."""
        return [port.resource for port in self.ports]

    def answer(self, line: str) -> str | None:
        """Let the device execute one line; both directions are kept for the log."""
        self.exchanges.append({"at_s": self.clock(), "to": "device", "text": line})
        answer = self.handle(line)
        if answer is not None:
            self.exchanges.append({"at_s": self.clock(), "to": "host", "text": answer})
        return answer

    def handle(self, line: str) -> str | None:
        """Execute one line and return its answer; subclasses."""
        raise NotImplementedError

    # --- time and truth ---------------------------------------------------------------------------

    def tick(self) -> None:
        """Let the circuit move on."""
        if self.circuit is not None:
            self.circuit.advance()

    def truth(self) -> dict[str, Any]:
        """Return the circuit's truth."""
        return self.circuit.truth() if self.circuit is not None else {}

    # --- faults -----------------------------------------------------------------------------------

    def fault(self, name: str, asked: Asked) -> bool:
        """Break link, device or circuit; False for an unknown fault.

        Of every device here: ``drop_link``, ``silent`` (it hears and says nothing), ``reboot``, and
        ``mains_lost`` (the link dies with it, and comes back after ``for_s`` or by ``clear``).
        """
        if name in ("drop_link", "silent"):
            self._drop({**asked, "how": "silent"} if name == "silent" else asked)
            return True
        if name in ("reboot", "mains_lost"):
            self.reboot()
            if name == "mains_lost":
                self._drop({**asked, "how": "close"})
            return True
        return self.break_it(name, asked) or (self.circuit is not None and self.circuit.fault(name, asked))

    def break_it(self, name: str, asked: Asked) -> bool:
        """Break the device itself; subclasses."""
        return False

    def reboot(self) -> None:
        """Start as after mains loss; subclasses."""

    def _drop(self, asked: Asked) -> None:
        how = asked.get("how", "close")
        if how not in ("close", "silent"):
            raise Refused("how is close or silent")
        way: Drop = how
        for port in self.ports:
            port.drop(way)
        if asked.get("for_s") is not None:
            asyncio.get_running_loop().call_later(float(asked["for_s"]), self.mend_links)

    def mend_links(self) -> None:
        """Repair the cables only."""
        for port in self.ports:
            port.mend()

    def repair(self) -> None:
        """Repair the device itself; subclasses."""

    def mend(self) -> None:
        """Clear every fault and put the first cell back."""
        self.mend_links()
        self.repair()
        if self.circuit is not None:
            self.circuit.mend()
