"""Errors as RFC 9457 problems: one media type and one shape for everything that goes wrong.

``{"type", "title", "status", "detail", "errors": [{"field", "step"?, "message"}]}``. ``field`` is a
path into the request (``steps[2].end[0].value``), or null when the whole request is meant.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as ModelError
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import resolve
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from web_server.lib.errors import NotAllowed, NotFound, Refused

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger("web_server.api")


def body(status: int, detail: str, errors: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return the problem's JSON object."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "errors": errors or [],
    }


def respond(status: int, detail: str, errors: list[dict[str, Any]] | None = None, headers=None) -> Response:
    """Return the problem as an answer of a REST view."""
    return Response(body(status, detail, errors), status=status, content_type=MEDIA_TYPE, headers=headers)


def _deeper(path: str, key: Any) -> str:
    """Return the path of a part: by name with a point, by its place in brackets."""
    if key == "non_field_errors":
        return path
    if isinstance(key, int) or str(key).isdigit():
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else str(key)


def flatten(detail: Any, path: str = "") -> list[dict[str, Any]]:
    """Turn nested error details of REST framework into a flat list of ``{field, message}``."""
    if isinstance(detail, dict):
        found = []
        for key, value in detail.items():
            found += flatten(value, _deeper(path, key))
        return found
    if isinstance(detail, (list, tuple)):
        if any(isinstance(item, (dict, list)) for item in detail):
            return [e for i, item in enumerate(detail) if item for e in flatten(item, f"{path}[{i}]")]
        return [{"field": path or None, "message": str(item)} for item in detail]
    return [{"field": path or None, "message": str(detail)}]


def _told(error: dict[str, Any]) -> dict[str, Any]:
    """Return a service's error without what it does not say; ``field`` is always there."""
    return {"field": error.get("field"), **{k: v for k, v in error.items() if v is not None}}


def sentence(errors: list[dict[str, Any]]) -> str:
    """Say the first error in one line, and how many more there are."""
    if not errors:
        return "The request was refused."
    first = errors[0]
    where = (
        f"step {first['step']}: "
        if first.get("step")
        else f"{first['field']}: "
        if first.get("field")
        else ""
    )
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}{first['message']}{more}"


def handle(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Answer every error of a REST view with a problem; a user's mistake is never a traceback."""
    set_rollback()
    if isinstance(exc, Refused):
        errors = [_told(error) for error in exc.errors]
        return respond(400, sentence(errors), errors)
    if isinstance(exc, (NotAllowed, PermissionDenied, exceptions.PermissionDenied)):
        return respond(403, str(getattr(exc, "detail", None) or exc) or "You may not do this.")
    if isinstance(exc, NotFound):
        return respond(404, str(exc) or "There is no such thing.")
    if isinstance(exc, Http404):
        return respond(404, "There is no such thing, or you may not see it.")
    if isinstance(exc, exceptions.ValidationError):
        errors = flatten(exc.detail)
        return respond(400, sentence(errors), errors)
    if isinstance(exc, ModelError):
        errors = flatten(getattr(exc, "message_dict", None) or exc.messages)
        return respond(400, sentence(errors), errors)
    if isinstance(exc, exceptions.APIException):
        return _of_rest_framework(exc)
    if isinstance(exc, IntegrityError):
        log.warning("integrity error answered as a conflict: %s", exc)
        return respond(409, "This contradicts something that is already recorded.")
    if isinstance(exc, (OperationalError, InterfaceError)):
        log.error("the database does not answer: %s", exc)
        return respond(503, "The database does not answer; try again.", headers={"Retry-After": "2"})
    view = context.get("view")
    log.exception("a request failed in %s", type(view).__name__ if view else "?")
    return respond(500, "Something is wrong on our side; it is in the log.")


def _of_rest_framework(exc: exceptions.APIException) -> Response:
    headers = {}
    if getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = exc.auth_header
    if getattr(exc, "wait", None):
        headers["Retry-After"] = str(int(exc.wait) + 1)
    errors = flatten(exc.detail) if isinstance(exc.detail, (dict, list)) else []
    detail = sentence(errors) if errors else str(exc.detail)
    return respond(exc.status_code, detail, errors, headers)


# Nothing is changed here, and a program has no CSRF token: it shall read where it went wrong.
@csrf_exempt
def unknown_address(request: HttpRequest, *_args: Any, **_kwargs: Any) -> HttpResponse:
    """Answer an address below ``/api/`` that does not exist; without its last slash, say where it is.

    With 308 a client sends the same again, body and all, where Django's own answer would lose it.
    """
    whole = request.path_info + "/"
    if not request.path_info.endswith("/") and resolve(whole).func is not unknown_address:
        query = f"?{request.META['QUERY_STRING']}" if request.META.get("QUERY_STRING") else ""
        return HttpResponse(status=308, headers={"Location": request.path + "/" + query})
    problem = body(404, f"There is nothing at {request.path}; see /api/docs/.")
    return JsonResponse(problem, status=404, content_type=MEDIA_TYPE)


unknown_address.login_required = False  # type: ignore[attr-defined]
