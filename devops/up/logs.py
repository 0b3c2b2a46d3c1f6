"""One log of many processes: each line with the name of its process, coloured on a terminal."""

from __future__ import annotations

import os
import sys
from typing import Any

# ANSI colours in the order in which processes are named first.
COLOURS = (36, 32, 33, 35, 34, 31)
WIDTH = len("simulators")
_colours: dict[str, int] = {}


def say(name: str, text: str) -> None:
    """Write one line of the process ``name`` to the terminal."""
    print(f"{_prefix(name)} {text}", flush=True)


def _prefix(name: str) -> str:
    label = f"{name:<{WIDTH}} |"
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return label
    colour = _colours.setdefault(name, COLOURS[len(_colours) % len(COLOURS)])
    return f"\033[{colour}m{label}\033[0m"


class Prefixed:
    """A stream of circus: takes the output of one process in any pieces, writes whole lines."""

    def __init__(self, name: str = "", **_unused: Any) -> None:
        self.name = name
        self._rest = b""

    def __call__(self, output: dict[str, Any]) -> None:
        """Take one piece of output: ``{"data": bytes, ...}``."""
        *lines, self._rest = (self._rest + output["data"]).split(b"\n")
        for line in lines:
            say(self.name, line.decode(errors="replace").rstrip("\r"))

    def close(self) -> None:
        """Write what was not ended by a newline."""
        if self._rest:
            say(self.name, self._rest.decode(errors="replace"))
            self._rest = b""
