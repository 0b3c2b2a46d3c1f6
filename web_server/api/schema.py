"""How OpenAPI describes the parts that drf-spectacular cannot see by itself."""

from __future__ import annotations

from typing import Any

import msgspec
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from cycling.steps import Profile
from web_server.api.permissions import role_of


class TokenScheme(OpenApiAuthenticationExtension):
    """``Authorization: Token …``."""

    target_class = "web_server.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the scheme."""
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Token <secret>`; `POST /api/v1/token/` gives one.",
        }


class ProblemError(serializers.Serializer):  # type: ignore[type-arg]
    """One thing that is wrong."""

    field = serializers.CharField(allow_null=True)
    step = serializers.IntegerField(required=False)
    line = serializers.IntegerField(required=False)
    message = serializers.CharField()


class Problem(serializers.Serializer):  # type: ignore[type-arg]
    """RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = ProblemError(many=True)


PROBLEM = OpenApiResponse(Problem, description="application/problem+json")


class Operations(AutoSchema):
    """Adds the role that each operation needs, and the problem that each may answer."""

    def get_description(self) -> str:
        """Return the description, ending with the role."""
        text = super().get_description() or ""
        role = role_of(self.view, self.method)
        if not self.get_auth():
            return text
        return f"{text}\n\nRole: {role}.".strip()

    def get_tags(self) -> list[str]:
        """Group by the first part of the address."""
        parts = [part for part in self.path.split("/") if part]
        return [parts[2] if len(parts) > 2 else "api"]

    def _get_response_bodies(self, direction: str = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        problem = self._get_response_for_code(PROBLEM, "default", media_types=["application/problem+json"])
        bodies.setdefault("default", problem)
        return bodies


def query(name: str, kind: Any, description: str, **more: Any) -> OpenApiParameter:
    """Return a query parameter."""
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=description, **more)


def add_step_model(result: dict[str, Any], **_kwargs: Any) -> dict[str, Any]:
    """Add the step model to the components: the very structs that check a profile."""
    _, parts = msgspec.json.schema_components([Profile], ref_template="#/components/schemas/{name}")
    parts["AnyStep"] = parts["Profile"]["properties"]["steps"]["items"]
    result["components"]["schemas"].update(parts)
    return result


WAIT = query(
    "wait",
    OpenApiTypes.NUMBER,
    "Seconds (0 to 30) to hold the answer until the unit has replied. Without it the answer comes at once.",
)
