"""Which rows of the tables run in ``make test``; ``make faults`` runs all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

Row = Any


def rows(found: Iterable[tuple[Any, ...]]) -> list[Row]:
    """Return parameters; each tuple ends with its name and whether it is run in ``make test`` too."""
    return [
        pytest.param(*values, id=name, marks=[] if usual else [pytest.mark.slow])
        for *values, name, usual in found
    ]
