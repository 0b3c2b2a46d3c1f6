"""What role each act of the API needs; the services check again, for every other door."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from web_server.accounts.roles import Role, at_least
from web_server.lib.errors import NotAllowed


class RolePermission(BasePermission):
    """Viewers read. A view names the role of its writing acts: ``write_role`` and ``roles`` by act."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return whether the person may; raise `NotAllowed` with the role that is missing."""
        person = request.user
        if not (person and person.is_authenticated and person.is_active):
            return False
        needed = role_of(view, request.method or "GET")
        if not at_least(person.effective_role, needed):
            raise NotAllowed(f"This needs the role {needed}; you have {person.effective_role}.")
        return True


def role_of(view: Any, method: str) -> str:
    """Return the role that ``method`` of ``view`` needs (a list or a read: viewer)."""
    roles: dict[str, str] = getattr(view, "roles", {})
    act = getattr(view, "action", None)
    if act in roles:
        return roles[act]
    if method in SAFE_METHODS:
        return str(Role.VIEWER)
    return str(getattr(view, "write_role", Role.OPERATOR))
