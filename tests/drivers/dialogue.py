"""A scripted link: exact bytes out, answers in, nothing left over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cycler_unit.drivers.errors import DeviceLost

# One exchange: what must be sent, and the answer; None = a command without an answer.
Exchange = tuple[str, str | None]


class Dialogue:
    """A transport that knows what must come next. Plain strings in the script are commands."""

    def __init__(self, script: Sequence[Exchange | str] = ()) -> None:
        self.script: list[Exchange] = []
        self.expect(script)
        self.opened = False
        self.lost = False

    def expect(self, script: Sequence[Exchange | str]) -> None:
        self.script.extend((each, None) if isinstance(each, str) else each for each in script)

    def open(self) -> None:
        self.opened = True

    def close(self) -> None:
        self.opened = False

    def write(self, message: str) -> None:
        assert self._next(message) is None, f"{message!r} is answered, but nobody reads the answer"

    def query(self, message: str) -> str:
        answer = self._next(message)
        assert answer is not None, f"{message!r} waits for an answer that never comes"
        return answer

    def _next(self, message: str) -> str | None:
        if self.lost:
            raise DeviceLost("the link is gone")
        assert self.script, f"{message!r} was sent, nothing was expected"
        expected, answer = self.script.pop(0)
        assert message == expected
        return answer


@contextmanager
def expected(dialogue: Dialogue, *script: Exchange | str) -> Iterator[None]:
    """Let the body exchange exactly this script."""
    dialogue.expect(script)
    yield
    assert not dialogue.script, f"never sent: {dialogue.script}"
