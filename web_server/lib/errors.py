"""What a service raises when it does not do what was asked.

ServiceError
├── Refused      the request is wrong or impossible now: change it, then try again
├── NotAllowed   the person's role does not permit it
└── NotFound     what was named does not exist (any more)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class ServiceError(Exception):
    """Base of what services raise for a person's request; never a defect of Cellyard."""


class Refused(ServiceError):
    """Not done, and why: ``errors`` is a list of ``{field, step?, line?, message}``."""

    def __init__(self, errors: Iterable[dict[str, Any]]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(str(error.get("message", "")) for error in self.errors))

    @classmethod
    def one(cls, message: str, field: str | None = None, **more: Any) -> Refused:
        """Return a refusal with a single error."""
        return cls([{"field": field, "message": message, **more}])


class NotAllowed(ServiceError):
    """The person's role does not permit this; the text says which role does."""


class NotFound(ServiceError):
    """What the request names does not exist."""
