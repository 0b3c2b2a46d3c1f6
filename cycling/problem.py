"""What a check finds, and where."""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to change: the step's number and label, or the text's line, and one sentence."""

    message: str
    step: int | None = None
    label: str | None = None
    line: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        """Return it as one line."""
        where = f"line {self.line}: " if self.line is not None else ""
        if self.step is not None:
            where += f"step {self.step}" + (f" ({self.label})" if self.label else "") + ": "
        return where + self.message
