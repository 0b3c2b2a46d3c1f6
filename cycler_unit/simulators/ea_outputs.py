"""An EA supply of several outputs on one link: which command is for which of them (devices.md 4.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cycler_unit.simulators.ea import EaSupply
from cycler_unit.simulators.scpi import ScpiError

# The channel list after a command, and the one command that is about the whole device.
CHANNEL = re.compile(r"\s*\(@(\d)\)\s*$")
LOCK = re.compile(r"^:?SYST(?:EM)?:LOCK(?::STAT(?:E)?)?\s", re.IGNORECASE)


class TwoOutputs:
    """A supply with several outputs: ``(@n)`` at the end of a command says which, the first otherwise.

    Identity and remote control are the whole device's, the rest is each output's.
    """

    def __init__(self, outputs: Sequence[EaSupply]) -> None:
        self.outputs = outputs

    def handle(self, message: str) -> str | None:
        """Execute a message; each command goes to its output."""
        answers = [self._one(unit) for unit in message.split(";") if unit.strip()]
        said = [answer for answer in answers if answer is not None]
        return ";".join(said) if said else None

    def _one(self, unit: str) -> str | None:
        found = CHANNEL.search(unit)
        command = CHANNEL.sub("", unit)
        number = int(found[1]) if found else 1
        if number > len(self.outputs):
            self.outputs[0].fail(ScpiError(-108))
            return None
        answer = self.outputs[number - 1].handle(command)
        if LOCK.match(command):
            for output in self.outputs:
                output.remote = self.outputs[number - 1].remote
        return answer
