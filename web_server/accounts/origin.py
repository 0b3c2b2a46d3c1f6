"""From where the present request comes, for the audit trail."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple


class Origin(NamedTuple):
    """``way``: page, api, admin, command line or manager; ``address``: the client's, if any."""

    way: str
    address: str = ""


# Without a request (management commands, the manager process) Cellyard acts by itself.
_SYSTEM = Origin("system")
current: ContextVar[Origin] = ContextVar("origin", default=_SYSTEM)
