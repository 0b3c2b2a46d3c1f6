"""Libraries that owners need, loaded once in the parent that they are forked from."""

from __future__ import annotations

import contextlib
import gc

with contextlib.suppress(ImportError):
    from cycler_unit.buses import visa

    with visa._without_numpy():
        import pyvisa  # noqa: F401
        import pyvisa_py  # noqa: F401
with contextlib.suppress(ImportError):
    import cycler_unit.owner.server  # noqa: F401

# What is loaded now stays as it is: the collector of a fork need not touch (and so copy) its pages.
gc.collect()
gc.freeze()
