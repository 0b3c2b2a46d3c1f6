"""Remember where a request came from while it is served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from web_server.accounts.origin import Origin, current


def _origin(request: HttpRequest) -> Origin:
    way = {"api": "api", "admin": "admin"}.get(request.path_info.strip("/").split("/")[0], "page")
    return Origin(way, str(request.META.get("REMOTE_ADDR") or ""))


class OriginMiddleware:
    """Set `accounts.origin.current` for each request; works for both kinds of views."""

    sync_capable = True
    async_capable = True

    def __init__(
        self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]
    ) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Serve one request under its origin."""
        if self.is_async:
            return self._serve_async(request)
        token = current.set(_origin(request))
        try:
            return self.get_response(request)
        finally:
            current.reset(token)

    async def _serve_async(self, request: HttpRequest) -> HttpResponseBase:
        token = current.set(_origin(request))
        try:
            return await self.get_response(request)  # type: ignore[misc]
        finally:
            current.reset(token)
