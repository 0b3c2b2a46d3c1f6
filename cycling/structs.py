"""Make structs ready for several threads.

msgspec works out how to convert into a struct when it is first asked to, and lets every thread see the
unfinished result: two threads that convert into the same struct for the first time at once end the
process with a segmentation fault (seen with msgspec 0.22, eight tests started at the same time). So it
is asked once, by the thread that imports.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

_READY: set[Any] = set()


def build(*more: Any) -> None:
    """Make all structs that are defined by now ready, and other types that are converted into."""
    kinds: list[Any] = [*_ours(msgspec.Struct), *more]
    for kind in kinds:
        if kind not in _READY:
            _READY.add(kind)
            msgspec.json.Decoder(kind)


def _ours(base: Any) -> Iterator[Any]:
    """Return the structs below one, but msgspec's own and generic ones that nothing is converted into."""
    for kind in base.__subclasses__():
        yield from _ours(kind)
        if not kind.__module__.startswith("msgspec") and not getattr(kind, "__parameters__", ()):
            yield kind
