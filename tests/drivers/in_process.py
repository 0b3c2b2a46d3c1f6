"""A transport straight into a simulated instrument, without a socket: every command can be watched."""

from __future__ import annotations

from collections.abc import Callable

from cycler_unit.simulators.ea import EaSupply


class InProcess:
    """Execute messages one command at a time; ``watch`` is called after each."""

    def __init__(self, instrument: EaSupply) -> None:
        self.instrument = instrument
        self.watch: Callable[[str], None] = lambda command: None

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def write(self, message: str) -> None:
        self._execute(message)

    def query(self, message: str) -> str:
        return ";".join(self._execute(message))

    def _execute(self, message: str) -> list[str]:
        answers = []
        for command in message.split(";"):
            answer = self.instrument.handle(command)
            self.watch(command)
            if answer is not None:
                answers.append(answer)
        return answers
