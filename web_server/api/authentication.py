"""``Authorization: Token …``: the secret is looked up by its hash; scope and expiry are judged."""

from __future__ import annotations

from typing import Any

from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from web_server.accounts import services


class TokenAuthentication(BaseAuthentication):
    """Know a program by its token. A token needs no CSRF check: no browser sends it by itself."""

    keyword = "Token"

    def authenticate(self, request: Request) -> tuple[Any, str] | None:
        """Return the token's person, narrowed to its scope; None when there is no token at all."""
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != self.keyword.lower().encode():
            return None
        if len(parts) != 2:
            raise exceptions.AuthenticationFailed("Send one header: Authorization: Token <token>.")
        person = services.authenticate(parts[1].decode("ascii", "replace"))
        if person is None:
            raise exceptions.AuthenticationFailed("This token is unknown, expired or revoked.")
        return person, "token"

    def authenticate_header(self, request: Request) -> str:
        """Say how to log in, so that a stranger gets 401 and not 403."""
        return f'{self.keyword} realm="Cellyard"'
