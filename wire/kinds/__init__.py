"""The device models that Cellyard knows: the catalogue's rows (design: devices.md section 10).

Adding a device is one driver file, one row in its family's module here and one dialogue test: see
``docs/add_a_driver.md``. Rows of other packages arrive with a unit's device report and need no row here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from wire.catalogue import Kind
from wire.kinds import bk, bms, caen, ea, epc, flow, kel103, modbus, sba5, web

KINDS: tuple[Kind, ...] = (
    *ea.ROWS,
    *epc.ROWS,
    *bms.ROWS,
    *kel103.ROWS,
    *bk.ROWS,
    *flow.ROWS,
    *sba5.ROWS,
    *caen.ROWS,
    *web.ROWS,
    *modbus.ROWS,
)


def get(key: str) -> Kind:
    """Return the row of a catalogue key; raise ``KeyError`` naming the known keys."""
    for kind in KINDS:
        if kind.key == key:
            return kind
    raise KeyError(f"unknown device model {key!r}; known: {', '.join(kind.key for kind in KINDS)}")


def match(identity: str, kinds: Iterable[Kind] = KINDS) -> Kind | None:
    """Return the kind whose pattern fits a device's own identity text, or None."""
    for kind in kinds:
        if kind.identity and re.search(kind.identity, identity):
            return kind
    return None
