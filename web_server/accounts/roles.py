"""Who may do what: viewer < operator < manager < administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

from web_server.lib.errors import NotAllowed

if TYPE_CHECKING:
    from web_server.accounts.models import Person


class Role(models.TextChoices):
    """A person's role; each may do all that the ones before it may."""

    VIEWER = "viewer", "Viewer (reads)"
    OPERATOR = "operator", "Operator (runs experiments, acknowledges)"
    MANAGER = "manager", "Manager (units, stations, catalogue)"
    ADMINISTRATOR = "administrator", "Administrator"


_RANK = {role: rank for rank, role in enumerate(Role.values)}


def at_least(role: str, needed: str) -> bool:
    """Return whether ``role`` is ``needed`` or above it."""
    return _RANK.get(role, -1) >= _RANK[needed]


def require(by: Person | None, needed: str, act: str) -> None:
    """Let ``by`` pass, or say which role may do ``act`` ("approve a unit").

    ``None`` is Cellyard itself (the manager process, ``prepare``), which acts for nobody. The role
    is narrowed by the scope of the token in use, if any (see ``Person.effective_role``).

    Raises:
        NotAllowed: the role is too low or the account is switched off.
    """
    if by is None:
        return
    if not by.is_active:
        raise NotAllowed("This account is switched off.")
    if not at_least(by.effective_role, needed):
        raise NotAllowed(f"To {act} you need the role {needed}; you have {by.effective_role}.")
