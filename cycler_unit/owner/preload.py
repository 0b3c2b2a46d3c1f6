"""Libraries that owners need, loaded once in the process that they are forked from."""

from __future__ import annotations

import contextlib

with contextlib.suppress(ImportError):
    from cycler_unit.buses import visa

    with visa._without_numpy():
        import pyvisa  # noqa: F401
        import pyvisa_py  # noqa: F401
with contextlib.suppress(ImportError):
    import cycler_unit.owner.server  # noqa: F401
