"""Libraries that owners need, loaded once in the parent that they are forked from.

A new owner that is to switch off what a dead one left on need not load them first, and all share the memory.
Only what the unit's links need: a unit with CAN alone never loads PyVISA.
"""

from __future__ import annotations

import contextlib
import gc

from cycler_unit.config import Config

TEXT = ("visa", "serial")


def load(settings: Config) -> None:
    """Load what the owners of this unit's links will need; a library that is missing is told by its owner."""
    kinds = {link.get("kind") for link in settings.links}
    with contextlib.suppress(ImportError):
        import cycler_unit.owner.server
    if settings.discover or kinds.intersection(TEXT):
        with contextlib.suppress(ImportError):
            from cycler_unit.buses.visa_port import without_numpy

            with without_numpy():
                import pyvisa  # noqa: F401
                import pyvisa_py  # noqa: F401
    if "can" in kinds:
        with contextlib.suppress(ImportError):
            import cycler_unit.buses.can  # noqa: F401
    # What is loaded now stays as it is: the collector of a fork need not touch (and so copy) its pages.
    gc.collect()
    gc.freeze()
