"""A scripted link: exact bytes out, answers in, nothing left over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cycler_unit.drivers.errors import DeviceLost

# One exchange: what must be sent, and the answer; None = a command without an answer, a list = its lines.
Exchange = tuple[str, str | list[str] | None]


class Dialogue:
    """A transport that knows what must come next. Plain strings in the script are commands."""

    def __init__(self, script: Sequence[Exchange | str] = ()) -> None:
        self.script: list[Exchange] = []
        self.expect(script)
        self.lines: list[str] = []
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
        if isinstance(answer, str):
            return answer
        self.lines = list(answer)
        return self.read()

    def read(self) -> str:
        if not self.lines:
            raise DeviceLost("no further line comes")
        return self.lines.pop(0)

    def _next(self, message: str) -> str | list[str] | None:
        if self.lost:
            raise DeviceLost("the link is gone")
        # What was left unread is thrown away, as the real link does.
        self.lines = []
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
    assert not dialogue.lines, f"never read: {dialogue.lines}"
